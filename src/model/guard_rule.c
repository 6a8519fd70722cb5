#include "guard_rule.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"

static const struct {
	const char *name;
	const char *help;
	enum guard_unit unit;
	struct guard_rule defaults;
} rules[GUARD_RULE_COUNT] = {
#define X(id, config_name, u, on, act, past, fine, part, least, bad, good, what)   \
	[GUARD_RULE_##id] = { .name = config_name,                                 \
			      .help = what,                                        \
			      .unit = GUARD_UNIT_##u,                              \
			      .defaults = {                                        \
				      .enabled = on,                               \
				      .action = GUARD_##act,                       \
				      .below = GUARD_RULE_##id == GUARD_RULE_JAIN, \
				      .threshold = past,                           \
				      .clear = fine,                               \
				      .relative_permille = part,                   \
				      .minimum = least,                            \
				      .windows = bad,                              \
				      .clear_windows = good,                       \
			      } },
	GUARD_RULES(X)
#undef X
};

static const char *const action_names[] = {
	[GUARD_NONE] = "none",	   [GUARD_WARN] = "warn",	  [GUARD_REPAIR] = "repair",
	[GUARD_REVERT] = "revert", [GUARD_FALLBACK] = "fallback",
};

void guard_config_default(struct guard_config *config)
{
	*config = (struct guard_config){
		.window_ns = GUARD_DEFAULT_WINDOW_NS,
		.cooldown_ns = GUARD_DEFAULT_COOLDOWN_NS,
		.fallback_reasons = UINT32_MAX,
	};
	for (int i = 0; i < GUARD_RULE_COUNT; i++)
		config->rules[i] = rules[i].defaults;
}

const char *guard_rule_name(enum guard_rule_id rule)
{
	return rules[rule].name;
}

const char *guard_rule_help(enum guard_rule_id rule)
{
	return rules[rule].help;
}

enum guard_unit guard_rule_unit(enum guard_rule_id rule)
{
	return rules[rule].unit;
}

const char *guard_action_name(enum guard_action action)
{
	return action_names[action];
}

int guard_action_parse(const char *name, enum guard_action *ret_action)
{
	for (size_t i = GUARD_WARN; i < sizeof(action_names) / sizeof(*action_names); i++)
		if (strcmp(action_names[i], name) == 0) {
			*ret_action = (enum guard_action)i;
			return 0;
		}
	return -EINVAL;
}

int guard_rule_parse(const char *name, enum guard_rule_id *ret_rule)
{
	for (int i = 0; i < GUARD_RULE_COUNT; i++)
		if (strcmp(rules[i].name, name) == 0) {
			*ret_rule = (enum guard_rule_id)i;
			return 0;
		}
	return -EINVAL;
}

static uint64_t scale(uint64_t value, uint64_t by, uint64_t over)
{
	double scaled = (double)value * (double)by / (double)over + 0.5;

	/* 2^63: what any clock or counter of ours can reach. */
	return scaled >= 9.2e18 ? (uint64_t)INT64_MAX : (uint64_t)scaled;
}

/* Members that were eligible all through the window: a latecomer's few are no imbalance. */
struct judged {
	size_t count;
	uint64_t selections;
	uint64_t weights_sum;
	uint32_t weight_max;
	uint64_t values[GUARD_MAX_MEMBERS];
	uint32_t weights[GUARD_MAX_MEMBERS];
	uint32_t slots[GUARD_MAX_MEMBERS];
};

static void judge_members(const struct guard *guard, struct judged *judged)
{
	judged->count = 0;
	judged->selections = 0;
	judged->weights_sum = 0;
	judged->weight_max = 0;
	for (uint32_t i = 0; i < GUARD_MAX_MEMBERS; i++) {
		const struct guard_slot *slot = &guard->slots[i];
		uint32_t weight;

		if (!slot->known || !slot->weight_sum || slot->eligible < guard->window.samples)
			continue;
		weight = slot->weight_sum > UINT32_MAX ? UINT32_MAX : (uint32_t)slot->weight_sum;
		judged->weights_sum += weight;
		if (weight > judged->weight_max)
			judged->weight_max = weight;
		judged->values[judged->count] = slot->selections;
		judged->weights[judged->count] = weight;
		judged->slots[judged->count++] = i;
		judged->selections += slot->selections;
	}
}

static void measure_balance(const struct guard *guard, enum guard_rule_id rule,
			    struct guard_value *value)
{
	struct judged judged;
	struct guard_even even;
	uint32_t ignored;
	size_t busiest;

	judge_members(guard, &judged);
	if (judged.count < 2 || judged.selections < guard->config->rules[rule].minimum)
		return;
	even = guard_balance_certain(judged.values, judged.weights, judged.count);
	busiest = even.busiest;
	value->known = true;
	if (rule == GUARD_RULE_IMBALANCE) {
		value->value = even.max_over_mean_permille;
		value->worst = judged.weights_sum * 1000 / judged.weight_max;
	} else {
		value->value = even.jain_permille;
		value->worst = 1000 / judged.count;
		busiest = guard_balance(judged.values, judged.weights, judged.count, &ignored,
					&ignored);
	}
	if (value->value != 1000 && busiest < judged.count)
		value->member = judged.slots[busiest];
}

static uint64_t selections_of(const struct guard *guard)
{
	uint64_t sum = 0;

	for (uint32_t i = 0; i < GUARD_MAX_MEMBERS; i++)
		sum += guard->slots[i].selections;
	return sum;
}

static uint64_t drops_of(const struct guard *guard, uint32_t *ret_member)
{
	uint64_t most = 0;
	uint64_t sum = 0;

	for (uint32_t i = 0; i < GUARD_MAX_MEMBERS; i++) {
		sum += guard->slots[i].drops;
		if (guard->slots[i].drops > most) {
			most = guard->slots[i].drops;
			*ret_member = i;
		}
	}
	return sum;
}

static void measure_share(const struct guard *guard, enum guard_rule_id rule, uint64_t events,
			  uint64_t total, struct guard_value *value)
{
	if (!total || total < guard->config->rules[rule].minimum)
		return;
	value->known = true;
	value->value = scale(events, 1000, total);
	value->events = events;
	value->total = total;
}

static void measure_queues(const struct guard *guard, enum guard_rule_id rule,
			   struct guard_value *value)
{
	for (uint32_t i = 0; i < GUARD_MAX_MEMBERS; i++) {
		const struct guard_slot *slot = &guard->slots[i];
		uint64_t own = rule == GUARD_RULE_OVERFLOW
				       ? scale(slot->full, 1000, guard->window.samples)
				       : slot->queue_age_ns;

		if (own > value->value) {
			value->value = own;
			value->member = i;
		}
	}
	value->known = true;
}

static void measure_probe(const struct guard *guard, struct guard_value *value)
{
	const struct guard_window *window = &guard->window;

	value->known = window->p99_samples > 0;
	if (value->known)
		value->value = window->p99_sum / window->p99_samples;
}

struct guard_value guard_rule_value(const struct guard *guard, enum guard_rule_id rule,
				    uint64_t elapsed_ns)
{
	const struct guard_window *window = &guard->window;
	struct guard_value value = { .member = GUARD_NO_MEMBER };

	switch (rule) {
	case GUARD_RULE_IMBALANCE:
	case GUARD_RULE_JAIN:
		measure_balance(guard, rule, &value);
		break;
	case GUARD_RULE_DROPS:
		value.known = true;
		value.value = scale(drops_of(guard, &value.member), guard->config->window_ns,
				    elapsed_ns);
		break;
	case GUARD_RULE_DROP_SHARE:
		measure_share(guard, rule, drops_of(guard, &value.member), window->total, &value);
		break;
	case GUARD_RULE_OVERFLOW:
	case GUARD_RULE_QUEUE_AGE:
		measure_queues(guard, rule, &value);
		break;
	case GUARD_RULE_FALLBACKS:
		measure_share(guard, rule, window->fallbacks,
			      window->fallbacks + selections_of(guard), &value);
		break;
	case GUARD_RULE_PROBE_FAILURES:
		measure_share(guard, rule, window->probe_failures, window->probes, &value);
		/* Few and far between, and each one a person's: no allowance for chance. */
		value.total = 0;
		break;
	case GUARD_RULE_LATENCY:
	case GUARD_RULE_P99:
		measure_probe(guard, &value);
		break;
	case GUARD_RULE_METRIC:
		value.known = window->metric_samples > 0;
		if (value.known)
			value.value = window->metric_sum / window->metric_samples;
		break;
	case GUARD_RULE_FOREIGN:
	case GUARD_RULE_MEMBERSHIP:
		value.known = true;
		value.value = window->flags[rule];
		break;
	case GUARD_RULE_COUNT:
		must(0);
	}
	return value;
}

static void print_value(char *text, size_t size, enum guard_unit unit, uint64_t value)
{
	switch (unit) {
	case GUARD_UNIT_PERMILLE:
		snprintf(text, size, "%.1f%%", (double)value / 10);
		break;
	case GUARD_UNIT_RATIO:
	case GUARD_UNIT_VALUE:
		snprintf(text, size, "%.2f", (double)value / 1000);
		break;
	case GUARD_UNIT_NS:
		snprintf(text, size, "%.1f ms", (double)value / 1e6);
		break;
	case GUARD_UNIT_COUNT:
	case GUARD_UNIT_FLAG:
		snprintf(text, size, "%" PRIu64, value);
		break;
	}
}

void guard_rule_text(struct guard_verdict *verdict)
{
	enum guard_unit unit = rules[verdict->rule].unit;
	enum guard_unit of = verdict->rule == GUARD_RULE_LATENCY ? GUARD_UNIT_NS : unit;
	char value[24];
	char limit[24];
	char baseline[24];
	char member[24] = "";
	char windows[28] = "";

	if (verdict->windows)
		snprintf(windows, sizeof(windows), " in %u window%s", verdict->windows,
			 verdict->windows == 1 ? "" : "s");
	if (unit == GUARD_UNIT_FLAG) {
		snprintf(verdict->text, sizeof(verdict->text), "%s: %s%s",
			 rules[verdict->rule].name, rules[verdict->rule].help, windows);
		return;
	}
	if (verdict->member != GUARD_NO_MEMBER)
		snprintf(member, sizeof(member), " at slot %u", verdict->member);
	print_value(value, sizeof(value), unit, verdict->value);
	print_value(limit, sizeof(limit), unit, verdict->threshold);
	print_value(baseline, sizeof(baseline), of, verdict->baseline);
	snprintf(verdict->text, sizeof(verdict->text), "%s %s%s%s; limit %s%s%s",
		 rules[verdict->rule].name, value, member, windows, limit,
		 verdict->has_baseline ? ", baseline " : "", verdict->has_baseline ? baseline : "");
}
