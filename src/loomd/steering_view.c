/* What is shown of the groups: read back from the kernel at the moment of asking. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "steering_internal.h"

static int by_slot(const void *a, const void *b)
{
	const struct steer_member_view *x = a, *y = b;

	return x->slot != y->slot ? x->slot - y->slot : x->id < y->id ? -1 : x->id > y->id;
}

static int view_members(struct group *group, struct steer_group_view *view)
{
	view->members = calloc(group->member_count + 1, sizeof(*view->members));
	if (!view->members)
		return -ENOMEM;
	view->member_count = group->member_count;
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		member_count(group, member);
		view->members[i] = member->view;
	}
	qsort(view->members, view->member_count, sizeof(*view->members), by_slot);
	return 0;
}

static void view_parts(const struct group *group, struct steer_group_view *view)
{
	bool any = false;

	view->attached = true;
	view->exact = true;
	for (size_t p = 0; p < STEERING_PARTS; p++) {
		const struct part *part = &group->parts[p];
		uint64_t counters[STEER_COUNTERS_END];

		if (!part->steer)
			continue;
		if (steer_counters(part->steer, counters) == 0)
			for (int i = 0; i < STEER_COUNTERS_END; i++)
				view->counters[i] += counters[i];
		if (!part->group)
			continue;
		any = true;
		view->attached &= part->attached && !part->foreign;
		view->exact &= part->exact && group->steering->reads_group;
		view->program = part->program;
		view->program_own = steer_program_id(part->steer);
	}
	view->attached &= any;
}

static void view_rollout(const struct group *group, struct steer_group_view *view, uint64_t now)
{
	const struct rollout *rollout = &group->rollout;

	view->state = rollout_state_name(rollout->state);
	view->canary_permille = rollout->canary_permille;
	view->frozen = rollout->frozen;
	view->fallback = rollout->fallback;
	view->target = rollout_state_name(rollout->target.state);
	view->automatic = rollout->automatic;
	view->reverted = rollout->reverted;
	view->state_age_ns = now - rollout->since_ns;
	view->cooldown_ns = rollout->cooldown_until_ns > now ? rollout->cooldown_until_ns - now : 0;
	snprintf(view->held_back, sizeof(view->held_back), "%.159s",
		 rollout->gate[0]	      ? rollout->gate
		 : group->parts[0].trouble[0] ? group->parts[0].trouble
		 : group->parts[1].trouble[0] ? group->parts[1].trouble
		 : rollout->reverted	      ? "it was moved back: an operator decides"
					      : "");
}

static int view_group(struct group *group, struct steer_group_view *view, uint64_t now)
{
	*view = (struct steer_group_view){
		.udp = group->config->udp,
		.address = group->config->address,
		.any_family = group->config->any_family,
		.port = group->config->port,
		.policy = steer_policy_name((enum steer_policy)group->policy.policy),
		.transitions = { group->moves[0], group->moves[1] },
		.repairs = group->repairs,
		.resets = group->resets,
		.max_over_mean_permille = group->max_over_mean_permille,
		.jain_permille = group->jain_permille,
		.probe_p99_ns = group->last_probe_p99_ns,
		.probe_failures = group->probe_failures,
		.indices = group->indices,
		.last = group->last,
	};
	snprintf(view->name, sizeof(view->name), "%s", group->name);
	snprintf(view->netns, sizeof(view->netns), "%s",
		 group->config->netns ? group->config->netns : "");
	view_rollout(group, view, now);
	view_parts(group, view);
	return view_members(group, view);
}

int steering_view(struct steering *steering, const char *name, struct steer_view **ret,
		  struct err *err)
{
	struct steer_view *view = calloc(1, sizeof(*view));
	uint64_t now = clock_now_ns();
	int r = 0;

	if (view)
		view->groups = calloc(steering->group_count + 1, sizeof(*view->groups));
	if (!view || !view->groups) {
		steer_view_free(view);
		return err_set(err, -ENOMEM, "cannot show steering: out of memory");
	}
	steering_look(steering);
	for (size_t i = 0; r == 0 && i < steering->group_count; i++)
		if (!name || !strcmp(name, steering->groups[i]->name))
			r = view_group(steering->groups[i], &view->groups[view->group_count++],
				       now);
	if (r < 0) {
		steer_view_free(view);
		return err_set(err, r, "cannot show steering: out of memory");
	}
	*ret = view;
	return 0;
}
