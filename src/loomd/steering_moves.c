/* How far the policy is in force: whoever moves it, it happens here and is written down. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "steering_internal.h"

_Static_assert(CONFIG_STEER_RULE_MEMBERSHIP == (int)GUARD_RULE_MEMBERSHIP,
	       "the configuration's rules are the guard's first ones");

/* How the configuration writes a value, in the guard's units. */
static double scale_of(enum guard_rule_id rule)
{
	switch (guard_rule_unit(rule)) {
	case GUARD_UNIT_RATIO:
	case GUARD_UNIT_VALUE:
		return 1000;
	case GUARD_UNIT_NS:
		return (double)NSEC_PER_SEC;
	default:
		return 1;
	}
}

static enum guard_action action_of(enum config_steer_action action)
{
	switch (action) {
	case CONFIG_STEER_WARN:
		return GUARD_WARN;
	case CONFIG_STEER_REPAIR:
		return GUARD_REPAIR;
	case CONFIG_STEER_REVERT:
		return GUARD_REVERT;
	case CONFIG_STEER_FALLBACK:
		return GUARD_FALLBACK;
	}
	return GUARD_WARN;
}

static void configure_guard(struct group *group)
{
	const struct config_steer_guard *from = &group->config->guard;
	struct guard_config *to = &group->guard_config;

	guard_config_default(to);
	to->window_ns = from->window_ns;
	to->cooldown_ns = from->cooldown_ns;
	for (int i = 0; i < CONFIG_STEER_RULES; i++) {
		const struct config_steer_rule *rule = &from->rules[i];
		struct guard_rule *into = &to->rules[i];
		double scale = scale_of((enum guard_rule_id)i);

		into->enabled = from->enabled && rule->enabled;
		into->action = action_of(rule->action);
		into->windows = (uint16_t)rule->windows;
		if (guard_rule_unit((enum guard_rule_id)i) == GUARD_UNIT_FLAG)
			continue;
		into->threshold = (uint64_t)(rule->threshold * scale);
		into->clear = (uint64_t)(rule->clear * scale);
		into->below = rule->below;
		if (i == CONFIG_STEER_RULE_IMBALANCE || i == CONFIG_STEER_RULE_JAIN ||
		    i == CONFIG_STEER_RULE_FALLBACKS)
			into->minimum = from->min_selections;
	}
	to->rules[GUARD_RULE_DROP_SHARE].enabled &= from->enabled &&
						    from->rules[CONFIG_STEER_RULE_DROPS].enabled;
	to->rules[GUARD_RULE_DROP_SHARE].action =
		action_of(from->rules[CONFIG_STEER_RULE_DROPS].action);
}

void moves_configure(struct group *group)
{
	const struct config_steer_rollout *from = &group->config->rollout;
	struct rollout_config *to = &group->rollout_config;

	rollout_config_default(to);
	to->target.state = (enum rollout_state)from->target;
	to->target.permille = 0;
	to->automatic = from->automatic;
	to->canary_count = (uint8_t)from->canary_count;
	for (size_t i = 0; i < from->canary_count && i < ROLLOUT_STEPS_MAX; i++)
		to->canary_permille[i] = from->canary_permille[i];
	if (to->target.state == ROLLOUT_CANARY && to->canary_count)
		to->target.permille = to->canary_permille[to->canary_count - 1];
	to->soak_ns = from->soak_ns;
	to->cooldown_ns = group->config->guard.cooldown_ns;
	configure_guard(group);
}

/* ---- writing down ---- */

static void point_of(const struct group *group, const struct rollout_move *move, bool to,
		     char text[24])
{
	char point[ROLLOUT_POINT_LEN];
	bool fallback = to ? move->kind == ROLLOUT_FELL_BACK : move->kind == ROLLOUT_RESUMED;

	snprintf(text, 24, "%s",
		 fallback ? "fallback" : rollout_point_print(to ? move->to : move->from, point));
}

static json_t *numbers(const struct group *group)
{
	json_t *members = json_array();

	for (size_t i = 0; i < group->member_count; i++) {
		const struct steer_member_view *view = &group->members[i].view;

		json_array_append_new(
			members, json_pack("{s:i,s:I,s:I,s:I,s:I,s:I}", "slot",
					   view->slot == STEER_NOBODY ? -1 : (int)view->slot,
					   "selected", (json_int_t)view->count.selected_packets,
					   "kernel", (json_int_t)view->count.kernel_packets,
					   "queue", (json_int_t)view->queue, "queue_age_ns",
					   (json_int_t)view->queue_age_ns, "drops",
					   (json_int_t)view->drops));
	}
	return members;
}

/* Fallback is plain Linux: the mode first, which is one store, then the program goes. */
static void follow_fallback(struct group *group, const struct rollout_move *move)
{
	struct err err = { 0 };
	int r = 0;

	if (move->kind == ROLLOUT_FELL_BACK)
		r = parts_detach(group, &err);
	else if (move->kind == ROLLOUT_RESUMED && !group->detached)
		r = parts_attach(group, &err);
	if (r < 0 && r != -ENOENT)
		log_warning("group %s: %s", group->name, err.text);
}

void moves_done(struct group *group, const struct rollout_move *move)
{
	bool back = rollout_point_compare(move->to, move->from) < 0 ||
		    move->kind == ROLLOUT_FELL_BACK;

	group->last.wall_s = clock_wall_s();
	point_of(group, move, false, group->last.from);
	point_of(group, move, true, group->last.to);
	snprintf(group->last.actor, sizeof(group->last.actor), "%s",
		 rollout_actor_name(move->actor));
	snprintf(group->last.reason, sizeof(group->last.reason), "%s", move->reason);
	if (move->kind != ROLLOUT_FROZE && move->kind != ROLLOUT_UNFROZE)
		group->moves[back]++;
	parts_set_mode(group);
	follow_fallback(group, move);
	for (size_t i = 0; i < group->member_count; i++)
		joined_state(group, &group->members[i]);
	guard_phase(group->guard, rollout_share_permille(&group->rollout) > 0);
	group->steering->save = true;
	if (move->actor == ROLLOUT_BY_GUARD || move->actor == ROLLOUT_BY_REPAIR)
		log_warning("group %s: %s -> %s by the %s: %s", group->name, group->last.from,
			    group->last.to, group->last.actor, move->reason);
	else
		log_notice("group %s: %s %s -> %s by %s%s%s", group->name,
			   rollout_move_kind_name(move->kind), group->last.from, group->last.to,
			   group->last.actor, move->reason[0] ? ": " : "", move->reason);
	steering_audit(
		group->steering,
		json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:i,s:i,s:o}", "group", group->name,
			  "event", rollout_move_kind_name(move->kind), "from", group->last.from,
			  "to", group->last.to, "actor", group->last.actor, "reason", move->reason,
			  "policy", steer_policy_name((enum steer_policy)group->policy.policy),
			  "max_over_mean_permille", (int)group->max_over_mean_permille,
			  "jain_permille", (int)group->jain_permille, "members", numbers(group)));
}

void moves_note(struct group *group, const char *actor, const char *what, const char *reason)
{
	log_info("group %s: %s by %s%s%s", group->name, what, actor, reason[0] ? ": " : "", reason);
	steering_audit(group->steering, json_pack("{s:s,s:s,s:s,s:s}", "group", group->name,
						  "event", what, "actor", actor, "reason", reason));
}

int moves_unproven(struct group *group, bool hold)
{
	const struct rollout_point shadow = { .state = ROLLOUT_SHADOW };
	struct rollout *rollout = &group->rollout;
	struct rollout_point target = rollout->target;
	bool held = rollout->held;
	struct rollout_move move;
	struct err err = { 0 };
	int r;

	if (!rollout_share_permille(rollout))
		return 0;
	r = rollout_request(rollout, shadow, false, "another policy", clock_now_ns(), &move, &err);
	if (r < 0)
		return r;
	if (!hold) {
		rollout->held = held;
		rollout->target = target;
	}
	moves_done(group, &move);
	return 0;
}

/* ---- the guard ---- */

/* Puts our program back, a few times: who fights over a group loses traffic to neither. */
static void repair(struct group *group, const struct guard_verdict *verdict, uint64_t now)
{
	struct rollout_move move;
	struct err err = { 0 };

	if (now - group->repair_window_ns > group->guard_config.cooldown_ns) {
		group->repair_window_ns = now;
		group->repairs_in_row = 0;
	}
	if (group->repairs_in_row++ < STEERING_REPAIR_LIMIT && parts_attach(group, &err) == 0) {
		group->repairs++;
		moves_note(group, "repair", "attached again", verdict->text);
		return;
	}
	if (rollout_fallback(&group->rollout, ROLLOUT_BY_REPAIR,
			     err.code ? err.text : "another program comes back again and again",
			     now, &move) == 1)
		moves_done(group, &move);
}

static void act(struct group *group, const struct guard_verdict *verdict, uint64_t now)
{
	struct rollout_move move;
	int r = 0;

	switch (verdict->action) {
	case GUARD_NONE:
		return;
	case GUARD_WARN:
		log_warning("group %s: %s", group->name, verdict->text);
		moves_note(group, "guard", "warning", verdict->text);
		return;
	case GUARD_REPAIR:
		repair(group, verdict, now);
		return;
	case GUARD_REVERT:
		r = rollout_revert(&group->rollout, ROLLOUT_SHADOW, ROLLOUT_BY_GUARD, verdict->text,
				   now, &move);
		break;
	case GUARD_FALLBACK:
		r = rollout_fallback(&group->rollout, ROLLOUT_BY_GUARD, verdict->text, now, &move);
		break;
	}
	if (r == 1)
		moves_done(group, &move);
}

/* Left to the kernel though the policy was asked: each reason is one of the guard's. */
static const enum steer_counter failures[] = {
	STEER_COUNT_NO_SLOT,  STEER_COUNT_SLOT_EMPTY, STEER_COUNT_SLOT_FOREIGN, STEER_COUNT_SHORT,
	STEER_COUNT_NOT_MINE, STEER_COUNT_INDEX_MISS, STEER_COUNT_NO_GROUP,
};

static void count(struct group *group, uint64_t counters[STEER_COUNTERS_END])
{
	memset(counters, 0, STEER_COUNTERS_END * sizeof(*counters));
	for (size_t p = 0; p < STEERING_PARTS; p++) {
		uint64_t part[STEER_COUNTERS_END];

		if (!group->parts[p].steer || steer_counters(group->parts[p].steer, part) < 0)
			continue;
		for (int i = 0; i < STEER_COUNTERS_END; i++)
			counters[i] += part[i];
	}
	for (size_t i = 0; i < group->member_count; i++)
		member_count(group, &group->members[i]);
}

static uint64_t got(const struct member *member)
{
	return member->view.count.selected_packets + member->view.count.kernel_packets;
}

static void note_balance(struct group *group, uint64_t now)
{
	uint64_t span = group->sampled_ns ? now - group->sampled_ns : NSEC_PER_SEC;
	uint64_t values[STEER_MAX_SLOTS];
	uint32_t weights[STEER_MAX_SLOTS];
	size_t n = 0;

	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];
		uint64_t packets = got(member);
		uint64_t more = packets -
				(packets >= member->rate_packets ? member->rate_packets : 0);

		member->view.rate = span ? more * NSEC_PER_SEC / span : 0;
		member->rate_packets = packets;
		member->view.stuck = member->view.queue_age_ns >=
				     group->guard_config.rules[GUARD_RULE_QUEUE_AGE].threshold;
		if (member->view.state != STEER_ACTIVE || n == STEER_MAX_SLOTS)
			continue;
		values[n] = more;
		weights[n++] = member->view.weight;
	}
	group->sampled_ns = now;
	guard_balance(values, weights, n, &group->max_over_mean_permille, &group->jain_permille);
}

static void feed(struct group *group, const uint64_t *counters, uint64_t now)
{
	/* Policy hash leaves the choice to the kernel, but for members that may not be chosen. */
	bool by_policy = rollout_share_permille(&group->rollout) > 0 &&
			 group->policy.policy != CONFIG_STEER_HASH;
	struct guard_member members[GUARD_MAX_MEMBERS];
	struct guard_sample sample = {
		.now = now,
		.members = members,
		.total = counters[STEER_COUNT_KERNEL] + counters[STEER_COUNT_SELECTED] +
			 counters[STEER_COUNT_CANARY_OUT],
		.migrations = counters[STEER_COUNT_MIGRATED],
		.probes = group->probes,
		.probe_failures = group->probe_failures,
		.probe_p99_ns = group->last_probe_p99_ns,
		.has_metric = group->has_metric,
		.metric = group->metric,
		.unexpected_membership = group->unexpected,
	};
	struct guard_verdict verdict;

	for (size_t i = 0; i < sizeof(failures) / sizeof(failures[0]); i++) {
		sample.fallbacks[i] = counters[failures[i]];
		sample.total += counters[failures[i]];
	}
	for (size_t p = 0; p < STEERING_PARTS; p++)
		sample.foreign_program |= group->parts[p].foreign;
	for (size_t i = 0; i < group->member_count; i++) {
		const struct member *member = &group->members[i];

		if (member->view.slot == STEER_NOBODY || sample.member_count == GUARD_MAX_MEMBERS)
			continue;
		members[sample.member_count++] = (struct guard_member){
			.slot = member->view.slot,
			.identity = member->view.cookie,
			.weight = member->view.weight,
			.eligible = member->view.state == STEER_ACTIVE,
			.selections = by_policy ? member->view.count.selected_packets : got(member),
			.bytes = member->view.count.selected_bytes +
				 member->view.count.kernel_bytes,
			.drops = member->view.drops,
			.queue_depth = member->view.queue,
			.queue_limit = member->view.queue_max,
			.queue_age_ns = member->view.queue_age_ns,
		};
	}
	if (guard_feed(group->guard, &sample, &verdict) == 1)
		act(group, &verdict, now);
}

void moves_sample(struct group *group, uint64_t now)
{
	uint64_t counters[STEER_COUNTERS_END];
	struct rollout_move move;

	count(group, counters);
	if (counters[STEER_COUNT_SLOT_EMPTY] > group->slot_empty)
		members_refill(group);
	group->slot_empty = counters[STEER_COUNT_SLOT_EMPTY];
	note_balance(group, now);
	rollout_gate(&group->rollout,
		     report_gate(group->steering, (enum config_steer_policy)group->policy.policy));
	report_metric(group);
	feed(group, counters, now);
	if (rollout_tick(&group->rollout, now, &move) == 1)
		moves_done(group, &move);
}
