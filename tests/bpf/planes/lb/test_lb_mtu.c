/* Packets too big for the way on: the sender is told, in the name of whom they were for. */
#include <string.h>

#include "direct.h"
#include "groups.h"

#define WAY_MTU	  1400 /* of the way to the backends */
#define LINK_MTU  1300 /* of the clients' link */
#define QUOTE	  96
#define NAT(mode) LB_MODE_NAT_##mode

static const struct row {
	const char *sentence;
	enum lb_mode mode;
	bool in6;
	struct packet packet;
	uint16_t overhead;
} rows[] = {
	{ "full NAT, TCP", NAT(FULL), false, PACKET(TCP4) },
	{ "full NAT, UDP", NAT(FULL), false, PACKET(UDP4) },
	{ "full NAT, TCP over IPv6", NAT(FULL), false, PACKET(TCP6) },
	{ "destination NAT, TCP", NAT(DESTINATION), false, PACKET(TCP4, .to = KEEP4) },
	{ "destination NAT, UDP over IPv6", NAT(DESTINATION), false, PACKET(UDP6, .to = KEEP6) },
	{ "IPv4 in IPv4", LB_MODE_IPIP, false, PACKET(DTCP4), 20 },
	{ "IPv6 in IPv6", LB_MODE_IPIP, false, PACKET(DTCP6), 40 },
	{ "IPv4 in IPv6", LB_MODE_IPIP, true, PACKET(DTCP4), 40 },
	{ "IPv4 in UDP over IPv4", LB_MODE_GUE, false, PACKET(DUDP4), 28 },
	{ "IPv6 in UDP over IPv6", LB_MODE_GUE, false, PACKET(DUDP6), 48 },
	{ "IPv4 in UDP over IPv6", LB_MODE_GUE, true, PACKET(DTCP4), 48 },
	{ "IPv4 to a MAC address", LB_MODE_L2, false, PACKET(DTCP4) },
	{ "IPv6 to a MAC address", LB_MODE_L2, false, PACKET(DUDP6) },
	{ "behind two tags", LB_MODE_IPIP, false,
	  PACKET(DTCP4, .tags = 2, .ad = true, .tci = { 0xa007, 8 }), 20 },
	{ "NAT behind a tag", NAT(FULL), false, PACKET(TCP6, .tags = 1, .tci = { 7 }) },
	{ "with IPv4 options", NAT(FULL), false, PACKET(TCP4, .ihl = 15, .doff = 15) },
	{ "with extension headers", LB_MODE_GUE, false, PACKET(DTCP6, .ext = "hd"), 48 },
	{ "with padding", NAT(FULL), false, PACKET(UDP4, .pad = 9) },
	{ "that asks not to be fragmented", NAT(FULL), false, PACKET(TCP4, .frag = 0x4000) },
};

/* Either kind of flow. */
struct way {
	struct direct direct;
	struct talk talk;
	struct packet *client;
	bool is_direct;
};

static void set_mtu(uint16_t mtu)
{
	for (uint32_t row = ROW_BACKEND4; row <= ROW_SPARE6; row++) {
		struct lb_backend backend = world_backend(row);

		backend.mtu = mtu;
		world_set_backend(row, &backend);
	}
}

static void fit(struct packet *p, size_t bytes)
{
	p->payload = 0;
	p->payload = (uint16_t)(bytes - packet_bytes(p));
}

/* What the sender of in is told. */
static struct packet answer_to(const struct packet *in, uint32_t mtu)
{
	bool ipv6 = packet_is_v6(in);
	struct packet out = {
		.dmac = in->smac,
		.smac = in->dmac,
		.tags = in->tags,
		.ad = in->ad,
		.from = in->to,
		.to = in->from,
		.ttl = 64,
		.plain = true,
		.icmp = true,
		.proto = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		.type = ipv6 ? 2 : 3,
		.code = ipv6 ? 0 : 4,
		.rest = mtu,
		.quoted = in,
		.quoted_bytes = QUOTE,
	};

	memcpy(out.tci, in->tci, sizeof(out.tci));
	return out;
}

static void expect_too_big(uint32_t ifindex, const struct packet *in, uint32_t mtu,
			   struct beside beside)
{
	struct packet answer = answer_to(in, mtu);

	expect_sent(ifindex, in, XDP_TX, &answer, ROW_NONE, false, LB_TOO_BIG, beside);
}

static void way_prepare(struct way *way, const struct row *row)
{
	memset(way, 0, sizeof(*way));
	way->is_direct = row->mode >= LB_MODE_IPIP;
	if (way->is_direct)
		direct_prepare(&way->direct, row->mode, row->in6, &row->packet);
	way->client = way->is_direct ? &way->direct.client : &way->talk.client;
}

static void way_open(struct way *way, const struct row *row)
{
	way_prepare(way, row);
	if (way->is_direct)
		direct_open(&way->direct);
	else
		talk_open(&way->talk, &row->packet);
}

static void way_send(struct way *way)
{
	way->talk.backend.payload = way->client->payload;
	if (way->is_direct)
		direct_send(&way->direct, ACK, NOTHING);
	else
		talk_client(&way->talk, ACK, NOTHING);
}

static void up_to_the_limit_packets_pass(void **state)
{
	const struct row *row = *state;
	uint16_t limit = WAY_MTU - row->overhead;
	struct way way;

	set_mtu(WAY_MTU);
	way_open(&way, row);
	fit(way.client, limit);
	way_send(&way);
	fit(way.client, limit + 1u);
	expect_too_big(world.lan, way.client, limit, NOTHING);
	fit(way.client, 1500);
	expect_too_big(world.lan, way.client, limit, NOTHING);
	fit(way.client, limit);
	way_send(&way);
}

static void the_first_packet_may_be_too_big(void **state)
{
	const struct row *row = *state;
	uint16_t limit = WAY_MTU - row->overhead;
	struct way way;

	set_mtu(WAY_MTU);
	way_prepare(&way, row);
	*way.client = row->packet;
	way.client->flags = SYN;
	fit(way.client, limit + 1u);
	expect_too_big(world.lan, way.client, limit, BEGUN(NOTHING));
	expect_too_big(world.lan, way.client, limit, NOTHING);
}

static void the_answer_goes_back_where_the_packet_came_from(void **state)
{
	const struct row *row = *state;
	uint16_t limit = WAY_MTU - row->overhead;
	struct lb_backend backend;
	struct way way;

	for (uint32_t i = ROW_BACKEND4; i <= ROW_BACKEND6; i++) {
		backend = world_backend(i);
		backend.hop.ifindex = world.far;
		backend.tags = 1;
		world_set_backend(i, &backend);
	}
	set_mtu(WAY_MTU);
	way_open(&way, row);
	fit(way.client, limit + 1u);
	expect_too_big(world.lan, way.client, limit, NOTHING);
}

static void beyond_the_rate_of_answers_packets_are_dropped(void **state)
{
	const struct row *row = *state;
	struct way way;

	set_mtu(WAY_MTU);
	way_open(&way, row);
	fit(way.client, WAY_MTU + 1);
	world_quiet(true);
	expect_end(world.lan, way.client, XDP_DROP, LB_TOO_BIG_QUIET);
	world_quiet(false);
	expect_too_big(world.lan, way.client, WAY_MTU - row->overhead, NOTHING);
}

static void a_new_mtu_counts_from_the_next_generation_on(void **state)
{
	const struct row *row = *state;
	struct way way;

	way_open(&way, row);
	fit(way.client, 1500);
	way_send(&way);
	set_mtu(WAY_MTU);
	way_send(&way);
	world_next_generation();
	expect_too_big(world.lan, way.client, WAY_MTU - row->overhead, NOTHING);
	set_mtu(0);
	world_next_generation();
	way_send(&way);
}

static void answers_are_held_to_the_clients_link(void **state)
{
	const struct row *row = *state;
	struct way way;

	if (row->mode >= LB_MODE_IPIP)
		return;
	world_link_mtu(world.lan, LINK_MTU);
	way_open(&way, row);
	way.talk.answer.flags = way.talk.reply.flags = ACK;
	fit(&way.talk.answer, LINK_MTU);
	way.talk.reply.payload = way.talk.answer.payload;
	talk_backend(&way.talk, ACK, NOTHING);
	fit(&way.talk.answer, LINK_MTU + 1);
	expect_too_big(world.lan, &way.talk.answer, LINK_MTU, NOTHING);
	/* The other way is not the client's. */
	fit(way.client, LINK_MTU + 1);
	way_send(&way);
}

static void the_fib_knows_the_mtu(void **state)
{
	const struct row *row = *state;
	uint16_t limit = WAY_MTU - row->overhead;
	struct lb_backend backend;
	struct way way;

	for (uint32_t i = ROW_BACKEND4; i <= ROW_BACKEND6; i++) {
		backend = world_backend(i);
		memset(&backend.hop, 0, sizeof(backend.hop));
		world_set_backend(i, &backend);
	}
	way_prepare(&way, row);
	*way.client = row->packet;
	way.client->flags = SYN;
	fit(way.client, limit + 1u);
	expect_too_big(world.lan, way.client, limit, BEGUN(NOTHING));
	expect_too_big(world.lan, way.client, limit, NOTHING);
}

static int test_fib(void)
{
	int failed;

	world_ip("link set far mtu 1400");
	world_routes(true);
	failed = RUN_ROWS("MTU, FIB", rows, the_fib_knows_the_mtu);
	world_routes(false);
	world_ip("link set far mtu 1500");
	return failed;
}

int test_lb_mtu(void)
{
	return RUN_ROWS("MTU", rows, up_to_the_limit_packets_pass) +
	       RUN_ROWS("MTU, first packet", rows, the_first_packet_may_be_too_big) +
	       RUN_ROWS("MTU, way back", rows, the_answer_goes_back_where_the_packet_came_from) +
	       RUN_ROWS("MTU, rate", rows, beyond_the_rate_of_answers_packets_are_dropped) +
	       RUN_ROWS("MTU, change", rows, a_new_mtu_counts_from_the_next_generation_on) +
	       RUN_ROWS("MTU, answers", rows, answers_are_held_to_the_clients_link) + test_fib();
}
