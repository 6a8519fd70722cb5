/* Whose a member is: who holds its socket, which entry of the configuration speaks of the holder,
 * and the slot that the socket, had from the holder, gets. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "steering_internal.h"
#include "sys/pidfd.h"

#define RETRY_NS (500 * NSEC_PER_MSEC)

/* ---- whose it is ---- */

static bool entry_matches(const struct config_steer_member *entry,
			  const struct sock_process *process)
{
	switch (entry->source) {
	case CONFIG_STEER_PROCESS:
		return !strcmp(entry->name, process->comm) || !strcmp(entry->name, process->exe);
	case CONFIG_STEER_UNIT:
		return !strcmp(entry->name, process->unit);
	case CONFIG_STEER_PID:
		return entry->pid == (uint32_t)process->pid;
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
		/* The eldest: a master that holds its workers' sockets outlives them. */
		if (!first) {
			first = &owners->processes[holds[i].process];
			member->owner_fd = holds[i].fd;
		}
		member->view.holders++;
	}
	if (!first)
		return false;
	member->view.pid = (uint32_t)first->pid;
	snprintf(member->view.comm, sizeof(member->view.comm), "%s", first->comm);
	snprintf(member->view.unit, sizeof(member->view.unit), "%.63s", first->unit);
	return true;
}

void members_check_owners(struct group *group)
{
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		/* One that joined leaves with its owner. */
		if (!member->fresh && !member->join_id)
			member->orphan = !pidfd_holds((pid_t)member->view.pid, member->owner_fd,
						      member->view.inode);
	}
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

/* ---- the slot that its socket gets ---- */

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
	/* What was counted for the slot's last owner. */
	if (is_new && steer_member_counters(part->steer, slot, &member->before) < 0)
		memset(&member->before, 0, sizeof(member->before));
	return 0;
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

int members_socket(struct group *group, size_t part, struct err *err)
{
	int r = -ENOENT;

	err_set(err, r, "cannot reach group %s: it has no member whose socket can be had",
		group->name);
	for (size_t i = 0; i < group->member_count; i++) {
		const struct member *member = &group->members[i];

		if (member->part != part || !member->view.pid)
			continue;
		r = pidfd_take_socket_at((pid_t)member->view.pid, member->owner_fd,
					 member->view.inode, err);
		if (r >= 0)
			return r;
	}
	return r;
}

/* ---- newcomers ---- */

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

void member_announce(const struct group *group, const struct member *member)
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
			member_announce(group, member);
	}
	/* At once: a duplicate that is held is a socket that nobody reads when its owner dies. */
	if (socket >= 0)
		close(socket);
}

void members_admit(struct group *group, const struct sock_owners *owners, uint64_t now)
{
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		if (member->fresh && member->sought && !group->full)
			admit(group, member, owners, now);
		else if (member->orphan && member->sought)
			adopt(group, member, owners);
		member->sought = false;
	}
}
