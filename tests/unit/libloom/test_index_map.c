#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "libloom/index_map.h"

static void what_is_set_is_there_and_what_is_removed_is_not(void **state)
{
	struct index_map map = { 0 };
	uint16_t value = 0;

	assert_false(index_map_get(&map, 0, &value));
	index_map_remove(&map, 0);
	assert_int_equal(index_map_set(&map, 0, 7), 0);
	assert_int_equal(index_map_set(&map, 0, 8), 0);
	assert_int_equal(map.count, 1);
	assert_true(index_map_get(&map, 0, &value));
	assert_int_equal(value, 8);
	index_map_remove(&map, 1);
	assert_int_equal(map.count, 1);
	index_map_remove(&map, 0);
	assert_false(index_map_get(&map, 0, &value));
	index_map_done(&map);
}

/* A reference of bytes for a small space of keys that collide a lot. */
static void many_changes_leave_what_a_plain_array_would_hold(void **state)
{
	enum { KEYS = 512 };
	static uint8_t is_set[KEYS];
	static uint16_t values[KEYS];
	struct index_map map = { 0 };
	uint32_t random = 1;
	size_t count = 0;
	int i, k;

	for (i = 0; i < 200000; i++) {
		uint16_t value;

		random = random * 1664525 + 1013904223;
		k = random >> 23;
		if (random & 0x400) {
			assert_int_equal(index_map_set(&map, k * 0x01000193u, (uint16_t)i), 0);
			count += !is_set[k];
			is_set[k] = 1;
			values[k] = (uint16_t)i;
		} else {
			index_map_remove(&map, k * 0x01000193u);
			count -= is_set[k];
			is_set[k] = 0;
		}
		assert_int_equal(map.count, count);
		k = (random >> 3) % KEYS;
		assert_int_equal(index_map_get(&map, k * 0x01000193u, &value), is_set[k]);
		if (is_set[k])
			assert_int_equal(value, values[k]);
	}
	index_map_done(&map);
}

static void everything_is_taken_once_in_portions(void **state)
{
	struct index_map map = { 0 };
	static uint8_t seen[10000];
	uint32_t some[77];
	size_t cursor = 0, total = 0, count, i;

	for (i = 0; i < 10000; i++)
		assert_int_equal(index_map_set(&map, (uint32_t)i, 0), 0);
	while ((count = index_map_take(&map, &cursor, some, 77)) > 0) {
		for (i = 0; i < count; i++)
			assert_int_equal(seen[some[i]]++, 0);
		total += count;
	}
	assert_int_equal(total, 10000);
	index_map_done(&map);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_set_is_there_and_what_is_removed_is_not),
		cmocka_unit_test(many_changes_leave_what_a_plain_array_would_hold),
		cmocka_unit_test(everything_is_taken_once_in_portions),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
