#include "expect.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

static const char *counter_name(int counter)
{
	static const char *const names[] = {
#define NAME(name, value, action, help) value,
		LB_COUNTERS(NAME)
#undef NAME
	};

	return counter >= 0 && counter < LB_COUNTER_COUNT ? names[counter] : "none";
}

static const char *verdict_name(uint32_t verdict)
{
	static const char *const names[] = { "XDP_ABORTED", "XDP_DROP", "XDP_PASS", "XDP_TX",
					     "XDP_REDIRECT" };

	return verdict < 5 ? names[verdict] : "no XDP verdict";
}

static void print_frame(const char *title, const uint8_t *frame, size_t length,
			const uint8_t *other, size_t other_length)
{
	print_error("%s, %zu bytes:", title, length);
	for (size_t i = 0; i < length; i++) {
		bool same = i < other_length && other[i] == frame[i];

		print_error("%s%02x%s", i % 16 ? i % 2 ? "" : " " : "\n  ", frame[i],
			    same ? "" : "*");
	}
	print_error("\n");
}

static void check_verdict(const struct outcome *got, uint32_t verdict)
{
	if (got->verdict == verdict)
		return;
	for (int i = 0; i < LB_COUNTER_COUNT; i++)
		if (got->packets[i])
			print_error("counted: %s %d\n", counter_name(i), (int)got->packets[i]);
	fail_msg("%s, expected %s", verdict_name(got->verdict), verdict_name(verdict));
}

static void check_frame(const struct outcome *got, const uint8_t *frame, size_t length)
{
	if (got->length == length && !memcmp(got->frame, frame, length))
		return;
	print_frame("came out", got->frame, got->length, frame, length);
	print_frame("expected", frame, length, got->frame, got->length);
	fail_msg("the frame is not the expected one");
}

/* Bytes are the frame's length as received; an event has none. */
static void check_counters(const struct outcome *got, int counter, struct beside beside,
			   size_t received)
{
	for (int i = 0; i < LB_COUNTER_COUNT; i++) {
		int64_t packets = (i == counter) + (i == beside.other) +
				  (i == beside.counter ? beside.count : 0);
		int64_t bytes = i == counter ? (int64_t)received : 0;

		if (got->packets[i] != packets)
			fail_msg("%s rose by %d packets, expected %d", counter_name(i),
				 (int)got->packets[i], (int)packets);
		if (got->bytes[i] != bytes)
			fail_msg("%s rose by %d bytes, expected %d", counter_name(i),
				 (int)got->bytes[i], (int)bytes);
	}
}

static void check_backends(const struct outcome *got, uint32_t row, bool reply, int connections,
			   size_t received)
{
	int begun = 0;

	for (uint32_t i = 0; i < ROWS; i++) {
		const struct lb_backend_count *count = &got->backends[i];
		bool to = i == row && row && !reply;
		bool from = i == row && row && reply;

		if (count->to_packets != to || count->from_packets != from ||
		    count->to_bytes != (to ? received : 0) ||
		    count->from_bytes != (from ? received : 0))
			fail_msg("backend row %u: to %d/%d, from %d/%d packets/bytes", i,
				 (int)count->to_packets, (int)count->to_bytes,
				 (int)count->from_packets, (int)count->from_bytes);
		begun += (int)count->connections;
		if (row && i != row && count->connections)
			fail_msg("a connection of backend row %u began", i);
	}
	if (begun != connections)
		fail_msg("%d connections began, expected %d", begun, connections);
}

void expect_frame_end(uint32_t ifindex, const uint8_t *frame, size_t length, uint32_t verdict,
		      int counter, struct beside beside)
{
	static struct outcome got;

	world_run(ifindex, frame, length, &got);
	check_verdict(&got, verdict);
	check_frame(&got, frame, length);
	check_counters(&got, counter, beside, length);
	check_backends(&got, ROW_NONE, false, beside.connections, 0);
}

void expect_end_beside(uint32_t ifindex, const struct packet *p, uint32_t verdict, int counter,
		       struct beside beside)
{
	uint8_t frame[PACKET_ROOM];

	expect_frame_end(ifindex, frame, packet_build(p, frame), verdict, counter, beside);
}

void expect_end(uint32_t ifindex, const struct packet *p, uint32_t verdict, int counter)
{
	expect_end_beside(ifindex, p, verdict, counter, NOTHING);
}

void expect_sent(uint32_t ifindex, const struct packet *in, uint32_t verdict,
		 const struct packet *out, uint32_t row, bool reply, int counter,
		 struct beside beside)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	size_t received = packet_build(in, frame);

	world_run(ifindex, frame, received, &got);
	check_verdict(&got, verdict);
	check_frame(&got, frame, packet_build(out, frame));
	check_counters(&got, counter, beside, received);
	check_backends(&got, row, reply, beside.connections, received);
}

void expect_forward(uint32_t ifindex, const struct packet *in, uint32_t verdict,
		    const struct packet *out, uint32_t row, bool reply, struct beside beside)
{
	expect_sent(ifindex, in, verdict, out, row, reply, LB_COUNTER_COUNT, beside);
}

void expect_reset(uint32_t ifindex, const struct packet *in, uint32_t verdict,
		  const struct packet *out)
{
	expect_sent(ifindex, in, verdict, out, ROW_NONE, false, LB_RESET, NOTHING);
}

static uint32_t verdict_towards(uint32_t from, uint32_t to)
{
	return from == to ? XDP_TX : XDP_REDIRECT;
}

void talk_prepare(struct talk *talk, const struct packet *first, uint8_t flags)
{
	const struct packet *c = &talk->client;
	bool ipv6 = packet_is_v6(first);
	struct lb_backend backend = world_backend(ipv6 ? ROW_BACKEND6 : ROW_BACKEND4);
	bool keep = !strcmp(first->to, KEEP4) || !strcmp(first->to, KEEP6);

	*talk = (struct talk){ .client = *first, .client_side = world.lan };
	talk->client.flags = flags;
	talk->row = ipv6 ? ROW_BACKEND6 : ROW_BACKEND4;
	/* Where the hop is unknown, routes lead to the other interface. */
	talk->backend_side = backend.hop.ifindex ? backend.hop.ifindex : world.far;
	talk->backend = *c;
	talk->backend.dmac = MAC_BACKEND;
	talk->backend.smac = MAC_LB;
	talk->backend.tags = backend.tags & LB_TAGS_MASK;
	talk->backend.ad = backend.tags & LB_TAGS_OUTER_AD;
	talk->backend.tci[0] = ntohs(backend.hop.tci[0]);
	talk->backend.tci[1] = ntohs(backend.hop.tci[1]);
	talk->backend.ttl--;
	talk->backend.to = ipv6 ? BACKEND6 : BACKEND4;
	talk->backend.dport = PORT_REAL;
	if (!keep)
		talk->backend.from = ipv6 ? SOURCE6 : SOURCE4;
}

void talk_complete(struct talk *talk, uint16_t sport)
{
	struct packet *answer = &talk->answer;
	struct packet *reply = &talk->reply;

	talk->backend.sport = sport;
	*answer = talk->backend;
	answer->smac = MAC_BACKEND;
	answer->dmac = MAC_LB;
	answer->from = talk->backend.to;
	answer->to = talk->backend.from;
	answer->sport = PORT_REAL;
	answer->dport = sport;
	answer->ttl = 60;
	answer->payload = 100;
	*reply = *answer;
	reply->smac = talk->client.dmac;
	reply->dmac = talk->client.smac;
	reply->tags = talk->client.tags;
	reply->ad = talk->client.ad;
	memcpy(reply->tci, talk->client.tci, sizeof(reply->tci));
	reply->from = talk->client.to;
	reply->to = talk->client.from;
	reply->sport = talk->client.dport;
	reply->dport = talk->client.sport;
	reply->ttl = 59;
}

void talk_begin_quietly(struct talk *talk, const struct packet *first, uint8_t flags)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	size_t received;

	talk_prepare(talk, first, flags);
	received = packet_build(&talk->client, frame);
	world_run_fast(talk->client_side, frame, received, &got);
	check_verdict(&got, verdict_towards(talk->client_side, talk->backend_side));
	talk_complete(talk, packet_sport_of(&talk->backend, got.frame));
	check_frame(&got, frame, packet_build(&talk->backend, frame));
	if (talk->backend.from != talk->client.from)
		assert_in_range(talk->backend.sport, WORLD_PORT_FIRST, WORLD_PORT_LAST);
}

void talk_begin(struct talk *talk, const struct packet *first, uint8_t flags, struct beside beside)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];

	memset(&got, 0, sizeof(got));
	world_counters(&got, -1);
	talk_begin_quietly(talk, first, flags);
	world_counters(&got, 1);
	check_counters(&got, LB_COUNTER_COUNT, beside, packet_build(&talk->client, frame));
	check_backends(&got, talk->row, false, 1, packet_build(&talk->client, frame));
}

void talk_client(struct talk *talk, uint8_t flags, struct beside beside)
{
	talk->client.flags = flags;
	talk->backend.flags = flags;
	expect_forward(talk->client_side, &talk->client,
		       verdict_towards(talk->client_side, talk->backend_side), &talk->backend,
		       talk->row, false, beside);
}

void talk_backend(struct talk *talk, uint8_t flags, struct beside beside)
{
	talk->answer.flags = flags;
	talk->reply.flags = flags;
	expect_forward(talk->backend_side, &talk->answer,
		       verdict_towards(talk->backend_side, talk->client_side), &talk->reply,
		       talk->row, true, beside);
}

void talk_open(struct talk *talk, const struct packet *first)
{
	talk_begin(talk, first, SYN, NOTHING);
	talk_backend(talk, SYN | ACK, NOTHING);
	talk_client(talk, ACK, NOTHING);
}

enum lb_state talk_state(const struct talk *talk)
{
	struct lb_flow back;
	struct lb_flow flow;

	if (!flow_read(&talk->client, &flow) || !flow_read(&talk->answer, &back))
		return LB_STATES;
	return flow.state == back.state ? flow.state : LB_STATES;
}

uint8_t talk_flow_flags(const struct talk *talk)
{
	struct lb_flow back;
	struct lb_flow flow;

	assert_true(flow_read(&talk->client, &flow));
	assert_true(flow_read(&talk->answer, &back));
	assert_int_equal(flow.flags, back.flags ^ LB_FLOW_REPLY);
	return flow.flags;
}
