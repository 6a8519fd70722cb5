/* The calls of loom_steer.h. */
#include <errno.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "steer_internal.h"

#define DEFAULT_PATH	   "/run/loom/default.steer"
#define DEFAULT_WEIGHT	   100
#define DEFAULT_TIMEOUT_MS 2000
#define DEFAULT_RETRY_MS   1000
#define NSEC_PER_MSEC	   1000000ull
#define DRAIN_GRACE_MS	   1000 /* what loomd may be late with its own deadline */

_Static_assert((int)LOOM_STEER_GONE == JOIN_MEMBER_GONE &&
		       (int)LOOM_STEER_ENFORCED == JOIN_ROLLOUT_ENFORCED,
	       "the states are handed on as they come");

uint64_t steer_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

void steer_set_error(struct loom_steer *steer, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(steer->error, sizeof(steer->error), fmt, args);
	va_end(args);
}

int steer_check_socket(int fd, uint64_t *ret_cookie)
{
	struct sockaddr_storage address = { 0 };
	socklen_t length = sizeof(address);
	int type = 0, listens = 0, reuse = 0;

	if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
		return -errno;
	length = sizeof(int);
	if (getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &reuse, &length) < 0)
		return -errno;
	if ((address.ss_family != AF_INET && address.ss_family != AF_INET6) || !reuse ||
	    (type != SOCK_DGRAM && !(type == SOCK_STREAM && listens)))
		return -EINVAL;
	length = sizeof(*ret_cookie);
	return getsockopt(fd, SOL_SOCKET, SO_COOKIE, ret_cookie, &length) < 0 ? -errno : 0;
}

static int copy_text(char *ret, size_t size, const char *text)
{
	if (!text)
		text = "";
	if (strlen(text) >= size)
		return -EINVAL;
	memset(ret, 0, size); /* it is sent padded */
	strcpy(ret, text);
	return 0;
}

/* As loomd takes names: printable. */
static int copy_name(char *ret, size_t size, const char *text)
{
	size_t i;

	for (i = 0; text && text[i]; i++)
		if (text[i] < ' ' || text[i] > '~')
			return -EINVAL;
	return copy_text(ret, size, text);
}

static int copy_options(struct loom_steer *steer, const struct loom_steer_options *options)
{
	const char *path = options->socket;
	int r;

	if (!path)
		path = secure_getenv(JOIN_SOCKET_ENV);
	if (!path || !*path)
		path = DEFAULT_PATH;
	if (options->weight > JOIN_MAX_WEIGHT)
		return -EINVAL;
	steer->weight = options->weight ? options->weight : DEFAULT_WEIGHT;
	steer->generation = options->generation;
	steer->timeout_ms = options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS;
	steer->retry_ms = options->retry_ms ? options->retry_ms : DEFAULT_RETRY_MS;
	r = copy_name(steer->group, sizeof(steer->group), options->group);
	if (r == 0)
		r = copy_name(steer->label, sizeof(steer->label), options->label);
	if (r == 0)
		r = copy_text(steer->path, sizeof(steer->path), path);
	return r;
}

static int open_descriptors(struct loom_steer *steer)
{
	struct epoll_event event = { .events = EPOLLIN };

	steer->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (steer->epoll < 0)
		return -errno;
	steer->timer = timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK);
	if (steer->timer < 0 || epoll_ctl(steer->epoll, EPOLL_CTL_ADD, steer->timer, &event) < 0)
		return -errno;
	return 0;
}

int loom_steer_join(struct loom_steer **ret, const struct loom_steer_options *options, int fd)
{
	struct loom_steer_options known = { 0 };
	struct loom_steer *steer;
	int r;

	*ret = NULL;
	/* A program built against a later header may say what is not known here: 0 there. */
	if (!options || options->size < offsetof(struct loom_steer_options, label))
		return -EINVAL;
	memcpy(&known, options, options->size < sizeof(known) ? options->size : sizeof(known));
	steer = calloc(1, sizeof(*steer));
	if (!steer)
		return -ENOMEM;
	steer->fd = fd;
	steer->conn = steer->epoll = steer->timer = -1;
	r = steer_check_socket(fd, &steer->cookie);
	if (r == 0)
		r = copy_options(steer, &known);
	if (r == 0)
		r = open_descriptors(steer);
	if (r < 0) {
		loom_steer_close(steer);
		return r;
	}
	steer->wanted = true;
	link_settle(steer);
	*ret = steer;
	return 0;
}

/* What loomd refused is the caller's; that it is not there is not. */
static int result(int r)
{
	return r == -ENOTCONN ? 0 : r;
}

static int ask(struct loom_steer *steer, enum join_type type)
{
	struct join_header header;

	return link_ask(steer, type, &header, sizeof(header));
}

int loom_steer_ready(struct loom_steer *steer)
{
	bool up = link_settle(steer);

	steer->ready = true; /* after: a rejoin just now would have said it as well */
	return up ? result(ask(steer, JOIN_READY)) : 0;
}

static void drained_plain(struct loom_steer *steer)
{
	steer->draining = false;
	steer->drained = LOOM_STEER_DRAINED_PLAIN;
	link_arm_now(steer);
}

int loom_steer_drain(struct loom_steer *steer, uint32_t deadline_ms)
{
	struct join_drain message = { .deadline_ms = deadline_ms };
	bool up = link_settle(steer);
	int r;

	steer->wanted = false; /* a new loomd finds it draining by what the application does */
	steer->drained = LOOM_STEER_NOT_DRAINED;
	if (!up) {
		drained_plain(steer);
		return 0;
	}
	steer->draining = true;
	steer->drain_until_ns =
		deadline_ms
			? steer_now_ns() + ((uint64_t)deadline_ms + DRAIN_GRACE_MS) * NSEC_PER_MSEC
			: 0;
	r = link_ask(steer, JOIN_DRAIN, &message, sizeof(message));
	if (r < 0 && r != -ENOTCONN) {
		steer->draining = false;
		steer->wanted = true;
		return r;
	}
	if (steer->draining)
		link_arm(steer);
	return 0;
}

enum loom_steer_drained loom_steer_drained(struct loom_steer *steer)
{
	link_process(steer);
	return steer->drained;
}

int loom_steer_drain_wait(struct loom_steer *steer, uint32_t deadline_ms)
{
	int r = loom_steer_drain(steer, deadline_ms);

	if (r < 0)
		return r;
	while (loom_steer_drained(steer) == LOOM_STEER_NOT_DRAINED) {
		struct pollfd wait = { .fd = steer->epoll, .events = POLLIN };

		link_arm(steer);
		if (poll(&wait, 1, -1) < 0 && errno != EINTR)
			return -errno;
	}
	return (int)steer->drained;
}

int loom_steer_leave(struct loom_steer *steer)
{
	bool up = steer->step != LINK_NONE && link_settle(steer);
	int r = 0;

	steer->wanted = false;
	steer->known = false;
	if (up)
		r = result(ask(steer, JOIN_LEAVE));
	if (steer->step != LINK_NONE)
		link_drop(steer, 0);
	steer->error[0] = '\0';
	return r;
}

void loom_steer_close(struct loom_steer *steer)
{
	if (!steer)
		return;
	/* The end of the connection is the end of the membership. */
	if (steer->conn >= 0)
		close(steer->conn);
	if (steer->timer >= 0)
		close(steer->timer);
	if (steer->epoll >= 0)
		close(steer->epoll);
	index_map_done(&steer->published);
	free(steer);
}

int loom_steer_fd(const struct loom_steer *steer)
{
	return steer->epoll;
}

int loom_steer_process(struct loom_steer *steer)
{
	int count = link_process(steer);

	link_arm(steer);
	return count;
}

enum loom_steer_state loom_steer_state(struct loom_steer *steer)
{
	link_process(steer);
	return steer->step == LINK_UP ? LOOM_STEER_STEERED : LOOM_STEER_PLAIN;
}

enum loom_steer_member loom_steer_member(struct loom_steer *steer)
{
	link_process(steer);
	return steer->member_state;
}

enum loom_steer_rollout loom_steer_rollout(struct loom_steer *steer)
{
	link_process(steer);
	return steer->rollout;
}

int loom_steer_slot(struct loom_steer *steer)
{
	return loom_steer_state(steer) == LOOM_STEER_STEERED ? steer->slot : -ENOTCONN;
}

int loom_steer_identity(struct loom_steer *steer)
{
	int r = link_settle(steer) ? ask(steer, JOIN_IDENTITY) : -ENOTCONN;

	return r < 0 ? r : steer->answer.identity;
}

/* In as many messages as it takes; ends at the first that is refused. */
static int tell_indices(struct loom_steer *steer, enum join_type type, const uint32_t *indices,
			size_t count)
{
	struct {
		struct join_indices head;
		uint32_t index[JOIN_MAX_INDEX];
	} message;
	int r = 0;

	while (count && r == 0) {
		size_t now = count < JOIN_MAX_INDEX ? count : JOIN_MAX_INDEX;

		message.head = (struct join_indices){ .count = (uint32_t)now };
		memcpy(message.index, indices, now * sizeof(*indices));
		r = link_ask(steer, type, &message, sizeof(message.head) + now * sizeof(*indices));
		indices += now;
		count -= now;
	}
	return result(r);
}

int loom_steer_publish(struct loom_steer *steer, const uint32_t *indices, size_t count)
{
	bool up = link_settle(steer);
	size_t i;

	if (index_map_reserve(&steer->published, count) < 0)
		return -ENOMEM;
	for (i = 0; i < count; i++)
		index_map_set(&steer->published, indices[i], 0);
	return up ? tell_indices(steer, JOIN_PUBLISH, indices, count) : 0;
}

int loom_steer_unpublish(struct loom_steer *steer, const uint32_t *indices, size_t count)
{
	bool up = link_settle(steer);
	size_t i;

	for (i = 0; i < count; i++)
		index_map_remove(&steer->published, indices[i]);
	return up ? tell_indices(steer, JOIN_UNPUBLISH, indices, count) : 0;
}

const char *loom_steer_error(const struct loom_steer *steer)
{
	return steer->error;
}
