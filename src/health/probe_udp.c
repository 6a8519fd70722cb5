/* UDP: a datagram, and what comes back.  The socket is connected, so that ICMP's "port unreachable"
 * is an error of it.
 *
 * With send or expect an answer must come, and contain expect.  With neither an empty datagram goes
 * out and silence is a success: only "unreachable" tells that nobody is there. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "probe.h"

static bool silence_is_ok(const struct probe *probe)
{
	return !probe->check->send && !probe->check->expect;
}

static void on_readable(void *ctx, uint32_t events)
{
	struct probe *probe = ctx;
	const char *expect = probe->check->expect;
	char data[PROBE_ANSWER_MAX];
	ssize_t n = recv(probe->fd, data, sizeof(data), 0);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		probe_fail(probe, "no answer: %s", strerror(errno));
	else if (!expect || memmem(data, (size_t)n, expect, strlen(expect)))
		probe_succeed(probe);
	else
		probe->got_len = 1; /* another datagram may have it */
}

static int start(struct probe *probe)
{
	const char *text = probe->check->send ? probe->check->send : "";
	int r = probe_connect(probe, SOCK_DGRAM, EPOLLIN, on_readable);

	if (r < 0)
		return r;
	if (send(probe->fd, text, strlen(text), MSG_NOSIGNAL) < 0)
		return probe_refuse(probe, -errno, "cannot send");
	return 0;
}

const struct probe_kind probe_udp = { .start = start, .silence_is_ok = silence_is_ok };
