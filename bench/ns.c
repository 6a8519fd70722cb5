// SPDX-License-Identifier: GPL-2.0-only
/* ns.c - nanoseconds per packet of the balancer's program (ns.bpf.c says how).
 *
 * One line of JSON per row: what kind of packet, and per round the kernel's averages for XDP_PASS,
 * for the wrapper alone, for the same with an outer header put on and taken off, for the wrapped
 * balancer and for a wrapped lookup, taken one after the other. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ipv6.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sched.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "abi/lb_abi.h"
#include "ns.h"
#include "ns.skel.h"

#define BACKENDS     256
#define TABLE_SIZE   65537
#define FEW_ENTRIES  1000000 /* the default */
#define MANY_ENTRIES 2621440 /* 1,048,576 connections under NAT, and a quarter more */
#define IN_IFINDEX   1	     /* the loopback device: packets of BPF_PROG_TEST_RUN come in there */
#define OUT_IFINDEX  2	     /* only the verdict is looked at: the frame goes nowhere */
#define SERVICE_PORT 80
#define BACKEND_PORT 8080
#define OTHER_PORT   40000 /* neither a service's nor in NAT's range */
#define NAT_FIRST    1024
#define NAT_LAST     32767
#define CLIENT_PORT  10000
#define FRAME_BYTES  96
#define LEAST_REPEAT 262144
#define NEW_FLOWS    65536
#define FLUSH_BATCH  65536
#define MAX_ROUNDS   101
#define GUE_PORT     6080

/* The programs of a round. */
enum run {
	RUN_PASS,
	RUN_WRAPPER,
	RUN_PUSH_POP,
	RUN_BALANCE,
	RUN_TABLE,
	RUNS,
};

static const char *const run_names[] = { "pass_ns", "wrapper_ns", "push_pop_ns", "balance_ns",
					 "table_ns" };

enum table {
	TABLE_LRU,	/* the daemon's */
	TABLE_LRU_CPUS, /* each CPU has a share: BPF_F_NO_COMMON_LRU */
	TABLE_HASH,	/* maps.connections.type: hash */
};

/* One load of the program, specialised as loomd would. */
struct group {
	const char *name;
	enum lb_mode mode;
	int proto;
	enum table table;
	bool ipv6;
	bool outer6;	 /* IPv4 in IPv6 */
	bool stateless;	 /* no connection table */
	bool noting;	 /* every packet notes its time */
	bool redirect;	 /* sent out of another interface, as NAT's packets are */
	bool many;	 /* measured with the most flows, too */
	bool quick;	 /* part of the quick run, without the most flows ... */
	bool quick_many; /* ... but for this one */
};

enum kind {
	ESTABLISHED,
	NOTED, /* established, and every packet notes its time in both halves, as one in seconds
		  does */
	NEW,
	NOT_OURS,
};

static const char *const kind_names[] = { "established", "established_noted", "new", "not_ours" };

struct settings {
	int rounds;
	unsigned int cpu;
	unsigned int most_flows;
	bool quick;
	const char *only; /* a group's name */
};

struct bench {
	const struct settings *settings;
	const struct group *group;
	struct ns_bpf *bpf;
};

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
	va_list args;

	va_start(args, format);
	fputs("bench-ns: ", stderr);
	vfprintf(stderr, format, args);
	fputc('\n', stderr);
	va_end(args);
	exit(1);
}

static void put(const struct bpf_map *map, const void *key, const void *value)
{
	if (bpf_map_update_elem(bpf_map__fd(map), key, value, BPF_ANY))
		die("cannot write %s: %m", bpf_map__name(map));
}

/* fd00:<net>::<host>, or 10.<net>.<host> as IPv6 has it. */
static void address(__be32 word[4], bool ipv6, __u32 net, __u32 host)
{
	memset(word, 0, 16);
	if (ipv6) {
		word[0] = htonl(0xfd000000 | net);
		word[3] = htonl(host);
	} else {
		word[2] = htonl(0xffff);
		word[3] = htonl(10u << 24 | net << 16 | host);
	}
}

static bool is_nat(const struct group *g)
{
	return g->mode < LB_MODE_IPIP;
}

/* Out of the interface where it came in: the balancer of DSR has one. */
static bool goes_back(const struct group *g)
{
	return !is_nat(g) && !g->redirect;
}

static void fill_backends(const struct bench *b)
{
	struct lb_addr source;
	__u32 zero = 0;

	address(source.word, b->group->ipv6, 1, 1);
	put(b->bpf->maps.lb_sources, &zero, &source);
	for (__u32 row = 1; row <= BACKENDS; row++) {
		struct lb_backend backend = {
			.hop = { .dmac = { 2, 0, 0, 0, 0, 2 },
				 .smac = { 2, 0, 0, 0, 0, 1 },
				 .ifindex = goes_back(b->group) ? IN_IFINDEX : OUT_IFINDEX },
			.id = row,
			.incarnation = 1,
			.source_count = 1,
			.port = htons(BACKEND_PORT),
			.state = LB_BACKEND_ACTIVE,
		};

		address(backend.addr, b->group->ipv6 || b->group->outer6, 2, row);
		put(b->bpf->maps.lb_backends, &row, &backend);
	}
}

static void fill_table(const struct bench *b)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "slots", 4, 4, TABLE_SIZE, &opts);
	__u32 zero = 0;

	if (fd < 0)
		die("cannot make a slot table: %m");
	for (__u32 slot = 0; slot < TABLE_SIZE; slot++) {
		__u32 row = slot % BACKENDS + 1;

		if (bpf_map_update_elem(fd, &slot, &row, BPF_ANY))
			die("cannot fill the slot table: %m");
	}
	put(b->bpf->maps.lb_tables, &zero, &fd);
	close(fd);
}

static void set_bit(__u64 *words, unsigned int bit)
{
	words[bit / 64] |= 1ull << bit % 64;
}

static void fill_service(const struct bench *b)
{
	struct lb_service_key key = { .port = htons(SERVICE_PORT), .proto = b->group->proto };
	struct lb_service service = { .table_size = TABLE_SIZE, .mode = b->group->mode };
	struct lb_control control = { .abi_version = LB_ABI_VERSION, .generation = 1 };
	static struct lb_ports ports;
	__u32 zero = 0;

	address(key.addr, b->group->ipv6, 0, 1);
	put(b->bpf->maps.lb_services, &key, &service);
	put(b->bpf->maps.lb_control, &zero, &control);
	for (int proto = 0; proto < LB_PROTOS; proto++) {
		set_bit(ports.to[proto], SERVICE_PORT);
		set_bit(ports.service[proto], SERVICE_PORT);
		if (b->group->mode == LB_MODE_NAT_DESTINATION)
			set_bit(ports.from[proto], BACKEND_PORT);
		for (unsigned int port = NAT_FIRST; is_nat(b->group) && port <= NAT_LAST; port++)
			set_bit(ports.to[proto], port);
	}
	put(b->bpf->maps.lb_ports, &zero, &ports);
}

/* What a tunnel puts in front of a packet. */
static __u32 outer_bytes(const struct group *g)
{
	__u32 ip = g->ipv6 || g->outer6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr);

	if (g->mode == LB_MODE_IPIP)
		return ip;
	return g->mode == LB_MODE_GUE ? ip + sizeof(struct udphdr) : 0;
}

/* lb_program.c's specialise(), for one service that uses nothing but its mode. */
static void specialise(struct ns_bpf *bpf, const struct group *g)
{
	bpf->rodata->lb_const_ipv4 = !g->ipv6;
	bpf->rodata->lb_const_ipv6 = g->ipv6;
	bpf->rodata->lb_const_udp = g->proto == IPPROTO_UDP;
	bpf->rodata->lb_const_nat_full = g->mode == LB_MODE_NAT_FULL;
	bpf->rodata->lb_const_nat_destination = g->mode == LB_MODE_NAT_DESTINATION;
	bpf->rodata->lb_const_ipip = g->mode == LB_MODE_IPIP;
	bpf->rodata->lb_const_gue = g->mode == LB_MODE_GUE;
	bpf->rodata->lb_const_l2 = g->mode == LB_MODE_L2;
	bpf->rodata->lb_const_outer6 = g->outer6;
	bpf->rodata->lb_const_stateless = g->stateless;
	bpf->rodata->lb_const_turns = false;
	bpf->rodata->lb_const_affinity = false;
	bpf->rodata->lb_const_quic = false;
	bpf->rodata->lb_const_filter = false;
	bpf->rodata->lb_const_limits = false;
	bpf->rodata->lb_const_cookies = false;
	bpf->rodata->lb_const_any_port = false;
	bpf->rodata->lb_const_local = false;
	bpf->rodata->lb_const_outer4 = htonl(172u << 24 | 16u << 16);
	bpf->rodata->lb_const_outer4_hosts = 0xffff;
	bpf->rodata->lb_const_outer_net6[0] = htonl(0xfd000003);
	bpf->rodata->lb_const_outer6_hosts = 0xffffffff;
	bpf->rodata->lb_const_gue_port = htons(GUE_PORT);
	bpf->rodata->lb_const_port_first = NAT_FIRST;
	bpf->rodata->lb_const_port_last = NAT_LAST;
	if (g->noting)
		bpf->rodata->lb_const_touch_ticks = 0;
	bpf->rodata->ns_ipv6 = g->ipv6;
	bpf->rodata->ns_pair = is_nat(g);
	bpf->rodata->ns_outer = outer_bytes(g);
}

static void choose_table(struct bpf_map *map, enum table table)
{
	if (table == TABLE_HASH)
		bpf_map__set_type(map, BPF_MAP_TYPE_HASH);
	else if (table == TABLE_LRU_CPUS)
		bpf_map__set_map_flags(map, BPF_F_NO_COMMON_LRU);
}

static void bench_open(struct bench *b, __u32 entries)
{
	const struct group *g = b->group;

	b->bpf = ns_bpf__open();
	if (!b->bpf)
		die("cannot open the program: %m");
	choose_table(b->bpf->maps.lb_conns4, g->table);
	choose_table(b->bpf->maps.lb_conns6, g->table);
	bpf_map__set_max_entries(b->bpf->maps.lb_conns4, g->ipv6 ? 1024 : entries);
	bpf_map__set_max_entries(b->bpf->maps.lb_conns6, g->ipv6 ? entries : 1024);
	bpf_map__set_max_entries(b->bpf->maps.lb_backends, BACKENDS + 1);
	bpf_map__set_max_entries(b->bpf->maps.lb_backend_counts, BACKENDS + 1);
	bpf_map__set_max_entries(b->bpf->maps.lb_reals, BACKENDS);
	specialise(b->bpf, g);
	if (ns_bpf__load(b->bpf))
		die("cannot load the program: %m; run as root, on Linux 5.10 or newer");
	fill_backends(b);
	fill_table(b);
	fill_service(b);
}

/* Headers of one packet; the wrapper varies the client. */
static void frame_fill(__u8 frame[FRAME_BYTES], const struct group *g, enum kind kind)
{
	struct ethhdr *eth = (struct ethhdr *)frame;
	__u16 l4_bytes = FRAME_BYTES - ETH_HLEN - (g->ipv6 ? 40 : 20);
	__be32 vip[4];
	__u8 *l4;

	memset(frame, 0, FRAME_BYTES);
	address(vip, g->ipv6, 0, 1);
	eth->h_dest[0] = eth->h_source[0] = 2;
	eth->h_source[5] = 9;
	eth->h_proto = htons(g->ipv6 ? ETH_P_IPV6 : ETH_P_IP);
	if (g->ipv6) {
		struct ipv6hdr ip = { .version = 6,
				      .payload_len = htons(l4_bytes),
				      .nexthdr = g->proto,
				      .hop_limit = 64 };

		memcpy(&ip.daddr, vip, 16);
		ip.saddr.s6_addr32[0] = htonl(0xfd00000c);
		l4 = memcpy(eth + 1, &ip, sizeof(ip));
		l4 += sizeof(ip);
	} else {
		struct iphdr ip = { .version = 4,
				    .ihl = 5,
				    .tot_len = htons(20 + l4_bytes),
				    .ttl = 64,
				    .protocol = g->proto,
				    .daddr = vip[3] };

		l4 = memcpy(eth + 1, &ip, sizeof(ip));
		l4 += sizeof(ip);
	}
	if (g->proto == IPPROTO_TCP) {
		struct tcphdr tcp = {
			.doff = 5, .ack = kind != NEW, .syn = kind == NEW, .check = 0x1234
		};

		tcp.dest = htons(kind == NOT_OURS ? OTHER_PORT : SERVICE_PORT);
		memcpy(l4, &tcp, sizeof(tcp));
	} else {
		struct udphdr udp = { .len = htons(l4_bytes), .check = 0x1234 };

		udp.dest = htons(kind == NOT_OURS ? OTHER_PORT : SERVICE_PORT);
		memcpy(l4, &udp, sizeof(udp));
	}
}

static void order_fill(struct ns_order *order, const struct group *g, enum kind kind, __u32 flows)
{
	int bits = __builtin_ctz(flows) / 2;
	__u8 frame[FRAME_BYTES];

	frame_fill(frame, g, kind);
	memset(order, 0, sizeof(*order));
	memcpy(order->frame, frame, sizeof(order->frame));
	order->mask = flows - 1;
	order->saddr = 10u << 24 | 128u << 16;
	order->client_bits = bits;
	order->client_mask = (1u << bits) - 1;
	order->sport = CLIENT_PORT;
}

/* Average nanoseconds of one packet.  The first packet is flow 0's; the wrapper goes on from there.
 */
static double run(const struct bench *b, const struct bpf_program *program, __u32 repeat)
{
	struct ns_order *order = &b->bpf->bss->order;
	__u32 saddr = htonl(order->saddr);
	__u16 sport = htons(order->sport);
	__u8 frame[FRAME_BYTES] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = sizeof(frame),
		    .repeat = repeat);

	memcpy(frame, order->frame, sizeof(order->frame));
	memcpy(frame + ETH_HLEN + (b->group->ipv6 ? 20 : 12), &saddr, sizeof(saddr));
	memcpy(frame + ETH_HLEN + (b->group->ipv6 ? 40 : 20), &sport, sizeof(sport));
	order->next = 1;
	if (bpf_prog_test_run_opts(bpf_program__fd(program), &opts))
		die("cannot run %s: %m", bpf_program__name(program));
	return opts.duration;
}

/* Runs the balancer and insists that what should become of a packet became of all but one in ten
 * thousand: a flow may find no free port. */
static double run_counted(const struct bench *b, enum kind kind, __u32 repeat, __u32 *ret_others)
{
	struct ns_order *order = &b->bpf->bss->order;
	int verdict = kind == NOT_OURS ? XDP_PASS : goes_back(b->group) ? XDP_TX : XDP_REDIRECT;
	double ns;

	memset(order->verdicts, 0, sizeof(order->verdicts));
	ns = run(b, b->bpf->progs.ns_balance, repeat);
	*ret_others = repeat - order->verdicts[verdict];
	if (*ret_others > repeat / 10000)
		die("of %u packets of kind '%s', %llu ended with verdict %d (aborted %llu, "
		    "dropped %llu, passed %llu, sent back %llu)",
		    repeat, kind_names[kind], order->verdicts[verdict], verdict,
		    order->verdicts[XDP_ABORTED], order->verdicts[XDP_DROP],
		    order->verdicts[XDP_PASS], order->verdicts[XDP_TX]);
	return ns;
}

static void flush(const struct bench *b)
{
	const struct bpf_map *map = b->group->ipv6 ? b->bpf->maps.lb_conns6
						   : b->bpf->maps.lb_conns4;
	char *keys = malloc((size_t)FLUSH_BATCH * bpf_map__key_size(map));
	char *values = malloc((size_t)FLUSH_BATCH * bpf_map__value_size(map));
	__u32 position = 0, count;
	bool first = true;
	int r;

	if (!keys || !values)
		die("out of memory");
	do {
		count = FLUSH_BATCH;
		r = bpf_map_lookup_and_delete_batch(bpf_map__fd(map), first ? NULL : &position,
						    &position, keys, values, &count, NULL);
		first = false;
		if (r && errno != ENOENT)
			die("cannot empty %s: %m", bpf_map__name(map));
	} while (!r);
	free(keys);
	free(values);
}

/* Is this one of the runs of a row of that kind? */
static bool has_run(const struct bench *b, enum kind kind, enum run run)
{
	if (run == RUN_PUSH_POP)
		return outer_bytes(b->group) && kind != NOT_OURS;
	if (run == RUN_TABLE)
		return !b->group->stateless && (kind == ESTABLISHED || kind == NEW);
	return true;
}

static void row_print(const struct bench *b, enum kind kind, __u32 flows, __u32 repeat,
		      __u32 others, double ns[RUNS][MAX_ROUNDS])
{
	const struct group *g = b->group;

	printf("{\"kind\": \"%s\", \"group\": \"%s\", \"family\": %d, \"proto\": \"%s\", "
	       "\"flows\": %u, \"packets\": %u, \"others\": %u",
	       kind_names[kind], g->name, g->ipv6 ? 6 : 4, g->proto == IPPROTO_TCP ? "tcp" : "udp",
	       flows, repeat, others);
	for (int which = 0; which < RUNS; which++) {
		if (!has_run(b, kind, which))
			continue;
		printf(", \"%s\": [", run_names[which]);
		for (int round = 0; round < b->settings->rounds; round++)
			printf("%s%.0f", round ? ", " : "", ns[which][round]);
		putchar(']');
	}
	puts("}");
	fflush(stdout);
}

static void floors(const struct bench *b, enum kind kind, double ns[RUNS][MAX_ROUNDS], int round)
{
	ns[RUN_PASS][round] = run(b, b->bpf->progs.ns_pass, LEAST_REPEAT);
	ns[RUN_WRAPPER][round] = run(b, b->bpf->progs.ns_wrapper, LEAST_REPEAT);
	if (has_run(b, kind, RUN_PUSH_POP))
		ns[RUN_PUSH_POP][round] = run(b, b->bpf->progs.ns_push_pop, LEAST_REPEAT);
}

static void row_new(const struct bench *b)
{
	double ns[RUNS][MAX_ROUNDS];
	__u32 others;

	order_fill(&b->bpf->bss->order, b->group, NEW, NEW_FLOWS);
	for (int round = 0; round < b->settings->rounds; round++) {
		floors(b, NEW, ns, round);
		flush(b);
		ns[RUN_TABLE][round] = run(b, b->bpf->progs.ns_insert, NEW_FLOWS);
		flush(b);
		ns[RUN_BALANCE][round] = run_counted(b, NEW, NEW_FLOWS, &others);
	}
	row_print(b, NEW, NEW_FLOWS, NEW_FLOWS, others, ns);
}

static void row(const struct bench *b, enum kind kind, __u32 flows)
{
	__u32 repeat = flows > LEAST_REPEAT ? flows : LEAST_REPEAT;
	double ns[RUNS][MAX_ROUNDS];
	__u32 others;

	order_fill(&b->bpf->bss->order, b->group, kind, flows);
	if (kind != NOT_OURS) {
		flush(b);
		run_counted(b, kind, flows * 2, &others); /* begins them, and takes each up once */
	}
	for (int round = 0; round < b->settings->rounds; round++) {
		floors(b, kind, ns, round);
		if (has_run(b, kind, RUN_TABLE))
			ns[RUN_TABLE][round] = run(b, b->bpf->progs.ns_lookup, repeat);
		ns[RUN_BALANCE][round] = run_counted(b, kind, repeat, &others);
	}
	row_print(b, kind, flows, repeat, others, ns);
}

static void measure_few(struct bench *b)
{
	bench_open(b, FEW_ENTRIES);
	row(b, NOT_OURS, 1024);
	row(b, ESTABLISHED, 1);
	row(b, ESTABLISHED, 1024);
	if (!b->settings->quick)
		row(b, ESTABLISHED, 65536);
	if (!b->group->stateless)
		row_new(b);
	ns_bpf__destroy(b->bpf);
}

static void measure_many(struct bench *b)
{
	bench_open(b, MANY_ENTRIES);
	row(b, b->group->noting ? NOTED : ESTABLISHED, b->settings->most_flows);
	ns_bpf__destroy(b->bpf);
}

static void measure(const struct settings *settings, const struct group *group)
{
	struct bench b = { .settings = settings, .group = group };

	if (!group->noting)
		measure_few(&b);
	if (settings->most_flows > LEAST_REPEAT && group->many &&
	    (!settings->quick || group->quick_many))
		measure_many(&b);
}

static const struct group groups[] = {
	{ "nat4", LB_MODE_NAT_FULL, IPPROTO_TCP, .many = true, .quick = true },
	{ "nat4-noting", LB_MODE_NAT_FULL, IPPROTO_TCP, .many = true, .noting = true },
	{ "nat4-udp", LB_MODE_NAT_FULL, IPPROTO_UDP, .many = true },
	{ "nat6", LB_MODE_NAT_FULL, IPPROTO_TCP, .ipv6 = true, .many = true },
	{ "nat6-udp", LB_MODE_NAT_FULL, IPPROTO_UDP, .ipv6 = true },
	{ "destination4", LB_MODE_NAT_DESTINATION, IPPROTO_TCP, .many = true },
	{ "ipip4", LB_MODE_IPIP, IPPROTO_TCP, .many = true, .quick = true, .quick_many = true },
	{ "ipip4-redirect", LB_MODE_IPIP, IPPROTO_TCP, .redirect = true },
	{ "ipip4-lru-cpus", LB_MODE_IPIP, IPPROTO_TCP, TABLE_LRU_CPUS, .many = true },
	{ "ipip4-hash", LB_MODE_IPIP, IPPROTO_TCP, TABLE_HASH, .many = true },
	{ "ipip4-udp", LB_MODE_IPIP, IPPROTO_UDP, .many = true },
	{ "ipip6", LB_MODE_IPIP, IPPROTO_TCP, .ipv6 = true, .many = true, .quick = true },
	{ "ipip4in6", LB_MODE_IPIP, IPPROTO_TCP, .outer6 = true },
	{ "gue4", LB_MODE_GUE, IPPROTO_TCP, .many = true },
	{ "l2", LB_MODE_L2, IPPROTO_TCP, .many = true, .quick = true },
	{ "l2-udp", LB_MODE_L2, IPPROTO_UDP },
	{ "stateless4", LB_MODE_IPIP, IPPROTO_TCP, .stateless = true, .many = true, .quick = true },
	{ "stateless6", LB_MODE_IPIP, IPPROTO_TCP, .ipv6 = true, .stateless = true },
	{ "stateless-l2", LB_MODE_L2, IPPROTO_TCP, .stateless = true },
};

static bool is_wanted(const struct settings *settings, const struct group *group)
{
	if (settings->only)
		return !strcmp(settings->only, group->name);
	return !settings->quick || group->quick;
}

int main(int argc, char **argv)
{
	struct settings settings = { 0 };
	cpu_set_t set;

	if (argc != 5 && argc != 6)
		die("usage: bench-ns ROUNDS CPU MOST-FLOWS quick|full [GROUP]");
	settings.rounds = atoi(argv[1]);
	settings.cpu = atoi(argv[2]);
	settings.most_flows = atoi(argv[3]);
	settings.quick = !strcmp(argv[4], "quick");
	settings.only = argv[5];
	if (settings.rounds < 1 || settings.rounds > MAX_ROUNDS)
		die("expected 1 to %d rounds", MAX_ROUNDS);
	CPU_ZERO(&set);
	CPU_SET(settings.cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		die("cannot run on CPU %u: %m", settings.cpu);
	libbpf_set_strict_mode(LIBBPF_STRICT_ALL);
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (is_wanted(&settings, &groups[i]))
			measure(&settings, &groups[i]);
	return 0;
}
