/* ICMP errors are sent on to whom they concern, in that one's words; what is about nothing of ours
 * is left as it is. */
#include <bpf/bpf.h>
#include <string.h>

#include "direct.h"
#include "groups.h"
#include "lb.skel.h"

#define ROUTER4 "198.51.100.1"
#define ROUTER6 "2001:db8:f::1"
#define PORTS	8 /* bytes of the transport header that any error quotes */

static const struct row {
	const char *sentence;
	enum lb_mode mode;
	bool in6;
	struct packet packet;
} rows[] = {
	{ "full NAT, TCP", LB_MODE_NAT_FULL, false, PACKET(TCP4) },
	{ "full NAT, UDP", LB_MODE_NAT_FULL, false, PACKET(UDP4) },
	{ "full NAT, UDP without a checksum", LB_MODE_NAT_FULL, false,
	  PACKET(UDP4, .no_check = true) },
	{ "full NAT, TCP over IPv6", LB_MODE_NAT_FULL, false, PACKET(TCP6) },
	{ "full NAT, UDP over IPv6", LB_MODE_NAT_FULL, false, PACKET(UDP6) },
	{ "full NAT behind tags", LB_MODE_NAT_FULL, false,
	  PACKET(TCP4, .tags = 2, .tci = { 7, 8 }) },
	{ "full NAT with options", LB_MODE_NAT_FULL, false, PACKET(TCP4, .ihl = 9, .doff = 8) },
	{ "full NAT, a wrong checksum stays as wrong", LB_MODE_NAT_FULL, false,
	  PACKET(UDP4, .wrong_check = 0x1234) },
	{ "destination NAT, TCP", LB_MODE_NAT_DESTINATION, false, PACKET(TCP4, .to = KEEP4) },
	{ "destination NAT, UDP", LB_MODE_NAT_DESTINATION, false, PACKET(UDP4, .to = KEEP4) },
	{ "destination NAT, TCP over IPv6", LB_MODE_NAT_DESTINATION, false,
	  PACKET(TCP6, .to = KEEP6) },
	{ "destination NAT, UDP over IPv6", LB_MODE_NAT_DESTINATION, false,
	  PACKET(UDP6, .to = KEEP6) },
	{ "IPv4 in IPv4", LB_MODE_IPIP, false, PACKET(DTCP4) },
	{ "IPv6 in IPv6", LB_MODE_IPIP, false, PACKET(DUDP6) },
	{ "IPv4 in IPv6", LB_MODE_IPIP, true, PACKET(DUDP4) },
	{ "IPv4 in UDP over IPv4", LB_MODE_GUE, false, PACKET(DTCP4) },
	{ "IPv6 in UDP over IPv6", LB_MODE_GUE, false, PACKET(DTCP6) },
	{ "IPv4 in UDP over IPv6", LB_MODE_GUE, true, PACKET(DTCP4) },
	{ "IPv4 to a MAC address", LB_MODE_L2, false, PACKET(DTCP4) },
	{ "IPv6 to a MAC address", LB_MODE_L2, false, PACKET(DTCP6) },
	{ "IPv4 in IPv4 behind tags", LB_MODE_IPIP, false,
	  PACKET(DTCP4, .tags = 2, .ad = true, .tci = { 7, 8 }) },
};

static const struct error {
	uint8_t type;
	uint8_t first; /* codes */
	uint8_t last;
	uint32_t rest;
} errors4[] = { { 3, 0, 15, 0x000005dc }, { 11, 0, 1, 0 }, { 12, 0, 2, 0x14000000 } },
  errors6[] = { { 1, 0, 8, 0 }, { 2, 0, 0, 1280 }, { 3, 0, 1, 0 }, { 4, 0, 3, 40 } };

/* A flow of any mode, an error about one of its packets, and what ought to become of that. */
struct scene {
	const struct row *row;
	struct talk talk;
	struct direct direct;
	struct packet quoted;
	struct packet quoted_out;
	struct packet in;
	struct packet out;
	uint32_t side; /* where in comes from */
	uint32_t other;
};

static bool is_direct(const struct row *row)
{
	return row->mode >= LB_MODE_IPIP;
}

/* An error about scene->quoted, sent by a router to whom the quoted packet is from. */
static void make_error(struct scene *scene, const struct packet *like)
{
	bool ipv6 = packet_is_v6(&scene->quoted);

	scene->in = (struct packet){
		.dmac = MAC_LB,
		.smac = like->smac,
		.tags = like->tags,
		.ad = like->ad,
		.from = ipv6 ? ROUTER6 : ROUTER4,
		.to = scene->quoted.from,
		.ttl = 60,
		.icmp = true,
		.proto = ipv6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP,
		.type = ipv6 ? 1 : 3,
		.code = 1,
		.quoted = &scene->quoted,
		.quoted_bytes = QUOTED_ALL,
	};
	memcpy(scene->in.tci, like->tci, sizeof(like->tci));
	scene->out = scene->in;
	scene->out.ttl--;
	scene->out.quoted = &scene->quoted_out;
}

/* The quoted packet as the other end knows it. */
static void requote(struct scene *scene, const struct packet *from)
{
	scene->quoted_out = scene->quoted;
	scene->quoted_out.from = from->from;
	scene->quoted_out.to = from->to;
	scene->quoted_out.sport = from->sport;
	scene->quoted_out.dport = from->dport;
}

static void redirect(struct packet *out, const struct packet *like)
{
	out->dmac = like->dmac;
	out->smac = like->smac;
	out->tags = like->tags;
	out->ad = like->ad;
	memcpy(out->tci, like->tci, sizeof(out->tci));
}

/* About what the backend was sent: the client learns of it, from the service. */
static void error_from_backend(struct scene *scene)
{
	struct talk *talk = &scene->talk;

	scene->quoted = talk->backend;
	requote(scene, &talk->client);
	make_error(scene, &talk->answer);
	redirect(&scene->out, &talk->reply);
	scene->out.from = talk->client.to;
	scene->out.to = talk->client.from;
	scene->side = talk->backend_side;
	scene->other = talk->client_side;
}

/* About what the client was sent: the backend learns of it, under full NAT from Loom. */
static void error_from_client(struct scene *scene)
{
	struct talk *talk = &scene->talk;

	scene->quoted = talk->reply;
	requote(scene, &talk->answer);
	make_error(scene, &talk->client);
	redirect(&scene->out, &talk->backend);
	if (scene->row->mode == LB_MODE_NAT_FULL)
		scene->out.from = talk->backend.from;
	scene->out.to = talk->backend.to;
	scene->side = talk->client_side;
	scene->other = talk->backend_side;
}

/* About what the backend has answered by itself: it is sent on as the flow's packets are. */
static void error_about_direct(struct scene *scene)
{
	const struct packet *c = &scene->direct.client;
	struct packet *q = &scene->quoted;

	*q = *c;
	q->from = c->to;
	q->to = c->from;
	q->sport = c->dport;
	q->dport = c->sport;
	scene->quoted_out = *q;
	make_error(scene, c);
	redirect(&scene->out, &scene->direct.out);
	scene->out.outer_from = scene->direct.out.outer_from;
	scene->out.outer_to = scene->direct.out.outer_to;
	scene->out.gue_sport = scene->direct.out.gue_sport;
	scene->out.gue_dport = scene->direct.out.gue_dport;
	if (!direct_is_tunnel(&scene->direct))
		scene->out.ttl++;
	scene->side = scene->direct.client_side;
	scene->other = scene->direct.backend_side;
}

static void scene_open(struct scene *scene, const struct row *row)
{
	memset(scene, 0, sizeof(*scene));
	scene->row = row;
	if (is_direct(row)) {
		direct_prepare(&scene->direct, row->mode, row->in6, &row->packet);
		direct_open(&scene->direct);
	} else {
		talk_open(&scene->talk, &row->packet);
	}
}

static void expect_error(struct scene *scene)
{
	uint32_t verdict = scene->side == scene->other ? XDP_TX : XDP_REDIRECT;
	bool direct = is_direct(scene->row);

	expect_sent(scene->side, &scene->in, verdict, &scene->out,
		    direct ? scene->direct.row : ROW_NONE, false,
		    direct ? LB_COUNTER_COUNT : LB_ICMP_ERROR, NOTHING);
}

static void expect_untouched(const struct scene *scene)
{
	expect_end(scene->side, &scene->in, XDP_PASS, LB_NOT_OURS);
}

/* Calls check with an error in each direction that there is. */
static void each_direction(struct scene *scene, void (*check)(struct scene *))
{
	if (is_direct(scene->row)) {
		error_about_direct(scene);
		check(scene);
		return;
	}
	error_from_backend(scene);
	check(scene);
	error_from_client(scene);
	check(scene);
}

static void check_types(struct scene *scene)
{
	bool ipv6 = packet_is_v6(&scene->in);
	const struct error *errors = ipv6 ? errors6 : errors4;

	for (size_t i = 0; i < (ipv6 ? 4 : 3); i++)
		for (uint8_t code = errors[i].first; code <= errors[i].last; code++) {
			scene->in.type = scene->out.type = errors[i].type;
			scene->in.code = scene->out.code = code;
			scene->in.rest = scene->out.rest = errors[i].rest;
			expect_error(scene);
		}
}

static void errors_of_every_type_are_sent_on(void **state)
{
	const struct row *row = *state;
	struct scene scene;

	scene_open(&scene, row);
	each_direction(&scene, check_types);
	assert_int_equal(flow_count(), is_direct(row) ? 1 : 2);
}

/* From the eight bytes that any error quotes to the whole packet. */
static void check_lengths(struct scene *scene)
{
	size_t whole = packet_bytes(&scene->quoted);
	size_t ports = packet_transport(&scene->quoted) - 14 - scene->quoted.tags * 4u;
	bool tcp = scene->quoted.proto == IPPROTO_TCP;

	for (size_t bytes = ports + PORTS; bytes <= whole; bytes++) {
		if (tcp && bytes == ports + 17)
			continue; /* half of a checksum is left as it is */
		scene->in.quoted_bytes = scene->out.quoted_bytes = (uint16_t)bytes;
		scene->in.pad = scene->out.pad = bytes % 3 ? 0 : 20;
		expect_error(scene);
	}
	/* Padding behind the message is no part of it. */
	for (size_t bytes = 0; bytes < ports + PORTS; bytes++) {
		scene->in.quoted_bytes = (uint16_t)bytes;
		scene->in.pad = bytes % 2 ? 0 : 40;
		expect_untouched(scene);
	}
}

static void errors_may_quote_as_much_as_they_like(void **state)
{
	struct scene scene;

	scene_open(&scene, *state);
	each_direction(&scene, check_lengths);
}

static void check_cut(struct scene *scene)
{
	uint8_t frame[PACKET_ROOM];
	size_t whole = packet_build(&scene->in, frame);
	size_t l4 = packet_transport(&scene->in);

	for (size_t length = 14; length < whole; length++)
		expect_frame_end(scene->side, frame, length, XDP_PASS,
				 length < l4 ? LB_NOT_IP : LB_NOT_OURS, NOTHING);
}

static void cut_errors_are_left_to_the_stack(void **state)
{
	struct scene scene;

	scene_open(&scene, *state);
	each_direction(&scene, check_cut);
}

static void check_strange(struct scene *scene)
{
	bool ipv6 = packet_is_v6(&scene->in);
	struct packet quoted = scene->quoted;
	struct packet in = scene->in;

	/* Not sent to whom the quoted packet is from. */
	scene->in.to = ipv6 ? "2001:db8::99" : "192.0.2.99";
	expect_untouched(scene);
	scene->in = in;
	/* Neither TCP nor UDP. */
	scene->quoted.proto = IPPROTO_SCTP;
	scene->quoted.payload = 40;
	expect_untouched(scene);
	scene->quoted = quoted;
	if (ipv6)
		scene->quoted.ext = "d";
	else
		scene->quoted.frag = 0x00b9; /* without ports */
	expect_untouched(scene);
	scene->quoted = quoted;
	scene->quoted.say_version = 5;
	expect_untouched(scene);
	scene->quoted = quoted;
	scene->in.type = ipv6 ? 137 : 5; /* a redirect */
	expect_untouched(scene);
	scene->in = in;
	expect_error(scene);
}

static void what_is_no_error_of_ours_is_left_to_the_stack(void **state)
{
	struct scene scene;

	scene_open(&scene, *state);
	each_direction(&scene, check_strange);
}

static void check_ttl(struct scene *scene)
{
	scene->in.ttl = 1;
	scene->out.ttl = 1;
	if (is_direct(scene->row) && !direct_is_tunnel(&scene->direct))
		expect_error(scene);
	else
		expect_end(scene->side, &scene->in, XDP_DROP, LB_TTL_EXPIRED);
	scene->in.ttl = 2;
	scene->out.ttl = is_direct(scene->row) && !direct_is_tunnel(&scene->direct) ? 2 : 1;
	expect_error(scene);
}

static void errors_live_no_longer_than_others(void **state)
{
	struct scene scene;

	scene_open(&scene, *state);
	each_direction(&scene, check_ttl);
}

static void check_dressed(struct scene *scene)
{
	if (packet_is_v6(&scene->in)) {
		scene->in.ext = scene->out.ext = "hd";
	} else {
		scene->in.ihl = scene->out.ihl = 15;
		scene->in.wrong_ip = scene->out.wrong_ip = 0x0101;
	}
	scene->in.wrong_check = scene->out.wrong_check = 0x0101;
	expect_error(scene);
}

static void an_errors_own_options_and_faults_stay(void **state)
{
	struct scene scene;

	scene_open(&scene, *state);
	each_direction(&scene, check_dressed);
}

static void the_entry_is_as_it_was(void **state)
{
	const struct row *row = *state;
	struct lb_flow before;
	struct lb_flow after;
	struct scene scene;

	memset(&scene, 0, sizeof(scene));
	scene.row = row;
	if (!is_direct(row) || row->packet.proto != IPPROTO_TCP)
		return;
	direct_prepare(&scene.direct, row->mode, row->in6, &row->packet);
	direct_begin(&scene.direct, SYN, BEGUN(NOTHING));
	assert_true(flow_read(&scene.direct.client, &before));
	error_about_direct(&scene);
	expect_error(&scene);
	assert_true(flow_read(&scene.direct.client, &after));
	assert_int_equal(before.state, after.state);
	assert_int_equal(before.flags, after.flags);
	assert_int_equal(before.backend, after.backend);
}

/* Another node has the entry: where it balances alike, it sends the error on. */
static void errors_about_unknown_flows(void **state)
{
	const struct row *row = *state;
	struct scene scene;

	scene_open(&scene, row);
	if (is_direct(row)) {
		flow_remove(&scene.direct.client);
		error_about_direct(&scene);
		expect_sent(scene.side, &scene.in, XDP_TX, &scene.out, scene.direct.row, false,
			    LB_COUNTER_COUNT, ONE(STATELESS));
		world_slots(TABLE_DIRECT4, LB_SLOT_EMPTY);
		world_slots(TABLE_DIRECT6, LB_SLOT_EMPTY);
		expect_end(scene.side, &scene.in, XDP_PASS, LB_NO_BACKEND);
		scene.quoted.sport = 81;
		expect_untouched(&scene);
	} else {
		flow_remove(&scene.talk.client);
		flow_remove(&scene.talk.answer);
		error_from_client(&scene);
		expect_untouched(&scene);
		error_from_backend(&scene);
		expect_untouched(&scene);
	}
	assert_int_equal(flow_count(), 0);
}

static void limits_do_not_count_errors(void **state)
{
	const struct row *row = *state;
	const char *to = row->packet.to;
	struct lb_service service;
	struct scene scene;

	if (!is_direct(row))
		return;
	scene_open(&scene, row);
	service = world_service_of(to, 80, row->packet.proto);
	service.source_rate_ns = 1u << 31;
	world_set_service(to, 80, row->packet.proto, &service);
	flow_remove(&scene.direct.client);
	error_about_direct(&scene);
	for (int i = 0; i < 5; i++)
		expect_sent(scene.side, &scene.in, XDP_TX, &scene.out, scene.direct.row, false,
			    LB_COUNTER_COUNT, ONE(STATELESS));
}

static void a_removed_backend_gets_no_errors(void **state)
{
	const struct row *row = *state;
	struct scene scene;

	if (!is_direct(row))
		return;
	scene_open(&scene, row);
	world_set_backend_state(scene.direct.row, LB_BACKEND_UNUSED);
	world_slots(TABLE_DIRECT4, LB_SLOT_EMPTY);
	world_slots(TABLE_DIRECT6, LB_SLOT_EMPTY);
	world_next_generation();
	error_about_direct(&scene);
	expect_end_beside(scene.side, &scene.in, XDP_PASS, LB_NO_BACKEND, ONE(RESELECTED));
}

static void forget_hops(void)
{
	for (uint32_t i = ROW_BACKEND4; i <= ROW_BACKEND6; i++) {
		struct lb_backend backend = world_backend(i);

		memset(&backend.hop, 0, sizeof(backend.hop));
		backend.tags = 0;
		world_set_backend(i, &backend);
	}
}

/* The first packet alone has been seen. */
static void errors_find_their_way_in_the_fib(void **state)
{
	const struct row *row = *state;
	struct scene scene;

	forget_hops();
	memset(&scene, 0, sizeof(scene));
	scene.row = row;
	if (is_direct(row)) {
		direct_prepare(&scene.direct, row->mode, row->in6, &row->packet);
		direct_begin(&scene.direct, SYN, BEGUN(NOTHING));
		error_about_direct(&scene);
	} else {
		talk_begin(&scene.talk, &row->packet, SYN, NOTHING);
		error_from_client(&scene);
	}
	expect_error(&scene);
}

static int test_fib(void)
{
	int failed;

	world_routes(true);
	failed = RUN_ROWS("errors, FIB", rows, errors_find_their_way_in_the_fib);
	world_routes(false);
	return failed;
}

int test_lb_icmp(void)
{
	return RUN_ROWS("errors", rows, errors_of_every_type_are_sent_on) +
	       RUN_ROWS("errors, lengths", rows, errors_may_quote_as_much_as_they_like) +
	       RUN_ROWS("errors, cut", rows, cut_errors_are_left_to_the_stack) +
	       RUN_ROWS("errors, others", rows, what_is_no_error_of_ours_is_left_to_the_stack) +
	       RUN_ROWS("errors, TTL", rows, errors_live_no_longer_than_others) +
	       RUN_ROWS("errors, own options", rows, an_errors_own_options_and_faults_stay) +
	       RUN_ROWS("errors, entry", rows, the_entry_is_as_it_was) +
	       RUN_ROWS("errors, unknown flows", rows, errors_about_unknown_flows) +
	       RUN_ROWS("errors, limits", rows, limits_do_not_count_errors) +
	       RUN_ROWS("errors, removed backend", rows, a_removed_backend_gets_no_errors) +
	       test_fib();
}
