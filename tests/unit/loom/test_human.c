#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include "loom/human.h"

static void a_number_has_three_digits_at_most_and_never_1000(void **state)
{
	static const struct {
		double value;
		const char *unit;
		const char *text;
	} rows[] = {
		{ 0, "", "0" },
		{ 0, "pps", "0 pps" },
		{ 0.5, "pps", "0.5 pps" },
		{ 999, "", "999" },
		{ 999.4, "pps", "999 pps" },
		{ 999.5, "pps", "1.0 kpps" },
		{ 1000, "", "1.0 k" },
		{ 1234567, "pps", "1.2 Mpps" },
		{ 3.4e9, "B", "3.4 GB" },
		{ 99.94e3, "", "99.9 k" },
		{ 99.96e3, "", "100 k" },
		{ 999999, "", "1.0 M" },
		{ 18446744073709551615.0, "B", "18.4 EB" },
		{ 1e24, "B", "1000000 EB" },
		{ -1, "B", "-" },
		{ NAN, "B", "-" },
		{ INFINITY, "B", "-" },
	};
	char text[HUMAN_LEN];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(human_si(rows[i].value, rows[i].unit, text), rows[i].text);
}

static void a_duration_has_its_two_largest_units(void **state)
{
	static const struct {
		double seconds;
		const char *text;
	} rows[] = {
		{ 0, "0s" },	      { 0.04, "0.0s" }, { 0.5, "0.5s" },     { 12.1, "12s" },
		{ 59.9, "59s" },      { 60, "1m 0s" },	{ 3599, "59m 59s" }, { 3600, "1h 0m" },
		{ 93784.5, "1d 2h" }, { 1e300, "-" },	{ -1, "-" },	     { NAN, "-" },
	};
	char text[HUMAN_LEN];
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_string_equal(human_seconds(rows[i].seconds, text), rows[i].text);
}

static void a_share_shows_that_there_is_something(void **state)
{
	char text[HUMAN_LEN];

	assert_string_equal(human_share(0, 10, text), "0%");
	assert_string_equal(human_share(1, 1000000, text), "<0.1%");
	assert_string_equal(human_share(3, 1000, text), "0.3%");
	assert_string_equal(human_share(10, 10, text), "100%");
	assert_string_equal(human_share(UINT64_MAX, UINT64_MAX, text), "100%");
	assert_string_equal(human_share(1, 0, text), "-");
}

static void a_rate_needs_time_and_a_counter_that_grows(void **state)
{
	assert_true(human_rate(100, 300, 2000000000) == 100);
	assert_true(human_rate(5, 5, 1) == 0);
	assert_true(isnan(human_rate(300, 100, 1000000000)));
	assert_true(isnan(human_rate(100, 300, 0)));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_number_has_three_digits_at_most_and_never_1000),
		cmocka_unit_test(a_duration_has_its_two_largest_units),
		cmocka_unit_test(a_share_shows_that_there_is_something),
		cmocka_unit_test(a_rate_needs_time_and_a_counter_that_grows),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
