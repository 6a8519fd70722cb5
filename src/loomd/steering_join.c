/* Members that speak for themselves, by libloom. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/log.h"
#include "join_server.h"
#include "steering_internal.h"

static enum join_rollout rollout_of(const struct group *group)
{
	return group->rollout.fallback
		       ? JOIN_ROLLOUT_FALLBACK
		       : (enum join_rollout)(JOIN_ROLLOUT_OBSERVE + (int)group->rollout.state);
}

static enum join_member state_of(const struct member *member)
{
	switch (member->view.state) {
	case STEER_QUARANTINED:
		return JOIN_MEMBER_QUARANTINED;
	case STEER_ACTIVE:
		return JOIN_MEMBER_ACTIVE;
	case STEER_DRAINING:
	case STEER_DRAINED:
		break;
	}
	return JOIN_MEMBER_DRAINING;
}

void joined_state(struct group *group, const struct member *member)
{
	if (member->join_id && group->steering->join)
		join_server_state(group->steering->join, member->join_id, rollout_of(group),
				  state_of(member));
}

void joined_drained(struct group *group, const struct member *member, enum join_drained_reason why)
{
	if (member->join_id && group->steering->join)
		join_server_drained(group->steering->join, member->join_id, why);
}

void joined_gone(struct group *group, const struct member *member)
{
	joined_drained(group, member, JOIN_DRAINED_PLAIN); /* nobody waits for it any longer */
	if (member->join_id && group->steering->join)
		join_server_state(group->steering->join, member->join_id, rollout_of(group),
				  JOIN_MEMBER_GONE);
}

void joined_end(struct group *group)
{
	for (size_t i = 0; group->steering->join && i < group->member_count; i++)
		if (group->members[i].join_id)
			join_server_end(group->steering->join, group->members[i].join_id);
}

static struct member *find(struct steering *steering, uint64_t id, struct group **ret_group)
{
	for (size_t i = 0; i < steering->group_count; i++) {
		struct group *group = steering->groups[i];

		for (size_t k = 0; k < group->member_count; k++)
			if (group->members[k].join_id == id) {
				*ret_group = group;
				return &group->members[k];
			}
	}
	return NULL;
}

static int gone(struct err *err)
{
	return err_set(err, -ENOENT,
		       "cannot do that for this member: its socket has left the "
		       "group; join again with another one");
}

static bool takes_joiners(const struct config_steer_group *config)
{
	for (size_t i = 0; i < config->member_count; i++)
		if (config->members[i].source == CONFIG_STEER_JOIN)
			return true;
	return !config->member_count;
}

static struct member *by_socket(struct group *group, int socket)
{
	struct stat stat;

	if (fstat(socket, &stat) < 0)
		return NULL;
	for (size_t i = 0; i < group->member_count; i++)
		if (group->members[i].view.inode == stat.st_ino)
			return &group->members[i];
	return NULL;
}

/* The group that is named, or that the kernel shows the socket in; NULL: none. */
static struct group *group_of(struct steering *steering, const struct join_request *request,
			      int socket)
{
	if (request->group[0])
		return steering_group(steering, request->group);
	steering_poll(steering);
	for (size_t i = 0; i < steering->group_count; i++)
		if (by_socket(steering->groups[i], socket))
			return steering->groups[i];
	return NULL;
}

static void introduce(struct member *member, const struct join_request *request,
		      const struct join_peer *peer)
{
	member->view.source = "join";
	member->view.weight = request->weight;
	member->view.generation = request->generation;
	member->ready = request->header.type == JOIN_JOIN && request->flags & JOIN_FLAG_READY;
	if (peer->pid > 0) {
		member->view.pid = (uint32_t)peer->pid;
		member->owner_fd = -1;
	}
	snprintf(member->view.label, sizeof(member->view.label), "%.31s", request->label);
}

static int join(void *ctx, const struct join_request *request, const struct join_peer *peer,
		int socket, uint64_t *ret_id, uint16_t *ret_slot, struct err *err)
{
	struct steering *steering = ctx;
	struct group *group = group_of(steering, request, socket);
	struct member *member;
	char text[64];
	int r = 0;

	if (!group && !request->group[0])
		return err_set(err, -ENOENT,
			       "cannot join a group by address: no group of the configuration is "
			       "of this socket's; see steering.groups");
	if (!group)
		return err_set(err, -ENOENT,
			       "cannot join group %.63s: the configuration has none "
			       "of that name",
			       request->group);
	if (!takes_joiners(group->config))
		return err_set(err, -EPERM,
			       "cannot join group %s: its members do not include "
			       "'join: true'",
			       group->name);
	steering_poll(steering); /* the kernel says whether the socket is of the group */
	member = by_socket(group, socket);
	if (!member)
		return err_set(err, -EINVAL,
			       "cannot join group %s: the socket is not bound to its address and "
			       "port with SO_REUSEPORT, in its network namespace",
			       group->name);
	if (member->join_id)
		return err_set(err, -EALREADY, "cannot join group %s: the socket has joined it",
			       group->name);
	introduce(member, request, peer);
	if (member->view.slot == STEER_NOBODY)
		r = members_take_in(group, member, socket, err);
	if (r < 0)
		return r;
	if (member->fresh)
		state_of_member(group, member);
	member->fresh = false;
	member->join_id = ++steering->last_join_id;
	if (member->ready && member->view.state == STEER_QUARANTINED)
		member_activate(group, member);
	else if (!member->ready && member->view.state == STEER_ACTIVE)
		member->view.state = STEER_QUARANTINED;
	group->parts[member->part].dirty = true;
	parts_apply(group, clock_now_ns());
	steering->save = true;
	log_info("group %s: joined: %s", group->name, member_text(member, text));
	*ret_id = member->join_id;
	*ret_slot = member->view.slot;
	joined_state(group, member);
	return 0;
}

static int ready(void *ctx, uint64_t id, struct err *err)
{
	struct group *group;
	struct member *member = find(ctx, id, &group);

	if (!member)
		return gone(err);
	member->ready = true;
	member_activate(group, member);
	parts_apply(group, clock_now_ns());
	group->steering->save = true;
	return 0;
}

static int drain(void *ctx, uint64_t id, uint64_t deadline_ns, struct err *err)
{
	struct steering *steering = ctx;
	struct group *group;
	struct member *member = find(ctx, id, &group);
	uint64_t now = clock_now_ns();

	if (!member) {
		join_server_drained(steering->join, id, JOIN_DRAINED_PLAIN);
		return 0;
	}
	member_drain(group, member, deadline_ns > now ? deadline_ns - now : 0, now);
	parts_apply(group, now);
	group->steering->save = true;
	return 0;
}

static void leave(void *ctx, uint64_t id)
{
	struct group *group;
	struct member *member = find(ctx, id, &group);

	if (!member)
		return;
	/* Its socket may be open yet: it gets nothing more by policy. */
	member->join_id = 0;
	member->view.state = STEER_DRAINED;
	group->parts[member->part].dirty = true;
	parts_apply(group, clock_now_ns());
	group->steering->save = true;
}

static int publish(void *ctx, uint64_t id, const uint32_t *indices, size_t count, bool add,
		   struct err *err)
{
	struct group *group;
	struct member *member = find(ctx, id, &group);
	bool added[JOIN_MAX_INDEX] = { 0 };
	int r = 0;

	if (!member)
		return gone(err);
	for (size_t i = 0; i < count && i < JOIN_MAX_INDEX && r >= 0; i++) {
		r = steering_index_own(group, indices[i], member, add, err);
		added[i] = r == 1;
	}
	/* All or nothing: what the client is told has failed is not there, what was there is. */
	for (size_t i = 0; r < 0 && i < count && i < JOIN_MAX_INDEX; i++)
		if (added[i])
			steering_index_own(group, indices[i], member, false, NULL);
	parts_apply(group, clock_now_ns());
	return r < 0 ? r : 0;
}

static int identity(void *ctx, uint64_t id, uint16_t *ret, struct err *err)
{
	struct group *group;
	struct member *member = find(ctx, id, &group);

	if (!member)
		return gone(err);
	*ret = member->view.slot;
	return 0;
}

int joined_open(struct steering *steering, struct err *err)
{
	static const struct join_ops ops = {
		.join = join,
		.ready = ready,
		.drain = drain,
		.leave = leave,
		.publish = publish,
		.identity = identity,
	};
	const struct config_steering *config = &steering->config->steering;
	struct join_server_options options = { .users = config->join_users,
					       .user_count = config->join_user_count,
					       .group = (gid_t)-1 };
	char path[108];

	if (config->join_socket && !config->join_socket[0])
		return 0;
	snprintf(path, sizeof(path), JOIN_SOCKET_FORMAT, steering->config->instance);
	options.path = config->join_socket ? config->join_socket : path;
	return join_server_open(&steering->join, steering->loop, &options, &ops, steering, err);
}

void joined_configure(struct steering *steering)
{
	const struct config_steering *config = &steering->config->steering;

	if (steering->join &&
	    join_server_users(steering->join, config->join_users, config->join_user_count) < 0)
		log_error("cannot take over steering.join.users: out of memory");
}

void joined_close(struct steering *steering)
{
	join_server_close(steering->join);
	steering->join = NULL;
}
