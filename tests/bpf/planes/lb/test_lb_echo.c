/* Echo requests: service addresses answer, whoever serves them. */
#include <string.h>

#include "groups.h"
#include "lb.skel.h"

#define ECHO4                                                                        \
	.from = CLIENT4, .to = VIP4, .proto = IPPROTO_ICMP, .icmp = true, .type = 8, \
	.rest = 0x12340001
#define ECHO6                                                                            \
	.from = CLIENT6, .to = VIP6, .proto = IPPROTO_ICMPV6, .icmp = true, .type = 128, \
	.rest = 0x12340001

static const struct row {
	const char *sentence;
	struct packet packet;
} answered[] = {
	{ "IPv4", PACKET(ECHO4) },
	{ "IPv6", PACKET(ECHO6) },
	{ "no payload", PACKET(ECHO4, .payload = 0, .pad = 18) },
	{ "no payload over IPv6", PACKET(ECHO6, .payload = 0) },
	{ "one byte", PACKET(ECHO4, .payload = 1) },
	{ "1,500 bytes", PACKET(ECHO4, .payload = 1472) },
	{ "1,500 bytes over IPv6", PACKET(ECHO6, .payload = 1452) },
	{ "another service's address", PACKET(ECHO4, .to = KEEP4) },
	{ "a service under direct return", PACKET(ECHO6, .to = DIRECT6) },
	{ "one tag", PACKET(ECHO4, .tags = 1, .tci = { 0xa007 }) },
	{ "two tags", PACKET(ECHO6, .tags = 2, .ad = true, .tci = { 7, 8 }) },
	{ "IPv4 options", PACKET(ECHO4, .ihl = 15) },
	{ "extension headers", PACKET(ECHO6, .ext = "hd") },
	{ "the last hop", PACKET(ECHO4, .ttl = 1) },
	{ "the last hop over IPv6", PACKET(ECHO6, .ttl = 1) },
	{ "a wrong checksum stays as wrong", PACKET(ECHO4, .wrong_check = 0x1234) },
	{ "a wrong header checksum stays as wrong", PACKET(ECHO4, .wrong_ip = 0x0101) },
	{ "don't fragment", PACKET(ECHO4, .frag = 0x4000) },
};

static struct packet reply_to(const struct packet *in)
{
	struct packet out = *in;

	out.dmac = in->smac;
	out.smac = in->dmac;
	out.from = in->to;
	out.to = in->from;
	out.ttl = 64;
	out.type = packet_is_v6(in) ? 129 : 0;
	return out;
}

static void check_answered(void **state)
{
	const struct row *row = *state;
	struct packet in = row->packet;
	struct packet out;

	/* Of 65,535 either zero is the right sum, if nothing else is in the message. */
	for (uint32_t id = 0; id < 65535; id += 257) {
		in.rest = id << 16 | id;
		out = reply_to(&in);
		expect_sent(id % 2 ? world.lan : world.far, &in, XDP_TX, &out, ROW_NONE, false,
			    LB_ECHO, NOTHING);
	}
	assert_int_equal(flow_count(), 0);
}

static const struct passed {
	const char *sentence;
	struct packet packet;
	int counter;
} passed[] = {
	{ "another address", PACKET(ECHO4, .to = "192.0.2.99"), LB_NOT_OURS },
	{ "another IPv6 address", PACKET(ECHO6, .to = "2001:db8::99"), LB_NOT_OURS },
	{ "an IPv4 service's address in IPv6", PACKET(ECHO6, .to = "::ffff:" VIP4), LB_NOT_OURS },
	{ "a backend's address", PACKET(ECHO4, .to = BACKEND4), LB_NOT_OURS },
	{ "a reply", PACKET(ECHO4, .type = 0), LB_NOT_OURS },
	{ "a reply over IPv6", PACKET(ECHO6, .type = 129), LB_NOT_OURS },
	{ "the other family's request", PACKET(ECHO4, .type = 128), LB_NOT_OURS },
	{ "the other family's request over IPv6", PACKET(ECHO6, .type = 8), LB_NOT_OURS },
	{ "a timestamp request", PACKET(ECHO4, .type = 13), LB_NOT_OURS },
	{ "a neighbour solicitation", PACKET(ECHO6, .type = 135), LB_NOT_OURS },
	{ "a first fragment", PACKET(ECHO4, .frag = 0x2000), LB_NOT_OURS },
	{ "a later fragment", PACKET(ECHO4, .frag = 0x00b9), LB_NOT_OURS },
	{ "a first fragment over IPv6", PACKET(ECHO6, .ext = "1"), LB_FRAGMENT },
	{ "a later fragment over IPv6", PACKET(ECHO6, .ext = "2"), LB_FRAGMENT },
	{ "a length beyond the frame", PACKET(ECHO4, .say_length = 1), LB_NOT_OURS },
	{ "a length beyond the frame over IPv6", PACKET(ECHO6, .say_length = 1), LB_NOT_OURS },
	{ "a length that ends in the header", PACKET(ECHO4, .say_length = -25), LB_NOT_OURS },
	{ "a length that ends in the header over IPv6", PACKET(ECHO6, .say_length = -25),
	  LB_NOT_OURS },
};

static void check_passed(void **state)
{
	const struct passed *row = *state;

	expect_end(world.lan, &row->packet, XDP_PASS, row->counter);
}

static void requests_cut_anywhere_are_left_to_the_stack(void **state)
{
	const struct packet packets[] = { PACKET(ECHO4), PACKET(ECHO6, .tags = 1) };
	uint8_t frame[PACKET_ROOM];
	size_t whole;

	for (int i = 0; i < 2; i++) {
		whole = packet_build(&packets[i], frame);
		for (size_t length = 14; length < whole; length++)
			expect_frame_end(world.lan, frame, length, XDP_PASS,
					 length < packet_transport(&packets[i]) ? LB_NOT_IP
										: LB_NOT_OURS,
					 NOTHING);
	}
}

static void without_echo(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_echo = false;
}

static void switched_off_requests_are_left_to_the_stack(void **state)
{
	expect_end(world.lan, &PACKET(ECHO4), XDP_PASS, LB_NOT_OURS);
	expect_end(world.lan, &PACKET(ECHO6), XDP_PASS, LB_NOT_OURS);
}

int test_lb_echo(void)
{
	const struct CMUnitTest tests[] = { CASE(requests_cut_anywhere_are_left_to_the_stack) };

	return RUN_ROWS("echo", answered, check_answered) +
	       RUN_ROWS("echo, not ours", passed, check_passed) +
	       cmocka_run_group_tests_name("echo, cut", tests, NULL, NULL);
}

int test_lb_no_echo(void)
{
	const struct CMUnitTest tests[] = { CASE(switched_off_requests_are_left_to_the_stack) };
	int failed;

	world_open(without_echo);
	failed = cmocka_run_group_tests_name("without echo", tests, NULL, NULL);
	world_close();
	return failed;
}
