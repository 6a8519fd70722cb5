/* What operators ask of socket steering. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "steering_internal.h"

static struct group *find(void *ctx, const char *name, struct err *err)
{
	struct group *group = steering_group(ctx, name);

	if (!group)
		err_set(err, -ENOENT,
			"cannot find steering group %.63s: the configuration has none of that "
			"name; 'loom steer list' shows them",
			name);
	return group;
}

/* For who names a member: it may have come, or changed hands, since the last look. */
static struct group *find_now(void *ctx, const char *name, struct err *err)
{
	struct group *group = find(ctx, name, err);

	if (group) {
		members_check_owners(group);
		steering_poll(ctx);
	}
	return group;
}

static int no_member(const struct group *group, struct err *err)
{
	return err_set(err, -ENOENT,
		       "cannot find that member of group %s; 'loom steer show %s' lists them",
		       group->name, group->name);
}

static int control_view(void *ctx, const char *name, struct steer_view **ret, struct err *err)
{
	if (name && !find(ctx, name, err))
		return -ENOENT;
	return steering_view(ctx, name, ret, err);
}

static int control_attach(void *ctx, const char *name, struct err *err)
{
	struct group *group = find(ctx, name, err);
	bool was;
	int r;

	if (!group)
		return -ENOENT;
	was = group->detached;
	group->detached = false;
	parts_set_mode(group);
	r = parts_attach(group, err);
	if (r < 0) {
		group->detached = was;
		parts_set_mode(group);
		return r;
	}
	group->steering->save = true;
	moves_note(group, "operator", "attached", "");
	return 0;
}

static int control_detach(void *ctx, const char *name, struct err *err)
{
	struct group *group = find(ctx, name, err);
	int r;

	if (!group)
		return -ENOENT;
	group->detached = true;
	group->steering->save = true;
	r = parts_detach(group, err);
	if (r < 0)
		return r;
	moves_note(group, "operator", "detached", "");
	return 0;
}

static bool needs_udp(enum config_steer_policy policy)
{
	return policy == CONFIG_STEER_WIREGUARD || policy == CONFIG_STEER_QUIC ||
	       policy == CONFIG_STEER_BYTES || policy == CONFIG_STEER_GENERATION;
}

static int control_policy(void *ctx, const char *name,
			  const struct config_steer_policy_options *policy, struct err *err)
{
	struct group *group = find(ctx, name, err);
	char text[96];
	const char *why;
	int r;

	if (!group)
		return -ENOENT;
	if (needs_udp(policy->policy) && !group->config->udp)
		return err_set(err, -EINVAL, "cannot steer TCP by policy %s: it reads datagrams",
			       steer_policy_name((enum steer_policy)policy->policy));
	if (group->rollout.frozen)
		return err_set(err, -EBUSY,
			       "cannot change the policy of group %s: it is frozen; 'loom steer "
			       "unfreeze %s' first",
			       name, name);
	why = report_gate(group->steering, policy->policy);
	if (why && rollout_share_permille(&group->rollout))
		return err_set(err, -EOPNOTSUPP, "cannot put policy %s in force: %s",
			       steer_policy_name((enum steer_policy)policy->policy), why);
	steering_trace_end(group->steering, "policy");
	moves_unproven(group, true);
	r = parts_load(group, policy, err);
	if (r < 0)
		return r;
	snprintf(text, sizeof(text), "%s -> %s",
		 steer_policy_name((enum steer_policy)group->policy.policy),
		 steer_policy_name((enum steer_policy)policy->policy));
	group->policy = *policy;
	group->policy_overridden = true;
	group->steering->save = true;
	guard_forget(group->guard);
	moves_note(group, "operator", "policy", text);
	parts_apply(group, clock_now_ns());
	return 0;
}

/* The next rung, or the one before. */
static void rung(const struct group *group, bool next, struct rollout_point *ret)
{
	const struct rollout *rollout = &group->rollout;

	*ret = (struct rollout_point){ .state = rollout->state };
	if (!next) {
		ret->state = rollout->state ? rollout->state - 1 : ROLLOUT_OBSERVE;
		if (rollout->state == ROLLOUT_ENFORCED || rollout->state == ROLLOUT_CANARY)
			ret->state = ROLLOUT_SHADOW;
		return;
	}
	switch (rollout->state) {
	case ROLLOUT_OBSERVE:
		ret->state = ROLLOUT_SHADOW;
		break;
	case ROLLOUT_SHADOW:
		ret->state = group->rollout_config.canary_count ? ROLLOUT_CANARY : ROLLOUT_ENFORCED;
		break;
	case ROLLOUT_CANARY:
		ret->state = rollout->canary_step < group->rollout_config.canary_count
				     ? ROLLOUT_CANARY
				     : ROLLOUT_ENFORCED;
		break;
	case ROLLOUT_ENFORCED:
		break;
	}
}

static int control_rollout(void *ctx, const char *name, const struct steer_rollout_request *request,
			   struct err *err)
{
	struct group *group = find(ctx, name, err);
	struct rollout_move move;
	struct rollout_point to;
	int r;

	if (!group)
		return -ENOENT;
	if (!strcmp(request->state, "next") || !strcmp(request->state, "back"))
		rung(group, request->state[0] == 'n', &to);
	else if (rollout_point_parse(request->state, &to, err) < 0)
		return -EINVAL;
	if (to.state == ROLLOUT_CANARY && request->canary_permille)
		to.permille = request->canary_permille;
	rollout_gate(&group->rollout, report_gate(group->steering, group->policy.policy));
	r = rollout_request(&group->rollout, to, request->force, request->reason, clock_now_ns(),
			    &move, err);
	if (r == 1)
		moves_done(group, &move);
	return r < 0 ? r : 0;
}

static int control_freeze(void *ctx, const char *name, bool frozen, struct err *err)
{
	struct group *group = find(ctx, name, err);
	struct rollout_move move;
	uint64_t now = clock_now_ns();

	if (!group)
		return -ENOENT;
	if (frozen ? rollout_freeze(&group->rollout, "", now, &move)
		   : rollout_unfreeze(&group->rollout, "", now, &move))
		moves_done(group, &move);
	return 0;
}

static int control_fallback(void *ctx, const char *name, bool on, const char *reason,
			    struct err *err)
{
	struct group *group = find(ctx, name, err);
	struct rollout_move move;
	uint64_t now = clock_now_ns();
	int r;

	if (!group)
		return -ENOENT;
	r = on ? rollout_fallback(&group->rollout, ROLLOUT_BY_OPERATOR, reason, now, &move)
	       : rollout_resume(&group->rollout, ROLLOUT_BY_OPERATOR, reason, now, &move, err);
	if (r == 1)
		moves_done(group, &move);
	return r < 0 ? r : 0;
}

/* What drains is left out by the policy; the kernel's hash knows nothing of it. */
static int check_enforced(const struct group *group, struct err *err)
{
	bool enforced = group->rollout.state == ROLLOUT_ENFORCED && !group->rollout.fallback &&
			!group->detached;
	bool decides = true;

	for (size_t i = 0; i < group->member_count; i++)
		decides &= group->members[i].view.slot == STEER_NOBODY ||
			   part_decides(group, group->members[i].part);
	if (enforced && decides)
		return 0;
	if (enforced)
		return err_set(err, -EINVAL,
			       "cannot drain a member of group %s: another program, or none, is "
			       "attached and still sends it flows; 'loom steer attach %s' first",
			       group->name, group->name);
	return err_set(err, -EINVAL,
		       "cannot drain a member of group %s: in %s the kernel's hash still sends it "
		       "flows; 'loom steer rollout %s enforced' first (policy hash is enough)",
		       group->name,
		       group->rollout.fallback ? "fallback"
					       : rollout_state_name(group->rollout.state),
		       group->name);
}

static bool is_given(const struct steer_member_name *name)
{
	return name->has_slot || name->id || name->pid || name->generation || name->unit[0];
}

/* A member's part in a swap. */
static bool comes(const struct member *member, const struct steer_member_name *to)
{
	if (member->view.slot == STEER_NOBODY)
		return false;
	if (!is_given(to))
		return member->view.state == STEER_QUARANTINED && member->view.source[0];
	return member_is_named(member, to);
}

/* Somebody must be left for what comes next, of each family that somebody leaves; to: who comes;
 * NULL: nobody. */
static bool is_left_alone(const struct group *group, size_t part,
			  const struct steer_member_name *to)
{
	bool any = false;

	for (size_t i = 0; i < group->member_count; i++) {
		const struct member *member = &group->members[i];

		if (member->part != part)
			continue;
		any |= member->going;
		if (!member->going && member->view.weight &&
		    member->row.group == group->parts[part].group &&
		    (member->view.state == STEER_ACTIVE || (to && comes(member, to))))
			return false;
	}
	return any;
}

static const char *family_alone(const struct group *group, const struct steer_member_name *to)
{
	return is_left_alone(group, 0, to) ? "IPv4" : is_left_alone(group, 1, to) ? "IPv6" : NULL;
}

static int check_drain(struct group *group, const struct steer_member_name *name, struct err *err)
{
	const char *family;

	if (check_enforced(group, err) < 0)
		return -EINVAL;
	for (size_t i = 0; i < group->member_count; i++)
		group->members[i].going = member_is_named(&group->members[i], name);
	family = family_alone(group, NULL);
	if (!family)
		return 0;
	return err_set(err, -EINVAL,
		       "cannot drain the last active member of group %s: nobody would be left for "
		       "new flows over %s",
		       group->name, family);
}

static int control_drain(void *ctx, const char *name, const struct steer_drain_request *request,
			 struct err *err)
{
	struct group *group = find_now(ctx, name, err);
	uint64_t now = clock_now_ns();
	struct member *member;
	char text[64];

	if (!group)
		return -ENOENT;
	if (!members_find(group, &request->member, 0))
		return no_member(group, err);
	if (!request->undo && check_drain(group, &request->member, err) < 0)
		return -EINVAL;
	for (size_t n = 0; (member = members_find(group, &request->member, n)); n++) {
		if (request->undo)
			member_activate(group, member);
		else if (member->view.state != STEER_DRAINED)
			member_drain(group, member,
				     request->deadline_ns ? request->deadline_ns
							  : group->config->drain_timeout_ns,
				     now);
		moves_note(group, "operator", request->undo ? "undrain" : "drain",
			   member_text(member, text));
	}
	parts_apply(group, now);
	group->steering->save = true;
	return 0;
}

static bool goes(const struct member *member, const struct steer_swap_request *request)
{
	if (!is_given(&request->from))
		return member->view.state == STEER_ACTIVE && !comes(member, &request->to);
	return member_is_named(member, &request->from);
}

/* Somebody goes, and somebody is left. */
static int check_swap(struct group *group, const struct steer_swap_request *request,
		      struct err *err)
{
	const char *family;
	bool any = false;

	if (is_given(&request->to) && !members_find(group, &request->to, 0))
		return no_member(group, err);
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		member->going = goes(member, request);
		any |= member->going;
	}
	if (!any)
		return no_member(group, err);
	family = family_alone(group, &request->to);
	if (!family)
		return 0;
	return err_set(err, -EINVAL,
		       "cannot swap: group %s has no other member that could take over for %s; "
		       "start the new one first",
		       group->name, family);
}

/* New ones in, old ones out, in one table: no flow finds a state between. */
static int control_swap(void *ctx, const char *name, const struct steer_swap_request *request,
			struct err *err)
{
	struct group *group = find_now(ctx, name, err);
	uint64_t now = clock_now_ns();
	uint64_t deadline_ns;
	int r;

	if (!group)
		return -ENOENT;
	deadline_ns = request->deadline_ns ? request->deadline_ns : group->config->drain_timeout_ns;
	r = check_enforced(group, err);
	if (r < 0)
		return r;
	steering_poll(group->steering); /* who has just come counts */
	r = check_swap(group, request, err);
	if (r < 0)
		return r;
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		if (member->going && member->view.state != STEER_DRAINED)
			member_drain(group, member, deadline_ns, now);
		else if (!member->going && member->view.state != STEER_ACTIVE &&
			 comes(member, &request->to))
			member_activate(group, member);
	}
	parts_apply(group, now);
	group->steering->save = true;
	moves_note(group, "operator", "swap", "");
	return 0;
}

static int control_weight(void *ctx, const char *name, const struct steer_member_name *which,
			  uint32_t weight, struct err *err)
{
	struct group *group = find_now(ctx, name, err);
	struct member *member;
	char text[64], note[96];

	if (!group)
		return -ENOENT;
	if (weight > 65535)
		return err_set(err, -EINVAL, "cannot set weight %u: the most is 65535", weight);
	if (!members_find(group, which, 0))
		return no_member(group, err);
	for (size_t n = 0; (member = members_find(group, which, n)); n++) {
		member->view.weight = weight;
		group->parts[member->part].dirty = true;
		snprintf(note, sizeof(note), "%u: %s", weight, member_text(member, text));
		moves_note(group, "operator", "weight", note);
	}
	parts_apply(group, clock_now_ns());
	group->steering->save = true;
	return 0;
}

static int control_explain(void *ctx, const char *name, const struct steer_flow_request *flow,
			   struct steer_explanation *ret, struct err *err)
{
	struct group *group = find(ctx, name, err);

	return group ? steering_explain(group, flow, ret, err) : -ENOENT;
}

static int control_index(void *ctx, const char *name, uint32_t index, uint16_t slot,
			 struct err *err)
{
	struct group *group = find(ctx, name, err);
	int r;

	if (!group)
		return -ENOENT;
	if (slot != STEER_NOBODY && !members_by_slot(group, slot))
		return no_member(group, err);
	r = steering_index(group, index, slot, err);
	parts_apply(group, clock_now_ns());
	return r;
}

static int control_trace(void *ctx, const char *name, const struct steer_trace_request *request,
			 struct stream **ret, struct err *err)
{
	struct group *group = find(ctx, name, err);

	return group ? steering_trace_start(group, request, ret, err) : -ENOENT;
}

static int control_audit(void *ctx, const char *name, struct buf *out, struct err *err)
{
	struct group *group = find(ctx, name, err);

	return group ? report_audit(group, out, err) : -ENOENT;
}

static int control_history(void *ctx, const char *name, struct buf *out, struct err *err)
{
	struct group *group = find(ctx, name, err);

	return group ? report_history(group, out, err) : -ENOENT;
}

static int control_capabilities(void *ctx, struct buf *out, struct err *err)
{
	return report_capabilities(ctx, out, err);
}

void steering_control_init(struct steering *steering)
{
	steering->control = (struct control_steer){
		.ctx = steering,
		.view = control_view,
		.attach = control_attach,
		.detach = control_detach,
		.policy = control_policy,
		.rollout = control_rollout,
		.freeze = control_freeze,
		.fallback = control_fallback,
		.drain = control_drain,
		.swap = control_swap,
		.weight = control_weight,
		.explain = control_explain,
		.index = control_index,
		.trace = control_trace,
		.audit = control_audit,
		.history = control_history,
		.capabilities = control_capabilities,
	};
}
