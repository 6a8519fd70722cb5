/* A connection has two entries, and either may be evicted: it goes on all the same. */
#include <arpa/inet.h>
#include <string.h>

#include "groups.h"

#define LONG_AGO 9 /* ticks: longer than entries wait before they look after each other */

static const struct row {
	const char *sentence;
	struct packet packet;
} rows[] = {
	{ "TCP", PACKET(TCP4) },
	{ "UDP", PACKET(UDP4) },
	{ "TCP over IPv6", PACKET(TCP6) },
	{ "UDP over IPv6", PACKET(UDP6) },
	{ "TCP under destination NAT", PACKET(TCP4, .to = KEEP4) },
	{ "UDP under destination NAT", PACKET(UDP4, .to = KEEP4) },
	{ "TCP over IPv6 under destination NAT", PACKET(TCP6, .to = KEEP6) },
	{ "UDP over IPv6 under destination NAT", PACKET(UDP6, .to = KEEP6) },
	{ "TCP behind two tags", PACKET(TCP4, .tags = 2, .ad = true, .tci = { 7, 8 }) },
};

static bool is_tcp(const struct talk *talk)
{
	return talk->client.proto == IPPROTO_TCP;
}

static bool keeps_client(const struct row *row)
{
	return !strcmp(row->packet.to, KEEP4) || !strcmp(row->packet.to, KEEP6);
}

static void the_clients_half_is_found_by_its_next_packet(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	talk_open(&talk, &row->packet);
	assert_true(flow_remove(&talk.client));
	talk_client(&talk, ACK, ONE(REBUILT));
	assert_int_equal(talk_state(&talk), is_tcp(&talk) ? LB_STATE_ESTABLISHED : LB_STATE_NONE);
	talk_backend(&talk, ACK, NOTHING);
	talk_client(&talk, ACK, NOTHING);
	assert_int_equal(flow_count(), 2);
}

/* The backend was removed and added again meanwhile: the same server, another incarnation. */
static void the_half_that_is_found_is_the_backends_that_is_there(void **state)
{
	const struct row *row = *state;
	struct lb_backend backend;
	struct talk talk;

	talk_open(&talk, &row->packet);
	assert_true(flow_remove(&talk.client));
	backend = world_backend(talk.row);
	backend.incarnation++;
	world_set_backend(talk.row, &backend);
	world_next_generation();
	talk_client(&talk, ACK, ONE(REBUILT));
	talk_backend(&talk, ACK, NOTHING);
	talk_client(&talk, ACK, NOTHING);
}

static void the_clients_half_is_rebuilt_by_the_backends_packet(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	talk_open(&talk, &row->packet);
	assert_true(flow_remove(&talk.client));
	talk_backend(&talk, ACK, NOTHING); /* within a second: not looked for yet */
	assert_int_equal(flow_count(), 1);
	flow_age(&talk.answer, LONG_AGO);
	talk_backend(&talk, ACK, ONE(REBUILT));
	assert_int_equal(flow_count(), 2);
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
	assert_int_equal(talk_state(&talk), is_tcp(&talk) ? LB_STATE_ESTABLISHED : LB_STATE_NONE);
}

/* The event names the packet. */
static void check_event(const struct packet *p)
{
	struct lb_event event;
	__be32 addr[4];

	assert_int_equal(world_events(&event), 1);
	assert_int_equal(event.kind, LB_EVENT_LOST_REPLY);
	assert_int_equal(event.family, packet_is_v6(p) ? AF_INET6 : AF_INET);
	packet_address(p->from, addr);
	assert_memory_equal(event.key.saddr, addr, sizeof(addr));
	packet_address(p->to, addr);
	assert_memory_equal(event.key.daddr, addr, sizeof(addr));
	assert_int_equal(event.key.sport, htons(p->sport));
	assert_int_equal(event.key.dport, htons(p->dport));
	assert_int_equal(event.key.proto, p->proto);
	assert_memory_equal(event.key.zero, "\0\0\0", 3);
}

static void the_backends_half_is_rebuilt_by_the_clients_packet(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	talk_open(&talk, &row->packet);
	assert_true(flow_remove(&talk.answer));
	talk.answer.flags = ACK;
	if (keeps_client(row))
		return; /* found at once: the next test */
	expect_end(talk.backend_side, &talk.answer, XDP_DROP, LB_LOST_REPLY);
	check_event(&talk.answer);
	flow_age(&talk.client, LONG_AGO);
	talk_client(&talk, ACK, ONE(REBUILT));
	talk_backend(&talk, ACK, NOTHING);
	assert_int_equal(talk_state(&talk), is_tcp(&talk) ? LB_STATE_ESTABLISHED : LB_STATE_NONE);
}

/* The backend answers the client's own address: the service's addresses tell where the other half
 * is.  The way to the client is the FIB's to say, and this namespace knows none. */
static void under_destination_nat_an_answer_finds_its_half(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	talk_open(&talk, &row->packet);
	if (!keeps_client(row))
		return;
	assert_true(flow_remove(&talk.answer));
	talk.answer.flags = ACK;
	expect_end_beside(talk.backend_side, &talk.answer, XDP_DROP, LB_NO_ROUTE, ONE(REBUILT));
	assert_int_equal(flow_count(), 2);
	flow_age(&talk.client, LONG_AGO);
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
}

static void without_either_half_the_client_finds_the_same_way(void **state)
{
	const struct row *row = *state;
	struct talk talk;
	struct talk again;

	talk_open(&talk, &row->packet);
	assert_true(flow_remove(&talk.client));
	assert_true(flow_remove(&talk.answer));
	talk_begin(&again, &row->packet, ACK, is_tcp(&talk) ? ONE(PICKED_UP) : NOTHING);
	assert_int_equal(again.backend.sport, talk.backend.sport);
	talk_backend(&again, ACK, NOTHING);
}

static void a_lost_answer_that_is_a_reset_is_no_event(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	talk_open(&talk, &row->packet);
	if (!is_tcp(&talk) || keeps_client(row))
		return;
	assert_true(flow_remove(&talk.answer));
	talk.answer.flags = RST | ACK;
	expect_end(talk.backend_side, &talk.answer, XDP_DROP, LB_LOST_REPLY);
	assert_int_equal(world_events(NULL), 0);
}

static void either_half_keeps_the_other_young(void **state)
{
	const struct row *row = *state;
	struct lb_flow young;
	struct lb_flow old;
	struct talk talk;

	talk_open(&talk, &row->packet);
	for (int i = 0; i < 2; i++) {
		flow_age(&talk.client, LONG_AGO);
		flow_age(&talk.answer, LONG_AGO);
		assert_true(flow_read(i ? &talk.answer : &talk.client, &old));
		if (i)
			talk_client(&talk, ACK, NOTHING);
		else
			talk_backend(&talk, ACK, NOTHING);
		assert_true(flow_read(i ? &talk.answer : &talk.client, &young));
		assert_true(young.seen >= old.seen + LONG_AGO);
	}
}

static void answers_follow_a_client_that_comes_another_way(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	talk_open(&talk, &row->packet);
	talk.client.smac = talk.reply.dmac = MAC_ROUTER;
	talk.client_side = world.far;
	talk.client.tags = talk.reply.tags = 1;
	talk.client.ad = talk.reply.ad = false;
	talk.client.tci[0] = talk.reply.tci[0] = 99;
	flow_age(&talk.client, LONG_AGO);
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
}

static void a_repeated_syn_finds_the_half_that_is_left(void **state)
{
	struct packet packet = PACKET(TCP4);
	struct talk talk;

	talk_begin(&talk, &packet, SYN, NOTHING);
	assert_true(flow_remove(&talk.client));
	talk_client(&talk, SYN, ONE(REBUILT));
	talk_backend(&talk, SYN | ACK, NOTHING);
	talk_client(&talk, ACK, NOTHING);
	assert_int_equal(talk_state(&talk), LB_STATE_ESTABLISHED);
}

static void a_syn_begins_anew_where_half_of_an_ended_connection_is_left(void **state)
{
	struct packet packet = PACKET(TCP4);
	struct talk talk;

	talk_open(&talk, &packet);
	talk_client(&talk, FIN | ACK, NOTHING);
	talk_backend(&talk, FIN | ACK, NOTHING);
	talk_client(&talk, ACK, NOTHING);
	assert_int_equal(talk_state(&talk), LB_STATE_TIME_WAIT);
	assert_true(flow_remove(&talk.client));
	talk_client(&talk, SYN, BEGUN(NOTHING));
	talk_backend(&talk, SYN | ACK, NOTHING);
	talk_client(&talk, ACK, NOTHING);
	assert_int_equal(talk_state(&talk), LB_STATE_ESTABLISHED);
}

static void what_a_backend_sends_to_no_connection_is_told_by_its_port(void **state)
{
	struct packet answer = PACKET(TCP4, .from = BACKEND4, .to = SOURCE4, .sport = PORT_REAL,
				      .dport = 20000);

	expect_end(world.lan, &answer, XDP_DROP, LB_LOST_REPLY);
	check_event(&answer);
	answer.sport = 22; /* no service runs there */
	expect_end(world.lan, &answer, XDP_PASS, LB_NO_SERVICE);
	world_real(BACKEND4, 0, IPPROTO_TCP, ROW_BACKEND4); /* any port */
	expect_end(world.lan, &answer, XDP_DROP, LB_LOST_REPLY);
	check_event(&answer);
	answer.from = "10.0.1.99"; /* no backend */
	expect_end(world.lan, &answer, XDP_PASS, LB_NO_SERVICE);
	assert_int_equal(world_events(NULL), 0);
}

static void a_full_ring_buffer_is_counted(void **state)
{
	struct packet answer = PACKET(UDP6, .from = BACKEND6, .to = SOURCE6, .sport = PORT_REAL,
				      .dport = 20000);
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	size_t length = packet_build(&answer, frame);

	for (int i = 0; i < 16384 / 56; i++)
		world_run_fast(world.lan, frame, length, &got);
	expect_end_beside(world.lan, &answer, XDP_DROP, LB_LOST_REPLY, ONE(EVENT_LOST));
	assert_in_range(world_events(NULL), 1, 16384 / 56);
}

#define TALKS 64
#define FLOOD (8 * WORLD_CONNECTIONS)

/* Flows that send now and then, while ten times as many new ones as the table holds come in. */
static void established_connections_survive_a_full_table(void **state)
{
	struct packet flood = PACKET(TCP4, .flags = SYN, .sport = 1, .from = "198.51.100.7");
	static struct talk talks[TALKS];
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];

	for (int i = 0; i < TALKS; i++) {
		struct packet packet = PACKET(TCP4, .sport = (uint16_t)(50000 + i));

		talk_begin_quietly(&talks[i], &packet, SYN);
		talk_backend(&talks[i], SYN | ACK, NOTHING);
		talk_client(&talks[i], ACK, NOTHING);
	}
	for (int i = 0; i < FLOOD; i++) {
		struct talk *talk = &talks[i % TALKS];

		flood.sport++;
		world_run_fast(world.lan, frame, packet_build(&flood, frame), &got);
		if (i % 8)
			continue;
		talk = &talks[i / 8 % TALKS];
		world_run_fast(world.lan, frame, packet_build(&talk->client, frame), &got);
		assert_int_equal(got.verdict, XDP_TX);
		assert_int_equal(got.length, packet_build(&talk->backend, frame));
		assert_memory_equal(got.frame, frame, got.length);
		world_run_fast(world.lan, frame, packet_build(&talk->answer, frame), &got);
		assert_int_equal(got.verdict, XDP_TX);
		assert_memory_equal(got.frame + 14 + 12, "\xc0\x00\x02\x0a", 4);
	}
}

int test_lb_halves(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_repeated_syn_finds_the_half_that_is_left),
		CASE(a_syn_begins_anew_where_half_of_an_ended_connection_is_left),
		CASE(what_a_backend_sends_to_no_connection_is_told_by_its_port),
		CASE(a_full_ring_buffer_is_counted),
		CASE(established_connections_survive_a_full_table),
	};

	return RUN_ROWS("client's half, found", rows,
			the_clients_half_is_found_by_its_next_packet) +
	       RUN_ROWS("client's half, of before", rows,
			the_half_that_is_found_is_the_backends_that_is_there) +
	       RUN_ROWS("client's half, rebuilt", rows,
			the_clients_half_is_rebuilt_by_the_backends_packet) +
	       RUN_ROWS("backend's half, rebuilt", rows,
			the_backends_half_is_rebuilt_by_the_clients_packet) +
	       RUN_ROWS("backend's half, found", rows,
			under_destination_nat_an_answer_finds_its_half) +
	       RUN_ROWS("both halves", rows, without_either_half_the_client_finds_the_same_way) +
	       RUN_ROWS("lost reset", rows, a_lost_answer_that_is_a_reset_is_no_event) +
	       RUN_ROWS("young halves", rows, either_half_keeps_the_other_young) +
	       RUN_ROWS("moving client", rows, answers_follow_a_client_that_comes_another_way) +
	       cmocka_run_group_tests_name("halves", tests, NULL, NULL);
}
