/* TCP: a handshake; then what is to be sent and what is to come back, if anything is. */
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "probe.h"

static void on_readable(void *ctx, uint32_t events)
{
	struct probe *probe = ctx;
	char data[4096];
	ssize_t n = recv(probe->fd, data, sizeof(data), 0);
	int r;

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0) {
		probe_fail(probe, "the connection broke: %s", strerror(errno));
		return;
	}
	if (n == 0) {
		probe_fail(probe, "the backend closed the connection before the expected text");
		return;
	}
	r = probe_gather(probe, data, (size_t)n);
	if (r > 0)
		probe_succeed(probe);
	else if (r == -ENOSPC)
		probe_fail(probe, "the expected text is not in the answer's first %d bytes",
			   PROBE_ANSWER_MAX);
	else if (r < 0)
		probe_fail(probe, "cannot read the answer: %s", strerror(-r));
}

static void on_writable(void *ctx, uint32_t events)
{
	struct probe *probe = ctx;
	const char *send_text = probe->check->send ? probe->check->send : "";
	size_t left = strlen(send_text) - probe->sent;
	int r = probe_socket_error(probe);
	ssize_t n;

	(void)events;
	if (r < 0) {
		probe_fail(probe, "cannot connect: %s", strerror(-r));
		return;
	}
	if (left) {
		n = send(probe->fd, send_text + probe->sent, left, MSG_NOSIGNAL);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n < 0) {
			probe_fail(probe, "cannot send: %s", strerror(errno));
			return;
		}
		probe->sent += (size_t)n;
		if ((size_t)n < left)
			return;
	}
	if (probe->check->expect)
		probe_watch(probe, EPOLLIN, on_readable);
	else
		probe_succeed(probe);
}

static int start(struct probe *probe)
{
	/* Leaves no TIME_WAIT behind, of which thousands of checks a second would make many. */
	static const struct linger reset = { .l_onoff = 1, .l_linger = 0 };
	int r = probe_connect(probe, SOCK_STREAM, EPOLLOUT, on_writable);

	if (r == 0 && !probe->check->send && !probe->check->expect)
		(void)setsockopt(probe->fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	return r;
}

const struct probe_kind probe_tcp = { .start = start };
