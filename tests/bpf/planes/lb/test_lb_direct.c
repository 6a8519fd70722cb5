/* Direct server return: packets wrapped for the backend, or sent on as they came; one entry, and
 * nothing of what the backend answers is seen. */
#include <arpa/inet.h>
#include <string.h>

#include "direct.h"
#include "groups.h"
#include "lb.skel.h"

static const struct kind {
	const char *sentence;
	enum lb_mode mode;
	bool in6;
	struct packet packet;
} kinds[] = {
	{ "IPv4 in IPv4", LB_MODE_IPIP, false, PACKET(DTCP4) },
	{ "IPv6 in IPv6", LB_MODE_IPIP, false, PACKET(DTCP6) },
	{ "IPv4 in IPv6", LB_MODE_IPIP, true, PACKET(DTCP4) },
	{ "IPv4 in UDP over IPv4", LB_MODE_GUE, false, PACKET(DTCP4) },
	{ "IPv6 in UDP over IPv6", LB_MODE_GUE, false, PACKET(DTCP6) },
	{ "IPv4 in UDP over IPv6", LB_MODE_GUE, true, PACKET(DTCP4) },
	{ "IPv4 to a MAC address", LB_MODE_L2, false, PACKET(DTCP4) },
	{ "IPv6 to a MAC address", LB_MODE_L2, false, PACKET(DTCP6) },
};
#define KINDS (sizeof(kinds) / sizeof(*kinds))

static const struct row {
	const char *sentence;
	struct packet ipv4;
	struct packet ipv6;
} rows[] = {
	{ "TCP", PACKET(DTCP4), PACKET(DTCP6) },
	{ "UDP", PACKET(DUDP4), PACKET(DUDP6) },
	{ "UDP without a checksum", PACKET(DUDP4, .no_check = true),
	  PACKET(DUDP6, .no_check = true) },
	{ "a wrong checksum stays as wrong", PACKET(DTCP4, .wrong_check = 0x1234),
	  PACKET(DTCP6, .wrong_check = 0xfffe) },
	{ "a wrong IPv4 header checksum stays as wrong", PACKET(DTCP4, .wrong_ip = 0x0101),
	  PACKET(DTCP6) },
	{ "options and extension headers are carried along", PACKET(DTCP4, .ihl = 15, .doff = 15),
	  PACKET(DUDP6, .ext = "hdrfd") },
	{ "Ethernet's padding stays behind the packet", PACKET(DTCP4, .payload = 0, .pad = 6),
	  PACKET(DUDP6, .payload = 1, .pad = 9) },
	{ "no payload, no padding", PACKET(DUDP4, .payload = 0), PACKET(DUDP6, .payload = 0) },
	{ "an odd length", PACKET(DTCP4, .payload = 33), PACKET(DTCP6, .payload = 33) },
	{ "1,500 bytes", PACKET(DTCP4, .payload = 1460), PACKET(DTCP6, .payload = 1440) },
	{ "don't fragment", PACKET(DTCP4, .frag = 0x4000), PACKET(DTCP6) },
	{ "another identification", PACKET(DTCP4, .id = 0xfedc), PACKET(DTCP6) },
	{ "no identification", PACKET(DTCP4, .frag = 0x4000, .plain = true), PACKET(DTCP6) },
	{ "the reserved flag stays inside", PACKET(DTCP4, .frag = 0x8000), PACKET(DTCP6) },
	{ "best effort, no ECN", PACKET(DTCP4, .tos = TOS(0)), PACKET(DTCP6, .tos = TOS(0)) },
	{ "congestion experienced", PACKET(DTCP4, .tos = TOS(3)), PACKET(DTCP6, .tos = TOS(3)) },
	{ "all bits of the traffic class", PACKET(DTCP4, .tos = TOS(0xff)),
	  PACKET(DTCP6, .tos = TOS(0xff)) },
	{ "TTL 2", PACKET(DTCP4, .ttl = 2), PACKET(DTCP6, .ttl = 2) },
	{ "TTL 255", PACKET(DTCP4, .ttl = 255), PACKET(DTCP6, .ttl = 255) },
};

static const struct tagging {
	uint8_t tags;
	bool ad;
} taggings[] = { { 0 }, { 1 }, { 2 }, { 1, true }, { 2, true } };
#define TAGGINGS (sizeof(taggings) / sizeof(*taggings))

static void set_hop_tags(uint32_t row, const struct tagging *tagging)
{
	struct lb_backend backend = world_backend(row);

	backend.hop.tci[0] = htons(0x2009);
	backend.hop.tci[1] = htons(0x000a);
	backend.tags = tagging->tags | (tagging->ad ? LB_TAGS_OUTER_AD : 0);
	world_set_backend(row, &backend);
}

static void check_packet(const struct kind *kind, const struct packet *packet)
{
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, packet);
	direct_begin(&d, SYN, BEGUN(NOTHING));
	assert_int_equal(flow_count(), 1);
	for (int i = 0; i < 3; i++) {
		direct_send(&d, ACK, NOTHING);
		d.client.payload += 7;
	}
	assert_int_equal(flow_count(), 1);
	assert_int_equal(direct_state(&d),
			 packet->proto == IPPROTO_TCP ? LB_STATE_ESTABLISHED : LB_STATE_NONE);
}

static void check_row(void **state)
{
	const struct row *row = *state;

	for (size_t i = 0; i < KINDS; i++) {
		world_reset();
		check_packet(&kinds[i], packet_is_v6(&kinds[i].packet) ? &row->ipv6 : &row->ipv4);
	}
}

static void tags_are_exchanged(void **state)
{
	const struct kind *kind = *state;
	struct packet packet = kind->packet;

	packet.tci[0] = 0xa007;
	packet.tci[1] = 0x0008;
	for (size_t in = 0; in < TAGGINGS; in++)
		for (size_t out = 0; out < TAGGINGS; out++) {
			world_reset();
			set_hop_tags(ROW_BACKEND4, &taggings[out]);
			set_hop_tags(ROW_BACKEND6, &taggings[out]);
			packet.tags = taggings[in].tags;
			packet.ad = taggings[in].ad;
			check_packet(kind, &packet);
		}
}

static void ttl_one_ends_here_unless_only_mac_addresses_change(void **state)
{
	const struct kind *kind = *state;
	struct packet packet = kind->packet;
	struct direct d;

	packet.ttl = 1;
	packet.flags = SYN;
	direct_prepare(&d, kind->mode, kind->in6, &packet);
	if (!direct_is_tunnel(&d)) {
		direct_begin(&d, SYN, BEGUN(NOTHING));
		direct_send(&d, ACK, NOTHING);
		return;
	}
	expect_end(world.lan, &packet, XDP_DROP, LB_TTL_EXPIRED);
	assert_int_equal(flow_count(), 0);
	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_open(&d);
	packet.flags = ACK;
	expect_end(world.lan, &packet, XDP_DROP, LB_TTL_EXPIRED);
}

static void backends_behind_another_interface(void **state)
{
	const struct kind *kind = *state;
	uint32_t row = kind->in6 || packet_is_v6(&kind->packet) ? ROW_BACKEND6 : ROW_BACKEND4;
	struct lb_backend backend = world_backend(row);

	backend.hop.ifindex = world.far;
	world_set_backend(row, &backend);
	check_packet(kind, &kind->packet);
}

/* One outer source a flow, many for many flows: that is what spreads them. */
static void the_outer_source_varies_with_the_flow(void **state)
{
	const struct kind *kind = *state;
	struct packet packet = kind->packet;
	char first[sizeof(((struct direct *)0)->outer_from)];
	uint16_t first_sport = 0;
	struct direct d;
	int different = 0;

	direct_prepare(&d, kind->mode, kind->in6, &packet);
	if (!direct_is_tunnel(&d))
		return;
	for (int i = 0; i < 64; i++) {
		packet.sport = (uint16_t)(40000 + i);
		direct_prepare(&d, kind->mode, kind->in6, &packet);
		direct_begin(&d, SYN, BEGUN(NOTHING));
		if (i == 0) {
			memcpy(first, d.outer_from, sizeof(first));
			first_sport = d.out.gue_sport;
		}
		different += kind->mode == LB_MODE_GUE ? d.out.gue_sport != first_sport
						       : strcmp(d.outer_from, first) != 0;
		/* Forgotten and found again: the same, on any node. */
		flow_remove(&d.client);
		direct_send(&d, SYN, BEGUN(NOTHING));
	}
	assert_in_range(different, 60, 63);
}

/* ---- states ---- */

static const struct life {
	const char *sentence;
	const char *packets; /* S SYN  A ACK  F FIN|ACK  R RST|ACK */
	enum lb_state state;
	uint8_t flags;
} lives[] = {
	{ "a SYN alone", "S", LB_STATE_SYN_SENT, 0 },
	{ "repeated SYNs", "SSS", LB_STATE_SYN_SENT, 0 },
	{ "a SYN and an ACK", "SA", LB_STATE_ESTABLISHED, 0 },
	{ "a SYN that comes late", "SAS", LB_STATE_ESTABLISHED, 0 },
	{ "the client closes", "SAF", LB_STATE_FIN_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_CLIENT_FIRST },
	{ "the client reads on", "SAFAA", LB_STATE_FIN_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_CLIENT_FIRST },
	{ "the client resets", "SAR", LB_STATE_CLOSED, 0 },
	{ "the client resets after its FIN", "SAFR", LB_STATE_CLOSED,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_CLIENT_FIRST },
	{ "a scan", "SR", LB_STATE_CLOSED, 0 },
	{ "taken up mid-stream", "A", LB_STATE_ESTABLISHED, LB_FLOW_PICKED_UP },
	{ "taken up at its end", "F", LB_STATE_FIN_WAIT, LB_FLOW_PICKED_UP | LB_FLOW_FIN_CLIENT },
};

static uint8_t flags_of(char letter)
{
	return letter == 'S' ? SYN : letter == 'F' ? FIN | ACK : letter == 'R' ? RST | ACK : ACK;
}

static void check_life(void **state)
{
	const struct life *life = *state;
	struct lb_flow flow;
	struct direct d;

	for (size_t i = 0; i < KINDS; i++) {
		world_reset();
		direct_prepare(&d, kinds[i].mode, kinds[i].in6, &kinds[i].packet);
		direct_begin(&d, flags_of(life->packets[0]),
			     BEGUN(life->packets[0] == 'S' ? NOTHING : ONE(PICKED_UP)));
		for (const char *packet = life->packets + 1; *packet; packet++)
			direct_send(&d, flags_of(*packet), NOTHING);
		assert_int_equal(direct_state(&d), life->state);
		assert_true(flow_read(&d.client, &flow));
		assert_int_equal(flow.flags & ~LB_FLOW_OUTER6, life->flags);
		assert_int_equal(flow_count(), 1);
	}
}

static void a_port_used_again_begins_anew(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_open(&d);
	direct_send(&d, FIN | ACK, NOTHING);
	direct_send(&d, SYN, BEGUN(NOTHING));
	assert_int_equal(direct_state(&d), LB_STATE_SYN_SENT);
	direct_send(&d, RST, NOTHING);
	direct_send(&d, SYN, BEGUN(NOTHING));
	assert_int_equal(direct_state(&d), LB_STATE_SYN_SENT);
	assert_int_equal(flow_count(), 1);
}

static void a_reset_of_an_unknown_flow_is_sent_on_without_an_entry(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_begin(&d, RST, ONE(STATELESS));
	direct_send(&d, RST | ACK, ONE(STATELESS));
	assert_int_equal(flow_count(), 0);
}

static void flags_that_no_tcp_sends_are_dropped(void **state)
{
	const uint8_t flags[] = { 0, FIN, SYN | FIN, SYN | ACK, SYN | RST, FIN | RST };
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	for (size_t i = 0; i < sizeof(flags); i++) {
		d.client.flags = flags[i];
		expect_end(world.lan, &d.client, XDP_DROP, LB_MALFORMED);
	}
	assert_int_equal(flow_count(), 0);
}

/* ---- backends that come and go ---- */

static void use_spares(struct direct *d)
{
	world_slots(TABLE_DIRECT4, d->in6 ? ROW_SPARE6 : ROW_SPARE4);
	world_slots(TABLE_DIRECT6, ROW_SPARE6);
	world_next_generation();
}

static void move_to_spare(struct direct *d)
{
	d->row = d->row == ROW_BACKEND6 ? ROW_SPARE6 : ROW_SPARE4;
}

static void flows_of_a_removed_backend_move(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_open(&d);
	world_set_backend_state(d.row, LB_BACKEND_UNUSED);
	use_spares(&d);
	move_to_spare(&d);
	direct_send(&d, ACK, BEGUN(BOTH(RESELECTED, PICKED_UP)));
	assert_int_equal(flow_count(), 1);
}

static void draining_keeps_flows_and_gets_no_new_ones(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_open(&d);
	world_set_backend_state(d.row, LB_BACKEND_DRAINING);
	world_next_generation();
	direct_send(&d, ACK, NOTHING);
	d.client.sport++;
	d.client.flags = SYN;
	expect_end(world.lan, &d.client, XDP_PASS, LB_NO_BACKEND);
	use_spares(&d);
	d.client.sport--;
	direct_send(&d, ACK, NOTHING);
}

static void a_cut_flow_is_reset(void **state)
{
	const struct kind *kind = *state;
	struct packet reset;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_open(&d);
	world_set_backend_state(d.row, LB_BACKEND_CUT);
	use_spares(&d);
	d.client.seq = 0x10203040;
	d.client.ack = 0xf0e0d0c0;
	d.client.tags = 1;
	d.client.tci[0] = 77;
	reset = d.client;
	reset.dmac = d.client.smac;
	reset.smac = d.client.dmac;
	reset.from = d.client.to;
	reset.to = d.client.from;
	reset.sport = d.client.dport;
	reset.dport = d.client.sport;
	reset.flags = RST;
	reset.seq = d.client.ack;
	reset.ack = 0;
	reset.payload = 0;
	reset.dont_fragment = true;
	expect_reset(world.lan, &d.client, XDP_TX, &reset);
	assert_int_equal(flow_count(), 0);
	d.client.tags = 0;
	move_to_spare(&d);
	direct_send(&d, SYN, BEGUN(NOTHING));
}

static void a_syn_to_a_cut_backend_goes_to_another(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_open(&d);
	world_set_backend_state(d.row, LB_BACKEND_CUT);
	use_spares(&d);
	move_to_spare(&d);
	direct_send(&d, SYN, BEGUN(ONE(RESELECTED)));
}

static void a_new_hop_counts_from_the_next_generation_on(void **state)
{
	const struct kind *kind = *state;
	const struct tagging tagging = { 2, true };
	struct lb_backend backend;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_open(&d);
	set_hop_tags(d.row, &tagging);
	backend = world_backend(d.row);
	backend.hop.ifindex = world.far;
	world_set_backend(d.row, &backend);
	world_next_generation();
	direct_send(&d, ACK, NOTHING);
}

/* A flow under touch has no partner to look after. */
static void an_old_flow_stays_one_entry(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_open(&d);
	for (int i = 0; i < 3; i++) {
		flow_age(&d.client, 20);
		direct_send(&d, ACK, NOTHING);
	}
	assert_int_equal(flow_count(), 1);
}

/* ---- the FIB ---- */

static void the_way_is_found_in_the_fib(void **state)
{
	const struct kind *kind = *state;
	struct lb_backend backend;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	backend = world_backend(d.row);
	memset(&backend.hop, 0, sizeof(backend.hop));
	backend.tags = 0;
	world_set_backend(d.row, &backend);
	direct_begin(&d, SYN, BEGUN(NOTHING));
	assert_int_equal(d.backend_side, world.far);
	direct_send(&d, ACK, NOTHING);
	direct_send(&d, ACK, NOTHING);
	packet_address(d.row == ROW_BACKEND6 ? "2001:db8:b::77" : "10.0.1.77", backend.addr);
	world_set_backend(d.row, &backend);
	d.client.sport++;
	d.client.flags = SYN;
	expect_end_beside(world.lan, &d.client, XDP_DROP, LB_NO_NEIGHBOUR, BEGUN(NOTHING));
	packet_address(d.row == ROW_BACKEND6 ? "2001:db8:bb::77" : "10.0.2.77", backend.addr);
	world_set_backend(d.row, &backend);
	d.client.sport++;
	expect_end_beside(world.lan, &d.client, XDP_DROP, LB_NO_ROUTE, BEGUN(NOTHING));
	d.client.flags = ACK;
	expect_end(world.lan, &d.client, XDP_DROP, LB_NO_ROUTE);
}

static int test_fib(void)
{
	int failed;

	world_routes(true);
	failed = RUN_ROWS("DSR, FIB", kinds, the_way_is_found_in_the_fib);
	world_routes(false);
	return failed;
}

/* ---- without entries ---- */

static void without_entries(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_nat_full = false;
	bpf->rodata->lb_const_nat_destination = false;
	bpf->rodata->lb_const_stateless = true;
}

static void every_packet_is_balanced_anew(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_begin(&d, SYN, ONE(STATELESS));
	direct_send(&d, ACK, ONE(STATELESS));
	direct_send(&d, FIN | ACK, ONE(STATELESS));
	direct_send(&d, RST, ONE(STATELESS));
	assert_int_equal(flow_count(), 0);
	use_spares(&d);
	move_to_spare(&d);
	direct_send(&d, ACK, ONE(STATELESS));
	d.client.dport = 81;
	expect_end(world.lan, &d.client, XDP_PASS, LB_NOT_OURS);
}

static void a_service_does_not_ask_itself(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	d.client.from = d.client.to;
	d.client.sport = d.client.dport;
	expect_end(world.lan, &d.client, XDP_DROP, LB_FROM_SERVICE);
	d.client.sport++;
	direct_begin(&d, SYN, ONE(STATELESS));
}

/* The long one for a service with a list of clients, even if the list is empty. */
static void the_short_way_and_the_long_one_agree(void **state)
{
	const struct kind *kind = *state;
	struct lb_service service;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	direct_begin(&d, SYN, ONE(STATELESS));
	service = world_service_of(d.client.to, d.client.dport, d.client.proto);
	service.flags = LB_SERVICE_FILTER;
	world_set_service(d.client.to, d.client.dport, d.client.proto, &service);
	direct_send(&d, SYN, ONE(STATELESS));
	direct_send(&d, ACK, ONE(STATELESS));
}

static void what_the_short_way_does_not_take_ends_as_ever(void **state)
{
	const struct kind *kind = *state;
	struct lb_backend backend;
	struct direct d;

	direct_prepare(&d, kind->mode, kind->in6, &kind->packet);
	d.client.flags = SYN | FIN;
	expect_end(world.lan, &d.client, XDP_DROP, LB_MALFORMED);
	d.client.flags = SYN;
	backend = world_backend(d.row);
	backend.mtu = 1280;
	world_set_backend(d.row, &backend);
	direct_begin(&d, SYN, ONE(STATELESS));
	world_set_backend_state(d.row, LB_BACKEND_DRAINING);
	expect_end(world.lan, &d.client, XDP_PASS, LB_NO_BACKEND);
	world_set_backend_state(d.row, LB_BACKEND_ACTIVE);
	d.client.ttl = 1;
	if (direct_is_tunnel(&d))
		expect_end(world.lan, &d.client, XDP_DROP, LB_TTL_EXPIRED);
}

int test_lb_stateless(void)
{
	int failed;

	world_open(without_entries);
	failed = RUN_ROWS("DSR without entries", kinds, every_packet_is_balanced_anew);
	failed += RUN_ROWS("DSR without entries, loops", kinds, a_service_does_not_ask_itself);
	failed += RUN_ROWS("DSR without entries, two ways", kinds,
			   the_short_way_and_the_long_one_agree);
	failed += RUN_ROWS("DSR without entries, ends", kinds,
			   what_the_short_way_does_not_take_ends_as_ever);
	world_close();
	return failed;
}

int test_lb_direct(void)
{
	return RUN_ROWS("DSR", rows, check_row) + RUN_ROWS("DSR, tags", kinds, tags_are_exchanged) +
	       RUN_ROWS("DSR, TTL", kinds, ttl_one_ends_here_unless_only_mac_addresses_change) +
	       RUN_ROWS("DSR, other side", kinds, backends_behind_another_interface) +
	       RUN_ROWS("DSR, outer source", kinds, the_outer_source_varies_with_the_flow) +
	       RUN_ROWS("DSR, lives", lives, check_life) +
	       RUN_ROWS("DSR, port again", kinds, a_port_used_again_begins_anew) +
	       RUN_ROWS("DSR, reset", kinds,
			a_reset_of_an_unknown_flow_is_sent_on_without_an_entry) +
	       RUN_ROWS("DSR, flags", kinds, flags_that_no_tcp_sends_are_dropped) +
	       RUN_ROWS("DSR, removed", kinds, flows_of_a_removed_backend_move) +
	       RUN_ROWS("DSR, draining", kinds, draining_keeps_flows_and_gets_no_new_ones) +
	       RUN_ROWS("DSR, cut", kinds, a_cut_flow_is_reset) +
	       RUN_ROWS("DSR, cut, SYN", kinds, a_syn_to_a_cut_backend_goes_to_another) +
	       RUN_ROWS("DSR, new hop", kinds, a_new_hop_counts_from_the_next_generation_on) +
	       RUN_ROWS("DSR, old", kinds, an_old_flow_stays_one_entry) + test_fib();
}
