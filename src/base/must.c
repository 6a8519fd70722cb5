#include "must.h"

#include <stdio.h>
#include <stdlib.h>

_Noreturn void must_fail(const char *file, int line, const char *condition)
{
	fprintf(stderr, "%s:%d: broken invariant: %s\n", file, line, condition);
	abort();
}
