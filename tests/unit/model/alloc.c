#include "alloc.h"

static unsigned int countdown;
static bool fired;

void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *old, size_t size);
char *__real_strdup(const char *text);

void alloc_fail_at(unsigned int n)
{
	countdown = n;
	fired = false;
}

bool alloc_failed(void)
{
	countdown = 0;
	return fired;
}

static bool fails_now(void)
{
	if (!countdown || --countdown)
		return false;
	fired = true;
	return true;
}

void *__wrap_malloc(size_t size)
{
	return fails_now() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
	return fails_now() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *old, size_t size)
{
	return fails_now() ? NULL : __real_realloc(old, size);
}

char *__wrap_strdup(const char *text)
{
	return fails_now() ? NULL : __real_strdup(text);
}
