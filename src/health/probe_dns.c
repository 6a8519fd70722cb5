/* DNS over UDP: one query, one answer that fits it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>

#include "dns_wire.h"
#include "probe.h"

int probe_dns_query(const struct probe *probe, uint8_t *query)
{
	const struct config_check *check = probe->check;

	return dns_query(query, probe->id, check->query ? check->query : ".",
			 check->query_type ? check->query_type : "NS");
}

void probe_dns_answer(struct probe *probe, const uint8_t *answer, size_t len)
{
	uint8_t query[DNS_QUERY_MAX];
	int query_len = probe_dns_query(probe, query);
	const char *fault;
	int r;

	fault = dns_answer_fault(query, (size_t)query_len, answer, len, &r);
	if (!fault)
		probe_succeed(probe);
	else if (r != -EAGAIN)
		probe_fail(probe, "the answer is no good: %s", fault);
}

static void on_readable(void *ctx, uint32_t events)
{
	struct probe *probe = ctx;
	uint8_t answer[4096];
	ssize_t n = recv(probe->fd, answer, sizeof(answer), 0);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		probe_fail(probe, "no answer: %s", strerror(errno));
	else
		probe_dns_answer(probe, answer, (size_t)n);
}

static int start(struct probe *probe)
{
	uint8_t query[DNS_QUERY_MAX];
	int len;
	int r;

	if (getrandom(&probe->id, sizeof(probe->id), GRND_NONBLOCK) < 0)
		return probe_refuse(probe, -errno, "cannot choose a query id");
	len = probe_dns_query(probe, query);
	if (len < 0)
		return probe_refuse(probe, len, "cannot make a query of name and type");
	r = probe_connect(probe, SOCK_DGRAM, EPOLLIN, on_readable);
	if (r < 0)
		return r;
	if (send(probe->fd, query, (size_t)len, MSG_NOSIGNAL) < 0)
		return probe_refuse(probe, -errno, "cannot send");
	return 0;
}

const struct probe_kind probe_dns = { .start = start };
