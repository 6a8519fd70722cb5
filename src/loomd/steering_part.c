/* A group's kernel side: one program and its maps for each address family that has sockets. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "steering_internal.h"
#include "sys/bpffs.h"

#define REOPEN_NS (5 * NSEC_PER_SEC)

struct steer_policy_options part_policy(const struct config_steer_policy_options *policy)
{
	return (struct steer_policy_options){
		.policy = (enum steer_policy)policy->policy,
		.offset = policy->offset,
		.length = policy->length,
		.shift = policy->shift,
		.mask = policy->mask,
		.flow_timeout_ns = policy->flow_timeout_ns,
		.max_flows = policy->max_flows,
		.max_indices = policy->max_indices,
	};
}

static enum steer_mode mode_of(const struct group *group)
{
	if (group->rollout.fallback || group->detached)
		return STEER_FALLBACK;
	switch (group->rollout.state) {
	case ROLLOUT_OBSERVE:
		return STEER_OBSERVE;
	case ROLLOUT_SHADOW:
		return STEER_SHADOW;
	case ROLLOUT_CANARY:
		return STEER_CANARY;
	case ROLLOUT_ENFORCED:
		return STEER_ENFORCE;
	}
	return STEER_FALLBACK;
}

bool part_decides(const struct group *group, size_t p)
{
	const struct part *part = &group->parts[p];

	return mode_of(group) == STEER_ENFORCE && part->attached && !part->foreign;
}

static void set_mode(struct group *group, struct part *part)
{
	enum steer_mode mode = mode_of(group);

	if (steer_mode(part->steer) != mode ||
	    steer_canary_permille(part->steer) != group->rollout.canary_permille)
		steer_set_mode(part->steer, mode, group->rollout.canary_permille);
	part->told = true;
}

/* Somebody wrote fallback where we had written something else: an operator, by the pins, while we
 * were dead or deaf.  His word stands until he takes it back. */
static void heed_pins(struct group *group, const struct part *part, uint64_t now)
{
	struct rollout_move move;

	if (!part->told || steer_mode(part->steer) != STEER_FALLBACK ||
	    mode_of(group) == STEER_FALLBACK ||
	    rollout_fallback(&group->rollout, ROLLOUT_BY_OPERATOR,
			     "by the pins: loom steer fallback --direct", now, &move) != 1)
		return;
	/* A predecessor's program is there still: it is ours to detach. */
	for (size_t p = 0; p < STEERING_PARTS; p++)
		if (group->parts[p].steer && steer_adopted(group->parts[p].steer) &&
		    group->parts[p].program && !group->parts[p].foreign)
			group->parts[p].attached = true;
	moves_done(group, &move);
}

/* What the pins have in force is how far the group is, even where a predecessor died before he had
 * written it down.  Fallback is heed_pins' affair: what is below it only the state file knows. */
static void adopt_mode(struct group *group, struct part *part)
{
	static const enum rollout_state states[] = {
		[STEER_OBSERVE] = ROLLOUT_OBSERVE,
		[STEER_SHADOW] = ROLLOUT_SHADOW,
		[STEER_CANARY] = ROLLOUT_CANARY,
		[STEER_ENFORCE] = ROLLOUT_ENFORCED,
	};
	enum steer_mode mode = steer_mode(part->steer);
	struct rollout is = group->rollout;

	if (mode == STEER_FALLBACK || mode == mode_of(group))
		return;
	if (group->unproven) {
		set_mode(group, part);
		return;
	}
	is.state = states[mode];
	is.canary_permille = mode == STEER_CANARY ? steer_canary_permille(part->steer) : 0;
	is.fallback = false;
	group->detached = false;
	rollout_adopt(&group->rollout, &is, clock_now_ns());
	group->steering->save = true;
}

void parts_set_mode(struct group *group)
{
	for (size_t p = 0; p < STEERING_PARTS; p++)
		if (group->parts[p].steer)
			set_mode(group, &group->parts[p]);
}

static void pin_dir(const struct group *group, size_t part, char dir[256])
{
	snprintf(dir, 256, "%.180s/%.63s/%c", group->steering->pin_base, group->name,
		 part ? '6' : '4');
}

static int open_part(struct group *group, size_t p, struct err *err)
{
	struct part *part = &group->parts[p];
	struct steer_options options = { .udp = group->config->udp,
					 .reads_group = group->steering->reads_group,
					 .migrates = group->steering->migrates,
					 .holds = group->steering->holds,
					 .policy = part_policy(&group->policy) };
	char dir[256];
	int r;

	pin_dir(group, p, dir);
	options.pin_dir = dir;
	r = bpffs_ensure(dir, err);
	if (r == 0)
		r = steer_open(&part->steer, &options, err);
	if (r < 0)
		return err_prefix(err, "group %s", group->name);
	part->dirty = true;
	part->told = steer_adopted(part->steer);
	if (steer_adopted(part->steer)) {
		adopt_mode(group, part);
		steering_index_adopt(group);
	}
	/* What the predecessor attached is the same policy's: it is replaced, not fought. */
	part->attached = false;
	return 0;
}

int part_ensure(struct group *group, size_t p, struct err *err)
{
	struct part *part = &group->parts[p];
	uint64_t now = clock_now_ns();
	int r;

	if (part->steer)
		return 0;
	if (now < part->retry_ns)
		return err_set(err, -EAGAIN, "%.190s", part->trouble);
	r = open_part(group, p, err);
	if (r < 0)
		part->retry_ns = now + REOPEN_NS;
	return r;
}

static int by_index(const void *a, const void *b)
{
	const struct steer_plan_member *x = a, *y = b;

	return x->index != y->index ? x->index - y->index : x->slot - y->slot;
}

static size_t plan_members(const struct group *group, size_t p,
			   struct steer_plan_member members[STEER_MAX_SLOTS])
{
	size_t count = 0;

	for (size_t i = 0; i < group->member_count && count < STEER_MAX_SLOTS; i++) {
		const struct member *member = &group->members[i];

		if (member->part != p || member->view.slot == STEER_NOBODY ||
		    member->row.group != group->parts[p].group)
			continue;
		members[count++] = (struct steer_plan_member){
			.cookie = member->view.cookie,
			.slot = member->view.slot,
			.index = member->view.index < 0 ? UINT16_MAX : (uint16_t)member->view.index,
			.weight = member->view.weight,
			.generation = member->view.generation,
			.active = member->view.state == STEER_ACTIVE,
			.held = member->view.held,
			.cpu = member->cpu,
		};
	}
	qsort(members, count, sizeof(*members), by_index);
	return count;
}

static void write_table(struct group *group, size_t p)
{
	struct part *part = &group->parts[p];
	const struct steer_table *now = steer_table(part->steer);
	struct steer_plan_member members[STEER_MAX_SLOTS] = { 0 };
	struct steer_plan_input input = {
		.policy = (enum steer_policy)group->policy.policy,
		.members = members,
		.before = now->member_count ? now : NULL,
		.vshard_overrides = group->vshard_overrides,
	};
	struct steer_table table;
	bool restricted;

	input.count = plan_members(group, p, members);
	restricted = steer_plan_compile(&input, &table);
	steer_write(part->steer, &table, restricted);
	part->dirty = false;
}

static int attach_part(struct group *group, size_t p, struct err *err)
{
	struct part *part = &group->parts[p];
	int socket = members_socket(group, p, err);
	int r;

	if (socket < 0)
		return socket;
	r = steer_attach(part->steer, socket, err);
	close(socket);
	if (r < 0)
		return err_prefix(err, "group %s", group->name);
	part->attached = true;
	part->foreign = false;
	part->program = steer_program_id(part->steer);
	part->classic = false;
	return 0;
}

/* Ours, of an earlier program or an earlier loomd: that one's pins are what we took over. */
static bool may_attach(const struct part *part)
{
	return (!part->program && !part->classic) || steer_adopted(part->steer);
}

static void follow_attachment(struct group *group, size_t p)
{
	struct part *part = &group->parts[p];
	struct err err = { 0 };

	if (group->detached || group->rollout.fallback || !part->group)
		return;
	if (part->attached) {
		part->foreign = part->exact &&
				(part->classic || part->program != steer_program_id(part->steer));
		return;
	}
	if (part->program == steer_program_id(part->steer)) {
		part->attached = true;
		part->foreign = false;
		return;
	}
	if (!may_attach(part)) {
		if (!part->foreign)
			log_warning("group %s: another program is attached already (id %u); 'loom "
				    "steer attach %s' replaces it",
				    group->name, part->program, group->name);
		part->foreign = true;
		return;
	}
	if (attach_part(group, p, &err) < 0)
		log_warning("%s", err.text);
	else
		moves_note(group, "automatic", "attached", p ? "IPv6" : "IPv4");
}

static bool has_members(const struct group *group, size_t p)
{
	for (size_t i = 0; i < group->member_count; i++)
		if (group->members[i].part == p && group->members[i].view.slot != STEER_NOBODY)
			return true;
	return false;
}

void parts_apply(struct group *group, uint64_t now)
{
	for (size_t p = 0; p < STEERING_PARTS; p++) {
		struct part *part = &group->parts[p];

		if (!part->steer)
			continue;
		if (part->dirty)
			write_table(group, p);
		if (!has_members(group, p)) {
			part->attached = part->foreign = false;
			continue;
		}
		heed_pins(group, part, now);
		set_mode(group, part);
		follow_attachment(group, p);
	}
}

int parts_attach(struct group *group, struct err *err)
{
	bool any = false;
	int r = 0;

	for (size_t p = 0; p < STEERING_PARTS && r == 0; p++) {
		if (!group->parts[p].steer || !has_members(group, p))
			continue;
		any = true;
		r = attach_part(group, p, err);
	}
	if (r == 0 && !any)
		return err_set(err, -ENOENT, "cannot attach to group %s: it has no members%s%s",
			       group->name, group->parts[0].trouble[0] ? "; " : "",
			       group->parts[0].trouble);
	return r;
}

int parts_detach(struct group *group, struct err *err)
{
	int r = 0;

	for (size_t p = 0; p < STEERING_PARTS; p++) {
		struct part *part = &group->parts[p];
		bool foreign = part->foreign;
		int socket;

		if (!part->steer || !part->attached)
			continue;
		steer_set_mode(part->steer, STEER_FALLBACK, 0);
		part->told = false;
		part->attached = part->foreign = false;
		/* Another's program is not ours to take away. */
		if (foreign || !has_members(group, p))
			continue;
		socket = members_socket(group, p, err);
		r = socket < 0 ? socket : steer_detach(socket, err);
		if (socket >= 0)
			close(socket);
		if (r < 0)
			return r;
		part->program = 0;
	}
	return 0;
}

/* One part's program, in force where the old one was. */
static int load_part(struct group *group, size_t p, const struct steer_policy_options *policy,
		     const struct steer_const *filter, struct err *err)
{
	struct part *part = &group->parts[p];
	int r = filter ? steer_load_traced(part->steer, filter, err)
		       : steer_load(part->steer, policy, err);

	if (r == 0 && part->attached && !part->foreign && has_members(group, p))
		r = attach_part(group, p, err);
	part->dirty = true;
	return r;
}

/* Both families have one program: what fails for one goes back for the other. */
static int load_parts(struct group *group, const struct steer_policy_options *policy,
		      const struct steer_const *filter, struct err *err)
{
	struct steer_policy_options before = part_policy(&group->policy);
	int r = 0;

	for (size_t p = 0; p < STEERING_PARTS && r == 0; p++)
		if (group->parts[p].steer)
			r = load_part(group, p, policy, filter, err);
	for (size_t p = 0; p < STEERING_PARTS && r < 0; p++)
		if (group->parts[p].steer)
			load_part(group, p, &before, NULL, NULL);
	return r;
}

int parts_load(struct group *group, const struct config_steer_policy_options *policy,
	       struct err *err)
{
	struct steer_policy_options options = part_policy(policy);

	return load_parts(group, &options, NULL, err);
}

int parts_load_traced(struct group *group, const struct steer_const *filter, struct err *err)
{
	return load_parts(group, NULL, filter, err);
}

void parts_close(struct group *group, enum plane_exit how)
{
	char dir[256];

	if (how == PLANE_DETACH)
		parts_detach(group, NULL);
	for (size_t p = 0; p < STEERING_PARTS; p++) {
		steer_close(group->parts[p].steer, how);
		group->parts[p].steer = NULL;
	}
	if (how != PLANE_DETACH)
		return;
	snprintf(dir, sizeof(dir), "%.180s/%.63s", group->steering->pin_base, group->name);
	rmdir(dir);
}
