/* index. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "base/index.h"

#define ROWS 2000

static size_t count_of(const struct index *index, uint64_t hash, uint32_t row)
{
	struct index_walk walk = index_find(index, hash);
	uint32_t found;
	size_t n = 0;

	while (index_next(&walk, &found))
		n += found == row;
	return n;
}

static void an_empty_index_has_nothing(void **state)
{
	struct index index = { 0 };
	struct index_walk walk = index_find(&index, 7);
	uint32_t row;

	assert_false(index_next(&walk, &row));
	index_remove(&index, 7, 1);
	index_done(&index);
}

static void rows_of_one_hash_are_all_found(void **state)
{
	struct index index = { 0 };

	for (uint32_t row = 0; row < 100; row++)
		assert_int_equal(index_put(&index, 42, row), 0);
	for (uint32_t row = 0; row < 100; row++)
		assert_int_equal(count_of(&index, 42, row), 1);
	index_remove(&index, 42, 50);
	assert_int_equal(count_of(&index, 42, 50), 0);
	assert_int_equal(index.count, 99);
	index_done(&index);
}

static void what_was_not_put_is_not_removed(void **state)
{
	struct index index = { 0 };

	assert_int_equal(index_put(&index, 1, 1), 0);
	index_remove(&index, 1, 2);
	index_remove(&index, 65, 1); /* the same home */
	assert_int_equal(index.count, 1);
	assert_int_equal(count_of(&index, 1, 1), 1);
	index_done(&index);
}

/* Few homes for many rows, the last one of the table among them: runs that meet and wrap around. */
static uint64_t crowded(uint32_t row)
{
	return (uint64_t)row << 32 | (row % 5 ? row % 3 : UINT32_MAX);
}

static void it_equals_a_plain_list_after_any_order(void **state)
{
	struct index index = { 0 };
	bool there[ROWS] = { false };
	uint64_t random = 1;
	size_t count = 0;

	for (int step = 0; step < 40000; step++) {
		uint32_t row = (uint32_t)((random = hash_mix64(random + 1)) % ROWS);

		if (there[row])
			index_remove(&index, crowded(row), row);
		else
			assert_int_equal(index_put(&index, crowded(row), row), 0);
		there[row] = !there[row];
		count += there[row] ? 1 : (size_t)-1;
		assert_int_equal(index.count, count);
		if (step % 1000)
			continue;
		for (uint32_t i = 0; i < ROWS; i++)
			assert_int_equal(count_of(&index, crowded(i), i), there[i]);
	}
	index_done(&index);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_empty_index_has_nothing),
		cmocka_unit_test(rows_of_one_hash_are_all_found),
		cmocka_unit_test(what_was_not_put_is_not_removed),
		cmocka_unit_test(it_equals_a_plain_list_after_any_order),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
