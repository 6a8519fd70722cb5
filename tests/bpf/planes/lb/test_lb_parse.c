/* Which packets are ours, which are not, and which are broken: one row per way a header can be. */
#include "groups.h"

static const struct row {
	const char *sentence;
	struct packet packet;
	uint32_t verdict; /* XDP_TX: forwarded */
	int counter;
} rows[] = {
	/* Link layer */
	{ "broadcast is left to the stack", PACKET(TCP4, .dmac = 0xffffffffffff), XDP_PASS,
	  LB_NOT_IP },
	{ "IPv4 multicast is left to the stack", PACKET(UDP4, .dmac = 0x01005e000001), XDP_PASS,
	  LB_NOT_IP },
	{ "IPv6 multicast is left to the stack", PACKET(UDP6, .dmac = 0x333300000001), XDP_PASS,
	  LB_NOT_IP },
	{ "ARP is left to the stack", PACKET(UDP4, .say_type = 0x0806), XDP_PASS, LB_NOT_IP },
	{ "LLC is left to the stack", PACKET(UDP4, .say_type = 0x0026), XDP_PASS, LB_NOT_IP },
	{ "PPPoE is left to the stack", PACKET(UDP4, .say_type = 0x8864), XDP_PASS, LB_NOT_IP },
	{ "IPv4 that says to be IPv6 is left to the stack", PACKET(TCP4, .say_type = 0x86dd),
	  XDP_PASS, LB_NOT_IP },
	{ "IPv6 that says to be IPv4 is left to the stack", PACKET(TCP6, .say_type = 0x0800),
	  XDP_PASS, LB_NOT_IP },
	{ "Ethernet padding is no part of the packet", PACKET(TCP4, .payload = 0, .pad = 6),
	  XDP_TX },
	{ "padding after IPv6 is no part of the packet", PACKET(UDP6, .payload = 1, .pad = 9),
	  XDP_TX },
	/* VLAN */
	{ "one tag is looked through", PACKET(TCP4, .tags = 1, .tci = { 100 }), XDP_TX },
	{ "two tags are looked through", PACKET(TCP4, .tags = 2, .tci = { 100, 200 }), XDP_TX },
	{ "one tag is looked through to IPv6", PACKET(UDP6, .tags = 1, .tci = { 0xe064 }), XDP_TX },
	{ "two tags, the outer one 802.1ad, are looked through",
	  PACKET(UDP6, .tags = 2, .ad = true, .tci = { 100, 200 }), XDP_TX },
	{ "one 802.1ad tag is looked through", PACKET(UDP4, .tags = 1, .ad = true, .tci = { 100 }),
	  XDP_TX },
	{ "three tags are left to the stack", PACKET(TCP4, .tags = 3, .tci = { 1, 2, 3 }), XDP_PASS,
	  LB_NOT_IP },
	{ "802.1ad inside 802.1Q is left to the stack", PACKET(TCP4, .tags = 1, .say_type = 0x88a8),
	  XDP_PASS, LB_NOT_IP },
	{ "ARP behind a tag is left to the stack", PACKET(TCP4, .tags = 1, .say_type = 0x0806),
	  XDP_PASS, LB_NOT_IP },
	/* Who sends it */
	{ "a service does not ask another one", PACKET(UDP4, .from = KEEP4, .sport = 80), XDP_DROP,
	  LB_FROM_SERVICE },
	{ "a service does not ask itself", PACKET(TCP4, .from = VIP4, .sport = 80), XDP_DROP,
	  LB_FROM_SERVICE },
	{ "a service does not ask another one over IPv6", PACKET(UDP6, .from = KEEP6, .sport = 80),
	  XDP_DROP, LB_FROM_SERVICE },
	{ "a service's address may ask from another port", PACKET(UDP4, .from = KEEP4), XDP_TX },
	{ "a client may ask from a served port", PACKET(TCP6, .sport = 80), XDP_TX },
	{ "no IPv6 packet is for an IPv4 service", PACKET(UDP6, .to = "::ffff:" VIP4), XDP_PASS,
	  LB_NOT_OURS },
	{ "no IPv6 packet is from an IPv4 client", PACKET(TCP6, .from = "::ffff:" CLIENT4),
	  XDP_PASS, LB_NOT_OURS },
	{ "loopback is not ours", PACKET(UDP6, .from = "::1"), XDP_PASS, LB_NOT_OURS },
	/* IPv4 */
	{ "TCP for a service is forwarded", PACKET(TCP4), XDP_TX },
	{ "UDP for a service is forwarded", PACKET(UDP4), XDP_TX },
	{ "another port is not ours", PACKET(TCP4, .dport = 81), XDP_PASS, LB_NOT_OURS },
	{ "another address on a served port has no service", PACKET(TCP4, .to = "192.0.2.11"),
	  XDP_PASS, LB_NO_SERVICE },
	{ "a served port of the other protocol is not ours", PACKET(UDP4, .dport = 443), XDP_PASS,
	  LB_NOT_OURS },
	{ "ICMP is not ours", PACKET(TCP4, .proto = IPPROTO_ICMP), XDP_PASS, LB_NOT_OURS },
	{ "SCTP is not ours", PACKET(TCP4, .proto = IPPROTO_SCTP), XDP_PASS, LB_NOT_OURS },
	{ "IP in IP is not ours", PACKET(TCP4, .proto = IPPROTO_IPIP), XDP_PASS, LB_NOT_OURS },
	{ "a header of no words is left to the stack", PACKET(TCP4, .say_ihl = 16), XDP_PASS,
	  LB_NOT_IP },
	{ "a header of one word is left to the stack", PACKET(TCP4, .say_ihl = 1), XDP_PASS,
	  LB_NOT_IP },
	{ "a header of four words is left to the stack", PACKET(TCP4, .say_ihl = 4), XDP_PASS,
	  LB_NOT_IP },
	{ "version 5 is left to the stack", PACKET(TCP4, .say_version = 5), XDP_PASS, LB_NOT_IP },
	{ "version 6 in an IPv4 frame is left to the stack", PACKET(TCP4, .say_version = 6),
	  XDP_PASS, LB_NOT_IP },
	{ "a total length below the header is left to the stack", PACKET(TCP4, .say_length = -45),
	  XDP_PASS, LB_NOT_IP },
	{ "a total length of the header alone is left to the stack",
	  PACKET(TCP4, .say_length = -44), XDP_PASS, LB_NOT_IP },
	{ "a total length that ends in the ports is left to the stack",
	  PACKET(TCP4, .say_length = -41), XDP_PASS, LB_NOT_IP },
	{ "a total length that ends behind the ports is malformed", PACKET(TCP4, .say_length = -40),
	  XDP_DROP, LB_MALFORMED },
	{ "a total length that ends in the TCP header is malformed",
	  PACKET(TCP4, .say_length = -25), XDP_DROP, LB_MALFORMED },
	{ "a total length that ends in the UDP header is malformed",
	  PACKET(UDP4, .say_length = -25), XDP_DROP, LB_MALFORMED },
	{ "a total length that ends in the payload makes the rest padding",
	  PACKET(TCP4, .say_length = -24), XDP_TX },
	{ "a total length beyond the frame is malformed", PACKET(TCP4, .say_length = 1), XDP_DROP,
	  LB_MALFORMED },
	{ "a total length of 65,535 is malformed", PACKET(TCP4, .say_length = 65535 - 64), XDP_DROP,
	  LB_MALFORMED },
	{ "a broken packet for no service is left to the stack",
	  PACKET(TCP4, .to = "192.0.2.11", .say_length = 1), XDP_PASS, LB_NO_SERVICE },
	{ "a broken packet for another port is left to the stack",
	  PACKET(TCP4, .dport = 81, .say_length = 1), XDP_PASS, LB_NOT_OURS },
	/* TTL */
	{ "TTL 0 is dropped", PACKET(UDP4, .ttl = 0), XDP_DROP, LB_TTL_EXPIRED },
	{ "TTL 1 is dropped", PACKET(UDP4, .ttl = 1), XDP_DROP, LB_TTL_EXPIRED },
	{ "TTL 2 leaves with 1", PACKET(UDP4, .ttl = 2), XDP_TX },
	{ "TTL 255 leaves with 254", PACKET(TCP4, .ttl = 255), XDP_TX },
	{ "TTL 1 for another port is not ours to judge", PACKET(UDP4, .ttl = 1, .dport = 81),
	  XDP_PASS, LB_NOT_OURS },
	{ "TTL 1 for no service is not ours to judge", PACKET(UDP4, .ttl = 1, .to = "192.0.2.11"),
	  XDP_PASS, LB_NO_SERVICE },
	{ "hop limit 0 is dropped", PACKET(TCP6, .ttl = 0), XDP_DROP, LB_TTL_EXPIRED },
	{ "hop limit 1 is dropped", PACKET(TCP6, .ttl = 1), XDP_DROP, LB_TTL_EXPIRED },
	{ "hop limit 2 leaves with 1", PACKET(TCP6, .ttl = 2), XDP_TX },
	{ "hop limit 1 for another port is not ours to judge", PACKET(UDP6, .ttl = 1, .dport = 81),
	  XDP_PASS, LB_NOT_OURS },
	/* Fragments */
	{ "don't-fragment is no fragment", PACKET(UDP4, .frag = 0x4000), XDP_TX },
	{ "the reserved flag is no fragment", PACKET(UDP4, .frag = 0x8000), XDP_TX },
	/* Transport */
	{ "a TCP header of four words is malformed", PACKET(TCP4, .say_doff = 4), XDP_DROP,
	  LB_MALFORMED },
	{ "TCP options that reach past the end are malformed",
	  PACKET(TCP4, .payload = 3, .say_doff = 6), XDP_DROP, LB_MALFORMED },
	{ "TCP options up to the end are whole", PACKET(TCP4, .payload = 4, .say_doff = 6),
	  XDP_TX },
	{ "TCP options of ten words are carried along", PACKET(TCP4, .doff = 15), XDP_TX },
	{ "TCP options of ten words are carried along over IPv6", PACKET(TCP6, .doff = 15),
	  XDP_TX },
	{ "a UDP length below the header is malformed", PACKET(UDP4, .say_udp_length = -25),
	  XDP_DROP, LB_MALFORMED },
	{ "a UDP length of zero is malformed", PACKET(UDP6, .say_udp_length = -32), XDP_DROP,
	  LB_MALFORMED },
	{ "a UDP length of the header alone is whole", PACKET(UDP4, .say_udp_length = -24),
	  XDP_TX },
	{ "a UDP length beyond the packet is malformed", PACKET(UDP4, .say_udp_length = 1),
	  XDP_DROP, LB_MALFORMED },
	{ "UDP without payload is forwarded", PACKET(UDP4, .payload = 0), XDP_TX },
	{ "UDP of one byte is forwarded", PACKET(UDP6, .payload = 1), XDP_TX },
	{ "1,500 bytes are forwarded", PACKET(TCP4, .payload = 1460), XDP_TX },
	/* IPv6 */
	{ "TCP over IPv6 for a service is forwarded", PACKET(TCP6), XDP_TX },
	{ "UDP over IPv6 for a service is forwarded", PACKET(UDP6), XDP_TX },
	{ "another IPv6 address on a served port has no service",
	  PACKET(TCP6, .to = "2001:db8::11"), XDP_PASS, LB_NO_SERVICE },
	{ "ICMPv6 is not ours", PACKET(TCP6, .proto = IPPROTO_ICMPV6), XDP_PASS, LB_NOT_OURS },
	{ "version 4 in an IPv6 frame is left to the stack", PACKET(TCP6, .say_version = 4),
	  XDP_PASS, LB_NOT_IP },
	{ "a jumbogram is left to the stack", PACKET(TCP6, .say_length = -44), XDP_PASS,
	  LB_NOT_IP },
	{ "a payload length that ends behind the ports is malformed",
	  PACKET(TCP6, .say_length = -40), XDP_DROP, LB_MALFORMED },
	{ "a payload length beyond the frame is malformed", PACKET(TCP6, .say_length = 1), XDP_DROP,
	  LB_MALFORMED },
	{ "a payload length that ends in an extension header is left to the stack",
	  PACKET(TCP6, .ext = "h", .say_length = -45), XDP_PASS, LB_NOT_IP },
	{ "hop-by-hop options are walked over", PACKET(TCP6, .ext = "h"), XDP_TX },
	{ "destination options are walked over", PACKET(UDP6, .ext = "d"), XDP_TX },
	{ "a routing header at its end is walked over", PACKET(TCP6, .ext = "r"), XDP_TX },
	{ "a routing header with segments left is not for us yet", PACKET(TCP6, .ext = "R"),
	  XDP_PASS, LB_NOT_OURS },
	{ "an atomic fragment is whole", PACKET(UDP6, .ext = "f"), XDP_TX },
	{ "a fragment header's reserved bits mean nothing", PACKET(UDP6, .ext = "v"), XDP_TX },
	{ "ESP over IPv6 is not ours", PACKET(UDP6, .ext = "e"), XDP_PASS, LB_NOT_OURS },
	{ "AH over IPv6 is not ours: it seals the addresses", PACKET(UDP6, .ext = "a"), XDP_PASS,
	  LB_NOT_OURS },
	{ "no next header is not ours", PACKET(UDP6, .ext = "n"), XDP_PASS, LB_NOT_OURS },
	{ "mobility is not ours", PACKET(UDP6, .ext = "m"), XDP_PASS, LB_NOT_OURS },
	{ "an experiment is not ours", PACKET(UDP6, .ext = "hx"), XDP_PASS, LB_NOT_OURS },
	{ "five extension headers are walked over", PACKET(TCP6, .ext = "hdrfd"), XDP_TX },
	{ "six extension headers are walked over", PACKET(TCP6, .ext = "hdrfdd"), XDP_TX },
	{ "seven extension headers are left to the stack", PACKET(TCP6, .ext = "hdrfddd"), XDP_PASS,
	  LB_NOT_IP },
	{ "an extension header beyond the frame is left to the stack", PACKET(TCP6, .ext = "L"),
	  XDP_PASS, LB_NOT_IP },
	{ "extension headers of 10,000 bytes are left to the stack", PACKET(TCP6, .ext = "LLLLL"),
	  XDP_PASS, LB_NOT_IP },
	{ "extension headers behind two tags are walked over",
	  PACKET(TCP6, .ext = "hd", .tags = 2, .tci = { 1, 2 }), XDP_TX },
};

static void check_row(void **state)
{
	const struct row *row = *state;
	struct packet packet = row->packet;
	struct talk talk;

	if (packet.proto == IPPROTO_TCP)
		packet.flags = SYN;
	if (row->verdict == XDP_TX) {
		talk_begin(&talk, &packet, packet.flags, NOTHING);
		assert_int_equal(flow_count(), 2);
		return;
	}
	expect_end(world.lan, &packet, row->verdict, row->counter);
	assert_int_equal(flow_count(), 0);
}

static void ipv4_options_of_every_length_are_carried_along(void **state)
{
	struct packet packet = PACKET(TCP4);
	struct talk talk;

	for (uint8_t ihl = 5; ihl <= 15; ihl++) {
		world_reset();
		packet.ihl = ihl;
		talk_begin(&talk, &packet, SYN, NOTHING);
		talk_backend(&talk, SYN | ACK, NOTHING);
		talk_client(&talk, ACK, NOTHING);
	}
}

int test_lb_parse(void)
{
	const struct CMUnitTest tests[] = {
		CASE(ipv4_options_of_every_length_are_carried_along),
	};

	return RUN_ROWS("headers", rows, check_row) +
	       cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
