/* NAT in both directions: what leaves is the packet with other addresses, and nothing else about it
 * is different. */
#include <arpa/inet.h>

#include "groups.h"

static const struct row {
	const char *sentence;
	struct packet packet;
	uint8_t tags; /* LB_TAGS_* of the backend's hop */
	uint16_t tci[2];
	bool other_side; /* the backend is behind another interface */
} rows[] = {
	{ "full NAT for TCP", PACKET(TCP4) },
	{ "full NAT for UDP", PACKET(UDP4) },
	{ "full NAT for TCP over IPv6", PACKET(TCP6) },
	{ "full NAT for UDP over IPv6", PACKET(UDP6) },
	{ "destination NAT for TCP", PACKET(TCP4, .to = KEEP4) },
	{ "destination NAT for UDP", PACKET(UDP4, .to = KEEP4) },
	{ "destination NAT for TCP over IPv6", PACKET(TCP6, .to = KEEP6) },
	{ "destination NAT for UDP over IPv6", PACKET(UDP6, .to = KEEP6) },
	{ "backends behind another interface", PACKET(TCP4), .other_side = true },
	{ "backends behind another interface over IPv6", PACKET(UDP6), .other_side = true },
	{ "client and backend behind the same tag",
	  PACKET(TCP4, .tags = 1, .tci = { 7 }),
	  1,
	  { 0x0007 } },
	{ "a tag is popped towards the backend and pushed towards the client",
	  PACKET(TCP4, .tags = 1, .tci = { 0xa007 }) },
	{ "two tags are popped and pushed", PACKET(UDP6, .tags = 2, .ad = true, .tci = { 7, 8 }) },
	{ "a tag is pushed towards the backend and popped towards the client",
	  PACKET(UDP4),
	  1,
	  { 0x2009 } },
	{ "two tags are pushed towards the backend",
	  PACKET(TCP6),
	  2 | LB_TAGS_OUTER_AD,
	  { 0x2009, 0x000a } },
	{ "a second tag is pushed", PACKET(TCP4, .tags = 1, .tci = { 7 }), 2, { 0x2009, 0x000a } },
	{ "the outer of two tags is popped",
	  PACKET(TCP4, .tags = 2, .tci = { 7, 8 }),
	  1,
	  { 0x2009 } },
	{ "one 802.1ad tag becomes one 802.1Q tag",
	  PACKET(UDP4, .tags = 1, .ad = true, .tci = { 7 }),
	  1,
	  { 0x2009 } },
	{ "tags beside IPv4 options", PACKET(TCP4, .ihl = 15), 2, { 0x2009, 0x000a } },
	{ "tags beside extension headers",
	  PACKET(UDP6, .ext = "hdrfd", .tags = 2, .tci = { 7, 8 }) },
	{ "UDP without a checksum stays without", PACKET(UDP4, .no_check = true) },
	{ "a wrong TCP checksum stays as wrong", PACKET(TCP4, .wrong_check = 0x1234) },
	{ "a wrong UDP checksum stays as wrong", PACKET(UDP4, .wrong_check = 0x1234) },
	{ "a wrong TCP checksum over IPv6 stays as wrong", PACKET(TCP6, .wrong_check = 0xfffe) },
	{ "a wrong UDP checksum over IPv6 stays as wrong", PACKET(UDP6, .wrong_check = 0x8000) },
	{ "a wrong IPv4 header checksum stays as wrong", PACKET(TCP4, .wrong_ip = 0x0101) },
};

static void set_hop(const struct row *row, uint32_t backend_row)
{
	struct lb_backend backend = world_backend(backend_row);

	backend.hop.tci[0] = htons(row->tci[0]);
	backend.hop.tci[1] = htons(row->tci[1]);
	backend.tags = row->tags;
	if (row->other_side)
		backend.hop.ifindex = world.far;
	world_set_backend(backend_row, &backend);
}

static void check_row(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	set_hop(row, ROW_BACKEND4);
	set_hop(row, ROW_BACKEND6);
	talk_begin(&talk, &row->packet, SYN, NOTHING);
	if (talk.backend.from == talk.client.from) /* destination NAT */
		assert_int_equal(talk.backend.sport, talk.client.sport);
	for (int i = 0; i < 3; i++) {
		talk_backend(&talk, i ? ACK : SYN | ACK, NOTHING);
		talk.answer.payload += 7;
		talk.reply.payload += 7;
		talk_client(&talk, ACK, NOTHING);
	}
	assert_int_equal(talk_state(&talk),
			 row->packet.proto == IPPROTO_TCP ? LB_STATE_ESTABLISHED : LB_STATE_NONE);
	assert_int_equal(flow_count(), 2);
}

int test_lb_forward(void)
{
	return RUN_ROWS("forwarding", rows, check_row);
}
