/* Members: sockets that come, are looked at, get a slot, drain and go. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "steering_internal.h"
#include "sys/netns.h"
#include "sys/pidfd.h"

#define RETRY_NS    (500 * NSEC_PER_MSEC)
#define DRAINED_FOR (20 * NSEC_PER_MSEC)
/* Who is there when we come is no newcomer. */
#define SETTLED_NS (500 * NSEC_PER_MSEC)
/* Who binds may join soon after; who has not by then is nobody we know. */
#define STRANGER_NS NSEC_PER_SEC
/* And may be somebody's later: who holds it is looked up again. */
#define JUDGE_NS     NSEC_PER_SEC
#define JUDGE_MAX_NS (60 * NSEC_PER_SEC)

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
	if (member->view.slot != STEER_NOBODY && part->steer) {
		steer_take(part->steer, member->view.slot);
		steering_index_forget(group, member->view.slot);
	}
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

/* Which of several kernel groups on the address counts (IPv6 with and without IPv4 are two): the
 * one that did, else the first.  The others' sockets are listed, and stay in quarantine. */
static const struct steer_truth_row *row_that_counts(struct group *group, size_t p)
{
	const struct steer_truth_row *first = NULL;

	for (size_t i = 0; i < group->row_count; i++) {
		const struct steer_truth_row *row = group->rows[i];
		const struct member *member;

		if ((row->family == AF_INET6) != (p == 1))
			continue;
		member = find_row(group, row);
		if (member && member->row.group == group->parts[p].group)
			return row;
		if (!first)
			first = row;
	}
	return first;
}

static void sync_part(struct group *group, size_t p, uint64_t now)
{
	struct part *part = &group->parts[p];
	const struct steer_truth_row *counts = row_that_counts(group, p);
	uint64_t signature = 1;

	part->exact = group->steering->exact;
	if (counts)
		note_part(group, p, counts);
	else
		part->program = 0;
	for (size_t i = 0; i < group->row_count; i++) {
		const struct steer_truth_row *row = group->rows[i];
		struct member *member;

		if ((row->family == AF_INET6) != (p == 1))
			continue;
		signature = mixed(signature, row->inode);
		signature = mixed(signature, row->index | (uint64_t)row->flags << 32);
		member = find_row(group, row);
		if (!member)
			member = add(group, row, now);
		if (!member)
			continue;
		note_queue(member, row, now);
	}
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

/* ---- looking at new ones ---- */

static bool entry_matches(const struct config_steer_member *entry,
			  const struct sock_process *process)
{
	switch (entry->source) {
	case CONFIG_STEER_PROCESS:
		if (entry->name[0] == '/')
			return sock_process_runs(process->pid, entry->name);
		return !strcmp(entry->name, process->comm) || !strcmp(entry->name, process->exe);
	case CONFIG_STEER_UNIT:
		return !strcmp(entry->name, process->unit);
	case CONFIG_STEER_PID:
		return sock_process_descends(process->pid, (pid_t)entry->pid);
	case CONFIG_STEER_ANY:
		return true;
	case CONFIG_STEER_JOIN:
		break;
	}
	return false;
}

static const char *source_name(enum config_steer_source source)
{
	static const char *const names[] = {
		[CONFIG_STEER_PROCESS] = "process", [CONFIG_STEER_UNIT] = "unit",
		[CONFIG_STEER_PID] = "pid",	    [CONFIG_STEER_ANY] = "any",
		[CONFIG_STEER_JOIN] = "join",
	};

	return names[source];
}

/* A socket that joins is in our hands for a moment: we are not its owner. */
static bool is_self(const struct sock_owners *owners, const struct sock_hold *hold)
{
	return owners->processes[hold->process].pid == getpid();
}

/* Which entry of the configuration, if any, speaks of one of the socket's holders. */
static void find_entry(const struct group *group, struct member *member,
		       const struct sock_owners *owners)
{
	size_t count;
	const struct sock_hold *holds = sock_owners_of(owners, member->view.inode, &count);

	if (member->view.source[0])
		return; /* it has joined */
	if (!group->config->member_count && count) {
		member->view.source = "any";
		member->view.weight = 100;
		return;
	}
	for (size_t i = 0; i < group->config->member_count; i++)
		for (size_t k = 0; k < count; k++) {
			const struct config_steer_member *entry = &group->config->members[i];

			if (is_self(owners, &holds[k]) ||
			    !entry_matches(entry, &owners->processes[holds[k].process]))
				continue;
			member->view.source = source_name(entry->source);
			member->view.weight = entry->weight;
			return;
		}
}

static bool name_owner(struct member *member, const struct sock_owners *owners)
{
	size_t count;
	const struct sock_hold *holds = sock_owners_of(owners, member->view.inode, &count);
	const struct sock_process *first = NULL;

	member->view.holders = 0;
	for (size_t i = 0; i < count; i++) {
		if (is_self(owners, &holds[i]))
			continue;
		/* The eldest: a master that holds its workers' sockets outlives them.  Not init,
		 * which only bound it for a service. */
		if (!first || first->pid == 1) {
			first = &owners->processes[holds[i].process];
			member->owner_fd = holds[i].fd;
		}
		member->view.holders++;
	}
	if (!first)
		return false;
	member->view.pid = (uint32_t)first->pid;
	snprintf(member->view.comm, sizeof(member->view.comm), "%s", first->comm);
	snprintf(member->view.unit, sizeof(member->view.unit), "%s", first->unit);
	return true;
}

static uint16_t free_slot(struct group *group)
{
	bool taken[STEER_MAX_SLOTS] = { 0 };

	for (size_t i = 0; i < group->member_count; i++)
		if (group->members[i].view.slot < STEER_MAX_SLOTS)
			taken[group->members[i].view.slot] = true;
	for (uint16_t slot = 0; slot < STEER_MAX_SLOTS; slot++)
		if (!taken[slot])
			return slot;
	return STEER_NOBODY;
}

/* Takes over the slot that a predecessor of this process gave the socket. */
static uint16_t known_slot(struct group *group, const struct member *member, bool *ret_new)
{
	const struct part *part = &group->parts[member->part];
	const struct steer_table *table = part->steer ? steer_table(part->steer) : NULL;

	for (uint32_t i = 0; table && i < table->member_count && i < STEER_MAX_SLOTS; i++)
		if (table->members[i].cookie == member->view.cookie &&
		    !members_by_slot(group, table->members[i].slot)) {
			*ret_new = false;
			return table->members[i].slot;
		}
	*ret_new = true;
	return free_slot(group);
}

static void look_at(struct member *member, int socket)
{
	uint64_t cookie = 0;
	socklen_t size = sizeof(cookie);
	int cpu = -1;

	if (getsockopt(socket, SOL_SOCKET, SO_COOKIE, &cookie, &size) == 0 && cookie)
		member->view.cookie = cookie;
	size = sizeof(cpu);
	if (member->row.cpu_members &&
	    getsockopt(socket, SOL_SOCKET, SO_INCOMING_CPU, &cpu, &size) == 0)
		member->cpu = cpu;
}

int members_take_in(struct group *group, struct member *member, int socket, struct err *err)
{
	struct part *part = &group->parts[member->part];
	bool is_new;
	uint16_t slot;
	int r = part_ensure(group, member->part, err);

	if (r < 0)
		return r;
	look_at(member, socket);
	slot = known_slot(group, member, &is_new);
	if (slot == STEER_NOBODY)
		return err_set(err, -ENOSPC,
			       "cannot steer to more than %d sockets of group %s: it has %zu; "
			       "the others get nothing by policy until some go",
			       STEER_MAX_SLOTS, group->name, group->member_count);
	r = steer_put(part->steer, slot, socket, &member->view.held, err);
	if (r == -EEXIST) {
		/* One that has gone without a trace. */
		steer_take(part->steer, slot);
		r = steer_put(part->steer, slot, socket, &member->view.held, err);
	}
	if (r < 0)
		return r;
	member->view.slot = slot;
	part->dirty = true;
	if (is_new)
		steering_index_forget(group, slot);
	/* What was counted for the slot's last owner. */
	if (is_new && steer_member_counters(part->steer, slot, &member->before) < 0)
		memset(&member->before, 0, sizeof(member->before));
	return 0;
}

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

int members_socket(struct group *group, size_t part, struct err *err)
{
	int r = -ENOENT;

	err_set(err, r, "cannot reach group %s: it has no member whose socket can be had",
		group->name);
	for (size_t i = 0; i < group->member_count; i++) {
		const struct member *member = &group->members[i];

		if (member->part != part || !member->view.pid ||
		    member->row.group != group->parts[part].group)
			continue;
		r = pidfd_take_socket_at((pid_t)member->view.pid, member->owner_fd,
					 member->view.inode, err);
		if (r >= 0)
			return r;
	}
	return r;
}

static void put_off(struct group *group, struct member *member, const struct err *err, uint64_t now)
{
	if (!member->complained)
		log_warning("group %s: %s", group->name, err->text);
	snprintf(group->parts[member->part].trouble, sizeof(group->parts[0].trouble), "%.190s",
		 err->text);
	member->complained = true;
	member->retry_ns = now + RETRY_NS;
	group->full |= err->code == -ENOSPC;
}

static void announce(const struct group *group, const struct member *member)
{
	char text[64];

	if (!member->view.source[0])
		log_warning("group %s: %s is in the group, and no members entry names it: it gets "
			    "nothing by policy",
			    group->name, member_text(member, text));
	else
		log_info("group %s: a new member: %s, by %s", group->name,
			 member_text(member, text), member->view.source);
}

static void admit(struct group *group, struct member *member, const struct sock_owners *owners,
		  uint64_t now)
{
	struct err err = { 0 };
	int socket;

	if (!name_owner(member, owners)) {
		err_set(&err, -ENOENT,
			"cannot find who holds a socket of the group; loomd needs cap_sys_ptrace "
			"for other users' processes");
		put_off(group, member, &err, now);
		return;
	}
	find_entry(group, member, owners);
	socket = pidfd_take_socket_at((pid_t)member->view.pid, member->owner_fd, member->view.inode,
				      &err);
	if (socket < 0 || members_take_in(group, member, socket, &err) < 0) {
		put_off(group, member, &err, now);
	} else {
		member->fresh = false;
		state_of_member(group, member);
		group->parts[member->part].trouble[0] = '\0';
		member->complained = false;
		if (member->view.source[0])
			announce(group, member);
	}
	/* At once: a duplicate that is held is a socket that nobody reads when its owner dies. */
	if (socket >= 0)
		close(socket);
}

/* Ever more rarely: a look through /proc is dear. */
static void reconsider(struct member *member, uint64_t now)
{
	if (now < member->judge_ns)
		return;
	member->rejudge = member->judge_ns;
	member->judge_wait_ns = member->judge_wait_ns ? 2 * member->judge_wait_ns : JUDGE_NS;
	if (member->judge_wait_ns > JUDGE_MAX_NS)
		member->judge_wait_ns = JUDGE_MAX_NS;
	member->judge_ns = now + member->judge_wait_ns;
}

void members_check_owners(struct group *group)
{
	uint64_t now = clock_now_ns();

	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		/* One that joined leaves with its owner. */
		if (!member->fresh && !member->join_id)
			member->orphan = !pidfd_holds((pid_t)member->view.pid, member->owner_fd,
						      member->view.inode);
		if (!member->fresh && !member->view.source[0])
			reconsider(member, now);
	}
}

/* The configuration's entries are others than those that it was judged by, or other processes hold
 * it: a service has come for a socket that systemd bound, a supervisor has started its program. */
static void judge_again(struct group *group, struct member *member,
			const struct sock_owners *owners)
{
	uint32_t weight = member->view.weight;
	bool was = member->view.source[0], is;
	char text[64];

	member->rejudge = false;
	member->view.source = "";
	find_entry(group, member, owners);
	is = member->view.source[0];
	if (!is)
		member->view.weight = weight;
	if (was && !is)
		member->view.state = STEER_QUARANTINED;
	if (was != is)
		member->complained = false;
	group->parts[member->part].dirty = true;
	if (!was && is && name_owner(member, owners))
		log_info("group %s: %s is a member by %s", group->name, member_text(member, text),
			 member->view.source);
}

static void adopt(const struct group *group, struct member *member,
		  const struct sock_owners *owners)
{
	uint32_t before = member->view.pid;
	char text[64];

	member->orphan = !name_owner(member, owners);
	if (member->view.pid != before)
		log_info("group %s: pid %u has left its socket to: %s", group->name, before,
			 member_text(member, text));
}

void members_admit(struct group *group, const struct sock_owners *owners, uint64_t now)
{
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		if (member->fresh && member->sought && !group->full)
			admit(group, member, owners, now);
		else if (member->orphan && member->sought)
			adopt(group, member, owners);
		if (member->rejudge && member->sought && !member->fresh)
			judge_again(group, member, owners);
		member->sought = false;
	}
}

/* Somebody else may have emptied a slot; the kernel's hash serves its flows meanwhile. */
static void refill(struct group *group, struct member *member)
{
	struct part *part = &group->parts[member->part];
	struct err err = { 0 };
	char text[64];
	int socket;

	if (!part->steer || member->view.slot == STEER_NOBODY || member->view.held ||
	    !member->view.pid || steer_has(part->steer, member->view.slot, member->view.cookie))
		return;
	/* Gone as well: the next look at the kernel tells. */
	socket = pidfd_take_socket((pid_t)member->view.pid, member->view.inode, &err);
	if (socket < 0)
		return;
	steer_take(part->steer, member->view.slot);
	if (steer_put(part->steer, member->view.slot, socket, &member->view.held, &err) < 0)
		log_warning("group %s: %s", group->name, err.text);
	else
		log_warning("group %s: somebody emptied %s: filled again", group->name,
			    member_text(member, text));
	part->dirty = true;
	close(socket);
}

void members_refill(struct group *group)
{
	for (size_t i = 0; i < group->member_count; i++)
		refill(group, &group->members[i]);
}

/* ---- states ---- */

void member_activate(struct group *group, struct member *member)
{
	member->view.state = STEER_ACTIVE;
	member->drain_deadline_ns = 0;
	member->drained_told = false;
	group->parts[member->part].dirty = true;
	joined_state(group, member);
}

void member_drain(struct group *group, struct member *member, uint64_t deadline_ns, uint64_t now)
{
	member->view.state = STEER_DRAINING;
	member->drain_deadline_ns = deadline_ns ? now + deadline_ns : 0;
	member->drain_empty_ns = 0;
	member->drained_told = false;
	group->parts[member->part].dirty = true;
}

static uint64_t idle_for(const struct group *group)
{
	if (!group->config->udp)
		return DRAINED_FOR;
	/* Without another word a flow lasts as long as the program remembers it. */
	if (group->policy.policy == CONFIG_STEER_GENERATION && !group->config->flow_idle_ns)
		return group->policy.flow_timeout_ns;
	return group->config->flow_idle_ns > DRAINED_FOR ? group->config->flow_idle_ns
							 : DRAINED_FOR;
}

static void drained(struct group *group, struct member *member, bool by_deadline)
{
	char text[64];

	member->view.state = STEER_DRAINED;
	member->drain_deadline_ns = 0;
	log_info("group %s: drained%s: %s", group->name, by_deadline ? " by its deadline" : "",
		 member_text(member, text));
	if (!member->drained_told)
		joined_drained(group, member,
			       by_deadline ? JOIN_DRAINED_DEADLINE : JOIN_DRAINED_EMPTY);
	member->drained_told = true;
}

/* Nothing waits just now, but the kernel's hash goes on sending: to stop would lose what comes
 * next. A member that wants to end must not wait for an operator. */
static void empty_for_now(struct group *group, struct member *member)
{
	if (!member->drained_told)
		joined_drained(group, member, JOIN_DRAINED_PLAIN);
	member->drained_told = true;
}

static void follow_drain(struct group *group, struct member *member, uint64_t now)
{
	uint64_t packets;

	member_count(group, member);
	packets = member->view.count.selected_packets + member->view.count.kernel_packets;
	if (member->row.queue || member->row.requests || packets != member->used_packets)
		member->drain_empty_ns = 0;
	else if (!member->drain_empty_ns)
		member->drain_empty_ns = now;
	member->used_packets = packets;
	if (member->drain_deadline_ns && now >= member->drain_deadline_ns)
		drained(group, member, true);
	else if (!member->drain_empty_ns || now - member->drain_empty_ns < idle_for(group))
		return;
	else if (part_decides(group, member->part))
		drained(group, member, false);
	else
		empty_for_now(group, member);
}

static void follow_quarantine(struct group *group, struct member *member, uint64_t now)
{
	if (member->fresh || !member->view.source[0] || member->view.slot == STEER_NOBODY ||
	    member->row.group != group->parts[member->part].group)
		return;
	if (member->join_id ? !member->ready
			    : member->first_seen_ns > group->steering->first_ns + SETTLED_NS &&
				      now - member->first_seen_ns < group->config->quarantine_ns)
		return;
	member_activate(group, member);
}

static void note_unexpected(struct group *group, struct member *member, uint64_t now)
{
	if (member->fresh || member->view.source[0] || now - member->first_seen_ns < STRANGER_NS)
		return;
	group->unexpected = true;
	if (!member->complained)
		announce(group, member);
	member->complained = true;
}

void members_age(struct group *group, uint64_t now)
{
	group->unexpected = false;
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		member->view.age_ns = now - member->first_seen_ns;
		member->view.drain_left_ns = member->drain_deadline_ns > now
						     ? member->drain_deadline_ns - now
						     : 0;
		if (member->view.state == STEER_QUARANTINED)
			follow_quarantine(group, member, now);
		else if (member->view.state == STEER_DRAINING)
			follow_drain(group, member, now);
		note_unexpected(group, member, now);
	}
}
