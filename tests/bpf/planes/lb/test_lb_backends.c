/* Backends that come, go and change while connections are open. */
#include <arpa/inet.h>
#include <string.h>

#include "groups.h"

static const struct row {
	const char *sentence;
	struct packet packet;
} rows[] = {
	{ "TCP", PACKET(TCP4) },
	{ "TCP over IPv6", PACKET(TCP6) },
	{ "TCP behind a tag", PACKET(TCP4, .tags = 1, .tci = { 7 }) },
	{ "TCP with options", PACKET(TCP4, .ihl = 8, .doff = 8) },
	{ "TCP over IPv6 behind headers and tags", PACKET(TCP6, .ext = "hd", .tags = 2) },
	{ "TCP under destination NAT", PACKET(TCP4, .to = KEEP4) },
	{ "UDP", PACKET(UDP4) },
	{ "UDP over IPv6", PACKET(UDP6) },
	{ "UDP under destination NAT", PACKET(UDP6, .to = KEEP6) },
};

static void each_table(uint32_t row4, uint32_t row6)
{
	world_slots(TABLE_4, row4);
	world_slots(TABLE_KEEP4, row4);
	world_slots(TABLE_6, row6);
	world_slots(TABLE_KEEP6, row6);
}

static void use_spares(void)
{
	each_table(ROW_SPARE4, ROW_SPARE6);
}

/* From here on the talk is one with the spare backend. */
static void move_to_spare(struct talk *talk)
{
	bool ipv6 = packet_is_v6(&talk->client);

	talk->row = ipv6 ? ROW_SPARE6 : ROW_SPARE4;
	talk->backend.to = talk->answer.from = ipv6 ? SPARE6 : SPARE4;
}

static bool is_tcp(const struct talk *talk)
{
	return talk->client.proto == IPPROTO_TCP;
}

static void draining_keeps_established_connections(void **state)
{
	const struct row *row = *state;
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	struct lb_flow flow;
	struct packet next;
	struct talk talk;

	talk_open(&talk, &row->packet);
	use_spares();
	world_next_generation();
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
	next = row->packet;
	next.sport++;
	next.flags = SYN;
	world_run_fast(world.lan, frame, packet_build(&next, frame), &got);
	assert_int_equal(got.verdict, XDP_TX);
	assert_true(flow_read(&next, &flow));
	assert_int_equal(flow.backend, packet_is_v6(&next) ? ROW_SPARE6 : ROW_SPARE4);
}

/* The backend's row is empty, or belongs to another backend now. */
static void check_gone(const struct row *row, bool reused)
{
	struct lb_backend backend;
	struct talk talk;

	talk_open(&talk, &row->packet);
	backend = world_backend(talk.row);
	if (reused)
		backend.incarnation++;
	else
		backend.state = LB_BACKEND_UNUSED;
	world_set_backend(talk.row, &backend);
	use_spares();
	world_next_generation();
	expect_end(talk.backend_side, &talk.answer, XDP_DROP, LB_FLOW_ENDED);
	move_to_spare(&talk);
	talk_client(&talk, ACK,
		    BEGUN(is_tcp(&talk) ? BOTH(RESELECTED, PICKED_UP) : ONE(RESELECTED)));
	talk_backend(&talk, ACK, NOTHING);
	assert_int_equal(flow_count(), 2);
}

static void flows_of_a_removed_backend_move(void **state)
{
	check_gone(*state, false);
}

static void flows_of_a_reused_row_move(void **state)
{
	check_gone(*state, true);
}

static void cut(struct talk *talk, const struct row *row)
{
	talk_open(talk, &row->packet);
	talk->client.seq = talk->backend.seq = 0x10203040;
	talk->client.ack = talk->backend.ack = 0xf0e0d0c0;
	talk->answer.seq = talk->reply.seq = 0x55667788;
	talk->answer.ack = talk->reply.ack = 0x99aabbcc;
	world_set_backend_state(talk->row, LB_BACKEND_CUT);
	use_spares();
	world_next_generation();
}

/* The RST that the client ought to see. */
static struct packet reset_of(const struct talk *talk, uint8_t flags, uint32_t seq, uint32_t ack)
{
	struct packet reset = talk->reply;

	reset.flags = flags;
	reset.seq = seq;
	reset.ack = ack;
	reset.ttl = 64;
	reset.ihl = reset.doff = 0;
	reset.ext = NULL;
	reset.payload = 0;
	reset.dont_fragment = true;
	return reset;
}

static void a_cut_connection_is_reset_when_the_client_sends(void **state)
{
	struct packet reset;
	struct talk talk;

	cut(&talk, *state);
	if (!is_tcp(&talk)) {
		move_to_spare(&talk);
		talk_client(&talk, ACK, BEGUN(ONE(RESELECTED)));
		return;
	}
	talk.client.flags = PSH | ACK;
	reset = reset_of(&talk, RST, talk.client.ack, 0);
	expect_reset(world.lan, &talk.client, XDP_TX, &reset);
	assert_int_equal(flow_count(), 0);
}

/* Nothing to take the number from, so the RST acknowledges: RFC 9293 section 3.10.7.1. */
static void a_cut_connection_is_reset_when_a_bare_fin_comes(void **state)
{
	struct packet reset;
	struct talk talk;

	cut(&talk, *state);
	if (!is_tcp(&talk))
		return;
	talk.client.flags = FIN;
	talk.client.payload = 0;
	reset = reset_of(&talk, RST | ACK, 0, talk.client.seq + 1);
	expect_reset(world.lan, &talk.client, XDP_TX, &reset);
}

static void a_cut_connection_is_reset_when_the_backend_sends(void **state)
{
	struct packet reset;
	struct talk talk;

	cut(&talk, *state);
	if (!is_tcp(&talk)) {
		expect_end(world.lan, &talk.answer, XDP_DROP, LB_FLOW_ENDED);
		return;
	}
	talk.answer.flags = ACK;
	reset = reset_of(&talk, RST | ACK, talk.answer.seq, talk.answer.ack);
	expect_reset(world.lan, &talk.answer, XDP_TX, &reset);
	assert_int_equal(flow_count(), 0);
}

static void a_reset_of_a_cut_connection_is_not_answered(void **state)
{
	struct talk talk;

	cut(&talk, *state);
	if (!is_tcp(&talk))
		return;
	talk.client.flags = RST;
	expect_end(world.lan, &talk.client, XDP_DROP, LB_FLOW_ENDED);
	talk.answer.flags = RST | ACK;
	expect_end(world.lan, &talk.answer, XDP_DROP, LB_FLOW_ENDED);
}

static void a_syn_to_a_cut_backend_goes_to_another(void **state)
{
	struct talk talk;

	cut(&talk, *state);
	if (!is_tcp(&talk))
		return;
	move_to_spare(&talk);
	talk_client(&talk, SYN, BEGUN(ONE(RESELECTED)));
	assert_int_equal(talk_state(&talk), LB_STATE_SYN_SENT);
}

static void a_new_address_counts_from_the_next_generation_on(void **state)
{
	const struct row *row = *state;
	struct lb_backend backend;
	struct talk talk;

	talk_open(&talk, &row->packet);
	backend = world_backend(talk.row);
	world_set_hop(&backend.hop, world.far, MAC_ROUTER);
	world_set_backend(talk.row, &backend);
	talk_client(&talk, ACK, NOTHING);
	world_next_generation();
	talk.backend.dmac = MAC_ROUTER;
	talk.backend_side = world.far;
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
}

static void without_a_backend_new_packets_are_left_to_the_stack(void **state)
{
	const struct row *row = *state;
	struct packet packet = row->packet;
	struct talk talk;

	talk_open(&talk, &packet);
	each_table(LB_SLOT_EMPTY, LB_SLOT_EMPTY);
	packet.sport++;
	packet.flags = SYN;
	expect_end(world.lan, &packet, XDP_PASS, LB_NO_BACKEND);
	talk_client(&talk, ACK, NOTHING);
	each_table(ROWS - 1, ROWS - 1); /* named, but empty */
	expect_end(world.lan, &packet, XDP_PASS, LB_NO_BACKEND);
	each_table(ROWS, ROWS); /* beyond the rows there are */
	expect_end(world.lan, &packet, XDP_PASS, LB_NO_BACKEND);
	assert_int_equal(flow_count(), 2);
}

static void without_a_source_address_full_nat_drops(void **state)
{
	const struct row *row = *state;
	struct packet packet = row->packet;
	uint32_t backend_row = packet_is_v6(&packet) ? ROW_BACKEND6 : ROW_BACKEND4;
	struct lb_backend backend = world_backend(backend_row);
	struct talk talk;

	backend.source_count = 0;
	world_set_backend(backend_row, &backend);
	packet.flags = SYN;
	if (!strcmp(packet.to, KEEP4) || !strcmp(packet.to, KEEP6)) {
		talk_begin(&talk, &packet, SYN, NOTHING);
		return;
	}
	expect_end(world.lan, &packet, XDP_DROP, LB_NO_ROUTE);
	assert_int_equal(flow_count(), 0);
}

int test_lb_backends(void)
{
	return RUN_ROWS("draining keeps", rows, draining_keeps_established_connections) +
	       RUN_ROWS("removed backend", rows, flows_of_a_removed_backend_move) +
	       RUN_ROWS("reused row", rows, flows_of_a_reused_row_move) +
	       RUN_ROWS("cut, client sends", rows,
			a_cut_connection_is_reset_when_the_client_sends) +
	       RUN_ROWS("cut, bare FIN", rows, a_cut_connection_is_reset_when_a_bare_fin_comes) +
	       RUN_ROWS("cut, backend sends", rows,
			a_cut_connection_is_reset_when_the_backend_sends) +
	       RUN_ROWS("cut, RST", rows, a_reset_of_a_cut_connection_is_not_answered) +
	       RUN_ROWS("cut, SYN", rows, a_syn_to_a_cut_backend_goes_to_another) +
	       RUN_ROWS("new address", rows, a_new_address_counts_from_the_next_generation_on) +
	       RUN_ROWS("no backend", rows, without_a_backend_new_packets_are_left_to_the_stack) +
	       RUN_ROWS("no source", rows, without_a_source_address_full_nat_drops);
}
