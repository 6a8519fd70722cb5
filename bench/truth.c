/* truth.c - how long it takes to read the truth about reuseport groups.
 *
 * usage: bench-truth [GROUPS] [MEMBERS] [CONNECTIONS]
 *
 * Makes the groups (TCP and UDP) and established connections in a network namespace of its own and
 * prints medians in microseconds of CPU of 101 reads.  Needs root. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>
#include <net/if.h>

#include "base/clock.h"
#include "planes/steer/steer_truth.h"
#include "sys/sock_diag.h"
#include "sys/sock_owners.h"

#define ROUNDS	   101
#define FIRST_PORT 1024

static void fail(const char *what)
{
	perror(what);
	exit(1);
}

static struct sockaddr_in at(uint32_t host, uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(host) };
}

static int bound(int type, uint16_t port)
{
	struct sockaddr_in here = at(INADDR_LOOPBACK, port);
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	int one = 1;

	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one)) < 0 ||
	    bind(fd, (struct sockaddr *)&here, sizeof(here)) < 0 ||
	    (type == SOCK_STREAM && listen(fd, 128) < 0))
		fail("a group");
	return fd;
}

static void make_namespace(void)
{
	struct rlimit files;
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd;

	if (unshare(CLONE_NEWNET) < 0)
		fail("a network namespace");
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &lo) < 0)
		fail("lo");
	close(fd);
	if (getrlimit(RLIMIT_NOFILE, &files) < 0)
		fail("RLIMIT_NOFILE");
	files.rlim_cur = files.rlim_max;
	if (setrlimit(RLIMIT_NOFILE, &files) < 0)
		fail("RLIMIT_NOFILE");
}

/* From many addresses to one listener, so that ports suffice. */
static void connect_some(int listener, int first, int count)
{
	struct sockaddr_in to = at(INADDR_LOOPBACK, 1023);

	for (int i = first; i < first + count; i++) {
		struct sockaddr_in from = at(0x7f000100u + (uint32_t)i / 10000, 0);
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

		if (fd < 0 || bind(fd, (struct sockaddr *)&from, sizeof(from)) < 0 ||
		    connect(fd, (struct sockaddr *)&to, sizeof(to)) < 0 ||
		    accept(listener, NULL, NULL) < 0)
			fail("a connection");
	}
}

/* In processes of their own, which end with us: one may not have that many open. */
static void make_connections(int count)
{
	const int each = 4000;
	int listener = bound(SOCK_STREAM, 1023);
	int ready[2];
	char one;

	if (pipe(ready) < 0)
		fail("a pipe");
	for (int first = 0; first < count; first += each) {
		pid_t pid = fork();

		if (pid < 0)
			fail("fork");
		if (pid == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			connect_some(listener, first, each < count - first ? each : count - first);
			if (write(ready[1], "", 1) == 1)
				pause();
			_exit(0);
		}
		if (read(ready[0], &one, 1) != 1)
			fail("a connecting process");
	}
}

/* ---- */

/* Of CPU: the time until it has answered is also that of whoever else is busy. */
static uint64_t cpu_ns(void)
{
	struct timespec at;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &at);
	return (uint64_t)at.tv_sec * NSEC_PER_SEC + (uint64_t)at.tv_nsec;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void report(const char *what, uint64_t *times, size_t rows)
{
	qsort(times, ROUNDS, sizeof(*times), compare);
	printf("%-28s %8.1f us  (%.1f to %.1f)  %zu rows\n", what, (double)times[ROUNDS / 2] / 1000,
	       (double)times[0] / 1000, (double)times[ROUNDS - 1] / 1000, rows);
}

static void time_truth(struct steer_truth *truth, int protocol, const char *what)
{
	struct steer_truth_rows rows = { 0 };
	uint64_t times[ROUNDS];
	struct err err = { 0 };

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = cpu_ns();

		if (steer_truth_read(truth, -1, protocol, &rows, &err) < 0) {
			fprintf(stderr, "%s\n", err.text);
			exit(1);
		}
		times[i] = cpu_ns() - start;
	}
	report(what, times, rows.count);
	steer_truth_rows_done(&rows);
}

static void count(void *ctx, const struct sock_diag_socket *socket)
{
	++*(size_t *)ctx;
}

static void time_diag(uint8_t protocol, const char *what)
{
	struct sock_diag *diag;
	uint64_t times[ROUNDS];
	size_t rows = 0;

	if (sock_diag_open(&diag, NULL) < 0)
		fail("sock_diag");
	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = cpu_ns();

		rows = 0;
		sock_diag_dump(diag, AF_INET, protocol, count, &rows);
		times[i] = cpu_ns() - start;
	}
	sock_diag_close(diag);
	report(what, times, rows);
}

static void time_owners(uint64_t inode)
{
	struct sock_owners owners;
	uint64_t times[ROUNDS];
	size_t holds = 0;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = cpu_ns();

		sock_owners_scan(&inode, 1, NULL, 0, &owners, NULL);
		times[i] = cpu_ns() - start;
		holds = owners.hold_count;
		sock_owners_done(&owners);
	}
	report("owners of one, all of /proc", times, holds);
}

static void time_files(const struct steer_truth *truth)
{
	uint64_t times[ROUNDS];
	size_t rows = 0;

	for (int i = 0; i < ROUNDS; i++) {
		uint64_t start = cpu_ns();
		struct buf files;

		buf_init(&files);
		steer_truth_files(truth, &files);
		times[i] = cpu_ns() - start;
		rows = files.len / sizeof(struct steer_truth_file);
		buf_done(&files);
	}
	report("owners of all, iterator", times, rows);
}

int main(int argc, char **argv)
{
	int groups = argc > 1 ? atoi(argv[1]) : 1000;
	int members = argc > 2 ? atoi(argv[2]) : 4;
	int connections = argc > 3 ? atoi(argv[3]) : 20000;
	struct steer_truth *truth;
	const char *why;
	struct stat st = { 0 };

	make_namespace();
	for (int i = 0; i < groups * members; i++) {
		int fd = bound(SOCK_STREAM, (uint16_t)(FIRST_PORT + i % groups));

		bound(SOCK_DGRAM, (uint16_t)(FIRST_PORT + i % groups));
		fstat(fd, &st);
	}
	if (steer_truth_open(&truth, NULL) < 0 || !steer_truth_is_exact(truth, &why))
		fail("the iterators");
	printf("%d groups of %d\n", groups, members);
	time_truth(truth, IPPROTO_TCP, "TCP, iterator");
	time_truth(truth, IPPROTO_UDP, "UDP, iterator");
	time_diag(IPPROTO_TCP, "TCP, sock_diag");
	time_diag(IPPROTO_UDP, "UDP, sock_diag");
	make_connections(connections);
	printf("beside %d connections (%d sockets)\n", connections, 2 * connections);
	time_truth(truth, IPPROTO_TCP, "TCP, iterator");
	time_truth(truth, IPPROTO_UDP, "UDP, iterator");
	time_diag(IPPROTO_TCP, "TCP, sock_diag");
	time_owners(st.st_ino);
	time_files(truth);
	steer_truth_close(truth);
	return 0;
}
