#include "probe.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"

static const struct probe_kind *const kinds[] = {
	[CONFIG_CHECK_TCP] = &probe_tcp,    [CONFIG_CHECK_HTTP] = &probe_http,
	[CONFIG_CHECK_HTTPS] = &probe_http, [CONFIG_CHECK_UDP] = &probe_udp,
	[CONFIG_CHECK_DNS] = &probe_dns,
};

int probe_start(struct probe *probe, const struct config_check *check, const struct addr *address,
		uint16_t port)
{
	int r;

	probe->check = check;
	probe->address = *address;
	probe->port = port;
	probe->kind = probe->route.tunnelled ? &probe_tunnel : kinds[check->type];
	probe->error[0] = '\0';
	probe->fd = -1;
	probe->watch = NULL;
	probe->got = NULL;
	probe->got_len = 0;
	probe->sent = 0;
	probe->request = NULL;
	r = probe->kind->start(probe);
	if (r < 0)
		probe_stop(probe);
	return r;
}

void probe_stop(struct probe *probe)
{
	if (!probe->kind)
		return;
	if (probe->kind->stop)
		probe->kind->stop(probe);
	loop_remove_fd(probe->env->loop, probe->watch);
	probe->watch = NULL;
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
	free(probe->got);
	probe->got = NULL;
	probe->kind = NULL;
}

static void finish(struct probe *probe, bool ok)
{
	probe_stop(probe);
	probe->done(probe, ok);
}

void probe_succeed(struct probe *probe)
{
	probe->error[0] = '\0';
	finish(probe, true);
}

void probe_fail(struct probe *probe, const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	vsnprintf(probe->error, sizeof(probe->error), fmt, args);
	va_end(args);
	finish(probe, false);
}

void probe_expire(struct probe *probe)
{
	double seconds = (double)probe->check->timeout_ns / NSEC_PER_SEC;

	if (probe->kind->silence_is_ok && probe->kind->silence_is_ok(probe))
		probe_succeed(probe);
	else if (probe->got_len)
		probe_fail(probe, "the answer does not contain the expected text after %g s",
			   seconds);
	else
		probe_fail(probe, "no answer within %g s", seconds);
}

int probe_refuse(struct probe *probe, int r, const char *what)
{
	snprintf(probe->error, sizeof(probe->error), "%s: %s", what, strerror(-r));
	return r;
}

socklen_t probe_address(const struct addr *address, uint16_t port, struct sockaddr_storage *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (addr_is_v4(address)) {
		struct sockaddr_in *in = (struct sockaddr_in *)ret;

		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		in->sin_addr.s_addr = addr_v4(address);
		return sizeof(*in);
	}
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(port);
	memcpy(&in6->sin6_addr, address, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

int probe_source_towards(const struct addr *address, struct addr *ret)
{
	struct sockaddr_storage own;
	socklen_t len = probe_address(address, 9, &own);
	int fd = socket(own.ss_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int r = 0;

	if (fd < 0)
		return -errno;
	if (connect(fd, (struct sockaddr *)&own, len) < 0 ||
	    getsockname(fd, (struct sockaddr *)&own, &len) < 0)
		r = -errno;
	else if (own.ss_family == AF_INET)
		*ret = addr_from_v4(((struct sockaddr_in *)&own)->sin_addr.s_addr);
	else
		memcpy(ret, &((struct sockaddr_in6 *)&own)->sin6_addr, sizeof(*ret));
	close(fd);
	return r;
}

int probe_connect(struct probe *probe, int type, uint32_t events, loop_fd_fn fn)
{
	struct sockaddr_storage to;
	socklen_t len = probe_address(&probe->address, probe->port, &to);
	int r;

	probe->fd = socket(to.ss_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe->fd < 0)
		return probe_refuse(probe, -errno, "cannot open a socket");
	if (connect(probe->fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)
		return probe_refuse(probe, -errno, "cannot connect");
	r = loop_add_fd(probe->env->loop, probe->fd, events, fn, probe, &probe->watch);
	return r < 0 ? probe_refuse(probe, r, "cannot watch a socket") : 0;
}

void probe_watch(struct probe *probe, uint32_t events, loop_fd_fn fn)
{
	loop_remove_fd(probe->env->loop, probe->watch);
	probe->watch = NULL;
	if (loop_add_fd(probe->env->loop, probe->fd, events, fn, probe, &probe->watch) < 0)
		probe->watch = NULL; /* the timeout ends it */
}

int probe_socket_error(const struct probe *probe)
{
	int error = 0;
	socklen_t len = sizeof(error);

	if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &len) < 0)
		return -errno;
	return -error;
}

int probe_gather(struct probe *probe, const void *data, size_t len)
{
	const char *expect = probe->check->expect;
	size_t overlap = strlen(expect) ? strlen(expect) - 1 : 0;
	size_t from = probe->got_len > overlap ? probe->got_len - overlap : 0;
	char *got;

	if (len > PROBE_ANSWER_MAX - probe->got_len)
		len = PROBE_ANSWER_MAX - probe->got_len;
	got = realloc(probe->got, probe->got_len + len + 1);
	if (!got)
		return -ENOMEM;
	memcpy(got + probe->got_len, data, len);
	probe->got = got;
	probe->got_len += len;
	if (memmem(got + from, probe->got_len - from, expect, strlen(expect)))
		return 1;
	return probe->got_len == PROBE_ANSWER_MAX ? -ENOSPC : 0;
}
