/* bench-steer - nanoseconds that each policy of the steering program adds to a UDP packet.
 *
 * bench-steer ROUNDS CPU [4|6 [ROW]...]: a sender on CPU sends to four sockets on the loopback
 * interface that nobody reads: their queues are full, so that a packet ends right after its socket
 * was chosen. Each row's packets are timed right beside as many with nothing attached, in one order
 * and in the other the next round.  One line of JSON a row. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include <net/if.h>

#include "abi/steer_abi.h"
#include "planes/steer/steer_maps.h"
/* After the types of its variables. */
#include "steer.skel.h"

#ifndef SO_ATTACH_REUSEPORT_EBPF
#define SO_ATTACH_REUSEPORT_EBPF 52
#endif
#ifndef SO_DETACH_REUSEPORT_BPF
#define SO_DETACH_REUSEPORT_BPF 68
#endif

#define MEMBERS	   4
#define CLIENTS	   16
#define MESSAGES   4096 /* different ones */
#define BATCH	   64
#define TIMED	   512 /* packets between two readings of the clock */
#define SLICES	   5   /* of which the fastest counts: the others were interrupted */
#define MAX_ROUNDS 2000
#define BYTES	   32 /* WireGuard's smallest data message */

static const struct row {
	const char *name;
	uint32_t policy;
	uint32_t mode;
	uint32_t overrides; /* wireguard: indices that moved */
} rows[] = {
	{ "fallback", STEER_WEIGHTED, STEER_FALLBACK, 0 },
	{ "observe", STEER_WEIGHTED, STEER_OBSERVE, 0 },
	{ "shadow", STEER_WEIGHTED, STEER_SHADOW, 0 },
	{ "hash", STEER_HASH, STEER_ENFORCE, 0 },
	{ "weighted", STEER_WEIGHTED, STEER_ENFORCE, 0 },
	{ "random", STEER_RANDOM, STEER_ENFORCE, 0 },
	{ "least_loaded", STEER_LEAST_LOADED, STEER_ENFORCE, 0 },
	{ "source_hash", STEER_SOURCE_HASH, STEER_ENFORCE, 0 },
	{ "cpu_local", STEER_CPU_LOCAL, STEER_ENFORCE, 0 },
	{ "wireguard", STEER_WIREGUARD, STEER_ENFORCE, 0 },
	{ "wireguard, 20,000 moved", STEER_WIREGUARD, STEER_ENFORCE, 20000 },
	{ "wireguard, 131,072 moved", STEER_WIREGUARD, STEER_ENFORCE, 131072 },
	{ "quic", STEER_QUIC, STEER_ENFORCE, 0 },
	{ "bytes", STEER_BYTES, STEER_ENFORCE, 0 },
	{ "generation", STEER_GENERATION, STEER_ENFORCE, 0 },
};

#define ROWS (sizeof(rows) / sizeof(rows[0]))

struct lane {
	struct steer_bpf *bpf;
	int program;
	double added[MAX_ROUNDS];
};

static int members[MEMBERS];
static int clients[CLIENTS];
static struct sockaddr_storage address;
static socklen_t address_length;
static char messages[MESSAGES][BYTES];
static struct mmsghdr headers[MESSAGES];
static struct iovec parts[MESSAGES];
static struct lane lanes[ROWS];
static double alone[MAX_ROUNDS * ROWS];
static size_t alone_count;

__attribute__((format(printf, 1, 2))) static _Noreturn void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fprintf(stderr, "bench-steer: ");
	vfprintf(stderr, format, args);
	fprintf(stderr, "\n");
	va_end(args);
	exit(1);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

static void enter_namespace(void)
{
	struct ifreq request = { .ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING };
	int s;

	if (unshare(CLONE_NEWNET))
		die("cannot make a network namespace: %s", strerror(errno));
	s = socket(AF_INET, SOCK_DGRAM, 0);
	if (s < 0 || ioctl(s, SIOCSIFFLAGS, &request))
		die("cannot set up the loopback interface: %s", strerror(errno));
	close(s);
}

static int open_socket(int family, bool member)
{
	int one = 1, least = 1;
	int s = socket(family, SOCK_DGRAM, 0);

	if (s < 0 || (member && setsockopt(s, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one))) ||
	    setsockopt(s, SOL_SOCKET, SO_RCVBUF, &least, sizeof(least)) ||
	    (member ? bind : connect)(s, (struct sockaddr *)&address, address_length))
		die("cannot make a socket: %s", strerror(errno));
	return s;
}

static void open_sockets(int family)
{
	if (family == AF_INET) {
		*(struct sockaddr_in *)&address = (struct sockaddr_in){
			.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)
		};
		address_length = sizeof(struct sockaddr_in);
	} else {
		*(struct sockaddr_in6 *)&address = (struct sockaddr_in6){
			.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT
		};
		address_length = sizeof(struct sockaddr_in6);
	}
	for (int i = 0; i < MEMBERS; i++) {
		socklen_t length = sizeof(address);

		members[i] = open_socket(family, true);
		getsockname(members[i], (struct sockaddr *)&address, &length);
	}
	for (int i = 0; i < CLIENTS; i++)
		clients[i] = open_socket(family, false);
}

/* The index of message i: all shards, scattered. */
static uint32_t index_of(uint32_t i)
{
	return i * 0x9e3779b1u;
}

/* With overrides, the indices are those that moved, visited all over. */
static void write_messages(uint32_t overrides)
{
	for (uint32_t i = 0; i < MESSAGES; i++) {
		uint32_t index = index_of(overrides ? (uint32_t)random() % overrides : i);

		memset(messages[i], 0, BYTES);
		messages[i][0] = 4;
		memcpy(&messages[i][4], &index, sizeof(index));
		parts[i] = (struct iovec){ messages[i], BYTES };
		headers[i] =
			(struct mmsghdr){ .msg_hdr = { .msg_iov = &parts[i], .msg_iovlen = 1 } };
	}
}

static void fill_table(struct steer_bpf *bpf, bool overrides)
{
	struct steer_table *table = &bpf->data_tables->steer_tables.half[0];
	socklen_t length = sizeof(uint64_t);

	for (int i = 0; i < MEMBERS; i++) {
		struct steer_member *member = &table->members[i];

		*member = (struct steer_member){ .slot = (uint16_t)i,
						 .flags = STEER_MEMBER_ELIGIBLE,
						 .weight = 1 };
		if (getsockopt(members[i], SOL_SOCKET, SO_COOKIE, &member->cookie, &length))
			die("cannot read a socket's cookie: %s", strerror(errno));
		table->cookies[i] = member->cookie;
		table->slot_flags[i] = STEER_MEMBER_ELIGIBLE;
	}
	table->member_count = MEMBERS;
	for (int i = 0; i < STEER_PLAN_SIZE; i++)
		table->plan[i] = (uint16_t)(i % MEMBERS);
	for (int i = 0; i < STEER_MAX_CPUS; i++)
		table->cpus[i] = (uint16_t)(i % MEMBERS);
	for (int i = 0; i < STEER_VSHARDS; i++) {
		table->vshards[i] = (uint16_t)(i % MEMBERS |
					       (overrides ? STEER_VSHARD_OVERRIDES : 0));
		table->identity[i] = (uint16_t)(i % MEMBERS);
	}
}

static void put_sockets(struct steer_bpf *bpf)
{
	for (__u32 i = 0; i < MEMBERS; i++) {
		__u64 value = (__u64)members[i];

		/* A program that is gone lets go of its sockets a moment later. */
		while (bpf_map_update_elem(bpf_map__fd(bpf->maps.socks), &i, &value, BPF_ANY))
			if (errno != EBUSY)
				die("cannot fill the sockarray: %s", strerror(errno));
	}
}

static void put_overrides(struct steer_bpf *bpf, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint32_t index = index_of(i), slot = i % MEMBERS;

		if (bpf_map_update_elem(bpf_map__fd(bpf->maps.rx_index_to_slot), &index, &slot, 0))
			die("cannot fill rx_index_to_slot: %s", strerror(errno));
	}
}

/* One sockarray for all: a socket stands in no other. */
static void load(struct lane *lane, const struct row *row, int socks)
{
	struct steer_bpf *bpf = steer_bpf__open();
	struct steer_const is = {
		.policy = row->policy,
		.udp = 1,
		.reads_group = 1,
		.length = 2,
		.mask = 0xff,
		.flow_timeout_ns = 60000000000ull,
		.salt = 0x1234567890abcdefull,
		.offset = row->policy == STEER_BYTES ? 7 : 0,
	};
	struct bpf_program *program, *chosen;
	struct bpf_map *map;

	if (!bpf)
		die("cannot open the program: %s", strerror(errno));
	memcpy((void *)(uintptr_t)&bpf->rodata->steer_const, &is, sizeof(is));
	chosen = row->policy == STEER_WIREGUARD ? bpf->progs.wg_select : bpf->progs.steer_select;
	bpf_object__for_each_program(program, bpf->obj)
	{
		bpf_program__set_autoload(program, program == chosen);
	}
	bpf_object__for_each_map(map, bpf->obj)
	{
		if (!steer_map_is_needed(bpf_map__name(map), &is))
			bpf_map__set_autocreate(map, false);
	}
	if (row->overrides)
		bpf_map__set_max_entries(bpf->maps.rx_index_to_slot, row->overrides);
	if (socks >= 0)
		bpf_map__reuse_fd(bpf->maps.socks, socks);
	if (steer_bpf__load(bpf))
		die("cannot load the program for %s", row->name);
	lane->bpf = bpf;
	lane->program = bpf_program__fd(chosen);
	fill_table(bpf, row->overrides);
	put_overrides(bpf, row->overrides);
	bpf->data_control->steer_control.mode = row->mode;
}

static void send_messages(uint32_t count)
{
	static uint32_t next;

	for (uint32_t sent = 0; sent < count; sent += BATCH, next++)
		if (sendmmsg(clients[next % CLIENTS], &headers[next * BATCH % MESSAGES], BATCH,
			     0) != BATCH)
			die("cannot send: %s", strerror(errno));
}

/* Nanoseconds a packet. */
static double time_messages(void)
{
	uint64_t least = UINT64_MAX;

	send_messages(2 * BATCH);
	for (int i = 0; i < SLICES; i++) {
		uint64_t start = now_ns(), took;

		send_messages(TIMED);
		took = now_ns() - start;
		least = took < least ? took : least;
	}
	return (double)least / TIMED;
}

static double time_with(int program)
{
	double ns;
	int none = 0;

	if (setsockopt(members[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof(program)))
		die("cannot attach: %s", strerror(errno));
	ns = time_messages();
	if (setsockopt(members[0], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &none, sizeof(none)))
		die("cannot detach: %s", strerror(errno));
	return ns;
}

static void run_round(int round)
{
	for (size_t i = 0; i < ROWS; i++) {
		double with, without;

		if (!lanes[i].bpf)
			continue;
		write_messages(rows[i].overrides);
		if (round % 2) {
			with = time_with(lanes[i].program);
			without = time_messages();
		} else {
			without = time_messages();
			with = time_with(lanes[i].program);
		}
		lanes[i].added[round] = with - without;
		alone[alone_count++] = without;
	}
}

/* What a row says it measured must have happened: nearly every packet selected. */
static void check(const struct lane *lane, const struct row *row, int rounds)
{
	static struct steer_member_count values[1024];
	uint64_t selected = 0;

	if (row->mode != STEER_ENFORCE || row->policy == STEER_HASH)
		return;
	for (__u32 slot = 0; slot < MEMBERS; slot++) {
		bpf_map_lookup_elem(bpf_map__fd(lane->bpf->maps.steer_members), &slot, values);
		for (int cpu = 0; cpu < libbpf_num_possible_cpus(); cpu++)
			selected += values[cpu].selected_packets;
	}
	if (selected < (uint64_t)rounds * TIMED)
		die("%s: only %llu packets were selected", row->name, (unsigned long long)selected);
}

static void print_values(const char *name, const double *values, size_t count)
{
	printf("{\"row\": \"%s\", \"ns\": [", name);
	for (size_t i = 0; i < count; i++)
		printf("%s%.1f", i ? ", " : "", values[i]);
	printf("]}\n");
}

/* No names: all rows. */
static bool is_wanted(const char *name, int count, char **names)
{
	for (int i = 0; i < count; i++)
		if (strcmp(name, names[i]) == 0)
			return true;
	return count <= 0;
}

int main(int argc, char **argv)
{
	int rounds = argc > 2 ? atoi(argv[1]) : 0;
	int socks = -1;
	cpu_set_t cpu;

	if (rounds < 1 || rounds > MAX_ROUNDS)
		die("usage: bench-steer ROUNDS CPU [4|6]");
	CPU_ZERO(&cpu);
	CPU_SET((unsigned)atoi(argv[2]), &cpu);
	if (sched_setaffinity(0, sizeof(cpu), &cpu))
		die("cannot run on CPU %s: %s", argv[2], strerror(errno));
	enter_namespace();
	open_sockets(argc > 3 && strcmp(argv[3], "6") == 0 ? AF_INET6 : AF_INET);
	for (size_t i = 0; i < ROWS; i++) {
		if (!is_wanted(rows[i].name, argc - 4, argv + 4))
			continue;
		load(&lanes[i], &rows[i], socks);
		if (socks < 0)
			put_sockets(lanes[i].bpf);
		socks = bpf_map__fd(lanes[i].bpf->maps.socks);
	}
	for (int round = 0; round < rounds; round++)
		run_round(round);
	print_values("nothing attached", alone, alone_count);
	for (size_t i = 0; i < ROWS; i++) {
		if (!lanes[i].bpf)
			continue;
		check(&lanes[i], &rows[i], rounds);
		print_values(rows[i].name, lanes[i].added, (size_t)rounds);
		steer_bpf__destroy(lanes[i].bpf);
	}
	return 0;
}
