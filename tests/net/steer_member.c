// SPDX-License-Identifier: GPL-2.0-only
/* steer_member.c - a worker that knows of Loom: joins by libloom, drains when it is told to end.
 *
 * usage: steer_member tcp|udp ADDRESS PORT NUMBER [GROUP [GENERATION [INDEX,INDEX... ...]]]
 *
 * Answers as steer_server.py's workers do.  Without a group, or with an empty one, it knows nothing
 * of Loom and ends at once at SIGTERM, like most programs.  With one, SIGTERM drains and SIGUSR1
 * leaves; SIGHUP publishes the next list of indices.  Prints "ready SLOT", "published RESULT",
 * "drained REASON", and each change of its state at loomd. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "libloom/loom_steer.h"

#define DRAIN_MS 20000

static struct {
	bool tcp;
	int fd;
	struct loom_steer *steer;
	int state; /* as printed last */
	char head[16];
	size_t head_len;
	char **lists; /* of indices still to be published; NULL ends them */
} me;

static void die(const char *what, int error)
{
	fprintf(stderr, "steer_member: cannot %s: %s\n", what, strerror(error));
	exit(2);
}

/* Takes what is there, but not for ever: the signal and loomd want to be heard. */
static void serve_tcp(void)
{
	char request[256];

	for (int i = 0; i < 64; i++) {
		int peer = accept4(me.fd, NULL, NULL, SOCK_CLOEXEC);

		if (peer < 0)
			return;
		if (recv(peer, request, sizeof(request), 0) > 0)
			send(peer, me.head, me.head_len - 1, MSG_NOSIGNAL);
		close(peer);
	}
}

static void serve_udp(void)
{
	char data[2048];
	struct sockaddr_storage from;

	for (int i = 0; i < 64; i++) {
		socklen_t length = sizeof(from);
		ssize_t n = recvfrom(me.fd, data + me.head_len, sizeof(data) - me.head_len, 0,
				     (void *)&from, &length);

		if (n < 0)
			return;
		memcpy(data, me.head, me.head_len);
		sendto(me.fd, data, me.head_len + (size_t)n, 0, (void *)&from, length);
	}
}

static socklen_t parse(const char *address, const char *port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *in = (void *)ret;
	struct sockaddr_in6 *in6 = (void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, address, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons((uint16_t)atoi(port));
		return sizeof(*in);
	}
	if (inet_pton(AF_INET6, address, &in6->sin6_addr) != 1)
		die("read the address", EINVAL);
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons((uint16_t)atoi(port));
	return sizeof(*in6);
}

static void join(const char *group, uint32_t generation, const char *label)
{
	struct loom_steer_options options = { .size = sizeof(options),
					      .group = group,
					      .label = label,
					      .generation = generation,
					      .retry_ms = 100 };
	int r = loom_steer_join(&me.steer, &options, me.fd);

	if (r < 0)
		die("join", -r);
	r = loom_steer_ready(me.steer);
	if (r < 0)
		fprintf(stderr, "steer_member: not ready: %s\n", loom_steer_error(me.steer));
}

static void tell(void)
{
	int state = (int)loom_steer_state(me.steer) * 100 + (int)loom_steer_member(me.steer) * 10 +
		    (int)loom_steer_rollout(me.steer);

	if (state != me.state)
		printf("state %d member %d rollout %d slot %d %s\n", state / 100, state / 10 % 10,
		       state % 10, loom_steer_slot(me.steer), loom_steer_error(me.steer));
	me.state = state;
}

static void publish_next(void)
{
	uint32_t indices[16];
	size_t count = 0;

	if (!*me.lists)
		return;
	for (char *at = strtok(*me.lists++, ","); at && count < 16; at = strtok(NULL, ","))
		indices[count++] = (uint32_t)strtoul(at, NULL, 0);
	printf("published %d\n", loom_steer_publish(me.steer, indices, count));
}

/* Whether it is time to end. */
static bool told(int signals)
{
	struct signalfd_siginfo info;
	int r;

	if (read(signals, &info, sizeof(info)) != sizeof(info))
		return false;
	if (!me.steer || info.ssi_signo == SIGUSR1) {
		if (me.steer)
			loom_steer_leave(me.steer);
		return true;
	}
	if (info.ssi_signo == SIGHUP) {
		publish_next();
		return false;
	}
	r = loom_steer_drain(me.steer, DRAIN_MS);
	if (r < 0)
		fprintf(stderr, "steer_member: cannot drain: %s\n", loom_steer_error(me.steer));
	return false;
}

static void loop(int signals)
{
	struct pollfd wait[] = {
		{ .fd = signals, .events = POLLIN },
		{ .fd = me.fd, .events = POLLIN },
		{ .fd = me.steer ? loom_steer_fd(me.steer) : -1, .events = POLLIN },
	};
	enum loom_steer_drained drained = LOOM_STEER_NOT_DRAINED;

	while (!drained) {
		if (poll(wait, 3, -1) < 0)
			die("wait", errno);
		if (wait[1].revents)
			(me.tcp ? serve_tcp : serve_udp)();
		if (wait[0].revents && told(signals))
			return;
		if (me.steer) {
			loom_steer_process(me.steer);
			tell();
			drained = loom_steer_drained(me.steer);
		}
	}
	printf("drained %d\n", (int)drained);
}

int main(int argc, char **argv)
{
	struct sockaddr_storage at;
	socklen_t length;
	sigset_t set;
	int signals;

	if (argc < 5) {
		fprintf(stderr, "usage: steer_member tcp|udp ADDRESS PORT NUMBER "
				"[GROUP [GENERATION [INDEX,INDEX... ...]]]\n");
		return 2;
	}
	setlinebuf(stdout);
	me.tcp = !strcmp(argv[1], "tcp");
	me.head_len = (size_t)snprintf(me.head, sizeof(me.head), "%s ", argv[4]);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	if (argc > 7)
		sigaddset(&set, SIGHUP);
	me.lists = argv + (argc > 7 ? 7 : argc);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	length = parse(argv[2], argv[3], &at);
	me.fd = loom_steer_bind((void *)&at, length, me.tcp ? IPPROTO_TCP : IPPROTO_UDP, 0);
	if (me.fd < 0)
		die("bind", -me.fd);
	if (argc > 5 && *argv[5])
		join(argv[5], argc > 6 ? (uint32_t)atoi(argv[6]) : 0, argv[4]);
	printf("ready %d %s\n", me.steer ? loom_steer_slot(me.steer) : -1,
	       me.steer ? loom_steer_error(me.steer) : "");
	loop(signals);
	loom_steer_close(me.steer);
	return 0;
}
