/* One row for each way that a packet can end, in every mode, over IPv4 and IPv6: who gets it, and
 * every counter that rises. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "abi/wg_demux_abi.h"
#include "base/must.h"
#include "casts.h"
#include "group.h"
#include "tests.h"

#define MEMBERS	  4
#define NONE	  STEER_COUNTERS_END
#define NO_GROUP  0x1000 /* a row's policy with this: the kernel's group is not read */
#define EMPTY	  200	 /* a slot without a socket */
#define INDEX	  0x07abcdef
#define MAX_BYTES 160

/* Whom a packet reaches, by what it is told apart. */
enum who {
	KERNEL, /* the member that the kernel's hash chooses */
	PLAN,	/* the one after it: the plan names nobody else */
	OWNER,	/* the one after that: the index' or identity's */
	MOVED,	/* the last one: the single index' */
};

struct row {
	const char *sentence;
	unsigned policy;
	bool tcp;
	const char *payload;
	size_t length;
	void (*prepare)(struct group *group, unsigned kernel);
	enum who who;
	enum steer_counter reason;  /* of the choice; SELECTED, KERNEL: none of its own */
	enum steer_counter outcome; /* NONE: selecting works */
};

static uint16_t slot_of(enum who who, unsigned kernel)
{
	return group_slot((kernel + who) % MEMBERS);
}

static void plan_nobody(struct group *group, unsigned kernel)
{
	group_plan(group, STEER_NOBODY);
	memset(group->table->cpus, 0xff, sizeof(group->table->cpus));
}

static void plan_empty(struct group *group, unsigned kernel)
{
	group_plan(group, EMPTY);
}

static void own_empty(struct group *group, unsigned kernel)
{
	memset(group->table->identity, 0, sizeof(group->table->identity));
	for (int i = 0; i < STEER_MAX_SLOTS; i++)
		group->table->vshards[i] = group->table->identity[i] = EMPTY;
}

static void own_nobody(struct group *group, unsigned kernel)
{
	for (int i = 0; i < STEER_VSHARDS; i++)
		group->table->vshards[i] = WG_NOBODY;
	memset(group->table->identity, 0xff, sizeof(group->table->identity));
}

static void own_single(struct group *group, unsigned kernel)
{
	for (int i = 0; i < STEER_VSHARDS; i++)
		group->table->vshards[i] = STEER_NOBODY;
}

static void override(struct group *group, unsigned kernel)
{
	for (int i = 0; i < STEER_MAX_SLOTS; i++)
		group->table->vshards[i] |= STEER_VSHARD_OVERRIDES;
}

static void override_other(struct group *group, unsigned kernel)
{
	__u32 index = INDEX;

	override(group, kernel);
	must(bpf_map_delete_elem(bpf_map__fd(group->bpf->maps.rx_index_to_slot), &index) == 0);
}

static void restrict_kernel(struct group *group, unsigned kernel)
{
	group->control->restricted = 1;
	group->table->slot_flags[slot_of(KERNEL, kernel)] = 0;
}

static void restrict_others(struct group *group, unsigned kernel)
{
	restrict_kernel(group, (kernel + 1) % MEMBERS);
}

static void only_kernel_is_eligible(struct group *group, unsigned kernel)
{
	for (unsigned i = 0; i < MEMBERS; i++)
		group->table->members[i].flags = i == kernel ? STEER_MEMBER_ELIGIBLE : 0;
}

static void nobody_is_eligible(struct group *group, unsigned kernel)
{
	only_kernel_is_eligible(group, MEMBERS);
}

/* Members in another order than the kernel's: found by their cookies. */
static void shuffle(struct group *group, unsigned kernel)
{
	struct steer_member first = group->table->members[0];

	memmove(&group->table->members[0], &group->table->members[1],
		(MEMBERS - 1) * sizeof(first));
	group->table->members[MEMBERS - 1] = first;
}

#define HEAD(bytes)	 .payload = (bytes), .length = sizeof(bytes) - 1
#define REASON(name)	 .reason = STEER_COUNT_##name, .outcome = NONE
#define FAILS(name, out) .reason = STEER_COUNT_##name, .outcome = STEER_COUNT_##out
#define X16		 "xxxxxxxxxxxxxxxx"
#define X32		 X16 X16
#define X64		 X32 X32
#define WG_INDEX_IS	 "\xef\xcd\xab\x07"
#define INITIATION	 "\1\0\0\0abcd" X64 X64 "xxxxxxxxxxxx"
#define RESPONSE	 "\2\0\0\0abcd" WG_INDEX_IS X64 X16
#define COOKIE_REPLY	 "\3\0\0\0" WG_INDEX_IS X32 X16 "xxxxxxxx"
#define DATA		 "\4\0\0\0" WG_INDEX_IS X16 "xxxxxxxx"

/* QUIC: bytes 1 and 2 of the id, shifted by 4 and masked with 0xff: 0xaf (175) is id 0x.a.f.. */
#define QUIC_ID			 "\x99\x0a\xf0\x77\x66\x55\x44\x33"
#define QUIC_SHORT		 "\x40" QUIC_ID "ciphertext"
#define QUIC_V1			 "\0\0\0\1"
#define QUIC_V2			 "\x6b\x33\x43\xcf"
#define QUIC_LONG(type, version) type version "\x8" QUIC_ID "\0ciphertext"

static const struct row rows[] = {
	{ "hash: the kernel's choice stands", STEER_HASH, .who = KERNEL, REASON(KERNEL) },
	{ "hash: TCP likewise", STEER_HASH, .tcp = true, .who = KERNEL, REASON(KERNEL) },
	{ "hash: by the table alone", STEER_HASH | NO_GROUP, .who = KERNEL, REASON(KERNEL) },
	{ "hash: members in another order", STEER_HASH, .prepare = shuffle, .who = KERNEL,
	  REASON(KERNEL) },
	{ "hash: who may not get any: by the plan", STEER_HASH, .prepare = restrict_kernel,
	  .who = PLAN, REASON(SELECTED) },
	{ "hash: TCP: who may not get any", STEER_HASH, .tcp = true, .prepare = restrict_kernel,
	  .who = PLAN, REASON(SELECTED) },
	{ "hash: others may not get any", STEER_HASH, .prepare = restrict_others, .who = KERNEL,
	  REASON(KERNEL) },
	{ "weighted: by the plan", STEER_WEIGHTED, .who = PLAN, REASON(SELECTED) },
	{ "weighted: TCP by the plan", STEER_WEIGHTED, .tcp = true, .who = PLAN, REASON(SELECTED) },
	{ "weighted: by the plan without the group", STEER_WEIGHTED | NO_GROUP, .who = PLAN,
	  REASON(SELECTED) },
	{ "weighted: the plan names nobody", STEER_WEIGHTED, .prepare = plan_nobody, .who = KERNEL,
	  REASON(NO_SLOT) },
	{ "weighted: TCP: the plan names nobody", STEER_WEIGHTED, .tcp = true,
	  .prepare = plan_nobody, .who = KERNEL, REASON(NO_SLOT) },
	{ "weighted: the slot is empty", STEER_WEIGHTED, .prepare = plan_empty, .who = KERNEL,
	  FAILS(SELECTED, SLOT_EMPTY) },
	{ "weighted: TCP: the slot is empty", STEER_WEIGHTED, .tcp = true, .prepare = plan_empty,
	  .who = KERNEL, FAILS(SELECTED, SLOT_EMPTY) },
	{ "random: by the plan", STEER_RANDOM, .who = PLAN, REASON(SELECTED) },
	{ "random: the plan names nobody", STEER_RANDOM, .prepare = plan_nobody, .who = KERNEL,
	  REASON(NO_SLOT) },
	{ "random: TCP by the plan", STEER_RANDOM, .tcp = true, .who = PLAN, REASON(SELECTED) },
	{ "least_loaded: idle members by the plan", STEER_LEAST_LOADED, .who = PLAN,
	  REASON(SELECTED) },
	{ "least_loaded: TCP: idle members by the plan", STEER_LEAST_LOADED, .tcp = true,
	  .who = PLAN, REASON(SELECTED) },
	{ "least_loaded: in another order", STEER_LEAST_LOADED, .prepare = shuffle, .who = PLAN,
	  REASON(SELECTED) },
	{ "least_loaded: nobody may get any", STEER_LEAST_LOADED, .prepare = nobody_is_eligible,
	  .who = KERNEL, REASON(NO_SLOT) },
	{ "least_loaded: the group is not read", STEER_LEAST_LOADED | NO_GROUP, .who = KERNEL,
	  REASON(NO_GROUP) },
	{ "source_hash: by the plan", STEER_SOURCE_HASH, .who = PLAN, REASON(SELECTED) },
	{ "source_hash: by the plan without the group", STEER_SOURCE_HASH | NO_GROUP, .who = PLAN,
	  REASON(SELECTED) },
	{ "source_hash: TCP by the plan", STEER_SOURCE_HASH, .tcp = true, .who = PLAN,
	  REASON(SELECTED) },
	{ "source_hash: the plan names nobody", STEER_SOURCE_HASH, .prepare = plan_nobody,
	  .who = KERNEL, REASON(NO_SLOT) },
	{ "cpu_local: by the CPU", STEER_CPU_LOCAL, .who = OWNER, REASON(SELECTED) },
	{ "cpu_local: TCP by the CPU", STEER_CPU_LOCAL, .tcp = true, .who = OWNER,
	  REASON(SELECTED) },
	{ "cpu_local: the CPU is nobody's", STEER_CPU_LOCAL, .prepare = plan_nobody, .who = KERNEL,
	  REASON(NO_SLOT) },
	{ "wireguard: an initiation by its source", STEER_WIREGUARD, HEAD(INITIATION), .who = PLAN,
	  REASON(HANDSHAKE) },
	{ "wireguard: an initiation without the group", STEER_WIREGUARD | NO_GROUP,
	  HEAD(INITIATION), .who = PLAN, REASON(HANDSHAKE) },
	{ "wireguard: initiations are nobody's", STEER_WIREGUARD, HEAD(INITIATION),
	  .prepare = plan_nobody, .who = KERNEL, REASON(NO_SLOT) },
	{ "wireguard: a response by its index", STEER_WIREGUARD, HEAD(RESPONSE), .who = OWNER,
	  REASON(INDEX) },
	{ "wireguard: a cookie by its index", STEER_WIREGUARD, HEAD(COOKIE_REPLY), .who = OWNER,
	  REASON(INDEX) },
	{ "wireguard: data by its index", STEER_WIREGUARD, HEAD(DATA), .who = OWNER,
	  REASON(INDEX) },
	{ "wireguard: longer data", STEER_WIREGUARD, HEAD(DATA X64 X64), .who = OWNER,
	  REASON(INDEX) },
	{ "wireguard: a single index' own", STEER_WIREGUARD, HEAD(DATA), .prepare = override,
	  .who = MOVED, REASON(INDEX_OVERRIDE) },
	{ "wireguard: a response's own", STEER_WIREGUARD, HEAD(RESPONSE), .prepare = override,
	  .who = MOVED, REASON(INDEX_OVERRIDE) },
	{ "wireguard: another index moved", STEER_WIREGUARD, HEAD(DATA), .prepare = override_other,
	  .who = OWNER, REASON(INDEX) },
	{ "wireguard: the shard is nobody's", STEER_WIREGUARD, HEAD(DATA), .prepare = own_nobody,
	  .who = KERNEL, REASON(INDEX_MISS) },
	{ "wireguard: the shard is nobody's, the index somebody's", STEER_WIREGUARD, HEAD(DATA),
	  .prepare = own_single, .who = MOVED, REASON(INDEX_OVERRIDE) },
	{ "wireguard: the shard's slot is empty", STEER_WIREGUARD, HEAD(DATA), .prepare = own_empty,
	  .who = KERNEL, FAILS(INDEX, SLOT_EMPTY) },
	{ "wireguard: a response too short", STEER_WIREGUARD, HEAD("\2\0\0\0abcd" WG_INDEX_IS X64),
	  .who = KERNEL, REASON(NOT_MINE) },
	{ "wireguard: reserved bytes are not zero", STEER_WIREGUARD,
	  HEAD("\4\1\0\0" WG_INDEX_IS X32), .who = KERNEL, REASON(NOT_MINE) },
	{ "wireguard: another type", STEER_WIREGUARD, HEAD("\5\0\0\0" WG_INDEX_IS X32),
	  .who = KERNEL, REASON(NOT_MINE) },
	{ "wireguard: type 0", STEER_WIREGUARD, HEAD("\0\0\0\0" WG_INDEX_IS X32), .who = KERNEL,
	  REASON(NOT_MINE) },
	{ "wireguard: an empty datagram", STEER_WIREGUARD, .who = KERNEL, REASON(SHORT) },
	{ "wireguard: TCP is another's", STEER_WIREGUARD, .tcp = true, .who = KERNEL,
	  REASON(NOT_MINE) },
	{ "quic: a short header by its id", STEER_QUIC, HEAD(QUIC_SHORT), .who = OWNER,
	  REASON(INDEX) },
	{ "quic: the id is nobody's", STEER_QUIC, HEAD(QUIC_SHORT), .prepare = own_nobody,
	  .who = KERNEL, REASON(INDEX_MISS) },
	{ "quic: the id's slot is empty", STEER_QUIC, HEAD(QUIC_SHORT), .prepare = own_empty,
	  .who = KERNEL, FAILS(INDEX, SLOT_EMPTY) },
	{ "quic: an Initial by the flow's hash", STEER_QUIC, HEAD(QUIC_LONG("\xc0", QUIC_V1)),
	  .who = PLAN, REASON(SELECTED) },
	{ "quic: 0-RTT by the flow's hash", STEER_QUIC, HEAD(QUIC_LONG("\xd0", QUIC_V1)),
	  .who = PLAN, REASON(SELECTED) },
	{ "quic: a Handshake by its id", STEER_QUIC, HEAD(QUIC_LONG("\xe0", QUIC_V1)), .who = OWNER,
	  REASON(INDEX) },
	{ "quic: version 2's Handshake by its id", STEER_QUIC, HEAD(QUIC_LONG("\xf0", QUIC_V2)),
	  .who = OWNER, REASON(INDEX) },
	{ "quic: version 2's 0-RTT by the flow's hash", STEER_QUIC,
	  HEAD(QUIC_LONG("\xe0", QUIC_V2)), .who = PLAN, REASON(SELECTED) },
	{ "quic: another version by the flow's hash", STEER_QUIC,
	  HEAD(QUIC_LONG("\xe0", "\x1a\x2a\x3a\x4a")), .who = PLAN, REASON(SELECTED) },
	{ "quic: a Handshake whose id is nobody's", STEER_QUIC, HEAD(QUIC_LONG("\xe0", QUIC_V1)),
	  .prepare = own_nobody, .who = PLAN, REASON(SELECTED) },
	{ "quic: a Handshake whose id is too short", STEER_QUIC,
	  HEAD("\xe0" QUIC_V1 "\x2\x99\x0a\0"), .who = PLAN, REASON(SELECTED) },
	{ "quic: a Handshake that ends within its id", STEER_QUIC,
	  HEAD("\xe0" QUIC_V1 "\x8\x99\x0a"), .who = KERNEL, REASON(SHORT) },
	{ "quic: an empty datagram", STEER_QUIC, .who = KERNEL, REASON(SHORT) },
	{ "quic: an Initial and no plan", STEER_QUIC, HEAD(QUIC_LONG("\xc0", QUIC_V1)),
	  .prepare = plan_nobody, .who = KERNEL, REASON(NO_SLOT) },
	{ "quic: TCP is another's", STEER_QUIC, .tcp = true, .who = KERNEL, REASON(NOT_MINE) },
	{ "bytes: by the number", STEER_BYTES, HEAD("xxx\0\0\xafyyy"), .who = OWNER,
	  REASON(INDEX) },
	{ "bytes: a number that is too large", STEER_BYTES, HEAD("xxx\1\0\xafyyy"), .who = KERNEL,
	  REASON(INDEX_MISS) },
	{ "bytes: nobody's number", STEER_BYTES, HEAD("xxx\0\0\xafyyy"), .prepare = own_nobody,
	  .who = KERNEL, REASON(INDEX_MISS) },
	{ "bytes: just long enough", STEER_BYTES, HEAD("xxx\0\0\xaf"), .who = OWNER,
	  REASON(INDEX) },
	{ "bytes: TCP is another's", STEER_BYTES, .tcp = true, .who = KERNEL, REASON(NOT_MINE) },
	{ "generation: a new flow by the plan", STEER_GENERATION, .who = PLAN, REASON(FLOW_NEW) },
	{ "generation: a new flow and no plan", STEER_GENERATION, .prepare = plan_nobody,
	  .who = KERNEL, REASON(NO_SLOT) },
	{ "generation: a new flow, its slot empty", STEER_GENERATION, .prepare = plan_empty,
	  .who = KERNEL, FAILS(FLOW_NEW, SLOT_EMPTY) },
	{ "generation: TCP is another's", STEER_GENERATION, .tcp = true, .who = KERNEL,
	  REASON(NOT_MINE) },
};

static struct steer_const const_of(const struct row *row)
{
	struct steer_const is = {
		.policy = row->policy & ~NO_GROUP,
		.udp = !row->tcp,
		.migrates = row->tcp,
		.reads_group = !(row->policy & NO_GROUP) && casts_exist(),
	};

	if (is.policy == STEER_QUIC) {
		is.offset = 1;
		is.length = 2;
		is.shift = 4;
		is.mask = 0xff;
	} else if (is.policy == STEER_BYTES) {
		is.offset = 3;
		is.length = 3;
		is.mask = 0xffffff;
	}
	return is;
}

/* Programs are loaded once. */
static struct group *group_for(const struct row *row, int family)
{
	static struct group *cache[64];
	struct steer_const is = const_of(row);
	unsigned i;

	for (i = 0; i < 64 && cache[i]; i++)
		if (cache[i]->family == family && cache[i]->is.policy == is.policy &&
		    cache[i]->is.udp == is.udp && cache[i]->is.reads_group == is.reads_group)
			return cache[i];
	must(i < 64);
	cache[i] = group_open(&is, family, MEMBERS);
	tests_at_exit(cache[i]);
	return cache[i];
}

static void arrange(struct group *group, const struct row *row, unsigned kernel)
{
	__u32 index = INDEX, moved = slot_of(MOVED, kernel);
	struct steer_flow_key key;

	group_reset(group);
	group_plan(group, slot_of(PLAN, kernel));
	for (int i = 0; i < STEER_MAX_CPUS; i++)
		group->table->cpus[i] = slot_of(OWNER, kernel);
	group->table->vshards[INDEX >> 24] = slot_of(OWNER, kernel);
	group->table->identity[0xaf] = slot_of(OWNER, kernel);
	if (group->is.policy == STEER_WIREGUARD)
		must(bpf_map_update_elem(bpf_map__fd(group->bpf->maps.rx_index_to_slot), &index,
					 &moved, BPF_ANY) == 0);
	if (group->is.policy == STEER_GENERATION)
		while (bpf_map_get_next_key(bpf_map__fd(group->bpf->maps.steer_flows), NULL,
					    &key) == 0)
			bpf_map_delete_elem(bpf_map__fd(group->bpf->maps.steer_flows), &key);
	if (row->prepare)
		row->prepare(group, kernel);
}

static bool selects(const struct row *row)
{
	return row->who != KERNEL;
}

/* What is to be counted of one packet. */
static void expect(const struct row *row, enum steer_mode mode, bool within, unsigned kernel,
		   size_t bytes, struct counts *c)
{
	struct steer_member_count *left = &c->members[slot_of(KERNEL, kernel)];
	struct steer_member_count *given = &c->members[slot_of(row->who, kernel)];
	bool own = row->reason != STEER_COUNT_SELECTED && row->reason != STEER_COUNT_KERNEL;

	if (mode == STEER_FALLBACK)
		return;
	if (mode >= STEER_CANARY && within && selects(row)) {
		c->of[row->reason] += own;
		c->of[STEER_COUNT_SELECTED]++;
		given->selected_packets++;
		given->selected_bytes += bytes;
		return;
	}
	left->kernel_packets++;
	left->kernel_bytes += bytes;
	if (mode == STEER_OBSERVE) {
		c->of[STEER_COUNT_KERNEL]++;
	} else if (mode == STEER_SHADOW) {
		bool known = selects(row) || row->reason == STEER_COUNT_KERNEL ||
			     row->outcome != NONE;
		uint16_t slot = row->outcome != NONE ? EMPTY
				: known		     ? slot_of(row->who, kernel)
						     : STEER_MAX_SLOTS;

		c->of[row->reason] += own;
		c->members[slot].shadow_packets++;
		c->of[!known				? STEER_COUNT_SHADOW_UNKNOWN
		      : slot == slot_of(KERNEL, kernel) ? STEER_COUNT_SHADOW_SAME
							: STEER_COUNT_SHADOW_OTHER]++;
	} else if (!within) {
		c->of[STEER_COUNT_CANARY_OUT]++;
	} else {
		if (row->outcome != NONE)
			c->of[row->outcome]++;
		c->of[row->reason] += own || row->outcome == NONE;
	}
}

static void compare(const struct counts *before, const struct counts *after,
		    const struct counts *expected, const char *where)
{
	static const char *const names[] = {
#define NAME(name, help) #name,
		STEER_COUNTERS(NAME)
	};

	for (size_t i = 0; i < STEER_COUNTERS_END; i++)
		if (after->of[i] - before->of[i] != expected->of[i])
			fail_msg("%s: %s rose by %llu, not by %llu", where, names[i],
				 (unsigned long long)(after->of[i] - before->of[i]),
				 (unsigned long long)expected->of[i]);
	for (unsigned slot = 0; slot <= STEER_MAX_SLOTS; slot++) {
		const uint64_t *was = (const uint64_t *)&before->members[slot];
		const uint64_t *is = (const uint64_t *)&after->members[slot];
		const uint64_t *want = (const uint64_t *)&expected->members[slot];

		for (size_t i = 0; i < sizeof(before->members[0]) / sizeof(*was); i++)
			if (is[i] - was[i] != want[i])
				fail_msg("%s: slot %u: count %zu rose by %llu, not by %llu", where,
					 slot, i, (unsigned long long)(is[i] - was[i]),
					 (unsigned long long)want[i]);
	}
}

static void check_mode(const struct row *row, struct group *group, enum steer_mode mode,
		       uint32_t canary)
{
	static struct counts before, after, expected;
	int client = group_client(group, NULL, 0);
	bool within = mode != STEER_CANARY || canary;
	unsigned kernel, got;
	char where[64];

	snprintf(where, sizeof(where), "%s mode %d canary %x",
		 group->family == AF_INET ? "IPv4" : "IPv6", mode, canary);
	group->control->mode = STEER_FALLBACK;
	kernel = group_reach(group, &client, row->payload, row->length);
	arrange(group, row, kernel);
	group->control->canary = canary;
	group->control->mode = mode;
	group_counts(group, &before);
	got = group_reach(group, &client, row->payload, row->length);
	group_counts(group, &after);
	memset(&expected, 0, sizeof(expected));
	/* A SYN of a loopback socket: 40 bytes of TCP's header. */
	expect(row, mode, within, kernel, row->tcp ? 40 : 8 + row->length, &expected);
	compare(&before, &after, &expected, where);
	if (group_slot(got) != slot_of(mode >= STEER_CANARY && within ? row->who : KERNEL, kernel))
		fail_msg("%s: member %u got it, the kernel's is %u", where, got, kernel);
	close(client);
}

static void check_row(void **state)
{
	const struct row *row = *state;
	bool reads = row->policy == STEER_LEAST_LOADED || row->prepare == shuffle;
	static const int families[] = { AF_INET, AF_INET6 };

	if (reads && !casts_exist())
		skip();
	for (size_t i = 0; i < 2; i++) {
		struct group *group = group_for(row, families[i]);

		for (int mode = STEER_FALLBACK; mode <= STEER_ENFORCE; mode++)
			check_mode(row, group, (enum steer_mode)mode, 0);
		check_mode(row, group, STEER_CANARY, UINT32_MAX);
	}
}

/* ---- datagrams of every length ---- */

static void check_lengths(unsigned policy, const char *payload, size_t length, size_t enough,
			  size_t whole)
{
	struct row row = { .policy = policy, .payload = payload, .outcome = NONE };
	static const int families[] = { AF_INET, AF_INET6 };

	for (size_t i = 0; i < 2; i++)
		for (row.length = 0; row.length <= length; row.length++) {
			row.reason = row.length < enough  ? STEER_COUNT_SHORT
				     : row.length < whole ? STEER_COUNT_NOT_MINE
							  : STEER_COUNT_INDEX;
			row.who = row.length < whole ? KERNEL : OWNER;
			check_mode(&row, group_for(&row, families[i]), STEER_ENFORCE, 0);
		}
}

static void wireguard_of_every_length_stays_within_the_packet(void **state)
{
	check_lengths(STEER_WIREGUARD, DATA "x", sizeof(DATA), 12, 32);
	check_lengths(STEER_WIREGUARD, RESPONSE "x", sizeof(RESPONSE), 12, 92);
	check_lengths(STEER_WIREGUARD, COOKIE_REPLY "x", sizeof(COOKIE_REPLY), 12, 64);
}

static void quic_of_every_length_stays_within_the_packet(void **state)
{
	check_lengths(STEER_QUIC, QUIC_SHORT, sizeof(QUIC_SHORT) - 1, 4, 4);
	check_lengths(STEER_QUIC, QUIC_LONG("\xe0", QUIC_V1), 20, 9, 9);
}

static void bytes_of_every_length_stay_within_the_packet(void **state)
{
	check_lengths(STEER_BYTES, "xxx\0\0\xafyyy", 9, 6, 6);
}

int tests_of_rows(void)
{
	static struct CMUnitTest tests[sizeof(rows) / sizeof(rows[0])];
	const size_t count = sizeof(rows) / sizeof(rows[0]);
	const struct CMUnitTest lengths[] = {
		cmocka_unit_test(wireguard_of_every_length_stays_within_the_packet),
		cmocka_unit_test(quic_of_every_length_stays_within_the_packet),
		cmocka_unit_test(bytes_of_every_length_stay_within_the_packet),
	};

	for (size_t i = 0; i < count; i++)
		tests[i] = (struct CMUnitTest){ rows[i].sentence, check_row, NULL, NULL,
						(void *)(uintptr_t)&rows[i] };
	return _cmocka_run_group_tests("ways to end", tests, count, NULL, NULL) +
	       cmocka_run_group_tests_name("lengths", lengths, NULL, NULL);
}
