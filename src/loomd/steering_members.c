/* Members: sockets that come and go, and what the kernel says of them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "base/log.h"
#include "steering_internal.h"

const char *member_text(const struct member *member, char text[64])
{
	snprintf(text, 64, "slot %d, %.15s pid %u",
		 member->view.slot == STEER_NOBODY ? -1 : (int)member->view.slot,
		 member->view.comm[0] ? member->view.comm : "?", member->view.pid);
	return text;
}

/* ---- finding ---- */

struct member *members_by_slot(struct group *group, uint16_t slot)
{
	for (size_t i = 0; i < group->member_count; i++)
		if (group->members[i].view.slot == slot)
			return &group->members[i];
	return NULL;
}

bool member_is_named(const struct member *member, const struct steer_member_name *name)
{
	if (name->has_slot)
		return member->view.slot == name->slot;
	if (name->id)
		return member->view.id == name->id;
	if (name->pid)
		return member->view.pid == name->pid;
	if (name->generation)
		return member->view.generation == name->generation;
	return name->unit[0] && !strcmp(member->view.unit, name->unit);
}

struct member *members_find(struct group *group, const struct steer_member_name *name, size_t nth)
{
	for (size_t i = 0; i < group->member_count; i++)
		if (member_is_named(&group->members[i], name) && nth-- == 0)
			return &group->members[i];
	return NULL;
}

static struct member *find_row(struct group *group, const struct steer_truth_row *row)
{
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		if (member->view.inode == row->inode &&
		    (!row->cookie || !member->view.cookie || member->view.cookie == row->cookie))
			return member;
	}
	return NULL;
}

/* ---- coming and going ---- */

static struct member *add(struct group *group, const struct steer_truth_row *row, uint64_t now)
{
	struct member *member;

	if (group->member_count == group->member_room) {
		size_t room = group->member_room ? group->member_room * 2 : 4;
		void *members = reallocarray(group->members, room, sizeof(*group->members));

		if (!members)
			return NULL;
		group->members = members;
		group->member_room = room;
	}
	member = &group->members[group->member_count++];
	*member = (struct member){
		.view = { .id = ++group->next_member_id,
			  .slot = STEER_NOBODY,
			  .cookie = row->cookie,
			  .inode = row->inode,
			  .index = -1,
			  .source = "",
			  .weight = 100,
			  .state = STEER_QUARANTINED },
		.part = row->family == AF_INET6,
		.cpu = -1,
		.owner_fd = -1,
		.first_seen_ns = now,
		.moved_ns = now,
		.fresh = true,
	};
	memcpy(&member->view.address, row->addr, sizeof(member->view.address));
	return member;
}

static void forget(struct group *group, struct member *member)
{
	struct part *part = &group->parts[member->part];
	char text[64];

	log_info("group %s: a member has gone: %s", group->name, member_text(member, text));
	if (member->view.slot != STEER_NOBODY && part->steer)
		steer_take(part->steer, member->view.slot);
	joined_gone(group, member);
	group->full &= member->view.slot == STEER_NOBODY;
	part->dirty = true;
	report_gone(group, member);
	free(member->past);
	*member = group->members[--group->member_count];
}

void members_free(struct group *group)
{
	for (size_t i = 0; i < group->member_count; i++)
		free(group->members[i].past);
	free(group->members);
	group->members = NULL;
	group->member_count = group->member_room = 0;
}

/* ---- what the kernel says of them ---- */

static void note_queue(struct member *member, const struct steer_truth_row *row, uint64_t now)
{
	/* A queue that is empty or shrinks is somebody's who reads. */
	if (!row->queue || row->queue < member->row.queue)
		member->moved_ns = now;
	member->row = *row;
	member->view.index = row->index == STEER_TRUTH_NO_INDEX ? -1 : row->index;
	member->view.queue = row->queue;
	if (row->queue > member->past_queue)
		member->past_queue = row->queue;
	member->view.queue_max = row->queue_limit;
	member->view.handshakes = row->requests;
	member->view.drops = row->drops;
	member->view.queue_age_ns = row->queue ? now - member->moved_ns : 0;
	member->seen = true;
}

static uint64_t mixed(uint64_t sum, uint64_t value)
{
	return (sum ^ value) * 0x9e3779b97f4a7c15ull + (sum >> 29);
}

static void note_part(struct group *group, size_t p, const struct steer_truth_row *row)
{
	struct part *part = &group->parts[p];

	/* All its sockets are new ones (or it has grown): nothing is attached, or still ours is. */
	if (part->group != row->group)
		part->attached = false;
	part->group = row->group;
	part->program = row->program_id;
	part->classic = row->flags & STEER_TRUTH_CLASSIC;
}

/* Rows of one part: which of several kernel groups on the address counts is the first one's; the
 * others are listed, and stay in quarantine. */
static void sync_part(struct group *group, size_t p, uint64_t now)
{
	struct part *part = &group->parts[p];
	uint64_t signature = 1;
	bool first = true;

	part->exact = group->steering->exact;
	for (size_t i = 0; i < group->row_count; i++) {
		const struct steer_truth_row *row = group->rows[i];
		struct member *member;

		if ((row->family == AF_INET6) != (p == 1))
			continue;
		if (first)
			note_part(group, p, row);
		first = false;
		signature = mixed(signature, row->inode);
		signature = mixed(signature, row->index | (uint64_t)row->flags << 32);
		member = find_row(group, row);
		if (!member)
			member = add(group, row, now);
		if (!member)
			continue;
		note_queue(member, row, now);
	}
	if (first)
		part->program = 0;
	if (signature != part->signature)
		part->dirty = true;
	part->signature = signature;
}

void members_sync(struct group *group, uint64_t now)
{
	for (size_t i = 0; i < group->member_count; i++)
		group->members[i].seen = false;
	for (size_t p = 0; p < STEERING_PARTS; p++)
		sync_part(group, p, now);
	for (size_t i = group->member_count; i-- > 0;)
		if (!group->members[i].seen)
			forget(group, &group->members[i]);
}

/* ---- what they got ---- */

void member_count(struct group *group, struct member *member)
{
	const struct steer *steer = group->parts[member->part].steer;
	struct steer_member_count *count = &member->view.count;

	if (!steer || member->view.slot == STEER_NOBODY ||
	    steer_member_counters(steer, member->view.slot, count) < 0)
		return;
	count->kernel_packets -= member->before.kernel_packets;
	count->kernel_bytes -= member->before.kernel_bytes;
	count->selected_packets -= member->before.selected_packets;
	count->selected_bytes -= member->before.selected_bytes;
	count->shadow_packets -= member->before.shadow_packets;
	count->migrated -= member->before.migrated;
}
