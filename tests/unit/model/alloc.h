/* alloc.h - lets the n-th allocation of the code under test fail.
 * Link with alloc_wrap_args: malloc, calloc, realloc and strdup pass through here. */
#ifndef TEST_ALLOC_H
#define TEST_ALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* From now on: the n-th allocation fails, counted from 1; 0: none does. */
void alloc_fail_at(unsigned int n);
/* Whether it did; ends the failing. */
bool alloc_failed(void);

void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *old, size_t size);
char *__wrap_strdup(const char *text);

/* Runs call for each n until it gets by without the n-th allocation; every run before must return
 * -ENOMEM and the last 0.  undo frees what a success made. */
#define ALLOC_ASSERT_SURVIVES(call, undo)                \
	do {                                             \
		for (unsigned int n_ = 1;; n_++) {       \
			int r_;                          \
			alloc_fail_at(n_);               \
			r_ = (call);                     \
			if (!alloc_failed()) {           \
				assert_int_equal(r_, 0); \
				assert_true(n_ > 1);     \
				undo;                    \
				break;                   \
			}                                \
			assert_int_equal(r_, -ENOMEM);   \
		}                                        \
	} while (0)

#endif
