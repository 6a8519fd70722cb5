#include "guard.h"

#include <math.h>
#include <string.h>

#include "base/must.h"
#include "guard_rule.h"

/* A baseline of fewer windows is none; of more, it is their moving mean. */
#define BASELINE_WINDOWS_MIN  3
#define BASELINE_WINDOWS_MEAN 16
/* Standard deviations by which a share of random events has to be past its limit. */
#define SHARE_SIGMAS 3.0

static void window_start(struct guard *guard, uint64_t now)
{
	guard->window = (struct guard_window){ .start_ns = now };
	for (size_t i = 0; i < GUARD_MAX_MEMBERS; i++) {
		struct guard_slot *slot = &guard->slots[i];

		slot->weight_sum = 0;
		slot->selections = 0;
		slot->drops = 0;
		slot->queue_age_ns = 0;
		slot->eligible = 0;
		slot->full = 0;
	}
}

/* The next sample only says where the counters stand. */
static void start_anew(struct guard *guard)
{
	guard->started = false;
	for (size_t i = 0; i < GUARD_MAX_MEMBERS; i++)
		guard->slots[i].known = false;
}

void guard_init(struct guard *guard, const struct guard_config *config)
{
	memset(guard, 0, sizeof(*guard));
	guard->config = config;
}

void guard_configure(struct guard *guard, const struct guard_config *config)
{
	guard->config = config;
	start_anew(guard);
}

void guard_phase(struct guard *guard, bool enforced_share)
{
	if (enforced_share && !guard->enforced_share)
		guard->quiet_until_ns = 0;
	guard->enforced_share = enforced_share;
	start_anew(guard);
	for (int i = 0; i < GUARD_RULE_COUNT; i++) {
		struct guard_rule_state *state = &guard->rules[i];

		/* What is attached, and who is there, does not change with the share. */
		if (guard_rule_unit((enum guard_rule_id)i) == GUARD_UNIT_FLAG)
			continue;
		state->bad = 0;
		state->good = 0;
		state->tripped = false;
		state->quiet_until_ns = 0;
	}
}

void guard_forget(struct guard *guard)
{
	for (int i = 0; i < GUARD_RULE_COUNT; i++) {
		guard->rules[i].baseline = 0;
		guard->rules[i].baseline_windows = 0;
	}
	guard_phase(guard, guard->enforced_share);
}

static uint64_t advance(uint64_t *last, uint64_t now)
{
	uint64_t by = now > *last ? now - *last : 0;

	*last = now;
	return by;
}

static void gather_member(struct guard *guard, const struct guard_member *member)
{
	struct guard_slot *slot = guard->slots + member->slot;
	uint64_t selections;
	uint64_t drops;

	must(member->slot < GUARD_MAX_MEMBERS);
	selections = advance(&slot->last_selections, member->selections);
	drops = advance(&slot->last_drops, member->drops);
	slot->sampled = true;
	if (!slot->known || slot->identity != member->identity) {
		/* It has not been there all through the window. */
		slot->known = true;
		slot->identity = member->identity;
		return;
	}
	slot->selections += selections;
	slot->drops += drops;
	if (!member->eligible)
		return;
	slot->eligible++;
	slot->weight_sum += member->weight;
	slot->full += member->queue_limit && member->queue_depth >= member->queue_limit;
	if (member->queue_age_ns > slot->queue_age_ns)
		slot->queue_age_ns = member->queue_age_ns;
}

static void gather_group(struct guard *guard, const struct guard_sample *sample)
{
	struct guard_window *window = &guard->window;

	window->total += advance(&guard->last_total, sample->total);
	for (int i = 0; i < GUARD_FALLBACK_REASONS; i++) {
		uint64_t by = advance(&guard->last_fallbacks[i], sample->fallbacks[i]);

		if (guard->config->fallback_reasons & 1u << i)
			window->fallbacks += by;
	}
	window->probes += advance(&guard->last_probes, sample->probes);
	window->probe_failures += advance(&guard->last_probe_failures, sample->probe_failures);
	if (sample->probe_p99_ns) {
		window->p99_sum += sample->probe_p99_ns;
		window->p99_samples++;
	}
	if (sample->has_metric) {
		window->metric_sum += sample->metric;
		window->metric_samples++;
	}
	window->samples++;
}

static void gather(struct guard *guard, const struct guard_sample *sample)
{
	bool first = !guard->started || sample->now < guard->last_ns;

	if (first)
		start_anew(guard);
	for (size_t i = 0; i < GUARD_MAX_MEMBERS; i++)
		guard->slots[i].sampled = false;
	for (size_t i = 0; i < sample->member_count; i++)
		gather_member(guard, &sample->members[i]);
	for (size_t i = 0; i < GUARD_MAX_MEMBERS; i++)
		guard->slots[i].known &= guard->slots[i].sampled;
	gather_group(guard, sample);
	if (first)
		window_start(guard, sample->now);
	guard->started = true;
	guard->last_ns = sample->now;
}

static bool has_baseline(const struct guard_rule_state *state)
{
	return state->baseline_windows >= BASELINE_WINDOWS_MIN;
}

static uint64_t baseline_of(const struct guard_rule_state *state)
{
	return state->baseline / 16;
}

static void learn(struct guard_rule_state *state, uint64_t value)
{
	int64_t past = (int64_t)(value > INT64_MAX / 16 ? INT64_MAX / 16 : value) * 16;
	int64_t share;

	if (state->baseline_windows < UINT32_MAX)
		state->baseline_windows++;
	share = state->baseline_windows < BASELINE_WINDOWS_MEAN ? state->baseline_windows
								: BASELINE_WINDOWS_MEAN;
	state->baseline =
		(uint64_t)((int64_t)state->baseline + (past - (int64_t)state->baseline) / share);
}

static bool is_past(const struct guard_rule *rule, uint64_t value, uint64_t limit)
{
	return rule->below ? value < limit : value > limit;
}

/* The more lenient of the two. */
static uint64_t lenient(const struct guard_rule *rule, uint64_t a, uint64_t b)
{
	return (rule->below ? a < b : a > b) ? a : b;
}

static uint64_t limit_of(const struct guard_rule *rule, const struct guard_rule_state *state,
			 const struct guard_value *value)
{
	double part = rule->relative_permille / 1000.0;
	double baseline = (double)baseline_of(state);
	double limit = baseline * (rule->below ? 1 / part : part);

	if (!rule->relative_permille || !has_baseline(state))
		return rule->threshold;
	/* However uneven the kernel is: the worst there can be stays past the limit. */
	if (value->worst) {
		double cap = baseline + ((double)value->worst - baseline) * 0.75;

		if (rule->below ? limit < cap : limit > cap)
			limit = cap;
	}
	return lenient(rule, rule->threshold, limit >= 9.2e18 ? INT64_MAX : (uint64_t)limit);
}

static uint64_t clear_of(const struct guard_rule *rule, const struct guard_rule_state *state)
{
	if (!rule->relative_permille || !has_baseline(state))
		return rule->clear;
	return lenient(rule, rule->clear, baseline_of(state));
}

/* Could a group that is just at its limit have shown this by chance? */
static bool is_chance(const struct guard_value *value, uint64_t limit)
{
	double expected = (double)value->total * (double)limit / 1000;

	return value->total && (double)value->events <= expected + SHARE_SIGMAS * sqrt(expected);
}

enum finding {
	FINDING_NOTHING,
	FINDING_GOOD,
	FINDING_BAD,
};

/* What the window is to the rule; fills verdict's numbers. */
static enum finding find(const struct guard *guard, enum guard_rule_id id,
			 const struct guard_value *measured, struct guard_verdict *verdict)
{
	const struct guard_rule *rule = &guard->config->rules[id];
	const struct guard_rule_state *state = &guard->rules[id];
	struct guard_value value = *measured;
	bool little = false;

	if (!value.known)
		return FINDING_NOTHING;
	if (id == GUARD_RULE_LATENCY) {
		if (!has_baseline(state) || !baseline_of(state))
			return FINDING_NOTHING;
		little = value.value < rule->minimum;
		value.value = (uint64_t)((double)value.value * 1000 / (double)baseline_of(state));
	}
	*verdict = (struct guard_verdict){
		.action = rule->action,
		.rule = id,
		.member = value.member,
		.value = value.value,
		.threshold = limit_of(rule, state, &value),
		.baseline = baseline_of(state),
		.has_baseline = has_baseline(state),
	};
	if (!is_past(rule, value.value, clear_of(rule, state)))
		return FINDING_GOOD;
	if (little || is_chance(&value, verdict->threshold))
		return FINDING_NOTHING;
	return is_past(rule, value.value, verdict->threshold) ? FINDING_BAD : FINDING_NOTHING;
}

/* Hysteresis.  Returns whether the rule is tripped and the finding bad. */
static bool count(struct guard_rule_state *state, const struct guard_rule *rule,
		  enum finding finding)
{
	if (finding == FINDING_BAD) {
		state->good = 0;
		if (++state->bad >= rule->windows)
			state->tripped = true;
		return state->tripped;
	}
	if (finding == FINDING_GOOD) {
		state->bad = 0;
		if (state->tripped && ++state->good >= rule->clear_windows) {
			state->tripped = false;
			state->good = 0;
			state->quiet_until_ns = 0;
		}
	}
	return false;
}

/* Takes the place of a less severe verdict, unless it is not to be heard now. */
static void consider(const struct guard *guard, const struct guard_verdict *verdict, uint64_t now,
		     struct guard_verdict *best)
{
	if (verdict->action <= best->action || now < guard->rules[verdict->rule].quiet_until_ns)
		return;
	if (verdict->action >= GUARD_REVERT && verdict->action <= guard->quiet_action &&
	    now < guard->quiet_until_ns)
		return;
	*best = *verdict;
}

static void judge_rule(struct guard *guard, enum guard_rule_id id, uint64_t now,
		       struct guard_verdict *best)
{
	const struct guard_rule *rule = &guard->config->rules[id];
	struct guard_rule_state *state = &guard->rules[id];
	uint64_t elapsed = now - guard->window.start_ns;
	struct guard_value value = guard_rule_value(guard, id, elapsed ? elapsed : 1);
	bool flag = guard_rule_unit(id) == GUARD_UNIT_FLAG;
	struct guard_verdict verdict = { 0 };
	enum finding finding;

	if (flag) {
		verdict = (struct guard_verdict){
			.action = rule->action, .rule = id, .member = GUARD_NO_MEMBER, .value = 1
		};
		finding = value.value ? FINDING_BAD : FINDING_GOOD;
	} else if (!guard->enforced_share) {
		if (value.known)
			learn(state, value.value);
		return;
	} else {
		finding = find(guard, id, &value, &verdict);
	}
	if (!count(state, rule, finding) || !rule->enabled)
		return;
	/* What speaks at the sample has done so; a window only counts it. */
	if (flag && !rule->windows)
		return;
	verdict.windows = state->bad;
	consider(guard, &verdict, now, best);
}

/* A flag, at once where it is to be. */
static void see_flag(struct guard *guard, enum guard_rule_id id, bool set, uint64_t now,
		     struct guard_verdict *best)
{
	const struct guard_rule *rule = &guard->config->rules[id];
	struct guard_verdict verdict = {
		.action = rule->action, .rule = id, .member = GUARD_NO_MEMBER, .value = 1
	};

	guard->window.flags[id] |= set;
	if (!set || !rule->enabled || rule->windows)
		return;
	guard->rules[id].tripped = true;
	guard->rules[id].good = 0;
	consider(guard, &verdict, now, best);
}

static void remember(struct guard *guard, const struct guard_verdict *verdict, uint64_t now)
{
	const struct guard_config *config = guard->config;
	bool repair = verdict->action == GUARD_REPAIR;

	guard->rules[verdict->rule].quiet_until_ns = now + (repair ? config->window_ns
								   : config->cooldown_ns);
	if (verdict->action >= GUARD_REVERT) {
		guard->quiet_action = verdict->action;
		guard->quiet_until_ns = now + config->cooldown_ns;
	}
}

int guard_feed(struct guard *guard, const struct guard_sample *sample,
	       struct guard_verdict *verdict)
{
	struct guard_verdict best = { .action = GUARD_NONE };
	uint64_t now = sample->now;

	gather(guard, sample);
	see_flag(guard, GUARD_RULE_FOREIGN, sample->foreign_program, now, &best);
	see_flag(guard, GUARD_RULE_MEMBERSHIP, sample->unexpected_membership, now, &best);
	if (guard->window.samples && now - guard->window.start_ns >= guard->config->window_ns) {
		for (int i = 0; i < GUARD_RULE_COUNT; i++)
			judge_rule(guard, (enum guard_rule_id)i, now, &best);
		window_start(guard, now);
	}
	if (best.action == GUARD_NONE)
		return 0;
	remember(guard, &best, now);
	guard_rule_text(&best);
	*verdict = best;
	return 1;
}
