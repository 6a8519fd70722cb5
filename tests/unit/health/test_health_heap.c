#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/hash.h"
#include "health/health_heap.h"

#define COUNT 1000

static void an_empty_heap_has_no_first(void **state)
{
	struct health_heap heap = { 0 };

	assert_null(health_heap_first(&heap));
	health_heap_done(&heap);
}

static void timers_come_out_in_order_whatever_was_moved_or_removed(void **state)
{
	static struct health_timer timers[COUNT];
	struct health_heap heap = { 0 };
	uint64_t last = 0;
	size_t seen = 0;

	for (size_t i = 0; i < COUNT; i++) {
		assert_int_equal(health_heap_reserve(&heap, i + 1), 0);
		health_heap_put(&heap, &timers[i], hash_mix64(i + 1) % 500);
	}
	for (size_t i = 0; i < COUNT; i += 3)
		health_heap_put(&heap, &timers[i], hash_mix64(i + 7) % 500);
	for (size_t i = 0; i < COUNT; i += 5)
		health_heap_remove(&heap, &timers[i]);
	health_heap_remove(&heap, &timers[0]); /* a second time */
	while (health_heap_first(&heap)) {
		struct health_timer *first = health_heap_first(&heap);

		assert_true(first->due_ns >= last);
		assert_int_not_equal((first - timers) % 5, 0);
		last = first->due_ns;
		health_heap_remove(&heap, first);
		seen++;
	}
	assert_int_equal(seen, COUNT - COUNT / 5);
	health_heap_done(&heap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_heap_has_no_first),
		cmocka_unit_test(timers_come_out_in_order_whatever_was_moved_or_removed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
