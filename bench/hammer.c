// SPDX-License-Identifier: GPL-2.0-only
/* hammer.c - an HTTP client that makes a given number of requests, so that runs can be compared by
 * what they cost: a fixed amount of work, from several addresses, and every answer checked.
 *
 * Prints one line of JSON.  A request fails if the connection does, or if the answer is not a whole
 * "200". */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_THREADS 64
#define ANSWER_ROOM 4096
#define STALL_MS    10000 /* nothing at all happens for so long: what is open has failed */

struct job {
	struct sockaddr_in to;
	uint32_t source; /* first client address, host order; 0: the kernel's choice */
	uint32_t sources;
	uint32_t requests;
	uint32_t per_connection;
	uint32_t concurrency;
};

struct connection {
	int fd;
	bool asked;    /* the request is out */
	uint32_t left; /* requests still to make on it, this one included */
	uint32_t have;
	uint64_t start_ns;
	char answer[ANSWER_ROOM];
};

struct worker {
	struct job job;
	pthread_t thread;
	int epoll;
	uint32_t begun; /* requests given to connections */
	uint32_t ended;
	uint32_t failed;
	uint32_t connections;
	uint64_t bytes;
	const char *first_failure;
	int first_errno;
	uint32_t *latencies_us; /* of those that did not fail */
	struct connection *slots;
};

static const char ASK_CLOSE[] = "GET / HTTP/1.1\r\nHost: bench\r\nConnection: close\r\n\r\n";
static const char ASK[] = "GET / HTTP/1.1\r\nHost: bench\r\n\r\n";

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("hammer: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000ull + now.tv_nsec;
}

static int socket_open(struct worker *w)
{
	struct sockaddr_in from = { .sin_family = AF_INET };
	int one = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd < 0)
		die("cannot open a socket: %m");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	if (w->job.source) {
		from.sin_addr.s_addr = htonl(w->job.source + w->connections % w->job.sources);
		setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &one, sizeof(one));
		if (bind(fd, (struct sockaddr *)&from, sizeof(from)))
			die("cannot bind to %s: %m", inet_ntoa(from.sin_addr));
	}
	return fd;
}

static void answer_done(struct worker *w, struct connection *c, bool good)
{
	w->ended++;
	w->bytes += c->have;
	if (good)
		w->latencies_us[w->ended - w->failed - 1] = (now_ns() - c->start_ns) / 1000;
	else
		w->failed++;
	c->have = 0;
}

static void note_failure(struct worker *w, const char *what, int error)
{
	if (w->first_failure)
		return;
	w->first_failure = what;
	w->first_errno = error;
}

static void connection_close(struct connection *c)
{
	close(c->fd);
	c->fd = -1;
}

/* Opens the slot's next connection, if there are requests left. */
static void connection_open(struct worker *w, struct connection *c)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET,
				     .data.ptr = c };
	uint32_t left = w->job.requests - w->begun;

	while (left) {
		c->left = left < w->job.per_connection ? left : w->job.per_connection;
		c->have = 0;
		c->asked = false;
		c->fd = socket_open(w);
		c->start_ns = now_ns();
		w->connections++;
		w->begun += c->left;
		if (epoll_ctl(w->epoll, EPOLL_CTL_ADD, c->fd, &event))
			die("cannot watch a socket: %m");
		if (!connect(c->fd, (struct sockaddr *)&w->job.to, sizeof(w->job.to)) ||
		    errno == EINPROGRESS)
			return;
		note_failure(w, "connect", errno);
		connection_close(c);
		while (c->left--)
			answer_done(w, c, false);
		left = w->job.requests - w->begun;
	}
}

/* Ends the connection; what it was to ask and has not counts as failed. */
static void connection_end(struct worker *w, struct connection *c)
{
	connection_close(c);
	while (c->left) {
		c->left--;
		answer_done(w, c, false);
	}
	connection_open(w, c);
}

/* The answer's length once its header is whole, 0 before that, -1 if it is no good answer. */
static int answer_length(struct connection *c)
{
	const char *end, *length;

	c->answer[c->have] = 0;
	if (c->have >= 12 && strncmp(c->answer, "HTTP/1.1 200", 12))
		return -1;
	end = strstr(c->answer, "\r\n\r\n");
	if (!end)
		return 0;
	length = strstr(c->answer, "\r\nContent-Length: ");
	if (!length || length > end)
		return -1;
	return end + 4 - c->answer + atoi(length + 18);
}

static void ask(struct worker *w, struct connection *c)
{
	bool closing = w->job.per_connection == 1;
	size_t len = closing ? sizeof(ASK_CLOSE) - 1 : sizeof(ASK) - 1;

	c->asked = true;
	if (send(c->fd, closing ? ASK_CLOSE : ASK, len, MSG_NOSIGNAL) != (ssize_t)len) {
		note_failure(w, "send", errno);
		connection_end(w, c);
	}
}

/* Reads what is there.  With "Connection: close" the answer is whole when the server closes. */
static void take_answer(struct worker *w, struct connection *c)
{
	bool closing = w->job.per_connection == 1;

	for (;;) {
		ssize_t got = recv(c->fd, c->answer + c->have, ANSWER_ROOM - 1 - c->have, 0);
		int want;

		if (got < 0 && errno == EAGAIN)
			return;
		if (got > 0)
			c->have += got;
		want = answer_length(c);
		if (got <= 0 || want < 0 || c->have == ANSWER_ROOM - 1) {
			if (closing && !got && want > 0 && c->have == (uint32_t)want) {
				c->left = 0;
				answer_done(w, c, true);
			} else {
				note_failure(w, got < 0 ? "receive" : "answer",
					     got < 0 ? errno : 0);
			}
			connection_end(w, c);
			return;
		}
		if (closing || !want || c->have < (uint32_t)want)
			continue;
		c->left--;
		answer_done(w, c, true);
		if (!c->left) {
			connection_end(w, c);
			return;
		}
		c->start_ns = now_ns();
		ask(w, c);
		return;
	}
}

static void *work(void *arg)
{
	struct worker *w = arg;
	struct epoll_event events[256];

	w->epoll = epoll_create1(EPOLL_CLOEXEC);
	w->slots = calloc(w->job.concurrency, sizeof(*w->slots));
	w->latencies_us = calloc(w->job.requests + 1, sizeof(*w->latencies_us));
	if (w->epoll < 0 || !w->slots || !w->latencies_us)
		die("cannot start: %m");
	for (uint32_t i = 0; i < w->job.concurrency; i++)
		connection_open(w, &w->slots[i]);
	while (w->ended < w->job.requests) {
		int count = epoll_wait(w->epoll, events, 256, STALL_MS);

		if (count < 0 && errno == EINTR)
			continue;
		if (count <= 0)
			break;
		for (int i = 0; i < count; i++) {
			struct connection *c = events[i].data.ptr;

			if (c->fd >= 0 && !c->asked && events[i].events & EPOLLOUT)
				ask(w, c);
			if (c->fd >= 0 && c->asked && events[i].events & ~EPOLLOUT)
				take_answer(w, c);
			else if (c->fd >= 0 && events[i].events & (EPOLLERR | EPOLLHUP)) {
				note_failure(w, "connect", ECONNREFUSED);
				connection_end(w, c);
			}
		}
	}
	if (w->ended < w->job.requests)
		note_failure(w, "stall", ETIMEDOUT);
	w->failed += w->job.requests - w->ended;
	return NULL;
}

static int compare(const void *a, const void *b)
{
	const uint32_t *x = a, *y = b;

	return (*x > *y) - (*x < *y);
}

static void report(struct worker *workers, int count, double seconds)
{
	uint32_t requests = 0, failed = 0, connections = 0, good = 0;
	uint64_t bytes = 0;
	const struct worker *first = &workers[0];
	uint32_t *all;

	for (int i = 0; i < count; i++) {
		requests += workers[i].job.requests;
		failed += workers[i].failed;
		connections += workers[i].connections;
		bytes += workers[i].bytes;
		if (workers[i].first_failure)
			first = &workers[i];
	}
	all = calloc(requests + 1, sizeof(*all));
	if (!all)
		die("out of memory");
	for (int i = 0; i < count; i++) {
		uint32_t here = workers[i].job.requests - workers[i].failed;

		memcpy(all + good, workers[i].latencies_us, here * sizeof(*all));
		good += here;
	}
	qsort(all, good, sizeof(*all), compare);
	printf("{\"requests\": %u, \"failed\": %u, \"connections\": %u, \"bytes\": %llu, "
	       "\"seconds\": %.6f, \"p50_us\": %u, \"p99_us\": %u, "
	       "\"first_failure\": \"%s%s%s\"}\n",
	       requests, failed, connections, (unsigned long long)bytes, seconds, all[good / 2],
	       all[good - good / 100 - (good > 0)], first->first_failure ?: "",
	       first->first_errno ? ": " : "",
	       first->first_errno ? strerror(first->first_errno) : "");
	free(all);
}

static unsigned long number(const char *text, unsigned long least, unsigned long most)
{
	char *end;
	unsigned long value = strtoul(text, &end, 10);

	if (*end || value < least || value > most)
		die("%s: expected a number from %lu to %lu", text, least, most);
	return value;
}

int main(int argc, char **argv)
{
	static struct worker workers[MAX_THREADS];
	struct job job = { .to.sin_family = AF_INET };
	struct in_addr source;
	uint64_t start;
	int threads;

	if (argc != 9)
		die("usage: hammer ADDRESS PORT FIRST-SOURCE SOURCES THREADS CONCURRENCY REQUESTS "
		    "REQUESTS-PER-CONNECTION");
	if (!inet_aton(argv[1], &job.to.sin_addr) || !inet_aton(argv[3], &source))
		die("expected IPv4 addresses");
	job.to.sin_port = htons(number(argv[2], 1, 65535));
	job.source = ntohl(source.s_addr);
	job.sources = number(argv[4], 1, 255);
	threads = number(argv[5], 1, MAX_THREADS);
	job.concurrency = number(argv[6], threads, 65536) / threads;
	job.requests = number(argv[7], threads, 100000000) / threads;
	job.per_connection = number(argv[8], 1, 100000000);
	start = now_ns();
	for (int i = 0; i < threads; i++) {
		workers[i].job = job;
		if (pthread_create(&workers[i].thread, NULL, work, &workers[i]))
			die("cannot start a thread: %m");
	}
	for (int i = 0; i < threads; i++)
		pthread_join(workers[i].thread, NULL);
	report(workers, threads, (now_ns() - start) / 1e9);
	return 0;
}
