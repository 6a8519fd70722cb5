#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/clock.h"
#include "health/health_verdict.h"

static const struct config_check check = {
	.interval_ns = 10 * NSEC_PER_SEC,
	.jitter_permille = 200,
	.rise = 2,
	.fall = 3,
	.flap_window_ns = 60 * NSEC_PER_SEC,
};

/* Takes results a second apart: '+' success, '-' failure.  Returns the states after each, as 'U'
 * (unchecked), 'h' (healthy), 'u' (unhealthy). */
static const char *run(struct health_verdict *verdict, uint64_t *now, const char *results)
{
	static char states[256];
	size_t i;

	for (i = 0; results[i]; i++) {
		enum backend_health was = verdict->state;
		bool changed;

		*now += NSEC_PER_SEC;
		changed = health_verdict_take(verdict, &check, results[i] == '+', *now);
		assert_int_equal(changed, verdict->state != was);
		states[i] = "Uhu"[verdict->state];
	}
	states[i] = '\0';
	return states;
}

static void an_unchecked_backend_is_healthy_by_one_success(void **state)
{
	struct health_verdict verdict = { 0 };
	uint64_t now = 0;

	assert_string_equal(run(&verdict, &now, "+"), "h");
}

static void an_unchecked_backend_is_usable_until_it_has_failed_fall_times(void **state)
{
	struct health_verdict verdict = { 0 };
	uint64_t now = 0;

	assert_string_equal(run(&verdict, &now, "---"), "UUu");
}

static void failures_count_only_in_a_row(void **state)
{
	struct health_verdict verdict = { 0 };
	uint64_t now = 0;

	assert_string_equal(run(&verdict, &now, "+--+--+---"), "hhhhhhhhhu");
	assert_int_equal(verdict.checks, 10);
	assert_int_equal(verdict.failures, 7);
	assert_int_equal(verdict.falls, 1);
}

static void successes_count_only_in_a_row(void **state)
{
	struct health_verdict verdict = { 0 };
	uint64_t now = 0;

	assert_string_equal(run(&verdict, &now, "---+-+-++"), "UUuuuuuuh");
}

static void each_fall_within_the_window_doubles_rise_up_to_eight_times(void **state)
{
	static const uint32_t rises[] = { 2, 4, 8, 16, 16, 16 };
	struct health_verdict verdict = { 0 };
	uint64_t now = 0;

	run(&verdict, &now, "+");
	for (size_t i = 0; i < sizeof(rises) / sizeof(rises[0]); i++) {
		run(&verdict, &now, "---");
		assert_int_equal(verdict.state, BACKEND_UNHEALTHY);
		assert_int_equal(health_verdict_rise(&verdict, &check), rises[i]);
		for (uint32_t n = 1; n < rises[i]; n++)
			assert_string_equal(run(&verdict, &now, "+"), "u");
		assert_string_equal(run(&verdict, &now, "+"), "h");
	}
}

static void a_fall_after_the_window_is_like_the_first(void **state)
{
	struct health_verdict verdict = { 0 };
	uint64_t now = 0;

	run(&verdict, &now, "+---++---");
	assert_int_equal(health_verdict_rise(&verdict, &check), 4);
	now += check.flap_window_ns;
	run(&verdict, &now, "++++---");
	assert_int_equal(verdict.state, BACKEND_UNHEALTHY);
	assert_int_equal(health_verdict_rise(&verdict, &check), 2);
}

static void without_a_window_nothing_is_damped(void **state)
{
	struct config_check plain = check;
	struct health_verdict verdict = { 0 };

	plain.flap_window_ns = 0;
	for (uint64_t i = 0; i < 100; i++)
		health_verdict_take(&verdict, &plain, i % 5 > 2, i + 1);
	assert_true(verdict.falls > 10);
	assert_int_equal(health_verdict_rise(&verdict, &plain), 2);
}

static void the_interval_keeps_within_its_jitter_and_uses_all_of_it(void **state)
{
	uint64_t least = UINT64_MAX;
	uint64_t most = 0;

	for (uint64_t i = 0; i < 1024; i++) {
		uint64_t interval = health_interval(&check, (uint32_t)(i << 22));

		least = interval < least ? interval : least;
		most = interval > most ? interval : most;
	}
	assert_int_equal(least, 8 * NSEC_PER_SEC);
	assert_in_range(most, 12 * NSEC_PER_SEC - 10 * NSEC_PER_MSEC, 12 * NSEC_PER_SEC);
}

static void first_checks_come_at_once_for_few_and_spread_out_for_many(void **state)
{
	assert_true(health_first(&check, 1, UINT32_MAX) < NSEC_PER_MSEC);
	assert_true(health_first(&check, 1000, UINT32_MAX) < NSEC_PER_SEC);
	assert_true(health_first(&check, 1000, UINT32_MAX) > 999 * NSEC_PER_MSEC);
	assert_true(health_first(&check, 1000000, UINT32_MAX) < 10 * NSEC_PER_SEC);
	assert_int_equal(health_first(&check, 1000000, 0), 0);
}

static void slow_start_withholds_less_and_less_and_then_nothing(void **state)
{
	uint64_t whole = 30 * NSEC_PER_SEC;
	uint16_t before = health_withheld(whole, 0);
	int steps = 0;

	assert_int_equal(before, 990);
	for (uint64_t t = 0; t <= whole; t += NSEC_PER_MSEC) {
		uint16_t now = health_withheld(whole, t);

		assert_true(now <= before);
		steps += now < before;
		before = now;
	}
	assert_int_equal(before, 0);
	assert_in_range(steps, 10, 20);
	assert_true(health_withheld(whole, whole - 1) > 0);
	assert_int_equal(health_withheld(0, 0), 0);
	assert_int_equal(health_withheld(1, 0), 990);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_unchecked_backend_is_healthy_by_one_success),
		cmocka_unit_test(an_unchecked_backend_is_usable_until_it_has_failed_fall_times),
		cmocka_unit_test(failures_count_only_in_a_row),
		cmocka_unit_test(successes_count_only_in_a_row),
		cmocka_unit_test(each_fall_within_the_window_doubles_rise_up_to_eight_times),
		cmocka_unit_test(a_fall_after_the_window_is_like_the_first),
		cmocka_unit_test(without_a_window_nothing_is_damped),
		cmocka_unit_test(the_interval_keeps_within_its_jitter_and_uses_all_of_it),
		cmocka_unit_test(first_checks_come_at_once_for_few_and_spread_out_for_many),
		cmocka_unit_test(slow_start_withholds_less_and_less_and_then_nothing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
