#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "model/guard.h"

#define SECOND 1000000000ull

static struct guard_config config;
static struct guard guard;
static struct guard_member members[GUARD_MAX_MEMBERS];
static struct guard_sample sample;
static struct guard_verdict verdict;
static uint64_t seed;

static void make_members(size_t count)
{
	memset(members, 0, sizeof(members));
	for (size_t i = 0; i < count; i++)
		members[i] = (struct guard_member){ .slot = (uint32_t)i,
						    .identity = 100 + i,
						    .weight = 100,
						    .eligible = true,
						    .queue_limit = 128 };
	sample = (struct guard_sample){ .now = 1000 * SECOND,
					.members = members,
					.member_count = count };
}

static int setup(void **state)
{
	guard_config_default(&config);
	seed = 1;
	make_members(4);
	guard_init(&guard, &config);
	return 0;
}

static double uniform(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return ((double)(seed >> 11) + 0.5) / 9007199254740992.0;
}

static uint64_t poisson(double mean)
{
	double limit = exp(-mean);
	double product = uniform();
	uint64_t n = 0;

	if (mean > 50) { /* the normal distribution is near enough */
		double value = mean + sqrt(mean) * sqrt(-2 * log(uniform())) *
					      cos(6.283185307179586 * uniform());

		return value < 0 ? 0 : (uint64_t)(value + 0.5);
	}
	for (; product > limit; n++)
		product *= uniform();
	return n;
}

static void select_one(size_t i, uint64_t count)
{
	members[i].selections += count;
	sample.total += count;
}

static int feed(void)
{
	sample.now += SECOND;
	return guard_feed(&guard, &sample, &verdict);
}

/* Windows of ten samples in which every member gets its part per second.  Returns how many windows
 * it took to a verdict; 0: there was none in so many. */
static unsigned int run(unsigned int windows, const uint64_t *parts)
{
	for (unsigned int i = 0; i < windows * 10; i++) {
		for (size_t m = 0; m < sample.member_count; m++)
			select_one(m, parts[m]);
		if (feed())
			return i / 10 + 1;
	}
	return 0;
}

static const uint64_t even[] = { 100, 100, 100, 100 };
static const uint64_t all_to_one[] = { 0, 0, 400, 0 };

/* The sample that says where the counters stand. */
static void enforce(void)
{
	guard_phase(&guard, true);
	guard_feed(&guard, &sample, &verdict);
}

static void only(enum guard_rule_id rule)
{
	for (int i = 0; i < GUARD_RULE_COUNT; i++)
		config.rules[i].enabled = i == (int)rule;
}

static const struct balance_row {
	size_t n;
	uint64_t values[4];
	uint32_t weights[4]; /* all 0: equal */
	uint32_t max_over_mean;
	uint32_t jain;
	size_t busiest;
} balance_rows[] = {
	{ 4, { 5, 5, 5, 5 }, { 0 }, 1000, 1000, 0 },
	{ 4, { 0, 0, 20, 0 }, { 0 }, 4000, 250, 2 },
	{ 4, { 0, 10, 10, 0 }, { 0 }, 2000, 500, 1 },
	{ 4, { 10, 20, 30, 40 }, { 1, 2, 3, 4 }, 1000, 1000, 0 },
	{ 2, { 50, 50 }, { 1, 3 }, 2000, 800, 0 },
	{ 4, { 10, 10, 10, 999 }, { 1, 1, 1, 0 }, 1000, 1000, 0 },
	{ 4, { 0, 0, 0, 0 }, { 0 }, 1000, 1000, 4 },
	{ 4, { 0, 0, 0, 7 }, { 1, 1, 1, 0 }, 1000, 1000, 4 },
	{ 0, { 0 }, { 0 }, 1000, 1000, 0 },
	{ 1, { 7 }, { 0 }, 1000, 1000, 0 },
	{ 2, { UINT64_MAX, 0 }, { 0 }, 2000, 500, 0 },
	{ 2, { 1000000000, 0 }, { 1, UINT32_MAX }, UINT32_MAX, 500, 0 },
};

static void balance_is_by_weight(void **state)
{
	for (size_t i = 0; i < sizeof(balance_rows) / sizeof(*balance_rows); i++) {
		const struct balance_row *row = &balance_rows[i];
		uint32_t weights = row->weights[0] + row->weights[1];
		uint32_t max_over_mean;
		uint32_t jain;

		assert_int_equal(guard_balance(row->values,
					       i == 11 || weights ? row->weights : NULL, row->n,
					       &max_over_mean, &jain),
				 row->busiest);
		assert_int_equal(max_over_mean, row->max_over_mean);
		assert_int_equal(jain, row->jain);
	}
}

static void everything_to_one_is_reverted_within_three_windows(void **state)
{
	run(10, even);
	enforce();
	assert_in_range(run(3, all_to_one), 1, 3);
	assert_int_equal(verdict.action, GUARD_REVERT);
	assert_int_equal(verdict.rule, GUARD_RULE_IMBALANCE);
	assert_int_equal(verdict.member, 2);
	assert_int_equal(verdict.value, 4000);
	assert_int_equal(verdict.threshold, 1800);
	assert_int_equal(verdict.baseline, 1000);
	assert_int_equal(verdict.windows, 2);
	assert_string_equal(verdict.text,
			    "imbalance 4.00 at slot 2 in 2 windows; limit 1.80, baseline 1.00");
}

static void without_a_baseline_the_thresholds_do(void **state)
{
	enforce();
	assert_in_range(run(3, all_to_one), 1, 3);
	assert_false(verdict.has_baseline);
	assert_string_equal(verdict.text, "imbalance 4.00 at slot 2 in 2 windows; limit 1.80");
}

static void jain_alone_finds_it_too(void **state)
{
	only(GUARD_RULE_JAIN);
	enforce();
	assert_in_range(run(3, all_to_one), 1, 3);
	assert_int_equal(verdict.rule, GUARD_RULE_JAIN);
	assert_in_range(verdict.value, 240, 260);
}

static void a_policy_no_worse_than_the_kernel_stays(void **state)
{
	static const uint64_t heavy[] = { 20, 20, 340, 20 };
	static const uint64_t as_heavy[] = { 10, 30, 20, 340 };

	only(GUARD_RULE_IMBALANCE);
	run(10, heavy);
	enforce();
	assert_int_equal(run(20, as_heavy), 0);
	/* Everything to one is worse, whatever the kernel did. */
	assert_in_range(run(3, all_to_one), 1, 3);
}

static void unequal_weights_are_meant(void **state)
{
	static const uint64_t parts[] = { 700, 100, 100, 100 };

	members[0].weight = 700;
	enforce();
	assert_int_equal(run(20, parts), 0);
	/* Even is uneven then. */
	assert_int_equal(run(3, even), 2);
	assert_int_equal(verdict.value, 2500);
}

static void whom_the_policy_does_not_choose_is_not_judged(void **state)
{
	static const uint64_t parts[] = { 200, 200, 0, 0 };

	for (int weightless = 0; weightless < 2; weightless++) {
		setup(state);
		for (size_t m = 2; m < 4; m++)
			if (weightless)
				members[m].weight = 0;
			else
				members[m].eligible = false;
		enforce();
		assert_int_equal(run(20, parts), 0);
	}
	for (size_t m = 0; m < 4; m++)
		members[m].weight = 0;
	assert_int_equal(run(20, all_to_one), 0);
}

static void a_latecomer_and_a_leaver_are_no_imbalance(void **state)
{
	config.rules[GUARD_RULE_IMBALANCE].windows = 1;
	config.rules[GUARD_RULE_JAIN].windows = 1;
	sample.member_count = 2;
	enforce();
	for (unsigned int i = 1; i <= 60; i++) {
		/* The other two come and go with the last sample of a window. */
		sample.member_count = i % 10 ? 2 : 4;
		for (size_t m = 0; m < sample.member_count; m++)
			select_one(m, 100);
		assert_int_equal(feed(), 0);
	}
	/* One drains from the second sample on, and its flows are still there. */
	sample.member_count = 4;
	for (unsigned int i = 1; i <= 60; i++) {
		members[3].eligible = i % 10 == 1;
		for (size_t m = 0; m < 4; m++)
			select_one(m, 100);
		assert_int_equal(feed(), 0);
	}
}

static void counters_that_restart_are_no_flood(void **state)
{
	for (int i = 0; i < GUARD_RULE_COUNT; i++)
		config.rules[i].windows = 1;
	members[1].selections = 1ull << 60;
	members[1].drops = 1u << 30;
	enforce();
	assert_int_equal(run(2, even), 0);
	members[1].selections = 5;
	members[1].drops = 0;
	sample.total = 0;
	assert_int_equal(run(5, even), 0);
	/* Another socket in the slot, with a long past. */
	members[1].identity++;
	members[1].selections = 1u << 30;
	members[1].drops = 1u << 30;
	assert_int_equal(run(5, even), 0);
}

static void too_few_selections_say_nothing(void **state)
{
	static const uint64_t few[] = { 0, 0, 19, 0 };

	enforce();
	assert_int_equal(run(50, few), 0);
	sample.now += SECOND;
	for (int i = 0; i < 500; i++) {
		select_one(0, 9);
		sample.fallbacks[0] += 10;
		assert_int_equal(feed(), 0);
	}
}

static void a_rare_member_that_is_chosen_once_is_no_imbalance(void **state)
{
	static const uint64_t parts[] = { 30, 30, 30, 0 };

	config.rules[GUARD_RULE_IMBALANCE].windows = 1;
	config.rules[GUARD_RULE_JAIN].windows = 1;
	members[0].weight = members[1].weight = members[2].weight = 60000;
	members[3].weight = 1;
	enforce();
	for (int i = 0; i < 10; i++) {
		select_one(3, 1);
		assert_int_equal(run(1, parts), 0);
	}
}

static void jain_takes_out_what_chance_adds(void **state)
{
	/* Two to be expected, four or none come: 0.5 as it is, 0.67 without the noise. */
	only(GUARD_RULE_JAIN);
	make_members(200);
	enforce();
	for (int i = 0; i < 50; i++) {
		if (i % 10 == 0)
			for (size_t m = 0; m < 200; m += 2)
				select_one(m, 4);
		assert_int_equal(feed(), 0);
	}
	config.rules[GUARD_RULE_JAIN].threshold = 680;
	for (int i = 0; i < 20; i++) {
		if (i % 10 == 0)
			for (size_t m = 0; m < 200; m += 2)
				select_one(m, 4);
		assert_int_equal(feed(), i == 19);
	}
	assert_int_equal(verdict.value, 667);
}

static void a_strict_jain_is_no_judge_of_noise(void **state)
{
	only(GUARD_RULE_JAIN);
	config.rules[GUARD_RULE_JAIN].threshold = 970;
	config.rules[GUARD_RULE_JAIN].clear = 980;
	config.rules[GUARD_RULE_JAIN].windows = 1;
	enforce();
	for (int i = 0; i < 10000; i++) {
		for (size_t m = 0; m < 4; m++)
			select_one(m, poisson(6));
		assert_int_equal(feed(), 0);
	}
}

static void a_baseline_takes_three_windows(void **state)
{
	static const uint64_t p99[] = { 4000000, 100000000 };

	for (int windows = 2; windows <= 3; windows++) {
		setup(state);
		enforce();
		guard_phase(&guard, false);
		feed();
		sample.probe_p99_ns = p99[0];
		assert_int_equal(run((unsigned int)windows, even), 0);
		enforce();
		sample.probe_p99_ns = p99[1];
		assert_int_equal(run(3, even), windows == 2 ? 0 : 3);
	}
}

static void one_bad_window_is_none_and_good_ones_clear(void **state)
{
	enforce();
	for (int i = 0; i < 10; i++) {
		assert_int_equal(run(1, all_to_one), 0);
		assert_int_equal(run(1, even), 0);
	}
}

static void between_the_limits_counts_neither_way(void **state)
{
	static const uint64_t between[] = { 80, 80, 160, 80 }; /* 1.6 */

	enforce();
	run(1, all_to_one);
	assert_int_equal(run(5, between), 0);
	assert_int_equal(run(1, all_to_one), 1);
}

static void after_a_revert_it_is_quiet_until_a_share_is_enforced_anew(void **state)
{
	enforce();
	assert_int_equal(run(2, all_to_one), 2);
	/* The caller did nothing: 5 minutes. */
	assert_int_equal(run(29, all_to_one), 0);
	assert_int_equal(run(1, all_to_one), 1);
	guard_phase(&guard, false);
	assert_int_equal(run(5, all_to_one), 0);
	guard_forget(&guard);
	enforce();
	assert_int_equal(run(3, all_to_one), 2);
}

static void a_fallback_may_follow_a_revert(void **state)
{
	config.rules[GUARD_RULE_DROPS].action = GUARD_FALLBACK;
	enforce();
	assert_int_equal(run(2, all_to_one), 2);
	for (int i = 0; i < 19; i++) {
		members[0].drops += 1000;
		assert_int_equal(run(0, even) || feed(), 0);
	}
	members[0].drops += 1000;
	assert_int_equal(feed(), 1);
	assert_int_equal(verdict.action, GUARD_FALLBACK);
	assert_int_equal(verdict.rule, GUARD_RULE_DROPS);
}

static void while_the_kernel_chooses_nothing_is_reverted(void **state)
{
	assert_int_equal(run(20, all_to_one), 0);
}

/* What is put into every sample before and while the policy is in force, and what comes of it. */
static const struct rule_row {
	const char *name;
	enum guard_rule_id rule;
	struct per_sample {
		uint64_t drops; /* at slot 1, as what follows */
		uint32_t depth;
		uint64_t age_ns;
		uint64_t fallbacks;
		uint64_t failures; /* of 2 probes */
		uint64_t p99_ns;
		uint64_t metric;
	} before, during;
	enum guard_action action; /* within four windows */
	const char *text;
} rule_rows[] = {
	{ "drops",
	  GUARD_RULE_DROPS,
	  { 0 },
	  { .drops = 200 },
	  GUARD_REVERT,
	  "drops 2000 at slot 1 in 2 windows; limit 1000, baseline 0" },
	{ "a few drops", GUARD_RULE_DROPS, { 0 }, { .drops = 100 }, GUARD_NONE, NULL },
	{ "drops as before",
	  GUARD_RULE_DROPS,
	  { .drops = 200 },
	  { .drops = 399 },
	  GUARD_NONE,
	  NULL },
	{ "share of drops",
	  GUARD_RULE_DROP_SHARE,
	  { 0 },
	  { .drops = 8 },
	  GUARD_REVERT,
	  "drop_share 2.0% at slot 1 in 2 windows; limit 1.0%, baseline 0.0%" },
	{ "share as before",
	  GUARD_RULE_DROP_SHARE,
	  { .drops = 8 },
	  { .drops = 11 },
	  GUARD_NONE,
	  NULL },
	{ "full queue",
	  GUARD_RULE_OVERFLOW,
	  { 0 },
	  { .depth = 128 },
	  GUARD_REVERT,
	  "overflow 100.0% at slot 1 in 2 windows; limit 50.0%, baseline 0.0%" },
	{ "long queue", GUARD_RULE_OVERFLOW, { 0 }, { .depth = 127 }, GUARD_NONE, NULL },
	{ "stuck member",
	  GUARD_RULE_QUEUE_AGE,
	  { 0 },
	  { .age_ns = 6 * SECOND },
	  GUARD_WARN,
	  "queue_age 6000.0 ms at slot 1 in 1 window; limit 5000.0 ms, baseline 0.0 ms" },
	{ "slow member", GUARD_RULE_QUEUE_AGE, { 0 }, { .age_ns = 4 * SECOND }, GUARD_NONE, NULL },
	{ "fallbacks",
	  GUARD_RULE_FALLBACKS,
	  { 0 },
	  { .fallbacks = 100 },
	  GUARD_REVERT,
	  "fallbacks 20.0% in 2 windows; limit 10.0%, baseline 0.0%" },
	{ "fallbacks as before",
	  GUARD_RULE_FALLBACKS,
	  { .fallbacks = 100 },
	  { .fallbacks = 100 },
	  GUARD_NONE,
	  NULL },
	{ "latency",
	  GUARD_RULE_LATENCY,
	  { .p99_ns = 4000000 },
	  { .p99_ns = 10000000 },
	  GUARD_REVERT,
	  "latency 2.50 in 3 windows; limit 2.00, baseline 4.0 ms" },
	{ "latency that nobody feels",
	  GUARD_RULE_LATENCY,
	  { .p99_ns = 400000 },
	  { .p99_ns = 4000000 },
	  GUARD_NONE,
	  NULL },
	{ "latency unknown before",
	  GUARD_RULE_LATENCY,
	  { 0 },
	  { .p99_ns = SECOND },
	  GUARD_NONE,
	  NULL },
	{ "p99",
	  GUARD_RULE_P99,
	  { 0 },
	  { .p99_ns = 2 * SECOND },
	  GUARD_REVERT,
	  "p99 2000.0 ms in 3 windows; limit 1000.0 ms" },
	{ "failed probes",
	  GUARD_RULE_PROBE_FAILURES,
	  { 0 },
	  { .failures = 1 },
	  GUARD_REVERT,
	  "probe_failures 50.0% in 2 windows; limit 30.0%, baseline 0.0%" },
	{ "probes failed before",
	  GUARD_RULE_PROBE_FAILURES,
	  { .failures = 1 },
	  { .failures = 1 },
	  GUARD_NONE,
	  NULL },
	{ "metric",
	  GUARD_RULE_METRIC,
	  { .metric = 1 },
	  { .metric = 7500 },
	  GUARD_REVERT,
	  "metric 7.50 in 3 windows; limit 7.00, baseline 0.00" },
};

static unsigned int run_rule(const struct per_sample *per, unsigned int windows)
{
	for (unsigned int i = 0; i < windows * 10; i++) {
		for (size_t m = 0; m < 4; m++)
			select_one(m, 100);
		members[1].drops += per->drops;
		members[1].queue_depth = per->depth;
		members[1].queue_age_ns = per->age_ns;
		sample.fallbacks[3] += per->fallbacks;
		sample.probes += 2;
		sample.probe_failures += per->failures;
		sample.probe_p99_ns = per->p99_ns;
		sample.has_metric = per->metric > 0;
		sample.metric = per->metric;
		if (feed())
			return i / 10 + 1;
	}
	return 0;
}

static void each_rule_says_what_it_saw(void **state)
{
	for (size_t i = 0; i < sizeof(rule_rows) / sizeof(*rule_rows); i++) {
		const struct rule_row *row = &rule_rows[i];
		unsigned int took;

		setup(state);
		only(row->rule);
		config.rules[GUARD_RULE_METRIC].threshold = 7000;
		config.rules[GUARD_RULE_METRIC].clear = 6000;
		run_rule(&row->before, 10);
		enforce();
		took = run_rule(&row->during, 4);
		if (!!took != !!row->action)
			fail_msg("%s: %u windows, '%s'", row->name, took, verdict.text);
		if (!took)
			continue;
		assert_int_equal(verdict.action, row->action);
		assert_int_equal(verdict.rule, row->rule);
		assert_int_equal(took, config.rules[row->rule].windows);
		assert_string_equal(verdict.text, row->text);
		/* Off, it says nothing. */
		setup(state);
		only(GUARD_RULE_COUNT);
		run_rule(&row->before, 10);
		enforce();
		assert_int_equal(run_rule(&row->during, 4), 0);
	}
}

static void fallbacks_that_are_meant_do_not_count(void **state)
{
	const struct per_sample per = { .fallbacks = 400 };

	config.fallback_reasons = ~(1u << 3);
	enforce();
	assert_int_equal(run_rule(&per, 10), 0);
}

static void a_metric_may_be_bad_when_low(void **state)
{
	const struct per_sample good = { .metric = 9000 };
	const struct per_sample bad = { .metric = 5000 };

	config.rules[GUARD_RULE_METRIC] = (struct guard_rule){ .enabled = true,
							       .action = GUARD_REVERT,
							       .below = true,
							       .threshold = 7000,
							       .clear = 8000,
							       .windows = 3,
							       .clear_windows = 3 };
	enforce();
	assert_int_equal(run_rule(&good, 10), 0);
	assert_int_equal(run_rule(&bad, 10), 3);
}

static void a_foreign_program_is_told_at_once_even_in_shadow(void **state)
{
	run(1, even);
	sample.foreign_program = true;
	assert_int_equal(feed(), 1);
	assert_int_equal(verdict.action, GUARD_REPAIR);
	assert_int_equal(verdict.rule, GUARD_RULE_FOREIGN);
	assert_int_equal(verdict.windows, 0);
	assert_string_equal(verdict.text,
			    "foreign: a program of somebody else is attached, or none");
	/* Not repaired: once a window.  Repaired and back: at once. */
	assert_int_equal(run(2, even), 1);
	sample.foreign_program = false;
	assert_int_equal(run(3, even), 0);
	sample.foreign_program = true;
	assert_int_equal(feed(), 1);
}

static void membership_may_be_judged_by_windows(void **state)
{
	config.rules[GUARD_RULE_MEMBERSHIP].windows = 2;
	enforce();
	sample.unexpected_membership = true;
	assert_int_equal(run(5, even), 2);
	assert_int_equal(verdict.action, GUARD_WARN);
	assert_string_equal(verdict.text,
			    "membership: a member nobody expected, or one missing in 2 windows");
}

static void a_warning_that_was_cleared_is_given_again(void **state)
{
	sample.unexpected_membership = true;
	feed();
	assert_int_equal(verdict.action, GUARD_WARN);
	assert_int_equal(run(20, even), 0);
	sample.unexpected_membership = false;
	assert_int_equal(run(3, even), 0);
	sample.unexpected_membership = true;
	assert_int_equal(feed(), 1);
}

static void what_was_told_at_once_is_not_told_by_the_window(void **state)
{
	config.cooldown_ns = 0;
	enforce();
	sample.unexpected_membership = true;
	assert_int_equal(feed(), 1);
	sample.unexpected_membership = false;
	assert_int_equal(run(2, even), 0);
}

static void the_severest_action_speaks(void **state)
{
	const struct per_sample per = { .drops = 400, .age_ns = 9 * SECOND };

	config.rules[GUARD_RULE_QUEUE_AGE].windows = 2;
	config.rules[GUARD_RULE_DROP_SHARE].action = GUARD_FALLBACK;
	enforce();
	assert_int_equal(run_rule(&per, 4), 2);
	assert_int_equal(verdict.rule, GUARD_RULE_DROP_SHARE);
}

static void time_that_goes_back_starts_a_window(void **state)
{
	enforce();
	run(1, all_to_one);
	sample.now -= 500 * SECOND;
	assert_int_equal(run(1, all_to_one), 0);
	assert_int_equal(run(1, all_to_one), 1);
}

/* A healthy load: independent selections at some rate, a few drops and failed probes, members of
 * different weight, latency that wavers. */
static void healthy_second(size_t count, double rate, double weights)
{
	for (size_t m = 0; m < count; m++) {
		uint64_t got = poisson(rate * members[m].weight / weights);

		select_one(m, got);
		members[m].drops += poisson((double)got * 0.002);
		members[m].queue_depth = (uint32_t)poisson(3);
		members[m].queue_age_ns = poisson(2) * 1000000;
	}
	sample.fallbacks[0] += poisson(rate * 0.01);
	sample.probes++;
	sample.probe_failures += uniform() < 0.01;
	sample.probe_p99_ns = (uint64_t)(6e6 * (0.7 + 0.6 * uniform()));
}

/* In all 10,000 windows, by one seed a row. */
static void a_healthy_noisy_load_is_never_reverted(void **state)
{
	static const double rates[] = { 0.5, 5, 20, 25, 60, 300, 2000, 50000 };
	static const size_t counts[] = { 2, 3, 4, 16, 256 };
	unsigned int windows = 0;

	for (size_t r = 0; r < 8; r++)
		for (size_t c = 0; c < 5; c++) {
			double weights = 0;

			make_members(counts[c]);
			guard_init(&guard, &config);
			seed = 77 + r * 5 + c;
			for (size_t m = 0; m < counts[c]; m++) {
				members[m].weight = r % 2 ? 100 : 1 + (uint32_t)(uniform() * 1000);
				weights += members[m].weight;
			}
			for (unsigned int i = 0; i < 2700; i++) {
				if (i == 200)
					guard_phase(&guard, true);
				healthy_second(counts[c], rates[r], weights);
				if (feed())
					fail_msg("%g/s over %zu: %s", rates[r], counts[c],
						 verdict.text);
				windows += i > 200 && i % 10 == 0;
			}
		}
	assert_in_range(windows, 9900, 10100);
}

/* The other side of it: the noise does not hide what is bad. */
static void everything_to_one_is_found_in_noise_as_well(void **state)
{
	for (uint64_t round = 1; round <= 200; round++) {
		unsigned int i;

		seed = round;
		make_members(4);
		guard_init(&guard, &config);
		for (i = 0; i < 100; i++) {
			healthy_second(4, 40, 400);
			assert_int_equal(feed(), 0);
		}
		enforce();
		for (i = 1; i <= 30; i++) {
			select_one(round % 4, poisson(40));
			if (feed())
				break;
		}
		assert_in_range(i, 1, 30);
		assert_int_equal(verdict.action, GUARD_REVERT);
	}
}

static void names_are_read_and_written(void **state)
{
	enum guard_action action = GUARD_NONE;
	enum guard_rule_id rule = GUARD_RULE_COUNT;

	for (int i = 0; i < GUARD_RULE_COUNT; i++) {
		assert_int_equal(guard_rule_parse(guard_rule_name((enum guard_rule_id)i), &rule),
				 0);
		assert_int_equal(rule, i);
		assert_non_null(guard_rule_help((enum guard_rule_id)i));
	}
	assert_int_equal(guard_rule_parse("imbalances", &rule), -EINVAL);
	assert_int_equal(guard_action_parse("fallback", &action), 0);
	assert_int_equal(action, GUARD_FALLBACK);
	assert_int_equal(guard_action_parse("none", &action), -EINVAL);
	assert_int_equal(action, GUARD_FALLBACK);
	assert_string_equal(guard_action_name(GUARD_REPAIR), "repair");
}

int main(void)
{
#define GUARD_TEST(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		GUARD_TEST(balance_is_by_weight),
		GUARD_TEST(everything_to_one_is_reverted_within_three_windows),
		GUARD_TEST(without_a_baseline_the_thresholds_do),
		GUARD_TEST(jain_alone_finds_it_too),
		GUARD_TEST(a_policy_no_worse_than_the_kernel_stays),
		GUARD_TEST(unequal_weights_are_meant),
		GUARD_TEST(whom_the_policy_does_not_choose_is_not_judged),
		GUARD_TEST(a_latecomer_and_a_leaver_are_no_imbalance),
		GUARD_TEST(counters_that_restart_are_no_flood),
		GUARD_TEST(too_few_selections_say_nothing),
		GUARD_TEST(a_rare_member_that_is_chosen_once_is_no_imbalance),
		GUARD_TEST(jain_takes_out_what_chance_adds),
		GUARD_TEST(a_strict_jain_is_no_judge_of_noise),
		GUARD_TEST(a_baseline_takes_three_windows),
		GUARD_TEST(a_warning_that_was_cleared_is_given_again),
		GUARD_TEST(what_was_told_at_once_is_not_told_by_the_window),
		GUARD_TEST(one_bad_window_is_none_and_good_ones_clear),
		GUARD_TEST(between_the_limits_counts_neither_way),
		GUARD_TEST(after_a_revert_it_is_quiet_until_a_share_is_enforced_anew),
		GUARD_TEST(a_fallback_may_follow_a_revert),
		GUARD_TEST(while_the_kernel_chooses_nothing_is_reverted),
		GUARD_TEST(each_rule_says_what_it_saw),
		GUARD_TEST(fallbacks_that_are_meant_do_not_count),
		GUARD_TEST(a_metric_may_be_bad_when_low),
		GUARD_TEST(a_foreign_program_is_told_at_once_even_in_shadow),
		GUARD_TEST(membership_may_be_judged_by_windows),
		GUARD_TEST(the_severest_action_speaks),
		GUARD_TEST(time_that_goes_back_starts_a_window),
		GUARD_TEST(a_healthy_noisy_load_is_never_reverted),
		GUARD_TEST(everything_to_one_is_found_in_noise_as_well),
		GUARD_TEST(names_are_read_and_written),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
