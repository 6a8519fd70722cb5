/* Frames cut off at every byte: nothing is read or written past the end, and what is not ours is
 * left as it is. */
#include "groups.h"

static const struct row {
	const char *sentence;
	struct packet packet;
} rows[] = {
	{ "TCP cut at every byte", PACKET(TCP4) },
	{ "UDP cut at every byte", PACKET(UDP4) },
	{ "TCP over IPv6 cut at every byte", PACKET(TCP6) },
	{ "UDP over IPv6 cut at every byte", PACKET(UDP6) },
	{ "TCP with one tag cut at every byte", PACKET(TCP4, .tags = 1, .tci = { 5 }) },
	{ "UDP with one tag cut at every byte", PACKET(UDP4, .tags = 1, .tci = { 5 }) },
	{ "TCP over IPv6 with one tag cut at every byte", PACKET(TCP6, .tags = 1, .tci = { 5 }) },
	{ "UDP over IPv6 with one tag cut at every byte", PACKET(UDP6, .tags = 1, .tci = { 5 }) },
	{ "TCP with two tags cut at every byte", PACKET(TCP4, .tags = 2, .tci = { 5, 6 }) },
	{ "UDP with two tags cut at every byte",
	  PACKET(UDP4, .tags = 2, .ad = true, .tci = { 5 }) },
	{ "TCP over IPv6 with two tags cut at every byte", PACKET(TCP6, .tags = 2, .tci = { 5 }) },
	{ "UDP over IPv6 with two tags cut at every byte", PACKET(UDP6, .tags = 2, .tci = { 5 }) },
	{ "TCP behind IPv4 options cut at every byte", PACKET(TCP4, .ihl = 15, .doff = 15) },
	{ "UDP behind IPv4 options cut at every byte", PACKET(UDP4, .ihl = 7, .tags = 1) },
	{ "TCP behind extension headers cut at every byte",
	  PACKET(TCP6, .ext = "hdrfd", .doff = 10) },
	{ "UDP behind extension headers cut at every byte", PACKET(UDP6, .ext = "hd", .tags = 2) },
};

#define SHORTEST 14 /* that BPF_PROG_TEST_RUN takes */

/* What to expect of the first `length` bytes of p: with the ports there, it is the service's. */
static int counter_of(const struct packet *p, size_t length, int with_ports)
{
	return length < packet_transport(p) + 4 ? LB_NOT_IP : with_ports;
}

static void check_row(void **state)
{
	const struct row *row = *state;
	struct packet packet = row->packet;
	uint8_t frame[PACKET_ROOM];
	size_t whole = packet_build(&packet, frame);
	struct talk talk;
	size_t length;
	int counter;

	packet.flags = SYN;
	whole = packet_build(&packet, frame);
	for (length = SHORTEST; length < whole; length++) {
		counter = counter_of(&packet, length, LB_MALFORMED);
		expect_frame_end(world.lan, frame, length,
				 counter == LB_MALFORMED ? XDP_DROP : XDP_PASS, counter, NOTHING);
	}
	assert_int_equal(flow_count(), 0);
	/* The same where a connection is known. */
	talk_begin(&talk, &packet, SYN, NOTHING);
	for (length = SHORTEST; length < whole; length++) {
		counter = counter_of(&packet, length, LB_MALFORMED);
		expect_frame_end(world.lan, frame, length,
				 counter == LB_MALFORMED ? XDP_DROP : XDP_PASS, counter, NOTHING);
	}
	packet.to = packet_is_v6(&packet) ? "2001:db8::11" : "192.0.2.11";
	whole = packet_build(&packet, frame);
	for (length = SHORTEST; length <= whole; length++)
		expect_frame_end(world.lan, frame, length, XDP_PASS,
				 counter_of(&packet, length, LB_NO_SERVICE), NOTHING);
	packet.dport = 81;
	whole = packet_build(&packet, frame);
	for (length = SHORTEST; length <= whole; length++)
		expect_frame_end(world.lan, frame, length, XDP_PASS,
				 counter_of(&packet, length, LB_NOT_OURS), NOTHING);
}

int test_lb_cut(void)
{
	return RUN_ROWS("cut frames", rows, check_row);
}
