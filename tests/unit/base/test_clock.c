#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <time.h>

#include <cmocka.h>

#include "base/clock.h"

static void the_clock_is_the_kernels_monotonic_one(void **state)
{
	struct timespec ts;
	uint64_t before;
	uint64_t now = clock_now_ns();

	clock_gettime(CLOCK_MONOTONIC, &ts);
	before = (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
	assert_true(now <= before);
	assert_true(clock_now_ns() >= before);
}

static void the_wall_clock_counts_seconds_since_the_epoch(void **state)
{
	time_t before = time(NULL);
	int64_t now = clock_wall_s();

	/* time(2) reads the coarse clock, a tick behind. */
	assert_true(now >= before && now <= time(NULL) + 1);
}

static void a_fake_holds_both_clocks_until_it_is_taken_back(void **state)
{
	uint64_t fake = 5 * NSEC_PER_SEC + NSEC_PER_MSEC;

	clock_fake(&fake);
	assert_int_equal(clock_now_ns(), 5001000000);
	assert_int_equal(clock_wall_s(), 5);
	fake += NSEC_PER_SEC;
	assert_int_equal(clock_now_ns(), 6001000000);
	clock_fake(NULL);
	assert_true(clock_wall_s() > 1600000000);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_clock_is_the_kernels_monotonic_one),
		cmocka_unit_test(the_wall_clock_counts_seconds_since_the_epoch),
		cmocka_unit_test(a_fake_holds_both_clocks_until_it_is_taken_back),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
