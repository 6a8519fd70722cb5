#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "sys/ports.h"

static void the_larger_side_of_the_kernels_range_is_taken(void **state)
{
	static const struct {
		uint32_t low;
		uint32_t high;
		int result;
		uint16_t first;
		uint16_t last;
	} rows[] = {
		{ 32768, 60999, 0, 1024, 32767 },			       /* Linux's default */
		{ 10000, 20000, 0, 20001, 65535 }, { 1024, 65535, -22, 0, 0 }, /* nothing is left */
		{ 1500, 65000, -22, 0, 0 }, /* too little on either side */
		{ 2048, 65535, 0, 1024, 2047 },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint16_t first = 0;
		uint16_t last = 0;

		assert_int_equal(ports_beside(rows[i].low, rows[i].high, &first, &last),
				 rows[i].result);
		assert_int_equal(first, rows[i].first);
		assert_int_equal(last, rows[i].last);
	}
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_larger_side_of_the_kernels_range_is_taken),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
