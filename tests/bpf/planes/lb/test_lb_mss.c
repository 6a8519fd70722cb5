/* The maximum segment size in SYNs is lowered to what fits, wherever among the options it stands;
 * every other byte and the checksum are right. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "base/must.h"
#include "direct.h"
#include "groups.h"
#include "lb.skel.h"

#define CONFIGURED 1360
#define ROUTE_MTU  1400 /* of the way to the backend */
#define LINK_MTU   1300 /* of the client's interface */

static const struct row {
	const char *sentence;
	struct packet packet;
	uint16_t mss_at;
	uint16_t in;
	uint16_t out; /* where CONFIGURED alone decides */
} rows[] = {
	{ "it comes first", PACKET(TCP4, .doff = 10), 0, 1460, CONFIGURED },
	{ "over IPv6", PACKET(TCP6, .doff = 10), 0, 1440, CONFIGURED },
	{ "under destination NAT", PACKET(TCP4, .to = KEEP4, .doff = 6), 0, 9000, CONFIGURED },
	{ "over IPv6 under destination NAT", PACKET(TCP6, .to = KEEP6, .doff = 6), 0, 65535,
	  CONFIGURED },
	{ "at an odd place", PACKET(TCP4, .doff = 7), 1, 1460, CONFIGURED },
	{ "over IPv6 at an odd place", PACKET(TCP6, .doff = 8), 3, 1440, CONFIGURED },
	{ "it comes last of many", PACKET(TCP4, .doff = 15), 36, 1460, CONFIGURED },
	{ "over IPv6 as the last of many", PACKET(TCP6, .doff = 15), 35, 0xfefe, CONFIGURED },
	{ "behind IPv4 options", PACKET(TCP4, .ihl = 15, .doff = 15), 17, 1460, CONFIGURED },
	{ "behind extension headers", PACKET(TCP6, .ext = "hdr", .doff = 9), 2, 1440, CONFIGURED },
	{ "in a tagged frame", PACKET(TCP4, .tags = 2, .tci = { 5, 6 }, .doff = 6), 0, 1461,
	  CONFIGURED },
	{ "one too many", PACKET(TCP4, .doff = 6), 0, CONFIGURED + 1, CONFIGURED },
	{ "just right", PACKET(TCP4, .doff = 6), 0, CONFIGURED, CONFIGURED },
	{ "small enough", PACKET(TCP6, .doff = 6), 0, 536, 536 },
	{ "there is none", PACKET(TCP4, .doff = 15), 0, 0, 0 },
	{ "there are no options", PACKET(TCP6), 0, 0, 0 },
};

static void set_mss(struct packet *p, const struct row *row, uint16_t mss)
{
	p->doff = row->packet.doff;
	p->mss = mss;
	p->mss_at = (uint8_t)row->mss_at;
}

/* The first SYN of a flow. */
static void begin(struct talk *talk, const struct row *row, uint16_t out)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	size_t length;

	talk_prepare(talk, &row->packet, SYN);
	set_mss(&talk->client, row, row->in);
	set_mss(&talk->backend, row, out);
	world_run(world.lan, frame, packet_build(&talk->client, frame), &got);
	assert_int_equal(got.verdict, XDP_TX);
	assert_int_equal(got.packets[LB_MSS_CLAMPED], out != row->in);
	talk_complete(talk, packet_sport_of(&talk->backend, got.frame));
	length = packet_build(&talk->backend, frame);
	assert_int_equal(got.length, length);
	assert_memory_equal(got.frame, frame, length);
}

static struct beside clamped(const struct row *row, uint16_t out)
{
	return out == row->in ? NOTHING : ONE(MSS_CLAMPED);
}

/* SYN, SYN-ACK, and what follows: only the first two are looked at.  out: what the size becomes. */
static void shake_hands(const struct row *row, uint16_t out)
{
	struct talk talk;

	begin(&talk, row, out);
	talk_client(&talk, SYN, clamped(row, out));
	set_mss(&talk.answer, row, row->in);
	set_mss(&talk.reply, row, out);
	talk_backend(&talk, SYN | ACK, clamped(row, out));
	talk_client(&talk, SYN, clamped(row, out));
	talk.backend.mss = row->in;
	talk_client(&talk, ACK, NOTHING);
	talk.reply.mss = row->in;
	talk_backend(&talk, ACK, NOTHING);
}

static uint16_t headers_of(const struct packet *p)
{
	return packet_is_v6(p) ? 60 : 40;
}

static uint16_t least(uint16_t a, uint16_t b)
{
	return a < b ? a : b;
}

static void by_configuration(void **state)
{
	const struct row *row = *state;

	shake_hands(row, row->out);
}

static void set_route_mtu(uint16_t mtu)
{
	for (uint32_t row = ROW_BACKEND4; row <= ROW_BACKEND6; row++) {
		struct lb_backend backend = world_backend(row);

		backend.mtu = mtu;
		world_set_backend(row, &backend);
	}
}

static void by_the_way_to_the_backend(void **state)
{
	const struct row *row = *state;

	set_route_mtu(ROUTE_MTU);
	shake_hands(row, least(row->out, ROUTE_MTU - headers_of(&row->packet)));
}

static void by_the_clients_link(void **state)
{
	uint32_t ifindex = world.lan;
	const struct row *row = *state;

	set_route_mtu(ROUTE_MTU);
	world_link_mtu(world.lan, LINK_MTU);
	shake_hands(row, least(row->out, LINK_MTU - headers_of(&row->packet)));
	bpf_map_delete_elem(bpf_map__fd(world.bpf->maps.lb_links), &ifindex);
}

/* With the largest number configured. */
static void by_mtu_alone(void **state)
{
	const struct row *row = *state;

	set_route_mtu(ROUTE_MTU);
	shake_hands(row, least(row->in, ROUTE_MTU - headers_of(&row->packet)));
}

static void by_no_known_mtu(void **state)
{
	const struct row *row = *state;

	shake_hands(row, least(row->in, 65535 - headers_of(&row->packet)));
}

/* Options that are none: whatever they say, the packet goes on as it is. */
static void nothing_is_written_behind_options(void **state)
{
	static const uint8_t broken[][8] = {
		{ 0, 2, 4, 0x23, 0x28 },	  /* behind the end of the list */
		{ 3, 0, 2, 4, 0x23, 0x28 },	  /* without length */
		{ 3, 1, 2, 4, 0x23, 0x28 },	  /* shorter than itself */
		{ 3, 9, 2, 4, 0x23, 0x28 },	  /* beyond the header */
		{ 2, 3, 0x23, 0x28 },		  /* of another length */
		{ 1, 1, 1, 1, 1, 2, 4, 0x23 },	  /* cut off by the header's end */
		{ 8, 4, 2, 4, 0x23, 0x28, 1, 1 }, /* half inside another one */
	};
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	struct packet p = PACKET(TCP4, .flags = SYN, .doff = 7, .payload = 8);
	size_t at = packet_transport(&p) + 20;

	for (size_t i = 0; i < sizeof(broken) / sizeof(*broken); i++) {
		size_t length = packet_build(&p, frame);

		memcpy(frame + at, broken[i], 8);
		world_run(world.lan, frame, length, &got);
		assert_int_equal(got.verdict, XDP_TX);
		assert_int_equal(got.packets[LB_MSS_CLAMPED], 0);
		assert_memory_equal(got.frame + at, frame + at, length - at);
	}
}

static const struct kind {
	const char *sentence;
	enum lb_mode mode;
	struct packet packet;
	uint16_t overhead;
} kinds[] = {
	{ "IPv4 in IPv4", LB_MODE_IPIP, PACKET(DTCP4), 20 },
	{ "IPv6 in IPv6", LB_MODE_IPIP, PACKET(DTCP6), 40 },
	{ "IPv4 in UDP", LB_MODE_GUE, PACKET(DTCP4), 28 },
	{ "IPv4 to a MAC address", LB_MODE_L2, PACKET(DTCP4), 0 },
};

static void under_direct_return(void **state)
{
	const struct kind *kind = *state;
	uint16_t mss = least(CONFIGURED, ROUTE_MTU - kind->overhead - headers_of(&kind->packet));
	struct direct d;

	set_route_mtu(ROUTE_MTU);
	direct_prepare(&d, kind->mode, false, &kind->packet);
	d.client.doff = 6;
	d.client.mss = mss; /* it fits */
	direct_begin(&d, SYN, BEGUN(NOTHING));
	d.client.mss = 1460;
	direct_send(&d, ACK, NOTHING);
	d.client.flags = SYN;
	direct_out(&d);
	d.out.mss = mss;
	expect_forward(world.lan, &d.client, XDP_TX, &d.out, d.row, false, ONE(MSS_CLAMPED));
}

static void configured(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_mss_max = CONFIGURED;
}

static void mtu_alone(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_mss_max = 65535;
}

int test_lb_mss(void)
{
	const struct CMUnitTest cases[] = { CASE(nothing_is_written_behind_options) };
	int failed;

	world_open(configured);
	failed = RUN_ROWS("MSS", rows, by_configuration) +
		 RUN_ROWS("MSS, way", rows, by_the_way_to_the_backend) +
		 RUN_ROWS("MSS, link", rows, by_the_clients_link) +
		 RUN_ROWS("MSS, DSR", kinds, under_direct_return) +
		 cmocka_run_group_tests_name("MSS, options", cases, NULL, NULL);
	world_close();
	world_open(mtu_alone);
	failed += RUN_ROWS("MSS by MTU", rows, by_mtu_alone) +
		  RUN_ROWS("MSS by no MTU", rows, by_no_known_mtu);
	world_close();
	return failed;
}
