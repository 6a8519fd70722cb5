/* The last 15 minutes of every member, those that have gone among them.
 *
 * Periods are the same for all: each has a place in the steering's ring, and a member's own ring
 * has its part of it at the same place, with the same time.  Another time there is of 15 minutes
 * ago. */
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "steering_internal.h"

static uint64_t packets_of(const struct member *member)
{
	return member->view.count.selected_packets + member->view.count.kernel_packets;
}

static uint32_t since(uint64_t now, uint64_t before)
{
	uint64_t count = now >= before ? now - before : now; /* the counter began anew */

	return count > UINT32_MAX ? UINT32_MAX : (uint32_t)count;
}

/* What was before the member's first period is nobody's. */
static void begin(struct member *member)
{
	member->past = calloc(STEERING_HISTORY, sizeof(*member->past));
	member->past_packets = packets_of(member);
	member->past_drops = (uint32_t)member->view.drops;
	member->past_queue = member->view.queue;
}

static void note(struct member *member, size_t place, int64_t wall_s)
{
	member->past[place] = (struct member_past){
		.wall_s = wall_s,
		.packets = since(packets_of(member), member->past_packets),
		.drops = since((uint32_t)member->view.drops, member->past_drops),
		.queue = member->past_queue,
		.state = (uint8_t)member->view.state,
	};
	member->past_packets = packets_of(member);
	member->past_drops = (uint32_t)member->view.drops;
	member->past_queue = member->view.queue;
}

/* ---- those that have gone ---- */

static void drop_ghost(struct group *group, size_t i)
{
	free(group->ghosts[i].past);
	memmove(&group->ghosts[i], &group->ghosts[i + 1],
		(--group->ghost_count - i) * sizeof(*group->ghosts));
}

void report_gone(struct group *group, struct member *member)
{
	struct steering *steering = group->steering;
	struct ghost *ghost;

	report_restart(group);
	if (!member->past)
		return;
	if (!group->ghosts)
		group->ghosts = calloc(STEERING_GHOSTS, sizeof(*group->ghosts));
	if (!group->ghosts)
		return;
	if (group->ghost_count == STEERING_GHOSTS)
		drop_ghost(group, 0);
	/* The time of the period that goes on is not known yet: its end. */
	note(member, steering->past_next, 0);
	ghost = &group->ghosts[group->ghost_count++];
	*ghost = (struct ghost){ .id = member->view.id,
				 .slot = member->view.slot,
				 .pid = member->view.pid,
				 .past = member->past,
				 .gone_ns = clock_now_ns(),
				 .unfinished = true };
	member->past = NULL;
}

static void follow_ghosts(struct group *group, int64_t wall_s, uint64_t now)
{
	for (size_t i = 0; i < group->ghost_count; i++) {
		struct ghost *ghost = &group->ghosts[i];

		if (ghost->unfinished)
			ghost->past[group->steering->past_next].wall_s = wall_s;
		ghost->unfinished = false;
	}
	/* The eldest come first. */
	while (group->ghost_count &&
	       now - group->ghosts[0].gone_ns > STEERING_HISTORY * STEERING_HISTORY_NS)
		drop_ghost(group, 0);
}

void report_forget(struct group *group)
{
	while (group->ghost_count)
		drop_ghost(group, group->ghost_count - 1);
	free(group->ghosts);
	group->ghosts = NULL;
}

/* ---- periods ---- */

void report_period(struct steering *steering, uint64_t now)
{
	bool over = now - steering->history_ns >= STEERING_HISTORY_NS;
	int64_t wall_s = clock_wall_s();

	for (size_t i = 0; i < steering->group_count; i++) {
		struct group *group = steering->groups[i];

		for (size_t k = 0; k < group->member_count; k++) {
			struct member *member = &group->members[k];

			if (!member->past)
				begin(member);
			else if (over)
				note(member, steering->past_next, wall_s);
		}
		if (over)
			follow_ghosts(group, wall_s, now);
	}
	if (!over)
		return;
	steering->past_wall_s[steering->past_next] = wall_s;
	steering->past_span_ns[steering->past_next] = now - steering->history_ns;
	steering->past_next = (steering->past_next + 1) % STEERING_HISTORY;
	steering->history_ns = now;
}

/* ---- telling ---- */

struct who {
	uint64_t id;
	uint16_t slot;
	uint32_t pid;
	bool gone;
	const struct member_past *past;
};

static void tell_member(const struct who *who, size_t place, uint64_t span_ns, bool *any,
			struct buf *out)
{
	const struct member_past *past = &who->past[place];
	uint64_t rate = past->packets * NSEC_PER_SEC / (span_ns ? span_ns : 1);
	char slot[8] = "null";

	if (who->slot != STEER_NOBODY)
		snprintf(slot, sizeof(slot), "%u", who->slot);
	buf_printf(out,
		   "%s{\"id\":%" PRIu64 ",\"slot\":%s,\"pid\":%u,\"state\":\"%s\",\"gone\":%s,"
		   "\"packets\":%u,\"rate\":%" PRIu64 ",\"queue\":%u,\"drops\":%u}",
		   *any ? "," : "", who->id, slot, who->pid,
		   steer_member_state_name((enum steer_member_state)past->state),
		   who->gone ? "true" : "false", past->packets, rate, past->queue, past->drops);
	*any = true;
}

static void tell_window(const struct group *group, size_t place, struct buf *out)
{
	const struct steering *steering = group->steering;
	int64_t wall_s = steering->past_wall_s[place];
	uint64_t span_ns = steering->past_span_ns[place];
	bool any = false;

	buf_printf(out, "{\"at\":%" PRId64 ",\"seconds\":%.3f,\"members\":[", wall_s,
		   (double)span_ns / NSEC_PER_SEC);
	for (size_t i = 0; i < group->ghost_count; i++) {
		const struct ghost *ghost = &group->ghosts[i];
		struct who who = { ghost->id, ghost->slot, ghost->pid, true, ghost->past };

		if (!ghost->unfinished && ghost->past[place].wall_s == wall_s)
			tell_member(&who, place, span_ns, &any, out);
	}
	for (size_t i = 0; i < group->member_count; i++) {
		const struct member *member = &group->members[i];
		struct who who = { member->view.id, member->view.slot, member->view.pid, false,
				   member->past };

		if (member->past && member->past[place].wall_s == wall_s)
			tell_member(&who, place, span_ns, &any, out);
	}
	buf_printf(out, "]}");
}

int report_history(struct group *group, struct buf *out, struct err *err)
{
	const struct steering *steering = group->steering;
	bool any = false;

	buf_printf(out, "[");
	for (size_t i = 0; i < STEERING_HISTORY; i++) {
		size_t place = (steering->past_next + i) % STEERING_HISTORY;

		if (!steering->past_wall_s[place])
			continue;
		if (any)
			buf_printf(out, ",");
		any = true;
		tell_window(group, place, out);
	}
	buf_printf(out, "]");
	return buf_failed(out)
		       ? err_set(err, -ENOMEM, "cannot tell the history of group %s: out of memory",
				 group->name)
		       : 0;
}
