/* Network namespaces that groups are in: opened by name, watched for the deaths of sockets. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/log.h"
#include "steering_internal.h"
#include "sys/netns.h"

struct deaths {
	const struct steering *steering;
	bool any;
};

/* Of a host's many sockets that end few are groups'. */
static void on_death(void *ctx, const struct sock_diag_death *death)
{
	struct deaths *deaths = ctx;

	deaths->any |= steering_has_port(deaths->steering, death->port);
}

static void on_deaths(void *ctx, uint32_t events)
{
	struct space *space = ctx;
	struct deaths deaths = { .steering = space->steering };

	(void)events;
	if (sock_diag_deaths_read(space->deaths, on_death, &deaths) == -ENOBUFS || deaths.any)
		loop_arm_sooner(space->steering->poll_timer, 0);
}

/* The namespace ends when nobody holds it any more. */
static void let_go(struct space *space)
{
	if (space->deaths_watch)
		loop_remove_fd(space->steering->loop, space->deaths_watch);
	sock_diag_deaths_close(space->deaths);
	if (space->fd >= 0)
		close(space->fd);
	space->deaths_watch = NULL;
	space->deaths = NULL;
	space->fd = -1;
	space->resets_known = false;
}

static void close_space(struct space *space)
{
	let_go(space);
	for (int udp = 0; udp < 2; udp++)
		steer_truth_rows_done(&space->rows[udp]);
	free(space->name);
	free(space);
}

static int watch_deaths(struct space *space)
{
	struct err err = { 0 };
	int r = netns_enter(space->fd, &err);

	if (r == 0) {
		r = sock_diag_deaths_open(&space->deaths, &err);
		netns_leave();
	}
	if (r == 0)
		r = loop_add_fd(space->steering->loop, sock_diag_deaths_fd(space->deaths), EPOLLIN,
				on_deaths, space, &space->deaths_watch);
	return r;
}

/* 0, also where deaths are not told; the space's descriptor is fd then. */
static int hold(struct space *space, int fd, struct err *err)
{
	int r = netns_enter(fd, err);

	if (r < 0) {
		close(fd);
		return r;
	}
	netns_leave();
	space->fd = fd;
	if (watch_deaths(space) < 0)
		log_info("namespace %s: deaths of sockets are found by looking",
			 space->name[0] ? space->name : "of loomd");
	return 0;
}

static int open_space(struct steering *steering, const char *name, struct space **ret,
		      struct err *err)
{
	struct space *space = calloc(1, sizeof(*space));
	int r;

	if (!space)
		return err_set(err, -ENOMEM, "cannot watch a namespace: out of memory");
	space->steering = steering;
	space->fd = -1;
	space->name = strdup(name ? name : "");
	if (!space->name) {
		close_space(space);
		return err_set(err, -ENOMEM, "cannot watch a namespace: out of memory");
	}
	r = netns_open(name, err);
	if (r >= 0)
		r = hold(space, r, err);
	if (r < 0) {
		close_space(space);
		return r;
	}
	*ret = space;
	return 0;
}

int spaces_get(struct steering *steering, const char *name, struct space **ret, struct err *err)
{
	void *spaces;
	int r;

	for (size_t i = 0; i < steering->space_count; i++)
		if (!strcmp(steering->spaces[i]->name, name ? name : "")) {
			*ret = steering->spaces[i];
			return 0;
		}
	spaces = reallocarray(steering->spaces, steering->space_count + 1,
			      sizeof(*steering->spaces));
	if (!spaces)
		return err_set(err, -ENOMEM, "cannot watch a namespace: out of memory");
	steering->spaces = spaces;
	r = open_space(steering, name, ret, err);
	if (r == 0)
		steering->spaces[steering->space_count++] = *ret;
	return r;
}

static bool is_empty(const struct space *space)
{
	return !space->rows[0].count && !space->rows[1].count;
}

/* Its name may be another namespace's by now, or nobody's: containers are made anew. */
static void follow(struct space *space)
{
	bool used = space->used[0] || space->used[1];
	struct err err = { 0 };
	int fd = used ? netns_open(space->name, &err) : -1;

	if (!used && space->fd >= 0)
		let_go(space);
	if (fd < 0) {
		if (space->fd >= 0 && is_empty(space)) {
			log_notice("namespace %s has gone", space->name);
			let_go(space);
		}
		return;
	}
	if (space->fd >= 0 && netns_inode(fd) == netns_inode(space->fd)) {
		close(fd);
		return;
	}
	let_go(space);
	if (hold(space, fd, &err) < 0)
		log_error("%s", err.text);
	else
		log_notice("namespace %s is another one now", space->name);
}

void spaces_follow(struct steering *steering)
{
	for (size_t i = 0; i < steering->space_count; i++)
		if (steering->spaces[i]->name[0])
			follow(steering->spaces[i]);
}

void spaces_close(struct steering *steering)
{
	for (size_t i = 0; i < steering->space_count; i++)
		close_space(steering->spaces[i]);
	free(steering->spaces);
}
