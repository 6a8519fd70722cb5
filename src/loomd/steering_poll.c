/* The kernel's rows, handed to the groups they are of. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"
#include "steering_internal.h"
#include "sys/netns.h"

/* How long newcomers are taken in before others get their turn; at the start nobody waits yet. */
#define ADMIT_NS       (20 * NSEC_PER_MSEC)
#define ADMIT_FIRST_NS NSEC_PER_SEC
/* A poll that takes less is made whenever somebody asks. */
#define CHEAP_NS (2 * NSEC_PER_MSEC)

struct group *steering_group(struct steering *steering, const char *name)
{
	for (size_t i = 0; i < steering->group_count; i++)
		if (!strcmp(steering->groups[i]->name, name))
			return steering->groups[i];
	return NULL;
}

static bool is_any(const __be32 addr[4])
{
	struct addr address;

	memcpy(&address, addr, sizeof(address));
	return addr_is_any(&address) || (addr_is_v4(&address) && !address.word[3]);
}

static bool matches(const struct group *group, const struct steer_truth_row *row)
{
	if (row->ifindex)
		return false;
	if (group->config->any_family)
		return is_any(row->addr);
	return !memcmp(row->addr, &group->config->address, sizeof(row->addr));
}

static int take_row(struct group *group, const struct steer_truth_row *row)
{
	if (group->row_count == group->row_room) {
		size_t room = group->row_room ? group->row_room * 2 : 8;
		void *rows = reallocarray(group->rows, room, sizeof(*group->rows));

		if (!rows)
			return -ENOMEM;
		group->rows = rows;
		group->row_room = room;
	}
	group->rows[group->row_count++] = row;
	return 0;
}

/* The first of the groups on this port or a later one. */
static size_t first_at(const struct steering *steering, uint16_t port)
{
	size_t low = 0, high = steering->group_count;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (steering->by_port[middle]->config->port < port)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

bool steering_has_port(const struct steering *steering, uint16_t port)
{
	size_t at = first_at(steering, port);

	return at < steering->group_count && steering->by_port[at]->config->port == port;
}

static void hand_out(struct steering *steering, const struct space *space, bool udp)
{
	const struct steer_truth_rows *rows = &space->rows[udp];
	size_t first = 0;

	for (size_t i = 0; i < rows->count; i++) {
		uint16_t port = rows->rows[i].port;

		/* The kernel's group has one port. */
		if (i == 0 || port != rows->rows[i - 1].port)
			first = first_at(steering, port);
		for (size_t k = first;
		     k < steering->group_count && steering->by_port[k]->config->port == port; k++) {
			struct group *group = steering->by_port[k];

			if (group->space == space && group->config->udp == udp &&
			    matches(group, &rows->rows[i]))
				take_row(group, &rows->rows[i]); /* the next poll finds it */
		}
	}
}

/* Returns whether the rows are whole: groups whose rows may lack some keep what they know. */
static bool read_space(struct steering *steering, struct space *space, bool udp)
{
	struct err err = { 0 };
	int r;

	if (space->fd < 0) {
		space->rows[udp].count = 0;
		return true;
	}
	r = steer_truth_read(steering->truth, space->fd, udp ? IPPROTO_UDP : IPPROTO_TCP,
			     &space->rows[udp], &err);

	if (r < 0 && !space->complained)
		log_error("%s", err.text);
	space->complained = r < 0;
	return r == 0 && !space->rows[udp].torn;
}

int steering_compare_u64(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return x < y ? -1 : x > y;
}

static bool is_to_be_sought(const struct group *group, const struct member *member, uint64_t now)
{
	return member->orphan || member->rejudge ||
	       (member->fresh && !group->full && member->retry_ns <= now);
}

/* The kernel's own list, or /proc where that cannot be had. */
static int find_owners(struct steering *steering, const uint64_t *inodes, size_t count,
		       struct err *err)
{
	struct buf files;
	int r;

	buf_init(&files);
	r = steer_truth_files(steering->truth, &files);
	if (r == 0)
		r = sock_owners_of_files(inodes, count, (const void *)files.data,
					 files.len / sizeof(struct steer_truth_file),
					 &steering->owners, err);
	else
		r = sock_owners_scan(inodes, count, NULL, 0, &steering->owners, err);
	buf_done(&files);
	return r;
}

/* One look at all processes for all whose owner is sought, however many groups have some. */
static void seek_owners(struct steering *steering, uint64_t now)
{
	struct err err = { 0 };
	uint64_t *inodes;
	size_t count = 0;

	for (size_t i = 0; i < steering->group_count; i++) {
		const struct group *group = steering->groups[i];

		for (size_t k = 0; k < group->member_count; k++)
			count += is_to_be_sought(group, &group->members[k], now);
	}
	if (!count)
		return;
	inodes = calloc(count, sizeof(*inodes));
	if (!inodes)
		return;
	count = 0;
	for (size_t i = 0; i < steering->group_count; i++) {
		struct group *group = steering->groups[i];

		for (size_t k = 0; k < group->member_count; k++) {
			struct member *member = &group->members[k];

			member->sought = is_to_be_sought(group, member, now);
			if (member->sought)
				inodes[count++] = member->view.inode;
		}
	}
	qsort(inodes, count, sizeof(*inodes), steering_compare_u64);
	steering->admitting = find_owners(steering, inodes, count, &err) == 0;
	if (!steering->admitting) {
		log_warning("%s", err.text);
		sock_owners_done(&steering->owners);
	}
	steering->admit_next = 0;
	free(inodes);
}

void steering_admit_anew(struct steering *steering)
{
	sock_owners_done(&steering->owners);
	steering->admitting = false;
}

static void follow(struct group *group, uint64_t now)
{
	members_age(group, now);
	parts_apply(group, now);
}

/* A group costs its program's load: others want to be served between a thousand of them. */
static void admit_fresh(struct steering *steering, uint64_t now)
{
	uint64_t patience = steering->ready ? ADMIT_NS : ADMIT_FIRST_NS;

	if (!steering->admitting)
		seek_owners(steering, now);
	if (!steering->admitting)
		return;
	while (steering->admit_next < steering->group_count) {
		struct group *group = steering->groups[steering->admit_next++];

		members_admit(group, &steering->owners, now);
		follow(group, now);
		if (clock_now_ns() - now > patience)
			break;
	}
	if (steering->admit_next >= steering->group_count)
		steering_admit_anew(steering);
}

static uint64_t cpu_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
	return (uint64_t)at.tv_sec * NSEC_PER_SEC + (uint64_t)at.tv_nsec;
}

void steering_poll(struct steering *steering)
{
	uint64_t now = clock_now_ns();
	uint64_t before = cpu_ns();

	for (size_t i = 0; i < steering->group_count; i++)
		steering->groups[i]->row_count = 0;
	for (size_t s = 0; s < steering->space_count; s++) {
		struct space *space = steering->spaces[s];

		for (int udp = 0; udp < 2; udp++) {
			bool whole = space->used[udp] && read_space(steering, space, udp);

			if (whole)
				hand_out(steering, space, udp);
			for (size_t i = 0; space->used[udp] && i < steering->group_count; i++) {
				struct group *group = steering->groups[i];

				if (group->space == space && group->config->udp == udp && whole)
					members_sync(group, now);
			}
		}
	}
	admit_fresh(steering, now);
	for (size_t i = 0; i < steering->group_count; i++)
		follow(steering->groups[i], now);
	steering->polled_ns = now;
	if (!steering->admitting)
		steering->poll_cost_ns = cpu_ns() - before;
}

void steering_look(struct steering *steering)
{
	uint64_t cost = steering->poll_cost_ns;

	if (cost < CHEAP_NS || clock_now_ns() - steering->polled_ns > 10 * cost)
		steering_poll(steering);
}

bool steering_admit(struct steering *steering)
{
	if (steering->admitting)
		admit_fresh(steering, clock_now_ns());
	return steering->admitting;
}
