/* Fragments: the later ones of a datagram follow its first, which alone has ports. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "base/must.h"
#include "direct.h"
#include "groups.h"
#include "lb.skel.h"

#define FIRST4 .frag = 0x2000, .payload = 1472
#define FIRST6 .ext = "1", .payload = 1424

static const struct row {
	const char *sentence;
	enum lb_mode mode;
	bool in6;
	struct packet packet; /* the first */
} rows[] = {
	{ "full NAT, UDP", LB_MODE_NAT_FULL, false, PACKET(UDP4, FIRST4, .say_udp_length = 3000) },
	{ "full NAT, TCP", LB_MODE_NAT_FULL, false, PACKET(TCP4, FIRST4) },
	{ "full NAT, UDP over IPv6", LB_MODE_NAT_FULL, false,
	  PACKET(UDP6, FIRST6, .say_udp_length = 3000, .id = 7) },
	{ "full NAT, TCP over IPv6", LB_MODE_NAT_FULL, false, PACKET(TCP6, FIRST6) },
	{ "full NAT, options and tags", LB_MODE_NAT_FULL, false,
	  PACKET(UDP4, FIRST4, .ihl = 9, .tags = 2, .tci = { 7, 8 }) },
	{ "full NAT, headers and a tag", LB_MODE_NAT_FULL, false,
	  PACKET(UDP6, .ext = "hd1", .payload = 1200, .tags = 1) },
	{ "full NAT, UDP without a checksum", LB_MODE_NAT_FULL, false,
	  PACKET(UDP4, FIRST4, .no_check = true) },
	{ "destination NAT, UDP", LB_MODE_NAT_DESTINATION, false,
	  PACKET(UDP4, .to = KEEP4, FIRST4) },
	{ "destination NAT, TCP", LB_MODE_NAT_DESTINATION, false,
	  PACKET(TCP4, .to = KEEP4, FIRST4) },
	{ "destination NAT, UDP over IPv6", LB_MODE_NAT_DESTINATION, false,
	  PACKET(UDP6, .to = KEEP6, FIRST6) },
	{ "IPv4 in IPv4", LB_MODE_IPIP, false, PACKET(DUDP4, FIRST4, .say_udp_length = 3000) },
	{ "IPv6 in IPv6", LB_MODE_IPIP, false, PACKET(DUDP6, FIRST6, .id = 0xfedc) },
	{ "IPv4 in IPv6", LB_MODE_IPIP, true, PACKET(DTCP4, FIRST4) },
	{ "IPv4 in UDP over IPv4", LB_MODE_GUE, false, PACKET(DUDP4, FIRST4) },
	{ "IPv6 in UDP over IPv6", LB_MODE_GUE, false, PACKET(DUDP6, FIRST6) },
	{ "IPv4 to a MAC address", LB_MODE_L2, false, PACKET(DUDP4, FIRST4) },
	{ "IPv6 to a MAC address", LB_MODE_L2, false, PACKET(DTCP6, FIRST6) },
};

/* A datagram in three pieces, and the flow that it belongs to. */
struct scene {
	const struct row *row;
	struct talk talk;
	struct direct direct;
};

static bool is_direct(const struct row *row)
{
	return row->mode >= LB_MODE_IPIP;
}

static bool is_tcp(const struct row *row)
{
	return row->packet.proto == IPPROTO_TCP;
}

static const char *ext_of(const char *first, bool last)
{
	if (strlen(first) > 1)
		return last ? "hd3" : "hd2";
	return last ? "3" : "2";
}

/* p, a first fragment, becomes a later one. */
static void make_later(struct packet *p, bool last)
{
	p->later = true;
	p->payload = last ? 333 : 800;
	p->fill = 0x5a3c;
	p->say_udp_length = 0;
	if (packet_is_v6(p))
		p->ext = ext_of(p->ext, last);
	else
		p->frag = last ? 0x0121 : 0x20b9;
}

static struct packet later_of(const struct row *row, bool last)
{
	struct packet p = row->packet;

	make_later(&p, last);
	return p;
}

static void scene_open(struct scene *scene, const struct row *row)
{
	memset(scene, 0, sizeof(*scene));
	scene->row = row;
	if (is_direct(row)) {
		direct_prepare(&scene->direct, row->mode, row->in6, &row->packet);
		direct_begin(&scene->direct, SYN, BEGUN(NOTHING));
	} else {
		talk_begin(&scene->talk, &row->packet, SYN, NOTHING);
	}
}

static uint32_t row_of(const struct scene *scene)
{
	return is_direct(scene->row) ? scene->direct.row : scene->talk.row;
}

static void send_later(struct scene *scene, bool last, struct beside beside)
{
	struct packet in = is_direct(scene->row) ? scene->direct.client : scene->talk.client;
	struct packet out = is_direct(scene->row) ? scene->direct.out : scene->talk.backend;

	make_later(&in, last);
	make_later(&out, last);
	expect_forward(world.lan, &in, XDP_TX, &out, row_of(scene), false, beside);
}

static void later_fragments_follow_the_first(void **state)
{
	const struct row *row = *state;
	struct scene scene;

	scene_open(&scene, row);
	send_later(&scene, false, NOTHING);
	send_later(&scene, true, NOTHING);
	send_later(&scene, false, NOTHING); /* in any order */
	assert_int_equal(flow_count(), is_direct(row) ? 1 : 2);
	if (is_tcp(row) && is_direct(row))
		assert_int_equal(direct_state(&scene.direct), LB_STATE_SYN_SENT);
}

static void answers_may_be_fragments_too(void **state)
{
	const struct row *row = *state;
	struct scene scene;
	struct packet in;
	struct packet out;

	if (is_direct(row))
		return;
	scene_open(&scene, row);
	in = scene.talk.answer;
	out = scene.talk.reply;
	in.payload = out.payload = row->packet.payload;
	in.id = out.id = 0x4321;
	in.flags = out.flags = ACK;
	make_later(&in, false);
	expect_end(world.lan, &in, XDP_PASS, LB_FRAGMENT);
	in = scene.talk.answer;
	in.payload = row->packet.payload;
	in.id = 0x4321;
	in.flags = ACK;
	expect_forward(world.lan, &in, XDP_TX, &out, scene.talk.row, true, NOTHING);
	for (int last = 0; last < 2; last++) {
		make_later(&in, last);
		make_later(&out, last);
		expect_forward(world.lan, &in, XDP_TX, &out, scene.talk.row, true, NOTHING);
	}
}

static void a_later_fragment_alone_is_left_to_the_stack(void **state)
{
	const struct row *row = *state;
	struct packet later = later_of(row, false);
	struct packet other;
	struct scene scene;

	expect_end(world.lan, &later, XDP_PASS, LB_FRAGMENT_EARLY);
	scene_open(&scene, row);
	send_later(&scene, false, NOTHING);
	other = later;
	other.id ^= 0x0100;
	expect_end(world.lan, &other, XDP_PASS, LB_FRAGMENT_EARLY);
	other = later;
	other.from = packet_is_v6(&later) ? "2001:db8:c::6" : "203.0.113.6";
	expect_end(world.lan, &other, XDP_PASS, LB_FRAGMENT_EARLY);
	other = later;
	other.proto = is_tcp(row) ? IPPROTO_UDP : IPPROTO_TCP;
	expect_end(world.lan, &other, XDP_PASS, LB_FRAGMENT_EARLY);
	other = later;
	other.to = packet_is_v6(&later) ? "2001:db8::11" : "192.0.2.11";
	expect_end(world.lan, &other, XDP_PASS, LB_FRAGMENT);
}

static void fragments_of_others_are_left_to_the_stack(void **state)
{
	const struct row *row = *state;
	struct packet first = row->packet;
	struct packet later = later_of(row, true);

	first.flags = SYN;
	first.dport = 81;
	expect_end(world.lan, &first, XDP_PASS, LB_NOT_OURS);
	expect_end(world.lan, &later, XDP_PASS, LB_FRAGMENT_EARLY);
	first.dport = 80;
	first.to = later.to = packet_is_v6(&later) ? "2001:db8::11" : "192.0.2.11";
	expect_end(world.lan, &first, XDP_PASS, LB_NO_SERVICE);
	expect_end(world.lan, &later, XDP_PASS, LB_NO_SERVICE);
	assert_int_equal(flow_count(), 0);
}

static void age_fragments(uint32_t ticks)
{
	int fd = bpf_map__fd(world.bpf->maps.lb_fragments);
	struct lb_fragment_key key;
	struct lb_fragment first;

	must(bpf_map_get_next_key(fd, NULL, &key) == 0);
	must(bpf_map_lookup_elem(fd, &key, &first) == 0);
	first.seen -= ticks;
	must(bpf_map_update_elem(fd, &key, &first, BPF_EXIST) == 0);
}

static void a_first_fragment_is_remembered_for_a_minute(void **state)
{
	const struct row *row = *state;
	struct packet later = later_of(row, false);
	struct scene scene;

	scene_open(&scene, row);
	age_fragments(58);
	send_later(&scene, false, NOTHING);
	age_fragments(3);
	expect_end(world.lan, &later, XDP_PASS, LB_FRAGMENT_EARLY);
}

/* The flow is gone, but the ports are known: it begins again, as in the middle. */
static void a_later_fragment_may_begin_a_flow(void **state)
{
	const struct row *row = *state;
	struct scene scene;

	scene_open(&scene, row);
	if (is_direct(row)) {
		flow_remove(&scene.direct.client);
	} else {
		flow_remove(&scene.talk.client);
		flow_remove(&scene.talk.answer);
	}
	send_later(&scene, true, BEGUN(is_tcp(row) ? ONE(PICKED_UP) : NOTHING));
}

static void a_cut_flows_fragments_are_no_reset(void **state)
{
	const struct row *row = *state;
	struct packet later = later_of(row, false);
	struct scene scene;

	scene_open(&scene, row);
	if (!is_tcp(row))
		return;
	world_set_backend_state(row_of(&scene), LB_BACKEND_CUT);
	world_next_generation();
	expect_end(world.lan, &later, XDP_DROP, LB_FLOW_ENDED);
	assert_int_equal(flow_count(), is_direct(row) ? 1 : 2);
}

static void a_fragments_header_is_judged_as_any(void **state)
{
	const struct row *row = *state;
	struct packet p = row->packet;
	struct scene scene;

	if (is_direct(row))
		world_direct(row->mode, row->in6);
	if (is_tcp(row)) {
		p.flags = SYN | FIN;
		expect_end(world.lan, &p, XDP_DROP, LB_MALFORMED);
		p.flags = SYN;
		p.say_doff = 4;
		expect_end(world.lan, &p, XDP_DROP, LB_MALFORMED);
	}
	p = row->packet;
	p.flags = SYN;
	p.say_length = 1;
	expect_end(world.lan, &p, XDP_DROP, LB_MALFORMED);
	assert_int_equal(flow_count(), 0);
	scene_open(&scene, row);
	p = later_of(row, false);
	p.say_length = 1;
	expect_end(world.lan, &p, XDP_DROP, LB_MALFORMED);
	p = later_of(row, false);
	p.ttl = 1;
	if (row->mode != LB_MODE_L2)
		expect_end(world.lan, &p, XDP_DROP, LB_TTL_EXPIRED);
}

/* Nothing of a later one tells a sender which of its packets was too big. */
static void too_big_a_later_fragment_is_dropped(void **state)
{
	const struct row *row = *state;
	struct packet later = later_of(row, false);
	struct lb_backend backend;
	struct scene scene;

	scene_open(&scene, row);
	backend = world_backend(row_of(&scene));
	backend.mtu = 700;
	world_set_backend(row_of(&scene), &backend);
	world_next_generation();
	expect_end(world.lan, &later, XDP_DROP, LB_TOO_BIG_QUIET);
}

int test_lb_fragments(void)
{
	return RUN_ROWS("fragments", rows, later_fragments_follow_the_first) +
	       RUN_ROWS("fragments, answers", rows, answers_may_be_fragments_too) +
	       RUN_ROWS("fragments, early", rows, a_later_fragment_alone_is_left_to_the_stack) +
	       RUN_ROWS("fragments, others", rows, fragments_of_others_are_left_to_the_stack) +
	       RUN_ROWS("fragments, old", rows, a_first_fragment_is_remembered_for_a_minute) +
	       RUN_ROWS("fragments, new flow", rows, a_later_fragment_may_begin_a_flow) +
	       RUN_ROWS("fragments, cut", rows, a_cut_flows_fragments_are_no_reset) +
	       RUN_ROWS("fragments, broken", rows, a_fragments_header_is_judged_as_any) +
	       RUN_ROWS("fragments, too big", rows, too_big_a_later_fragment_is_dropped);
}
