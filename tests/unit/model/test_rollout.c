#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/rollout.h"

#define SECOND 1000000000ull

/* Steps of 10, 100 and 500 permille, a minute each, five minutes of cooldown. */
static struct rollout_config config;
static struct rollout rollout;
static struct rollout_move move;
static struct err err;
static uint64_t now;

static int setup(void **state)
{
	rollout_config_default(&config);
	config.target = (struct rollout_point){ .state = ROLLOUT_ENFORCED };
	now = 1000 * SECOND;
	memset(&move, 0, sizeof(move));
	rollout_init(&rollout, &config, now);
	return 0;
}

static struct rollout_point point(const char *text)
{
	struct rollout_point parsed;

	assert_int_equal(rollout_point_parse(text, &parsed, NULL), 0);
	return parsed;
}

static void assert_at(const char *text)
{
	char at[ROLLOUT_POINT_LEN];

	assert_string_equal(rollout_point_print(rollout_point(&rollout), at), text);
}

static int request(const char *text, bool force)
{
	err.text[0] = '\0';
	return rollout_request(&rollout, point(text), force, "because", now, &move, &err);
}

static int tick_after(uint64_t seconds)
{
	now += seconds * SECOND;
	return rollout_tick(&rollout, now, &move);
}

static int revert(enum rollout_state to)
{
	return rollout_revert(&rollout, to, ROLLOUT_BY_GUARD, "imbalance 4.00", now, &move);
}

static const struct parse_row {
	const char *text;
	int result;
	enum rollout_state state;
	uint16_t permille;
	const char *printed;
} parse_rows[] = {
	{ "observe", 0, ROLLOUT_OBSERVE, 0, "observe" },
	{ "shadow", 0, ROLLOUT_SHADOW, 0, "shadow" },
	{ "enforced", 0, ROLLOUT_ENFORCED, 0, "enforced" },
	{ "canary", 0, ROLLOUT_CANARY, 0, "canary" },
	{ "canary:50", 0, ROLLOUT_CANARY, 50, "canary:50" },
	{ "canary=50", 0, ROLLOUT_CANARY, 50, "canary:50" },
	{ "canary=5%", 0, ROLLOUT_CANARY, 50, "canary:50" },
	{ "canary:0.5%", 0, ROLLOUT_CANARY, 5, "canary:5" },
	{ "canary:99.9%", 0, ROLLOUT_CANARY, 999, "canary:999" },
	{ "canary:999", 0, ROLLOUT_CANARY, 999, "canary:999" },
	{ "canary:0", -EINVAL, 0, 0, NULL },
	{ "canary:0%", -EINVAL, 0, 0, NULL },
	{ "canary:1000", -EINVAL, 0, 0, NULL },
	{ "canary:100%", -EINVAL, 0, 0, NULL },
	{ "canary:0.55%", -EINVAL, 0, 0, NULL },
	{ "canary:.5%", -EINVAL, 0, 0, NULL },
	{ "canary:-5", -EINVAL, 0, 0, NULL },
	{ "canary:+5", -EINVAL, 0, 0, NULL },
	{ "canary:5 ", -EINVAL, 0, 0, NULL },
	{ "canary:", -EINVAL, 0, 0, NULL },
	{ "canary:5x", -EINVAL, 0, 0, NULL },
	{ "shadow:5", -EINVAL, 0, 0, NULL },
	{ "canar", -EINVAL, 0, 0, NULL },
	{ "", -EINVAL, 0, 0, NULL },
	{ "Shadow", -EINVAL, 0, 0, NULL },
};

static void states_are_read_and_written(void **state)
{
	for (size_t i = 0; i < sizeof(parse_rows) / sizeof(*parse_rows); i++) {
		const struct parse_row *row = &parse_rows[i];
		struct rollout_point parsed = { ROLLOUT_SHADOW, 7 };
		char text[ROLLOUT_POINT_LEN];

		err.text[0] = '\0';
		assert_int_equal(rollout_point_parse(row->text, &parsed, &err), row->result);
		if (row->result) {
			assert_non_null(strstr(err.text, "canary:50"));
			assert_int_equal(parsed.permille, 7);
			continue;
		}
		assert_int_equal(parsed.state, row->state);
		assert_int_equal(parsed.permille, row->permille);
		assert_string_equal(rollout_point_print(parsed, text), row->printed);
	}
}

static const struct config_row {
	uint8_t count;
	uint16_t steps[3];
	struct rollout_point target;
	int result;
} config_rows[] = {
	{ 3, { 1, 2, 999 }, { ROLLOUT_ENFORCED, 0 }, 0 },
	{ 0, { 0 }, { ROLLOUT_ENFORCED, 0 }, 0 },
	{ 2, { 10, 20 }, { ROLLOUT_CANARY, 0 }, 0 },
	{ 2, { 10, 20 }, { ROLLOUT_CANARY, 15 }, 0 },
	{ 0, { 0 }, { ROLLOUT_CANARY, 0 }, -EINVAL },
	{ 2, { 10, 20 }, { ROLLOUT_CANARY, 1000 }, -EINVAL },
	{ 2, { 20, 10 }, { ROLLOUT_SHADOW, 0 }, -EINVAL },
	{ 2, { 10, 10 }, { ROLLOUT_SHADOW, 0 }, -EINVAL },
	{ 1, { 0 }, { ROLLOUT_SHADOW, 0 }, -EINVAL },
	{ 1, { 1000 }, { ROLLOUT_SHADOW, 0 }, -EINVAL },
	{ 9, { 1, 2, 3 }, { ROLLOUT_SHADOW, 0 }, -EINVAL },
	{ 1, { 1 }, { (enum rollout_state)4, 0 }, -EINVAL },
};

static void a_configuration_without_a_ladder_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof(config_rows) / sizeof(*config_rows); i++) {
		const struct config_row *row = &config_rows[i];
		struct rollout_config one = { .target = row->target, .canary_count = row->count };

		memcpy(one.canary_permille, row->steps, sizeof(row->steps));
		assert_int_equal(rollout_config_check(&one, &err), row->result);
	}
	rollout_config_default(&config);
	assert_int_equal(rollout_config_check(&config, &err), 0);
}

/* Each row from a fresh group that has been put where "at" says, so many seconds ago. */
static const struct request_row {
	const char *at;
	uint64_t waited;
	const char *wanted;
	bool force;
	int result;
	const char *text; /* where it is then, or what the error says */
} request_rows[] = {
	{ "observe", 60, "shadow", false, 1, "shadow" },
	{ "observe", 59, "shadow", false, -EAGAIN, "observe is to soak for another 1 s" },
	{ "observe", 60, "canary", false, -EINVAL, "ask for shadow" },
	{ "observe", 60, "enforced", false, -EINVAL, "ask for shadow" },
	{ "observe", 0, "enforced", true, 1, "enforced" },
	{ "observe", 0, "observe", false, 0, "observe" },
	{ "shadow", 60, "canary", false, 1, "canary:10" },
	{ "shadow", 60, "canary:5", false, 1, "canary:5" },
	{ "shadow", 60, "canary:11", false, -EINVAL, "ask for canary:10" },
	{ "shadow", 0, "canary:11", true, 1, "canary:11" },
	{ "shadow", 60, "enforced", false, -EINVAL, "ask for canary:10" },
	{ "shadow", 0, "observe", false, 1, "observe" },
	{ "canary:10", 60, "canary", false, 1, "canary:100" },
	{ "canary:10", 30, "canary", false, -EAGAIN, "canary:10 is to soak for another 30 s" },
	{ "canary:10", 60, "canary:50", false, 1, "canary:50" },
	{ "canary:50", 60, "canary", false, 1, "canary:100" },
	{ "canary:500", 60, "canary", false, 0, "canary:500" },
	{ "canary:500", 60, "enforced", false, 1, "enforced" },
	{ "canary:600", 60, "enforced", false, 1, "enforced" },
	{ "canary:100", 60, "enforced", false, -EINVAL, "ask for canary:500" },
	{ "canary:100", 0, "canary:10", false, 1, "canary:10" },
	{ "canary:100", 0, "observe", false, 1, "observe" },
	{ "enforced", 0, "canary", false, 1, "canary:500" },
	{ "enforced", 0, "shadow", false, 1, "shadow" },
	{ "enforced", 0, "enforced", true, 0, "enforced" },
};

static void an_operator_moves_one_step_at_a_time(void **state)
{
	for (size_t i = 0; i < sizeof(request_rows) / sizeof(*request_rows); i++) {
		const struct request_row *row = &request_rows[i];

		setup(state);
		request(row->at, true);
		now += row->waited * SECOND;
		assert_int_equal(request(row->wanted, row->force), row->result);
		if (row->result < 0) {
			assert_at(row->at);
			if (!strstr(err.text, row->text))
				fail_msg("row %zu: '%s' lacks '%s'", i, err.text, row->text);
			continue;
		}
		assert_at(row->text);
		if (row->result) {
			char from[ROLLOUT_POINT_LEN];

			assert_string_equal(rollout_point_print(move.from, from), row->at);
			assert_string_equal(move.reason, "because");
			assert_int_equal(move.actor, ROLLOUT_BY_OPERATOR);
			assert_int_equal(move.at_ns, now);
			assert_int_equal(rollout.since_ns, now);
		}
	}
}

static void a_share_out_of_range_is_refused(void **state)
{
	struct rollout_point wanted = { ROLLOUT_CANARY, 1000 };

	assert_int_equal(rollout_request(&rollout, wanted, true, NULL, now, &move, &err), -EINVAL);
	config.canary_count = 0;
	wanted.permille = 0;
	assert_int_equal(rollout_request(&rollout, wanted, true, NULL, now, &move, &err), -EINVAL);
	assert_at("observe");
}

static void it_goes_by_itself_to_its_target_and_no_further(void **state)
{
	static const char *const way[] = { "shadow", "canary:10", "canary:100", "canary:250" };

	config.automatic = true;
	config.target = point("canary:250");
	rollout_init(&rollout, &config, now);
	for (size_t i = 0; i < sizeof(way) / sizeof(*way); i++) {
		assert_true(rollout_due_ns(&rollout) == now + 60 * SECOND);
		assert_int_equal(tick_after(59), 0);
		assert_int_equal(tick_after(1), 1);
		assert_at(way[i]);
		assert_int_equal(move.actor, ROLLOUT_BY_AUTOMATIC);
		assert_string_equal(move.reason, "soaked for 60 s");
	}
	assert_int_equal(tick_after(3600), 0);
	assert_true(rollout_due_ns(&rollout) == UINT64_MAX);
	assert_int_equal(rollout_share_permille(&rollout), 250);
}

static void without_automatic_nothing_moves_it(void **state)
{
	assert_int_equal(tick_after(3600), 0);
	assert_true(rollout_due_ns(&rollout) == UINT64_MAX);
}

static void a_canary_target_without_a_share_is_the_last_step(void **state)
{
	config.automatic = true;
	config.target = point("canary");
	rollout_init(&rollout, &config, now);
	for (int i = 0; i < 10; i++)
		tick_after(60);
	assert_at("canary:500");
}

static void past_a_rollback_only_an_operator_moves_it(void **state)
{
	config.automatic = true;
	rollout_init(&rollout, &config, now);
	for (int i = 0; i < 3; i++)
		assert_int_equal(tick_after(60), 1);
	assert_at("canary:100");
	assert_int_equal(revert(ROLLOUT_SHADOW), 1);
	assert_at("shadow");
	assert_int_equal(move.actor, ROLLOUT_BY_GUARD);
	assert_int_equal(move.from.permille, 100);
	assert_string_equal(move.reason, "imbalance 4.00");
	assert_true(rollout.reverted);
	assert_int_equal(tick_after(3600), 0);
	/* The operator's step: now on by itself, but not to where it hurt. */
	assert_int_equal(request("canary", false), 1);
	assert_false(rollout.reverted);
	assert_int_equal(tick_after(3600), 0);
	assert_at("canary:10");
	assert_int_equal(request("canary", false), 1);
	assert_at("canary:100");
	assert_int_equal(tick_after(60), 1);
	assert_at("canary:500");
}

static void a_second_rollback_from_lower_down_counts(void **state)
{
	config.automatic = true;
	rollout_init(&rollout, &config, now);
	request("enforced", true);
	assert_int_equal(revert(ROLLOUT_SHADOW), 1);
	request("canary", true);
	assert_int_equal(revert(ROLLOUT_SHADOW), 1);
	assert_int_equal(rollout.highest.permille, 10);
	request("canary:5", true);
	assert_int_equal(tick_after(3600), 0);
}

static void after_a_rollback_it_cools_down(void **state)
{
	request("enforced", true);
	assert_int_equal(revert(ROLLOUT_SHADOW), 1);
	now += 299 * SECOND;
	assert_int_equal(request("canary", false), -EAGAIN);
	assert_non_null(strstr(err.text, "another 1 s"));
	now += SECOND;
	assert_int_equal(request("canary", false), 1);
}

static void force_does_not_wait_for_the_cooldown(void **state)
{
	request("enforced", true);
	assert_int_equal(revert(ROLLOUT_OBSERVE), 1);
	assert_at("observe");
	assert_int_equal(request("enforced", true), 1);
}

static void there_is_nothing_to_take_back_below_canary(void **state)
{
	request("shadow", true);
	assert_int_equal(revert(ROLLOUT_SHADOW), 0);
	assert_false(rollout.reverted);
	assert_int_equal(revert(ROLLOUT_OBSERVE), 1);
}

static void frozen_only_the_guard_moves_it_and_only_back(void **state)
{
	config.automatic = true;
	rollout_init(&rollout, &config, now);
	request("canary:100", true);
	assert_int_equal(rollout_freeze(&rollout, "burst", now, &move), 1);
	assert_int_equal(move.kind, ROLLOUT_FROZE);
	assert_int_equal(rollout_freeze(&rollout, "burst", now, &move), 0);
	assert_int_equal(tick_after(3600), 0);
	assert_int_equal(request("canary", false), -EBUSY);
	assert_int_equal(request("enforced", true), -EBUSY);
	assert_int_equal(request("shadow", false), -EBUSY);
	assert_non_null(strstr(err.text, "unfreeze"));
	assert_at("canary:100");
	assert_int_equal(revert(ROLLOUT_SHADOW), 1);
	assert_true(rollout.frozen);
	assert_int_equal(rollout_fallback(&rollout, ROLLOUT_BY_OPERATOR, "", now, &move), 1);
	assert_int_equal(rollout_resume(&rollout, ROLLOUT_BY_OPERATOR, "", now, &move, &err),
			 -EBUSY);
	assert_int_equal(rollout_unfreeze(&rollout, "over", now, &move), 1);
	assert_int_equal(rollout_resume(&rollout, ROLLOUT_BY_OPERATOR, "", now, &move, &err), 1);
}

static void unfreezing_starts_the_soak_time_anew(void **state)
{
	config.automatic = true;
	rollout_init(&rollout, &config, now);
	rollout_freeze(&rollout, NULL, now, &move);
	now += 100 * SECOND;
	assert_int_equal(rollout_unfreeze(&rollout, NULL, now, &move), 1);
	assert_int_equal(move.kind, ROLLOUT_UNFROZE);
	assert_int_equal(tick_after(59), 0);
	assert_int_equal(tick_after(1), 1);
}

static void fallback_is_one_step_and_resumes_at_shadow(void **state)
{
	request("enforced", true);
	assert_int_equal(rollout_share_permille(&rollout), 1000);
	assert_int_equal(rollout_fallback(&rollout, ROLLOUT_BY_OPERATOR, "p", now, &move), 1);
	assert_int_equal(move.kind, ROLLOUT_FELL_BACK);
	assert_int_equal(rollout_share_permille(&rollout), 0);
	assert_int_equal(rollout_fallback(&rollout, ROLLOUT_BY_OPERATOR, "p", now, &move), 0);
	assert_int_equal(request("enforced", true), -EBUSY);
	assert_non_null(strstr(err.text, "resume"));
	assert_int_equal(revert(ROLLOUT_SHADOW), 0);
	assert_int_equal(rollout_resume(&rollout, ROLLOUT_BY_OPERATOR, "r", now, &move, &err), 1);
	assert_int_equal(move.kind, ROLLOUT_RESUMED);
	assert_at("shadow");
	assert_false(rollout.reverted);
	assert_int_equal(rollout_resume(&rollout, ROLLOUT_BY_OPERATOR, "r", now, &move, &err), 0);
}

static const struct resume_row {
	enum rollout_actor fell;
	enum rollout_actor resumes;
	int result;
	bool reverted;
} resume_rows[] = {
	{ ROLLOUT_BY_OPERATOR, ROLLOUT_BY_OPERATOR, 1, false },
	{ ROLLOUT_BY_GUARD, ROLLOUT_BY_OPERATOR, 1, true },
	{ ROLLOUT_BY_REPAIR, ROLLOUT_BY_OPERATOR, 1, true },
	{ ROLLOUT_BY_REPAIR, ROLLOUT_BY_REPAIR, 1, true },
	{ ROLLOUT_BY_OPERATOR, ROLLOUT_BY_REPAIR, -EPERM, false },
	{ ROLLOUT_BY_GUARD, ROLLOUT_BY_REPAIR, -EPERM, true },
	{ ROLLOUT_BY_GUARD, ROLLOUT_BY_GUARD, -EPERM, true },
	{ ROLLOUT_BY_GUARD, ROLLOUT_BY_AUTOMATIC, -EPERM, true },
};

static void who_may_resume_depends_on_who_fell_back(void **state)
{
	for (size_t i = 0; i < sizeof(resume_rows) / sizeof(*resume_rows); i++) {
		const struct resume_row *row = &resume_rows[i];

		setup(state);
		config.automatic = true;
		rollout_configure(&rollout, &config);
		request("canary:100", true);
		assert_int_equal(rollout_fallback(&rollout, row->fell, "", now, &move), 1);
		assert_int_equal(rollout_resume(&rollout, row->resumes, "", now, &move, &err),
				 row->result);
		assert_int_equal(rollout.reverted, row->reverted);
		assert_int_equal(rollout.fallback, row->result < 0);
		/* Nobody but an operator gets it any further after a rollback. */
		assert_int_equal(tick_after(3600), row->result == 1 && !row->reverted);
	}
}

static void what_cannot_be_armed_stays_in_shadow(void **state)
{
	config.automatic = true;
	rollout_init(&rollout, &config, now);
	rollout_gate(&rollout, "CAP_PERFMON is missing");
	assert_int_equal(tick_after(60), 1);
	assert_int_equal(tick_after(3600), 0);
	assert_int_equal(request("enforced", true), -EOPNOTSUPP);
	assert_non_null(strstr(err.text, "CAP_PERFMON is missing"));
	assert_at("shadow");
	rollout_gate(&rollout, NULL);
	assert_int_equal(tick_after(60), 1);
	rollout_gate(&rollout, "CAP_PERFMON is missing");
	assert_int_equal(request("shadow", false), 1);
}

static void a_hold_outlives_a_reload_and_ends_with_a_step_forward(void **state)
{
	struct rollout_config other;

	config.automatic = true;
	rollout_init(&rollout, &config, now);
	request("canary:100", true);
	request("canary:10", false);
	assert_int_equal(tick_after(3600), 0);
	other = config;
	rollout_configure(&rollout, &other);
	assert_int_equal(tick_after(3600), 0);
	assert_int_equal(request("canary", false), 1);
	assert_int_equal(tick_after(60), 1);
	assert_at("canary:500");
	config.target = point("canary:500");
	rollout_configure(&rollout, &config);
	assert_int_equal(tick_after(60), 0);
	rollout_configure(&rollout, &other);
	assert_int_equal(tick_after(60), 1);
	assert_at("enforced");
}

static void a_reload_with_other_steps_moves_nothing(void **state)
{
	request("canary:100", true);
	config.canary_permille[0] = 200;
	config.canary_count = 1;
	rollout_configure(&rollout, &config);
	assert_at("canary:100");
	assert_int_equal(rollout.canary_step, 0);
	now += 60 * SECOND;
	assert_int_equal(request("canary", false), 1);
	assert_at("canary:200");
	assert_int_equal(rollout.canary_step, 1);
}

static void what_an_earlier_life_left_is_adopted(void **state)
{
	struct rollout saved;

	config.automatic = true;
	rollout_init(&rollout, &config, now);
	request("canary:100", true);
	revert(ROLLOUT_SHADOW);
	rollout_freeze(&rollout, NULL, now, &move);
	saved = rollout;
	now += 100 * SECOND;
	rollout_init(&rollout, &config, now);
	rollout_adopt(&rollout, &saved, now);
	assert_at("shadow");
	assert_true(rollout.frozen && rollout.reverted);
	rollout_unfreeze(&rollout, NULL, now, &move);
	assert_int_equal(tick_after(3600), 0);
	rollout_adopt(&rollout, &saved, now);
	rollout_unfreeze(&rollout, NULL, now, &move);
	now += 299 * SECOND;
	assert_int_equal(request("canary", false), -EAGAIN);
}

static void a_long_reason_is_cut(void **state)
{
	char reason[400];

	memset(reason, 'x', sizeof(reason));
	reason[sizeof(reason) - 1] = '\0';
	assert_int_equal(rollout_fallback(&rollout, ROLLOUT_BY_GUARD, reason, now, &move), 1);
	assert_int_equal(strlen(move.reason), ROLLOUT_REASON_LEN - 1);
}

static void everything_has_a_name(void **state)
{
	assert_string_equal(rollout_actor_name(ROLLOUT_BY_REPAIR), "repair");
	assert_string_equal(rollout_move_kind_name(ROLLOUT_RESUMED), "resumed");
	assert_string_equal(rollout_move_kind_name(ROLLOUT_MOVED), "moved");
}

int main(void)
{
#define ROLLOUT_TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		ROLLOUT_TEST(states_are_read_and_written),
		ROLLOUT_TEST(a_configuration_without_a_ladder_is_refused),
		ROLLOUT_TEST(an_operator_moves_one_step_at_a_time),
		ROLLOUT_TEST(a_share_out_of_range_is_refused),
		ROLLOUT_TEST(it_goes_by_itself_to_its_target_and_no_further),
		ROLLOUT_TEST(without_automatic_nothing_moves_it),
		ROLLOUT_TEST(a_canary_target_without_a_share_is_the_last_step),
		ROLLOUT_TEST(past_a_rollback_only_an_operator_moves_it),
		ROLLOUT_TEST(a_second_rollback_from_lower_down_counts),
		ROLLOUT_TEST(after_a_rollback_it_cools_down),
		ROLLOUT_TEST(force_does_not_wait_for_the_cooldown),
		ROLLOUT_TEST(there_is_nothing_to_take_back_below_canary),
		ROLLOUT_TEST(frozen_only_the_guard_moves_it_and_only_back),
		ROLLOUT_TEST(unfreezing_starts_the_soak_time_anew),
		ROLLOUT_TEST(fallback_is_one_step_and_resumes_at_shadow),
		ROLLOUT_TEST(who_may_resume_depends_on_who_fell_back),
		ROLLOUT_TEST(what_cannot_be_armed_stays_in_shadow),
		ROLLOUT_TEST(a_hold_outlives_a_reload_and_ends_with_a_step_forward),
		ROLLOUT_TEST(a_reload_with_other_steps_moves_nothing),
		ROLLOUT_TEST(what_an_earlier_life_left_is_adopted),
		ROLLOUT_TEST(a_long_reason_is_cut),
		ROLLOUT_TEST(everything_has_a_name),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
