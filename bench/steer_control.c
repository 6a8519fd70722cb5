/* bench-steer-control ROUNDS [SOCKETS] - microseconds of what the daemon does to one steering
 * group.
 *
 * In a network namespace of its own, with a group of SOCKETS (4) UDP sockets on loopback.  Prints a
 * line of JSON for each operation. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "model/steer_plan.h"
#include "planes/steer/steer.h"
#include "planes/steer/steer_truth.h"
#include "planes/steer/steer_view.h"

#define MAX_ROUNDS 10000

static int sockets[STEER_MAX_SLOTS];
static size_t count = 4;
static int rounds;

static struct steer_plan_member members[STEER_MAX_SLOTS];
static struct steer_table table;

__attribute__((format(printf, 1, 2), noreturn)) static void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench-steer-control: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void open_sockets(void)
{
	struct sockaddr_in at = { .sin_family = AF_INET,
				  .sin_port = htons(7000),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int on = 1;

	for (size_t i = 0; i < count; i++) {
		sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (sockets[i] < 0 ||
		    setsockopt(sockets[i], SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0 ||
		    bind(sockets[i], (struct sockaddr *)&at, sizeof(at)) < 0)
			die("cannot make socket %zu: %s", i, strerror(errno));
	}
}

/* ---- what is timed ---- */

static void attach(struct steer *steer, int round)
{
	struct err err = { 0 };

	if (steer_attach(steer, sockets[(size_t)round % count], &err) < 0)
		die("%s", err.text);
}

/* One member out, another in: what "loom steer swap" writes. */
static void swap(struct steer *steer, int round)
{
	struct steer_plan_input input = { .policy = STEER_WEIGHTED,
					  .members = members,
					  .count = count,
					  .before = steer_table(steer) };

	members[0].active = round & 1;
	members[1].active = !members[0].active;
	steer_write(steer, &table, steer_plan_compile(&input, &table));
}

static void replace_socket(struct steer *steer, int round)
{
	uint16_t slot = (uint16_t)((size_t)round % count);
	struct err err = { 0 };
	bool held;

	steer_take(steer, slot);
	if (steer_put(steer, slot, sockets[slot], &held, &err) < 0)
		die("%s", err.text);
}

static void set_mode(struct steer *steer, int round)
{
	steer_set_mode(steer, round & 1 ? STEER_ENFORCE : STEER_SHADOW, 0);
}

static enum steer_policy loaded;

static void load(struct steer *steer, int round)
{
	struct steer_policy_options policy = { .policy = loaded, .length = 1 };
	struct err err = { 0 };

	(void)round;
	if (steer_load(steer, &policy, &err) < 0)
		die("%s", err.text);
}

static void open_close(struct steer *steer, int round)
{
	struct steer_options options = { .udp = true,
					 .reads_group = true,
					 .migrates = true,
					 .holds = true,
					 .policy = { .policy = STEER_WEIGHTED } };
	struct err err = { 0 };
	struct steer *another;

	(void)steer;
	(void)round;
	if (steer_open(&another, &options, &err) < 0)
		die("%s", err.text);
	steer_close(another, PLANE_DETACH);
}

static void read_counters(struct steer *steer, int round)
{
	uint64_t counters[STEER_COUNTERS_END];
	struct steer_member_count member;

	(void)round;
	steer_counters(steer, counters);
	for (size_t i = 0; i < count; i++)
		steer_member_counters(steer, (uint16_t)i, &member);
}

static void read_rows(struct steer *steer, int round)
{
	static struct steer_truth *truth;
	static struct steer_truth_rows rows;
	struct err err = { 0 };

	(void)steer;
	(void)round;
	if (!truth && steer_truth_open(&truth, &err) < 0)
		die("%s", err.text);
	if (steer_truth_read(truth, -1, IPPROTO_UDP, &rows, &err) < 0)
		die("%s", err.text);
	if (rows.count != count)
		die("%zu sockets were read, not %zu", rows.count, count);
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void measure(const char *name, void (*run)(struct steer *, int), struct steer *steer,
		    int times)
{
	static uint64_t took[MAX_ROUNDS];

	run(steer, 0);
	for (int i = 0; i < times; i++) {
		uint64_t before = clock_now_ns();

		run(steer, i + 1);
		took[i] = clock_now_ns() - before;
	}
	qsort(took, (size_t)times, sizeof(*took), compare);
	printf("{\"operation\": \"%s\", \"median_us\": %.2f, \"p99_us\": %.2f, \"max_us\": %.2f}\n",
	       name, (double)took[times / 2] / 1e3, (double)took[times * 99 / 100] / 1e3,
	       (double)took[times - 1] / 1e3);
}

static void load_each(struct steer *steer)
{
	for (int i = STEER_HASH; i <= STEER_GENERATION; i++) {
		char name[64];

		loaded = (enum steer_policy)i;
		snprintf(name, sizeof(name), "program loaded: %s", steer_policy_name(loaded));
		measure(name, load, steer, rounds / 20 + 1);
	}
}

int main(int argc, char **argv)
{
	struct steer_options options = { .udp = true,
					 .reads_group = true,
					 .migrates = true,
					 .holds = true,
					 .policy = { .policy = STEER_WEIGHTED } };
	struct steer *steer;
	struct err err = { 0 };
	bool held;

	rounds = argc > 1 ? atoi(argv[1]) : 0;
	count = argc > 2 ? (size_t)atoi(argv[2]) : 4;
	if (rounds < 1 || rounds > MAX_ROUNDS || count < 2 || count > STEER_MAX_SLOTS)
		die("usage: bench-steer-control ROUNDS [SOCKETS]");
	if (unshare(CLONE_NEWNET) < 0)
		die("cannot make a network namespace: %s", strerror(errno));
	open_sockets();
	if (steer_open(&steer, &options, &err) < 0)
		die("%s", err.text);
	for (size_t i = 0; i < count; i++) {
		if (steer_put(steer, (uint16_t)i, sockets[i], &held, &err) < 0)
			die("%s", err.text);
		members[i] = (struct steer_plan_member){ .cookie = i + 1,
							 .slot = (uint16_t)i,
							 .index = (uint16_t)i,
							 .weight = 100,
							 .active = true,
							 .cpu = -1 };
	}
	measure("attach", attach, steer, rounds);
	measure("swap", swap, steer, rounds);
	measure("mode", set_mode, steer, rounds);
	measure("a slot's socket replaced", replace_socket, steer, rounds);
	measure("counters read", read_counters, steer, rounds);
	measure("sockets read", read_rows, steer, rounds);
	load_each(steer);
	measure("group made and removed", open_close, steer, rounds / 10 + 1);
	steer_close(steer, PLANE_DETACH);
	return 0;
}
