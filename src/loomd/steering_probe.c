/* The guard's own eyes: a question asked of each group again and again, as a client would ask it,
 * and what the application says of itself.
 *
 * Not health/'s probes: those may make their sockets later than they are asked to, and a group's
 * must be made while we are in its network namespace. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "health/dns_wire.h"
#include "latency.h"
#include "metric_file.h"
#include "steering_internal.h"
#include "sys/netns.h"

#define SOONEST_NS   (5 * NSEC_PER_MSEC) /* many groups' probes are started together */
#define STATUS_BYTES 12			 /* "HTTP/1.1 200" */
#define ANSWER_MAX   65536

struct group_probe {
	struct group *group;
	enum config_steer_probe_type type; /* of the one under way */
	int fd;				   /* owned; -1: none is under way */
	struct loop_fd *watch;
	uint64_t next_ns;
	uint64_t begun_ns;
	uint64_t deadline_ns;
	bool asked; /* tcp: the connection is there, the request sent */
	bool told;  /* the answer is known; what follows it is only read */
	size_t got; /* tcp: bytes of the answer */
	char status[STATUS_BYTES + 1];
	uint16_t id; /* dns */
	bool failing;
	struct latency latency;
};

/* ---- ends ---- */

static void end(struct group_probe *probe)
{
	if (probe->watch)
		loop_remove_fd(probe->group->steering->loop, probe->watch);
	probe->watch = NULL;
	if (probe->fd >= 0)
		close(probe->fd);
	probe->fd = -1;
}

static void tell(struct group_probe *probe, const char *fault)
{
	struct group *group = probe->group;

	probe->told = true;
	group->probes++;
	if (!fault) {
		latency_add(&probe->latency, clock_now_ns() - probe->begun_ns);
		group->last_probe_p99_ns = latency_p99(&probe->latency);
	} else {
		group->probe_failures++;
		if (!probe->failing)
			log_warning("group %s: the guard's probe fails: %s", group->name, fault);
	}
	if (!fault && probe->failing)
		log_info("group %s: the guard's probe succeeds again", group->name);
	probe->failing = fault;
}

static void finish(struct group_probe *probe, const char *fault)
{
	uint64_t now = clock_now_ns();

	if (!probe->told)
		tell(probe, fault);
	end(probe);
	loop_arm_sooner(probe->group->steering->probe_timer,
			probe->next_ns > now ? probe->next_ns - now : SOONEST_NS);
}

/* ---- tcp ---- */

static bool ask_http(struct group_probe *probe)
{
	const struct config_steer_group *config = probe->group->config;
	const char *path = config->guard.probe.path;
	char host[ADDR_PORT_TEXT_LEN], request[1200];
	int n;

	addr_port_format(&config->guard.probe.address, config->port, host);
	n = snprintf(request, sizeof(request),
		     "GET %.1023s HTTP/1.1\r\nHost: %s\r\nUser-Agent: loomd\r\n"
		     "Accept: */*\r\nConnection: close\r\n\r\n",
		     path ? path : "/", host);
	/* A new connection's buffer has room for it. */
	return send(probe->fd, request, (size_t)n, MSG_NOSIGNAL) == n;
}

static void judge_http(struct group_probe *probe)
{
	char fault[64];
	int status = 0;

	if (sscanf(probe->status, "HTTP/1.%*1d %3d", &status) != 1) {
		finish(probe, "the answer is not HTTP");
	} else if (status < 100 || status >= 500) {
		snprintf(fault, sizeof(fault), "status %d", status);
		finish(probe, fault);
	} else {
		tell(probe, NULL);
	}
}

static void read_answer(struct group_probe *probe)
{
	char data[4096];
	ssize_t n = recv(probe->fd, data, sizeof(data), 0);

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		finish(probe, n < 0 ? strerror(errno) : "the connection ended without an answer");
		return;
	}
	if (probe->got < STATUS_BYTES) {
		size_t room = STATUS_BYTES - probe->got;

		memcpy(probe->status + probe->got, data, (size_t)n < room ? (size_t)n : room);
	}
	probe->got += (size_t)n;
	if (!probe->told && probe->got >= STATUS_BYTES)
		judge_http(probe);
	/* To the end: a connection that is closed with something unread is reset. */
	if (probe->fd >= 0 && probe->got > ANSWER_MAX)
		end(probe);
}

/* ---- what has become of the socket ---- */

static void on_event(void *ctx, uint32_t events);

static void on_connected(struct group_probe *probe)
{
	struct loop *loop = probe->group->steering->loop;
	int error = 0;
	socklen_t size = sizeof(error);

	if (getsockopt(probe->fd, SOL_SOCKET, SO_ERROR, &error, &size) < 0 || error) {
		finish(probe, strerror(error ? error : errno));
		return;
	}
	/* What a server says unasked is read, too: see read_answer. */
	probe->asked = true;
	if (probe->type == CONFIG_STEER_PROBE_CONNECT) {
		tell(probe, NULL);
		shutdown(probe->fd, SHUT_WR);
	} else if (!ask_http(probe)) {
		finish(probe, "the request cannot be sent");
		return;
	}
	loop_remove_fd(loop, probe->watch);
	probe->watch = NULL;
	if (loop_add_fd(loop, probe->fd, EPOLLIN, on_event, probe, &probe->watch) < 0)
		finish(probe, "out of memory");
}

static void read_dns(struct group_probe *probe)
{
	const char *name = probe->group->config->guard.probe.query;
	uint8_t query[DNS_QUERY_MAX], answer[4096];
	int len = dns_query(query, probe->id, name ? name : ".", "NS");
	ssize_t n = recv(probe->fd, answer, sizeof(answer), 0);
	const char *fault;
	int r = 0;

	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0 || len < 0) {
		finish(probe, n < 0 ? strerror(errno) : "the query was changed");
		return;
	}
	fault = dns_answer_fault(query, (size_t)len, answer, (size_t)n, &r);
	if (!fault || r != -EAGAIN)
		finish(probe, fault);
}

static void on_event(void *ctx, uint32_t events)
{
	struct group_probe *probe = ctx;

	(void)events;
	if (probe->type == CONFIG_STEER_PROBE_DNS)
		read_dns(probe);
	else if (probe->asked)
		read_answer(probe);
	else
		on_connected(probe);
}

/* ---- beginnings ---- */

static socklen_t where(const struct config_steer_group *config, struct sockaddr_storage *ret)
{
	const struct addr *address = &config->guard.probe.address;
	struct sockaddr_in *in = (struct sockaddr_in *)ret;
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;

	memset(ret, 0, sizeof(*ret));
	if (addr_is_v4(address)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(config->port);
		in->sin_addr.s_addr = addr_v4(address);
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(config->port);
	memcpy(&in6->sin6_addr, address, sizeof(in6->sin6_addr));
	return sizeof(*in6);
}

/* In the group's namespace: a socket stays in the one that it was made in. */
static int open_socket(const struct group *group, int family, bool udp)
{
	struct err err = { 0 };
	int r = netns_enter(group->space->fd, &err);
	int fd;

	if (r < 0)
		return r;
	fd = socket(family, (udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (fd < 0)
		fd = -errno;
	netns_leave();
	return fd;
}

static int ask_dns(struct group_probe *probe)
{
	const char *name = probe->group->config->guard.probe.query;
	uint8_t query[DNS_QUERY_MAX];
	int len;

	if (getrandom(&probe->id, sizeof(probe->id), GRND_NONBLOCK) < 0)
		return -errno;
	len = dns_query(query, probe->id, name ? name : ".", "NS");
	if (len < 0)
		return len;
	return send(probe->fd, query, (size_t)len, MSG_NOSIGNAL) < 0 ? -errno : 0;
}

static void begin(struct group_probe *probe, uint64_t now)
{
	const struct group *group = probe->group;
	const struct config_steer_probe *config = &group->config->guard.probe;
	bool dns = config->type == CONFIG_STEER_PROBE_DNS;
	struct sockaddr_storage to;
	socklen_t len = where(group->config, &to);
	int r = 0;

	probe->type = config->type;
	probe->begun_ns = now;
	probe->next_ns = now + config->interval_ns;
	probe->deadline_ns = now + config->timeout_ns;
	probe->asked = probe->told = false;
	probe->got = 0;
	memset(probe->status, 0, sizeof(probe->status));
	probe->fd = open_socket(group, to.ss_family, dns);
	if (probe->fd < 0)
		r = probe->fd;
	else if (connect(probe->fd, (struct sockaddr *)&to, len) < 0 && errno != EINPROGRESS)
		r = -errno;
	if (r == 0 && dns)
		r = ask_dns(probe);
	if (r == 0)
		r = loop_add_fd(group->steering->loop, probe->fd, dns ? EPOLLIN : EPOLLOUT,
				on_event, probe, &probe->watch);
	if (r < 0)
		finish(probe, strerror(-r));
}

/* A group without sockets answers nobody, and that is known. */
static bool is_wanted(const struct group *group)
{
	return group->config->guard.enabled &&
	       group->config->guard.probe.type != CONFIG_STEER_PROBE_NONE && group->member_count;
}

/* Returns when to look again. */
static uint64_t follow(struct group *group, uint64_t now)
{
	struct group_probe *probe = group->probe;

	if (!is_wanted(group)) {
		if (probe)
			end(probe);
		return now + NSEC_PER_SEC;
	}
	if (!probe) {
		probe = group->probe = calloc(1, sizeof(*probe));
		if (!probe)
			return now + NSEC_PER_SEC;
		probe->group = group;
		probe->fd = -1;
	}
	if (probe->fd >= 0 && now >= probe->deadline_ns)
		finish(probe, "no answer in time");
	if (probe->fd < 0 && now >= probe->next_ns)
		begin(probe, now);
	if (probe->fd >= 0)
		return probe->deadline_ns;
	return probe->next_ns;
}

static void on_probe(void *ctx)
{
	struct steering *steering = ctx;
	uint64_t now = clock_now_ns();
	uint64_t next = now + NSEC_PER_SEC;

	for (size_t i = 0; i < steering->group_count; i++) {
		uint64_t due = follow(steering->groups[i], now);

		if (due < next)
			next = due;
	}
	loop_arm(steering->probe_timer, next < now + SOONEST_NS ? SOONEST_NS : next - now);
}

int report_follow_probes(struct steering *steering)
{
	bool any = false;
	int r;

	for (size_t i = 0; i < steering->group_count; i++)
		any |= steering->groups[i]->config->guard.probe.type != CONFIG_STEER_PROBE_NONE;
	if (!any && !steering->probe_timer)
		return 0;
	if (!steering->probe_timer) {
		r = loop_add_timer(steering->loop, on_probe, steering, &steering->probe_timer);
		if (r < 0)
			return r;
	}
	loop_arm(steering->probe_timer, 0);
	return 0;
}

void report_end_probe(struct group *group)
{
	if (group->probe)
		end(group->probe);
	free(group->probe);
	group->probe = NULL;
}

/* ---- the application's own number ---- */

void report_metric(struct group *group)
{
	const char *path = group->config->guard.metric_path;
	struct err err = { 0 };
	bool had = group->has_metric || !group->metric_told;

	group->has_metric = path && metric_read(path, &group->metric, &err) == 0;
	if (path && !group->has_metric && had)
		log_warning("group %s: the guard goes without its metric: %s", group->name,
			    err.text);
	group->metric_told = path != NULL;
}
