// SPDX-License-Identifier: GPL-2.0-only
/* steer_load.c - requests without end, each from a source of its own, each failure told apart.
 *
 * usage: steer_load KIND ADDRESS PORT [OPTION=VALUE ...]
 *
 *   KIND	http	one connection, one request, the answer's body is the worker's number
 *		line	one connection, the worker sends its number and closes
 *		echo	datagrams, answered by "WORKER " and the datagram
 *		dns	datagrams: one query for fN.loom.test each, N counts flows
 *   from=A	first source address; 50,000 ports of each, then the next address
 *   lanes=N	requests under way at once (64)
 *   rate=N	requests a second in all; 0: as fast as it goes (0)
 *   timeout=MS (5000)
 *   count=N	ends by itself after so many (0: at SIGTERM)
 *   each=N	datagrams of a flow, one after another's answer (1; 0: flows never end)
 *   size=N	bytes of a datagram at least
 *   record=F	writes a line for each flow's first answer at the end:
 *		ADDRESS PORT WORKER WHAT MICROSECONDS FLOW
 *
 * Prints a JSON line every 25 ms and a last one at the end. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define FIRST_PORT     10000
#define PORTS	       50000
#define REPORT_NS      25000000ULL
#define MOST_WORKERS   1024
#define MOST_FAILURES  100
#define DATAGRAM_BYTES 2048

enum kind { HTTP, LINE, ECHO, DNS };

enum what { OK, REFUSED, RESET, TIMEOUT, OTHER, WHATS };

static const char *const what_names[WHATS] = { "ok", "refused", "reset", "timeout", "other" };

struct flow {
	int fd;
	uint64_t number;   /* tells the source address and port */
	uint64_t begun_ns; /* of the request under way */
	uint32_t asked;	   /* datagrams sent */
	int worker;	   /* who answered first; -1: nobody yet */
	bool waiting;	   /* a request is under way */
	struct flow *next; /* idle ones; those under way by begin */
	struct flow *previous;
	size_t sent_bytes;
	size_t got_bytes;
	char sent[DATAGRAM_BYTES];
	char got[DATAGRAM_BYTES];
};

struct record {
	uint64_t flow;
	int worker;
	uint32_t us;
	uint8_t what;
};

static struct {
	enum kind kind;
	struct sockaddr_storage to, from;
	socklen_t length;
	uint64_t rate, count, timeout_ns;
	uint32_t lanes, each, size;
	const char *record;
} opt = { .lanes = 64, .timeout_ns = 5000000000, .each = 1 };

static struct {
	uint64_t flows, begun, done, moved, stray;
	uint64_t what[WHATS];
	struct {
		int worker;
		uint64_t answers;
	} workers[MOST_WORKERS];
	size_t worker_count;
	struct {
		uint64_t flow;
		int worker;
		int error;
		enum what what;
		double at;
	} failures[MOST_FAILURES];
	size_t failure_count;
	struct record *records;
	size_t record_count, record_room;
} tally;

static struct flow *idle, **idle_end = &idle;
static struct flow under_way = { .next = &under_way, .previous = &under_way };
static int epoll_fd;

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void die(const char *what)
{
	fprintf(stderr, "steer_load: cannot %s: %s\n", what, strerror(errno));
	exit(2);
}

/* The flow's source: the first address plus one for every PORTS flows. */
static struct sockaddr_storage source_of(uint64_t number)
{
	struct sockaddr_storage a = opt.from;
	uint32_t more = (uint32_t)(number / PORTS);
	in_port_t port = htons((uint16_t)(FIRST_PORT + number % PORTS));

	if (a.ss_family == AF_INET) {
		struct sockaddr_in *in = (void *)&a;

		in->sin_addr.s_addr = htonl(ntohl(in->sin_addr.s_addr) + more);
		in->sin_port = port;
	} else {
		struct sockaddr_in6 *in6 = (void *)&a;

		in6->sin6_addr.s6_addr32[3] = htonl(ntohl(in6->sin6_addr.s6_addr32[3]) + more);
		in6->sin6_port = port;
	}
	return a;
}

static void count_worker(int worker)
{
	size_t i;

	for (i = 0; i < tally.worker_count && tally.workers[i].worker != worker; i++)
		;
	if (i == MOST_WORKERS)
		return;
	if (i == tally.worker_count)
		tally.workers[tally.worker_count++].worker = worker;
	tally.workers[i].answers++;
}

static void keep_record(const struct flow *f, enum what what, uint64_t ns)
{
	if (tally.record_count == tally.record_room) {
		tally.record_room = tally.record_room ? 2 * tally.record_room : 4096;
		tally.records = realloc(tally.records, tally.record_room * sizeof(*tally.records));
		if (!tally.records)
			die("keep records");
	}
	tally.records[tally.record_count++] = (struct record){ .flow = f->number,
							       .worker = f->worker,
							       .us = (uint32_t)(ns / 1000),
							       .what = (uint8_t)what };
}

static void keep_failure(const struct flow *f, enum what what, int error)
{
	struct timespec wall;

	if (tally.failure_count == MOST_FAILURES)
		return;
	clock_gettime(CLOCK_REALTIME, &wall);
	tally.failures[tally.failure_count].flow = f->number;
	tally.failures[tally.failure_count].worker = f->worker;
	tally.failures[tally.failure_count].error = error;
	tally.failures[tally.failure_count].what = what;
	tally.failures[tally.failure_count++].at = (double)wall.tv_sec + (double)wall.tv_nsec / 1e9;
}

static bool is_tcp(void)
{
	return opt.kind == HTTP || opt.kind == LINE;
}

static void forget_socket(struct flow *f)
{
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
}

/* Those that have been idle for longest are the next: kept flows take turns. */
static void rest(struct flow *f)
{
	f->next = NULL;
	*idle_end = f;
	idle_end = &f->next;
}

static struct flow *wake(void)
{
	struct flow *f = idle;

	idle = f->next;
	if (!idle)
		idle_end = &idle;
	return f;
}

/* A request ends, well or not: the flow is idle again. */
static void end_request(struct flow *f, enum what what, int error)
{
	uint64_t ns = now_ns() - f->begun_ns;

	f->next->previous = f->previous;
	f->previous->next = f->next;
	f->waiting = false;
	tally.done++;
	tally.what[what]++;
	if (what == OK)
		count_worker(f->worker);
	else
		keep_failure(f, what, error);
	if (f->asked == 1)
		keep_record(f, what, ns);
	if (is_tcp() || (opt.each && f->asked >= opt.each))
		forget_socket(f);
	rest(f);
}

static enum what what_of(int error)
{
	switch (error) {
	case ECONNREFUSED:
		return REFUSED;
	case ECONNRESET:
	case EPIPE:
		return RESET;
	case ETIMEDOUT:
		return TIMEOUT;
	default:
		return OTHER;
	}
}

static void open_socket(struct flow *f)
{
	struct sockaddr_storage from = source_of(f->number);
	struct epoll_event want = { .events = EPOLLIN | (is_tcp() ? EPOLLOUT | EPOLLET : 0),
				    .data.ptr = f };
	/* The server closes first; a reset then spares both ends the wait for strays. */
	struct linger none = { .l_onoff = 1 };

	f->fd = socket(from.ss_family,
		       (is_tcp() ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (f->fd < 0)
		die("make a socket");
	if (is_tcp())
		setsockopt(f->fd, SOL_SOCKET, SO_LINGER, &none, sizeof(none));
	setsockopt(f->fd, from.ss_family == AF_INET ? SOL_IP : SOL_IPV6,
		   from.ss_family == AF_INET ? IP_FREEBIND : IPV6_FREEBIND, &(int){ 1 },
		   sizeof(int));
	if (bind(f->fd, (void *)&from, opt.length))
		die("bind a source address");
	if (connect(f->fd, (void *)&opt.to, opt.length) && errno != EINPROGRESS)
		die("connect");
	if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, f->fd, &want))
		die("watch a socket");
}

static size_t dns_query(struct flow *f)
{
	char label[32];
	int n = snprintf(label, sizeof(label), "f%llu", (unsigned long long)f->number);
	char *at = f->sent;

	memcpy(at,
	       (char[]){ (char)(f->number >> 8), (char)f->number, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0 },
	       12);
	at += 12;
	*at++ = (char)n;
	memcpy(at, label, (size_t)n);
	at += n;
	memcpy(at, "\4loom\4test\0\0\1\0\1", 15);
	return (size_t)(at + 15 - f->sent);
}

static void compose(struct flow *f)
{
	switch (opt.kind) {
	case HTTP:
		f->sent_bytes = (size_t)snprintf(
			f->sent, sizeof(f->sent),
			"GET / HTTP/1.1\r\nHost: loom\r\nConnection: close\r\n\r\n");
		break;
	case LINE:
		f->sent_bytes = (size_t)snprintf(f->sent, sizeof(f->sent), "?\n");
		break;
	case ECHO:
		memset(f->sent, '.', opt.size);
		f->sent_bytes = (size_t)snprintf(f->sent, sizeof(f->sent), "%llu/%u",
						 (unsigned long long)f->number, f->asked);
		if (f->sent_bytes < opt.size) {
			f->sent[f->sent_bytes] = '.';
			f->sent_bytes = opt.size;
		}
		break;
	case DNS:
		f->sent_bytes = dns_query(f);
		break;
	}
}

static void begin(struct flow *f)
{
	if (f->fd < 0) {
		f->number = tally.flows++;
		f->asked = 0;
		f->worker = -1;
		open_socket(f);
	}
	f->asked++;
	f->got_bytes = 0;
	f->waiting = true;
	f->begun_ns = now_ns();
	f->next = &under_way;
	f->previous = under_way.previous;
	f->previous->next = f;
	under_way.previous = f;
	tally.begun++;
	compose(f);
	if (is_tcp())
		return; /* sent when the connection stands */
	/* An earlier datagram's refusal is reported by the next call: it is this one's no less. */
	if (send(f->fd, f->sent, f->sent_bytes, MSG_NOSIGNAL) < 0)
		end_request(f, what_of(errno), errno);
}

/* The worker that the bytes name; -1: they name none. */
static int worker_in(const char *text)
{
	char *end;
	long n = strtol(text, &end, 10);

	return end == text || n < 0 ? -1 : (int)n;
}

static void end_of_stream(struct flow *f)
{
	const char *body = f->got;

	f->got[f->got_bytes] = '\0';
	if (!f->got_bytes) {
		end_request(f, RESET, 0); /* closed without an answer: a reset in good manners */
		return;
	}
	if (opt.kind == HTTP) {
		body = strstr(f->got, "\r\n\r\n");
		if (strncmp(f->got, "HTTP/1.1 200", 12) != 0 || !body) {
			end_request(f, OTHER, 0);
			return;
		}
		body += 4;
	}
	f->worker = worker_in(body);
	end_request(f, f->worker < 0 ? OTHER : OK, 0);
}

static void stream_event(struct flow *f, uint32_t events)
{
	ssize_t n;

	if (events & EPOLLOUT && f->sent_bytes) {
		n = send(f->fd, f->sent, f->sent_bytes, MSG_NOSIGNAL);
		if (n < 0 && errno != EAGAIN) {
			end_request(f, what_of(errno), errno);
			return;
		}
		if (n > 0)
			f->sent_bytes = 0;
	}
	while ((n = recv(f->fd, f->got + f->got_bytes, sizeof(f->got) - 1 - f->got_bytes, 0)) > 0)
		f->got_bytes += (size_t)n;
	if (n == 0)
		end_of_stream(f);
	else if (errno != EAGAIN)
		end_request(f, what_of(errno), errno);
}

/* Whether the datagram answers the request under way; says who sent it. */
static bool datagram_answers(struct flow *f, int *worker)
{
	const char *space;

	if (opt.kind == DNS) {
		*worker = 0;
		return f->got_bytes >= f->sent_bytes && memcmp(f->got, f->sent, 2) == 0 &&
		       !(f->got[3] & 0xf) &&
		       memcmp(f->got + 12, f->sent + 12, f->sent_bytes - 12) == 0;
	}
	space = memchr(f->got, ' ', f->got_bytes);
	if (!space)
		return false;
	*worker = worker_in(f->got);
	space++;
	return (size_t)(f->got + f->got_bytes - space) == f->sent_bytes &&
	       memcmp(space, f->sent, f->sent_bytes) == 0;
}

static void datagram_event(struct flow *f)
{
	ssize_t n = recv(f->fd, f->got, sizeof(f->got) - 1, 0);
	int worker;

	if (n < 0) {
		if (errno != EAGAIN && f->waiting)
			end_request(f, what_of(errno), errno);
		return;
	}
	f->got_bytes = (size_t)n;
	f->got[n] = '\0';
	if (!f->waiting || !datagram_answers(f, &worker)) {
		tally.stray++;
		return;
	}
	if (f->worker >= 0 && worker != f->worker)
		tally.moved++;
	f->worker = worker;
	end_request(f, OK, 0);
}

static void expire(uint64_t now)
{
	while (under_way.next != &under_way && now - under_way.next->begun_ns >= opt.timeout_ns) {
		struct flow *f = under_way.next;

		end_request(f, TIMEOUT, 0);
		/* A late answer must not be taken for the next request's. */
		if (!is_tcp() && opt.each)
			forget_socket(f);
	}
}

static void print_source(FILE *out, uint64_t number)
{
	struct sockaddr_storage a = source_of(number);
	char text[INET6_ADDRSTRLEN];
	bool six = a.ss_family == AF_INET6;

	inet_ntop(a.ss_family,
		  six ? (void *)&((struct sockaddr_in6 *)&a)->sin6_addr
		      : &((struct sockaddr_in *)&a)->sin_addr,
		  text, sizeof(text));
	fprintf(out, "%s %u", text, (unsigned int)(FIRST_PORT + number % PORTS));
}

static int by_time(const void *a, const void *b)
{
	uint32_t x = ((const struct record *)a)->us, y = ((const struct record *)b)->us;

	return x < y ? -1 : x > y;
}

static void print_failures(void)
{
	printf(", \"failures\": [");
	for (size_t i = 0; i < tally.failure_count; i++) {
		printf("%s{\"source\": \"", i ? ", " : "");
		print_source(stdout, tally.failures[i].flow);
		printf("\", \"what\": \"%s\", \"error\": %d, \"worker\": %d, \"at\": %.4f}",
		       what_names[tally.failures[i].what], tally.failures[i].error,
		       tally.failures[i].worker, tally.failures[i].at);
	}
	printf("]");
}

static void report(bool last)
{
	printf("{\"requests\": %llu, \"failed\": %llu, \"flows\": %llu, \"moved\": %llu, "
	       "\"stray\": %llu",
	       (unsigned long long)tally.done, (unsigned long long)(tally.done - tally.what[OK]),
	       (unsigned long long)tally.flows, (unsigned long long)tally.moved,
	       (unsigned long long)tally.stray);
	for (int i = 0; i < WHATS; i++)
		printf(", \"%s\": %llu", what_names[i], (unsigned long long)tally.what[i]);
	printf(", \"by_worker\": {");
	for (size_t i = 0; i < tally.worker_count; i++)
		printf("%s\"%d\": %llu", i ? ", " : "", tally.workers[i].worker,
		       (unsigned long long)tally.workers[i].answers);
	printf("}");
	if (last && tally.record_count) {
		qsort(tally.records, tally.record_count, sizeof(*tally.records), by_time);
		printf(", \"p50_us\": %u, \"p99_us\": %u, \"max_us\": %u",
		       tally.records[tally.record_count / 2].us,
		       tally.records[tally.record_count * 99 / 100].us,
		       tally.records[tally.record_count - 1].us);
	}
	print_failures();
	printf("}\n");
	fflush(stdout);
}

static void write_records(void)
{
	FILE *out = fopen(opt.record, "w");

	if (!out)
		die("write the record");
	for (size_t i = 0; i < tally.record_count; i++) {
		const struct record *r = &tally.records[i];

		print_source(out, r->flow);
		fprintf(out, " %d %s %u %llu\n", r->worker, what_names[r->what], r->us,
			(unsigned long long)r->flow);
	}
	if (fclose(out))
		die("write the record");
}

static socklen_t parse_address(const char *text, uint16_t port, struct sockaddr_storage *ret)
{
	struct sockaddr_in *in = (void *)ret;
	struct sockaddr_in6 *in6 = (void *)ret;

	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, text, &in->sin_addr) == 1) {
		in->sin_family = AF_INET;
		in->sin_port = htons(port);
		return sizeof(*in);
	}
	if (inet_pton(AF_INET6, text, &in6->sin6_addr) == 1) {
		in6->sin6_family = AF_INET6;
		in6->sin6_port = htons(port);
		return sizeof(*in6);
	}
	fprintf(stderr, "steer_load: %s is no address\n", text);
	exit(2);
}

static bool option(const char *text)
{
	const char *value = strchr(text, '=');
	uint64_t n;

	if (!value)
		return false;
	value++;
	n = strtoull(value, NULL, 10);
	if (!strncmp(text, "from=", 5))
		parse_address(value, 0, &opt.from);
	else if (!strncmp(text, "lanes=", 6))
		opt.lanes = (uint32_t)n;
	else if (!strncmp(text, "rate=", 5))
		opt.rate = n;
	else if (!strncmp(text, "timeout=", 8))
		opt.timeout_ns = n * 1000000;
	else if (!strncmp(text, "count=", 6))
		opt.count = n;
	else if (!strncmp(text, "each=", 5))
		opt.each = (uint32_t)n;
	else if (!strncmp(text, "size=", 5) && n < DATAGRAM_BYTES - 16)
		opt.size = (uint32_t)n;
	else if (!strncmp(text, "record=", 7))
		opt.record = value;
	else
		return false;
	return true;
}

static void parse(int argc, char **argv)
{
	static const char *const kinds[] = { "http", "line", "echo", "dns" };
	size_t kind = 0;

	while (argc > 3 && kind < 4 && strcmp(argv[1], kinds[kind]) != 0)
		kind++;
	if (argc < 4 || kind == 4) {
		fprintf(stderr,
			"usage: steer_load http|line|echo|dns ADDRESS PORT [OPTION=VALUE ...]\n");
		exit(2);
	}
	opt.kind = (enum kind)kind;
	opt.length = parse_address(argv[2], (uint16_t)atoi(argv[3]), &opt.to);
	parse_address(opt.to.ss_family == AF_INET ? "127.1.0.1" : "fd7f::1", 0, &opt.from);
	for (int i = 4; i < argc; i++) {
		if (!option(argv[i])) {
			fprintf(stderr, "steer_load: unknown option %s\n", argv[i]);
			exit(2);
		}
	}
}

/* Requests that may begin by now; none more than 20 ms late, lest a stall ends in a burst. */
static uint64_t due(uint64_t now, uint64_t *start, uint64_t *paced)
{
	uint64_t should;

	if (!opt.rate)
		return UINT64_MAX;
	should = (now - *start) * opt.rate / 1000000000;
	if (should > *paced + opt.rate / 50 + 1) {
		*start = now;
		*paced = 0;
		should = 1;
	}
	return should > *paced ? should - *paced : 0;
}

static void begin_all(uint64_t *start, uint64_t *paced)
{
	uint64_t may = due(now_ns(), start, paced);

	/* Refused at once, a flow is idle again at once. */
	if (may > opt.lanes)
		may = opt.lanes;
	while (idle && may-- && (!opt.count || tally.begun < opt.count)) {
		begin(wake());
		++*paced;
	}
}

static bool over(bool told)
{
	return (told || (opt.count && tally.begun >= opt.count)) && under_way.next == &under_way;
}

static void loop(int signals)
{
	uint64_t start = now_ns(), paced = 0, reported = start;
	struct timespec tick = { .tv_nsec = 1000000 };
	bool told = false;

	while (!over(told)) {
		struct epoll_event events[64];
		int n;

		if (!told)
			begin_all(&start, &paced);
		n = epoll_pwait2(epoll_fd, events, 64, &tick, NULL);
		for (int i = 0; i < n; i++) {
			struct flow *f = events[i].data.ptr;
			struct signalfd_siginfo info;

			if (!f) {
				told = read(signals, &info, sizeof(info)) > 0;
				continue;
			}
			if (f->fd < 0)
				continue;
			if (is_tcp())
				stream_event(f, events[i].events);
			else
				datagram_event(f);
		}
		expire(now_ns());
		if (now_ns() - reported >= REPORT_NS) {
			report(false);
			reported = now_ns();
		}
	}
}

int main(int argc, char **argv)
{
	struct epoll_event want = { .events = EPOLLIN };
	struct flow *flows;
	sigset_t set;
	int signals;

	parse(argc, argv);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigprocmask(SIG_BLOCK, &set, NULL);
	epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	signals = signalfd(-1, &set, SFD_CLOEXEC);
	if (epoll_fd < 0 || signals < 0 || epoll_ctl(epoll_fd, EPOLL_CTL_ADD, signals, &want))
		die("wait for events");
	flows = calloc(opt.lanes, sizeof(*flows));
	if (!flows)
		die("make flows");
	for (uint32_t i = opt.lanes; i--;) {
		flows[i].fd = -1;
		rest(&flows[i]);
	}
	loop(signals);
	if (opt.record)
		write_records();
	report(true);
	return 0;
}
