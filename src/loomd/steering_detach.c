/* What an instance left of its steering groups: loomd detach, and what the configuration does not
 * have any more when the next loomd starts. */
#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "state.h"
#include "steering_internal.h"
#include "sys/pidfd.h"

static bool is_among(const struct steer_truth_row *row, const uint64_t *cookies, size_t count)
{
	return row->cookie && row->program_id && !(row->flags & STEER_TRUTH_CLASSIC) &&
	       bsearch(&row->cookie, cookies, count, sizeof(*cookies), steering_compare_u64);
}

/* The program goes with the first holder's socket that can be had. */
static void detach_socket(const struct sock_owners *owners, uint64_t inode)
{
	size_t count;
	const struct sock_hold *holds = sock_owners_of(owners, inode, &count);
	int socket = -1;

	for (size_t i = 0; i < count && socket < 0; i++)
		socket = pidfd_take_socket_at(owners->processes[holds[i].process].pid, holds[i].fd,
					      inode, NULL);
	if (socket < 0)
		return;
	steer_detach(socket, NULL);
	close(socket);
}

static void detach_inodes(uint64_t *inodes, size_t count)
{
	struct sock_owners owners = { 0 };

	qsort(inodes, count, sizeof(*inodes), steering_compare_u64);
	if (count && sock_owners_scan(inodes, count, NULL, 0, &owners, NULL) == 0)
		for (size_t i = 0; i < count; i++)
			detach_socket(&owners, inodes[i]);
	sock_owners_done(&owners);
}

/* Takes the program off the sockets of a namespace that it steered.  cookies: ascending. */
static void release(struct steer_truth *truth, int netns_fd, const uint64_t *cookies, size_t count)
{
	for (int udp = 0; udp < 2; udp++) {
		struct steer_truth_rows rows = { 0 };
		uint64_t *inodes = NULL;
		size_t found = 0;

		if (steer_truth_read(truth, netns_fd, udp ? IPPROTO_UDP : IPPROTO_TCP, &rows,
				     NULL) == 0)
			inodes = calloc(rows.count + 1, sizeof(*inodes));
		for (size_t i = 0; inodes && i < rows.count; i++)
			if (is_among(&rows.rows[i], cookies, count))
				inodes[found++] = rows.rows[i].inode;
		if (inodes)
			detach_inodes(inodes, found);
		free(inodes);
		steer_truth_rows_done(&rows);
	}
}

struct sweep {
	struct steer_truth *truth;
	struct space **spaces; /* NULL: loomd's own namespace */
	size_t space_count;
};

/* Both families.  Where the sockets cannot be had the program stays on them, and does nothing. */
static void sweep_group(const struct sweep *sweep, const char *base, const char *name)
{
	uint64_t cookies[2 * STEER_RETIRED_MAX] = { 0 };
	char dir[600], part[620];
	size_t count = 0;

	snprintf(dir, sizeof(dir), "%.300s/%.255s", base, name);
	for (const char *family = "46"; *family; family++) {
		snprintf(part, sizeof(part), "%s/%c", dir, *family);
		count += steer_retire_pinned(part, cookies + count);
	}
	rmdir(dir);
	qsort(cookies, count, sizeof(*cookies), steering_compare_u64);
	for (size_t i = 0; sweep->truth && i < sweep->space_count; i++)
		release(sweep->truth, sweep->spaces ? sweep->spaces[i]->fd : -1, cookies, count);
}

static void sweep_all(const char *base)
{
	struct sweep sweep = { .space_count = 1 };
	DIR *dir = opendir(base);
	struct dirent *entry;

	steer_truth_open(&sweep.truth, NULL);
	while (dir && (entry = readdir(dir)))
		if (entry->d_name[0] != '.')
			sweep_group(&sweep, base, entry->d_name);
	if (dir)
		closedir(dir);
	steer_truth_close(sweep.truth);
	rmdir(base);
}

void steering_retire(struct steering *steering)
{
	const struct sweep sweep = { steering->truth, steering->spaces, steering->space_count };
	DIR *dir = opendir(steering->pin_base);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		const struct group *group = steering_group(steering, entry->d_name);

		if (entry->d_name[0] == '.' || (group && !group->moved))
			continue;
		sweep_group(&sweep, steering->pin_base, entry->d_name);
		log_notice("group %s of an earlier configuration is retired: its sockets are plain "
			   "Linux's",
			   entry->d_name);
	}
	if (dir)
		closedir(dir);
}

void steering_retire_all(const struct config *config)
{
	char base[256];

	steering_pin_base(config, base);
	if (access(base, F_OK) < 0)
		return;
	sweep_all(base);
	log_notice(
		"steering groups of an earlier configuration are retired: their sockets are plain "
		"Linux's");
}

static int detach(const struct config *config, const char *base, struct err *err)
{
	struct steering_options options = { .config = config, .detaching = true };
	struct steering *steering;
	struct loop *loop;
	int r = loop_new(&loop);

	if (r < 0)
		return err_set(err, r, "cannot detach: %s", strerror(-r));
	options.loop = loop;
	r = steering_open(&steering, &options, err);
	if (r == 0)
		steering_close(steering, PLANE_DETACH);
	loop_free(loop);
	if (r == 0)
		sweep_all(base);
	return r;
}

int steering_detach(const struct config *config, struct err *err)
{
	char base[256], state_path[300];
	int lock, r;

	steering_pin_base(config, base);
	if (access(base, F_OK) < 0)
		return 0;
	/* Who runs would put back what is taken away here. */
	snprintf(state_path, sizeof(state_path), "%.200s/%.32s.json", config->state_dir,
		 config->instance);
	lock = state_lock(state_path, err);
	if (lock < 0)
		return lock;
	r = detach(config, base, err);
	close(lock);
	return r;
}
