/* Packet tests of the unwrapping program, by BPF_PROG_TEST_RUN: verdict, every byte and the one
 * counter that rises. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <linux/bpf.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "abi/decap_abi.h"
#include "base/must.h"
#include "decap.skel.h"
#include "wrapped.h"

#define EXIT_SKIPPED 77
#define SHORTEST     14 /* that BPF_PROG_TEST_RUN takes */
#define MAX_CPUS     1024

#define HOST4 "10.1.0.11"
#define HOST6 "fd01::11"
#define VIP4  "10.0.0.1"
#define VIP6  "fd00::1"

#define CONTENT4    .from = "192.0.2.1", .to = VIP4, .proto = IPPROTO_TCP, .sport = 1234, .dport = 80
#define CONTENT6    .from = "2001:db8::1", .to = VIP6, .proto = IPPROTO_TCP, .sport = 1234, .dport = 80
#define INNER4(...) .inner = PACKET(CONTENT4, __VA_ARGS__)
#define INNER6(...) .inner = PACKET(CONTENT6, __VA_ARGS__)
#define OVER4	    .from = "172.16.3.9", .to = HOST4
#define OVER6	    .from = "fd99::9", .to = HOST6
#define IPIP	    .wrap = WRAP_IP, OVER4, INNER4()
#define IP4IN6	    .wrap = WRAP_IP, OVER6, INNER4()
#define IP6IP6	    .wrap = WRAP_IP, OVER6, INNER6()
#define GUE44	    .wrap = WRAP_GUE1, OVER4, INNER4()
#define GUE46	    .wrap = WRAP_GUE1, OVER4, INNER6()
#define GUE64	    .wrap = WRAP_GUE1, OVER6, INNER4()
#define GUE66	    .wrap = WRAP_GUE1, OVER6, INNER6()
#define GUE0_44	    .wrap = WRAP_GUE0, OVER4, INNER4()
#define GUE0_66	    .wrap = WRAP_GUE0, OVER6, INNER6()

static struct decap_bpf *bpf;

static const uint32_t verdicts[DECAP_COUNTER_COUNT] = {
#define UNWRAP				   XDP_PASS
#define PASS				   XDP_PASS
#define DROP				   XDP_DROP
#define VERDICT(name, text, verdict, help) [DECAP_##name] = verdict,
	DECAP_COUNTERS(VERDICT)
#undef VERDICT
};

static const struct row {
	const char *sentence;
	struct wrapped frame;
	enum decap_counter counter;
} rows[] = {
	/* What is unwrapped. */
	{ "IPv4 in IPv4", { IPIP }, DECAP_IPIP },
	{ "IPv4 in IPv6", { IP4IN6 }, DECAP_IP4IN6 },
	{ "IPv6 in IPv6", { IP6IP6 }, DECAP_IP6IP6 },
	{ "IPv4 in GUE over IPv4", { GUE44 }, DECAP_GUE },
	{ "IPv6 in GUE over IPv4", { GUE46 }, DECAP_GUE },
	{ "IPv4 in GUE over IPv6", { GUE64 }, DECAP_GUE },
	{ "IPv6 in GUE over IPv6", { GUE66 }, DECAP_GUE },
	{ "IPv4 in GUE with its header", { GUE0_44 }, DECAP_GUE },
	{ "IPv6 in GUE with its header", { GUE0_66 }, DECAP_GUE },
	{ "GUE with a word of options", { GUE0_44, .gue_words = 1 }, DECAP_GUE },
	{ "GUE with all the options there can be", { GUE0_66, .gue_words = 31 }, DECAP_GUE },
	{ "GUE with a UDP checksum, which is not looked at",
	  { GUE44, .udp_check = 0x1234 },
	  DECAP_GUE },
	{ "a small inner packet",
	  { .wrap = WRAP_IP, OVER4, INNER4(.proto = 1, .payload = 0) },
	  DECAP_IPIP },
	{ "a large inner packet", { .wrap = WRAP_IP, OVER4, INNER4(.payload = 1440) }, DECAP_IPIP },
	{ "an inner UDP datagram",
	  { .wrap = WRAP_IP, OVER6, INNER6(.proto = IPPROTO_UDP) },
	  DECAP_IP6IP6 },
	{ "an inner packet with options",
	  { .wrap = WRAP_IP, OVER4, INNER4(.ihl = 15) },
	  DECAP_IPIP },
	{ "an inner packet with extension headers",
	  { .wrap = WRAP_IP, OVER6, INNER6(.ext = "hd") },
	  DECAP_IP6IP6 },
	{ "an inner fragment", { .wrap = WRAP_IP, OVER4, INNER4(.frag = 0x2000) }, DECAP_IPIP },
	{ "an inner packet whose last hop this is",
	  { .wrap = WRAP_IP, OVER4, INNER4(.ttl = 1) },
	  DECAP_IPIP },
	{ "an inner packet with a wrong checksum is the kernel's to judge",
	  { .wrap = WRAP_IP, OVER4, INNER4(.wrong_check = 1) },
	  DECAP_IPIP },
	{ "one VLAN tag", { IPIP, .tags = 1 }, DECAP_IPIP },
	{ "two VLAN tags", { IP6IP6, .tags = 2 }, DECAP_IP6IP6 },
	{ "two VLAN tags, the outer one 802.1ad", { GUE64, .tags = 2, .ad = true }, DECAP_GUE },
	{ "a VLAN tag, and the family changes", { IP4IN6, .tags = 1 }, DECAP_IP4IN6 },
	{ "outer options", { IPIP, .ihl = 6 }, DECAP_IPIP },
	{ "all the outer headers there can be",
	  { GUE0_44, .tags = 2, .ihl = 15, .gue_words = 31 },
	  DECAP_GUE },
	{ "a tunnel encapsulation limit", { IP6IP6, .ext = "d" }, DECAP_IP6IP6 },
	{ "an atomic outer fragment", { IP4IN6, .ext = "f" }, DECAP_IP4IN6 },
	{ "both", { GUE66, .ext = "fd", .tags = 2 }, DECAP_GUE },
	{ "don't-fragment is no fragment", { IPIP, .frag = 0x4000 }, DECAP_IPIP },
	{ "padding behind the outer packet", { IPIP, .pad = 7 }, DECAP_IPIP },
	{ "bytes behind the inner packet",
	  { .wrap = WRAP_IP, OVER4, INNER4(.pad = 3) },
	  DECAP_IPIP },
	{ "bytes behind the inner packet of IPv6",
	  { .wrap = WRAP_GUE1, OVER4, INNER6(.pad = 3) },
	  DECAP_GUE },
	{ "bytes behind the UDP datagram", { GUE44, .say_length = 4, .pad = 4 }, DECAP_GUE },

	/* What is not ours. */
	{ "a packet to this host",
	  { .wrap = WRAP_NONE, .say_proto = IPPROTO_TCP, OVER4, INNER4() },
	  DECAP_OTHER },
	{ "a packet to the VIP itself",
	  { IPIP, .say_proto = IPPROTO_TCP, .to = VIP4 },
	  DECAP_OTHER },
	{ "UDP to another port", { GUE44, .port = 6081 }, DECAP_OTHER },
	{ "IPv6 in IPv4 is the kernel's", { .wrap = WRAP_IP, OVER4, INNER6() }, DECAP_OTHER },
	{ "GRE", { IPIP, .say_proto = IPPROTO_GRE }, DECAP_OTHER },
	{ "ARP", { IPIP, .say_type = 0x0806 }, DECAP_OTHER },
	{ "three VLAN tags", { IPIP, .tags = 3 }, DECAP_OTHER },
	{ "an ether type that the version contradicts", { IPIP, .say_type = 0x86dd }, DECAP_OTHER },
	{ "an outer version of 5", { IPIP, .say_version = 5 }, DECAP_OTHER },
	{ "an outer version of 5 over IPv6", { IP6IP6, .say_version = 5 }, DECAP_OTHER },
	{ "an outer packet shorter than its header", { IPIP, .say_length = -80 }, DECAP_OTHER },
	{ "a frame to a group", { IPIP, .dmac = 0x01005e000001 }, DECAP_OTHER },
	{ "long destination options", { IP6IP6, .ext = "D" }, DECAP_OTHER },
	{ "to be forwarded", { IPIP, .to = "10.1.0.12" }, DECAP_NOT_HOST },
	{ "to be forwarded, over IPv6", { GUE66, .to = "fd01::12" }, DECAP_NOT_HOST },
	{ "to the VIP outside, too", { IPIP, .to = VIP4 }, DECAP_NOT_HOST },
	{ "for no VIP", { .wrap = WRAP_IP, OVER4, INNER4(.to = "10.0.0.2") }, DECAP_NO_VIP },
	{ "for no VIP of IPv6", { .wrap = WRAP_IP, OVER6, INNER6(.to = "fd00::2") }, DECAP_NO_VIP },
	{ "for no VIP in GUE",
	  { .wrap = WRAP_GUE1, OVER4, INNER4(.to = "10.0.0.2") },
	  DECAP_NO_VIP },
	{ "for no VIP, and of a wrong length",
	  { .wrap = WRAP_IP, OVER4, INNER4(.to = "10.0.0.2", .say_length = 1) },
	  DECAP_NO_VIP },
	{ "an inner version of 5",
	  { .wrap = WRAP_IP, OVER4, INNER4(.say_version = 5) },
	  DECAP_NO_VIP },
	{ "IPv6 that says it is IPv4",
	  { .wrap = WRAP_IP, OVER6, INNER6(), .say_proto = IPPROTO_IPIP },
	  DECAP_NO_VIP },
	{ "IPv4 that says it is IPv6",
	  { .wrap = WRAP_IP, OVER6, INNER4(), .say_proto = IPPROTO_IPV6 },
	  DECAP_NO_VIP },
	{ "GUE's control message", { GUE0_44, .gue_bits = 0x20 }, DECAP_NO_VIP },
	{ "GUE's variant 2", { GUE0_44, .gue_bits = 0x80 }, DECAP_NO_VIP },
	{ "GUE's variant 3", { GUE0_44, .gue_bits = 0xc0 }, DECAP_NO_VIP },
	{ "GUE's variant 1 with another version", { GUE0_44, .gue_bits = 0x50 }, DECAP_NO_VIP },
	{ "something else in GUE", { GUE0_44, .say_gue_proto = IPPROTO_TCP }, DECAP_NO_VIP },
	{ "the first outer fragment", { IPIP, .frag = 0x2000 }, DECAP_FRAGMENT },
	{ "a later outer fragment", { IPIP, .frag = 0x2001 }, DECAP_FRAGMENT },
	{ "the last outer fragment", { IPIP, .frag = 0x0003 }, DECAP_FRAGMENT },
	{ "the first fragment of GUE", { GUE44, .frag = 0x2000 }, DECAP_FRAGMENT },
	{ "a later fragment of UDP may be anyone's", { GUE44, .frag = 0x0003 }, DECAP_OTHER },
	{ "the first outer fragment over IPv6", { IP6IP6, .ext = "1" }, DECAP_FRAGMENT },
	{ "a later outer fragment over IPv6", { IP4IN6, .ext = "2" }, DECAP_FRAGMENT },
	{ "the first fragment of GUE over IPv6", { GUE66, .ext = "1d" }, DECAP_FRAGMENT },

	/* What is, but does not fit. */
	{ "the inner packet is longer than the outer leaves",
	  { .wrap = WRAP_IP, OVER4, INNER4(.say_length = 1) },
	  DECAP_MALFORMED },
	{ "the same behind padding",
	  { .wrap = WRAP_IP, OVER4, INNER4(.say_length = 1), .pad = 9 },
	  DECAP_MALFORMED },
	{ "the same of IPv6",
	  { .wrap = WRAP_IP, OVER6, INNER6(.say_length = 1) },
	  DECAP_MALFORMED },
	{ "the same in GUE", { GUE44, .say_udp_length = -1 }, DECAP_MALFORMED },
	{ "the UDP datagram is longer than the outer leaves",
	  { GUE44, .say_udp_length = 1 },
	  DECAP_MALFORMED },
	{ "the UDP datagram is of no length", { GUE66, .say_udp_length = -92 }, DECAP_MALFORMED },
	{ "the outer packet is longer than the frame", { IPIP, .say_length = 1 }, DECAP_MALFORMED },
	{ "the outer packet is longer than the frame, over IPv6",
	  { GUE64, .say_length = 1 },
	  DECAP_MALFORMED },
	{ "the outer packet ends before the inner", { IP6IP6, .say_length = -1 }, DECAP_MALFORMED },
	{ "the inner packet is shorter than its header",
	  { .wrap = WRAP_IP, OVER4, INNER4(.say_length = -50) },
	  DECAP_MALFORMED },
	{ "an inner header of 16 bytes", { IPIP, .say_inner_ihl = 4 }, DECAP_MALFORMED },
	{ "an inner header of no bytes", { IPIP, .say_inner_ihl = 16 }, DECAP_MALFORMED },
	{ "an inner header longer than its packet",
	  { .wrap = WRAP_IP, OVER4, INNER4(.proto = 1, .payload = 0, .say_ihl = 6) },
	  DECAP_MALFORMED },
};

/* ---- one frame ---- */

static void add_counts(int sign, int64_t packets[DECAP_COUNTER_COUNT],
		       int64_t bytes[DECAP_COUNTER_COUNT])
{
	static struct decap_count each[MAX_CPUS];
	int cpus = libbpf_num_possible_cpus();

	must(cpus <= MAX_CPUS);
	for (uint32_t row = 0; row < DECAP_COUNTER_COUNT; row++) {
		must(!bpf_map_lookup_elem(bpf_map__fd(bpf->maps.decap_counters), &row, each));
		for (int cpu = 0; cpu < cpus; cpu++) {
			packets[row] += sign * (int64_t)each[cpu].packets;
			bytes[row] += sign * (int64_t)each[cpu].bytes;
		}
	}
}

/* The frame ends as counter says; unwrapped, it is expected[]. */
static void expect(const uint8_t *frame, size_t length, enum decap_counter counter,
		   const uint8_t *expected, size_t expected_length)
{
	uint8_t out[PACKET_ROOM];
	int64_t packets[DECAP_COUNTER_COUNT] = { 0 };
	int64_t bytes[DECAP_COUNTER_COUNT] = { 0 };
	LIBBPF_OPTS(bpf_test_run_opts, opts, .data_in = frame, .data_size_in = (uint32_t)length,
		    .data_out = out, .data_size_out = sizeof(out));

	add_counts(-1, packets, bytes);
	assert_int_equal(bpf_prog_test_run_opts(bpf_program__fd(bpf->progs.decap_main), &opts), 0);
	add_counts(1, packets, bytes);
	for (int i = 0; i < DECAP_COUNTER_COUNT; i++) {
		if (packets[i] != (i == (int)counter))
			fail_msg("%zu bytes: counter %d rose by %lld, expected is %d", length, i,
				 (long long)packets[i], counter);
		assert_int_equal(bytes[i], i == (int)counter ? length : 0);
	}
	assert_int_equal(opts.retval, verdicts[counter]);
	assert_int_equal(opts.data_size_out, expected_length);
	assert_memory_equal(out, expected, expected_length);
}

static bool is_unwrapped(enum decap_counter counter)
{
	return counter <= DECAP_GUE;
}

static void check_row(void **state)
{
	const struct row *row = *state;
	uint8_t frame[PACKET_ROOM];
	uint8_t expected[PACKET_ROOM];
	size_t length = wrapped_build(&row->frame, frame);
	size_t expected_length;

	if (!is_unwrapped(row->counter)) {
		expect(frame, length, row->counter, frame, length);
		return;
	}
	expected_length = wrapped_expect(&row->frame, row->frame.inner_ecn, expected);
	expect(frame, length, row->counter, expected, expected_length);
}

/* ---- cut off ---- */

static enum decap_counter counter_of_cut(const struct wrapped *w, size_t length, bool vip)
{
	bool outer6 = strchr(w->to, ':');
	/* Options of IPv4 are not read, extension headers of IPv6 are. */
	size_t known = outer6 ? wrapped_l4(w) : wrapped_l3(w) + 20;

	if (w->wrap != WRAP_IP)
		known = wrapped_l4(w) + 8;
	if (length < known)
		return DECAP_OTHER;
	if (length < wrapped_inner(w) + (packet_is_v6(&w->inner) ? 40 : 20))
		return DECAP_NO_VIP;
	return vip ? DECAP_MALFORMED : DECAP_NO_VIP;
}

static void check_cut(void **state)
{
	const struct row *row = *state;
	struct wrapped stranger = row->frame;
	uint8_t frame[PACKET_ROOM];
	size_t whole;

	if (!is_unwrapped(row->counter) || row->frame.pad)
		return;
	whole = wrapped_build(&row->frame, frame);
	for (size_t length = SHORTEST; length < whole; length++)
		expect(frame, length, counter_of_cut(&row->frame, length, true), frame, length);
	stranger.inner.to = packet_is_v6(&stranger.inner) ? "fd00::99" : "10.0.0.99";
	whole = wrapped_build(&stranger, frame);
	for (size_t length = SHORTEST; length <= whole; length++)
		expect(frame, length, counter_of_cut(&stranger, length, false), frame, length);
}

/* ---- congestion ---- */

#define NOT_ECT 0
#define ECT1	1
#define ECT0	2
#define CE	3
#define LOST	-1

/* RFC 6040, figure 4: row: inner; column: outer, in the order of the bits. */
static const int ecn_table[4][4] = {
	[NOT_ECT] = { NOT_ECT, NOT_ECT, NOT_ECT, LOST },
	[ECT1] = { ECT1, ECT1, ECT1, CE },
	[ECT0] = { ECT0, ECT1, ECT0, CE },
	[CE] = { CE, CE, CE, CE },
};

static const struct row ecn_rows[] = {
	{ "ECN, IPv4 in IPv4", { IPIP }, DECAP_IPIP },
	{ "ECN, IPv4 in IPv4 with options and a tag",
	  { .wrap = WRAP_IP, OVER4, INNER4(.ihl = 9), .ihl = 7, .tags = 1 },
	  DECAP_IPIP },
	{ "ECN, IPv4 in IPv6", { IP4IN6 }, DECAP_IP4IN6 },
	{ "ECN, IPv6 in IPv6", { IP6IP6 }, DECAP_IP6IP6 },
	{ "ECN, IPv6 in GUE over IPv4", { GUE46 }, DECAP_GUE },
	{ "ECN, IPv6 in GUE over IPv6", { GUE66 }, DECAP_GUE },
};

static void check_ecn(void **state)
{
	const struct row *row = *state;
	struct wrapped w = row->frame;
	uint8_t frame[PACKET_ROOM];
	uint8_t expected[PACKET_ROOM];

	for (int inner = 0; inner < 4; inner++) {
		for (int outer = 0; outer < 4; outer++) {
			int ecn = ecn_table[inner][outer];
			size_t length;

			w.inner_ecn = (uint8_t)inner;
			w.ecn = (uint8_t)outer;
			length = wrapped_build(&w, frame);
			print_message("  inner %d, outer %d: %d\n", inner, outer, ecn);
			if (ecn == LOST)
				expect(frame, length, DECAP_CONGESTED, frame, length);
			else
				expect(frame, length, row->counter, expected,
				       wrapped_expect(&w, (uint8_t)ecn, expected));
		}
	}
}

/* An update of the checksum is wrong for one value in 65,536 if it is wrong at all. */
static void a_mark_keeps_the_checksum_right_whatever_it_was(void **state)
{
	struct wrapped w = { IPIP, .ecn = CE, .inner_ecn = ECT0 };
	uint8_t frame[PACKET_ROOM];
	uint8_t expected[PACKET_ROOM];
	char from[INET_ADDRSTRLEN];

	w.inner.from = from;
	for (unsigned int i = 0; i < 65536; i += 1 + (i > 600 && i < 64900) * 97) {
		size_t length;

		snprintf(from, sizeof(from), "192.1.%u.%u", i >> 8, i & 255);
		length = wrapped_build(&w, frame);
		expect(frame, length, DECAP_IPIP, expected, wrapped_expect(&w, CE, expected));
	}
}

/* ---- */

static void another_gue_port_is_the_one_that_was_set(void **state)
{
	struct decap_bpf *usual = bpf;
	struct wrapped w = { GUE44, .port = 7000 };
	uint8_t frame[PACKET_ROOM];
	uint8_t expected[PACKET_ROOM];
	size_t length = wrapped_build(&w, frame);

	expect(frame, length, DECAP_OTHER, frame, length);
	bpf = decap_bpf__open();
	must(bpf);
	bpf->rodata->decap_const_gue_port = 7000;
	must(!bpf_map__reuse_fd(bpf->maps.decap_vips, bpf_map__fd(usual->maps.decap_vips)) &&
	     !bpf_map__reuse_fd(bpf->maps.decap_own, bpf_map__fd(usual->maps.decap_own)) &&
	     !decap_bpf__load(bpf));
	expect(frame, length, DECAP_GUE, expected, wrapped_expect(&w, 0, expected));
	w.port = 6080;
	length = wrapped_build(&w, frame);
	expect(frame, length, DECAP_OTHER, frame, length);
	decap_bpf__destroy(bpf);
	bpf = usual;
}

static void add(const struct bpf_map *map, const char *text)
{
	struct decap_addr addr;
	__u8 one = 1;

	packet_address(text, addr.word);
	must(bpf_map_update_elem(bpf_map__fd(map), &addr, &one, BPF_ANY) == 0);
}

static int run_rows(const char *group, const struct row *table, size_t count,
		    CMUnitTestFunction check)
{
	struct CMUnitTest *tests = calloc(count, sizeof(*tests));
	int failed;

	must(tests);
	for (size_t i = 0; i < count; i++) {
		tests[i].name = table[i].sentence;
		tests[i].test_func = check;
		tests[i].initial_state = (void *)(uintptr_t)&table[i];
	}
	failed = _cmocka_run_group_tests(group, tests, count, NULL, NULL);
	free(tests);
	return failed;
}

int main(void)
{
	const struct CMUnitTest others[] = {
		cmocka_unit_test(a_mark_keeps_the_checksum_right_whatever_it_was),
		cmocka_unit_test(another_gue_port_is_the_one_that_was_set),
	};
	const size_t count = sizeof(rows) / sizeof(rows[0]);
	int failed = 0;

	if (geteuid()) {
		fprintf(stderr, "cannot load BPF programs: not root; run the tests with sudo\n");
		return EXIT_SKIPPED;
	}
	bpf = decap_bpf__open_and_load();
	must(bpf);
	add(bpf->maps.decap_vips, VIP4);
	add(bpf->maps.decap_vips, VIP6);
	add(bpf->maps.decap_own, HOST4);
	add(bpf->maps.decap_own, HOST6);
	failed += run_rows("frames", rows, count, check_row);
	failed += run_rows("cut frames", rows, count, check_cut);
	failed += run_rows("congestion", ecn_rows, sizeof(ecn_rows) / sizeof(ecn_rows[0]),
			   check_ecn);
	failed += cmocka_run_group_tests_name("others", others, NULL, NULL);
	decap_bpf__destroy(bpf);
	return failed != 0;
}
