#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "loomd/latency.h"

static void few_say_nothing(void **state)
{
	struct latency latency = { 0 };

	for (int i = 1; i < LATENCY_MINIMUM; i++) {
		latency_add(&latency, 5);
		assert_int_equal(latency_p99(&latency), 0);
	}
	latency_add(&latency, 7);
	assert_int_equal(latency_p99(&latency), 7);
}

static void one_of_a_hundred_may_be_slower(void **state)
{
	struct latency latency = { 0 };

	for (uint64_t i = 100; i > 0; i--)
		latency_add(&latency, i * 10);
	assert_int_equal(latency_p99(&latency), 990);
}

static void the_oldest_are_forgotten(void **state)
{
	struct latency latency = { 0 };

	for (uint64_t i = 0; i < LATENCY_LAST; i++)
		latency_add(&latency, 1000000);
	for (uint64_t i = 0; i < LATENCY_LAST - 2; i++)
		latency_add(&latency, 3);
	assert_int_equal(latency_p99(&latency), 1000000);
	latency_add(&latency, 3);
	/* One of 128 is left. */
	assert_int_equal(latency_p99(&latency), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(few_say_nothing),
		cmocka_unit_test(one_of_a_hundred_may_be_slower),
		cmocka_unit_test(the_oldest_are_forgotten),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
