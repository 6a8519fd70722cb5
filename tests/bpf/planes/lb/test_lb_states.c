/* Every combination of TCP flags in every state, from both sides: what becomes of the packet and of
 * the connection. */
#include <string.h>

#include "groups.h"

/* One letter for each combination of FIN, SYN, RST and ACK; the other flags mean nothing here. */
#define COMBINATIONS 16
#define OF_FLAGS                                                                              \
	{                                                                                     \
		"none", "F", "S", "SF", "R", "RF", "RS", "RSF", "A", "AF", "AS", "ASF", "AR", \
			"ARF", "ARS", "ARSF"                                                  \
	}

static int combination(uint8_t flags)
{
	return (flags & (FIN | SYN | RST)) | (flags & ACK ? 8 : 0);
}

/* Of an unknown connection:
 *   d  dropped as malformed	s  begins
 *   e  is picked up mid-stream	f  is picked up where the client has sent its FIN
 *   p  is left to the stack */
static const char unknown[COMBINATIONS + 1] = "ddsdpdddefddpddd";

/* Of a known one: the state afterwards.
 *   .  stays  R  SYN_RECV	E  ESTABLISHED  F  FIN_WAIT  T  TIME_WAIT  C  CLOSED
 *   N  the port is used again: a new connection */
static const struct row {
	const char *sentence;
	enum lb_state state;
	uint8_t flags; /* enum lb_flow_flags */
	const char client[COMBINATIONS + 1];
	const char backend[COMBINATIONS + 1];
} rows[] = {
	/*				  -FSSRRRRAAAAAAAA
	 *				     F FSS FSSRRRR
	 *					  F  F FSS */
	{ "a SYN is answered", LB_STATE_SYN_SENT, 0, ".F.FCCCC.F.FCCCC", ".F.FCCCC.FRFCCCC" },
	{ "an answered SYN is acknowledged", LB_STATE_SYN_RECV, 0, ".F.FCCCCEF.FCCCC",
	  ".F.FCCCC.F.FCCCC" },
	{ "an established connection is ended", LB_STATE_ESTABLISHED, 0, ".F.FCCCC.F.FCCCC",
	  ".F.FCCCC.F.FCCCC" },
	{ "one that the client closed waits for the backend", LB_STATE_FIN_WAIT, LB_FLOW_FIN_CLIENT,
	  "....CCCC....CCCC", "....CCCC....CCCC" },
	{ "one that the backend closed waits for the client", LB_STATE_FIN_WAIT,
	  LB_FLOW_FIN_BACKEND, "....CCCC....CCCC", "....CCCC....CCCC" },
	{ "one that both closed ends with an acknowledgement", LB_STATE_FIN_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_FIN_BACKEND, "....CCCCT...CCCC", "....CCCCT...CCCC" },
	{ "an ended one makes room for a new one", LB_STATE_TIME_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_FIN_BACKEND, ".FNFCCCC.F.FCCCC", ".F.FCCCC.F.FCCCC" },
	{ "one that was reset makes room for a new one", LB_STATE_CLOSED, 0, ".FNF.....F.F....",
	  ".F.F.....F.F...." },
};

static enum lb_state state_of(char letter, enum lb_state before)
{
	switch (letter) {
	case 'R':
		return LB_STATE_SYN_RECV;
	case 'E':
		return LB_STATE_ESTABLISHED;
	case 'F':
		return LB_STATE_FIN_WAIT;
	case 'T':
		return LB_STATE_TIME_WAIT;
	case 'C':
		return LB_STATE_CLOSED;
	case 'N':
		return LB_STATE_SYN_SENT;
	default:
		return before;
	}
}

static void set_state(const struct talk *talk, enum lb_state state, uint8_t flags)
{
	struct lb_flow flow;

	assert_true(flow_read(&talk->client, &flow));
	flow.state = state;
	flow.flags = flags;
	flow_write(&talk->client, &flow);
	assert_true(flow_read(&talk->answer, &flow));
	flow.state = state;
	flow.flags = flags | LB_FLOW_REPLY;
	flow_write(&talk->answer, &flow);
}

static void check_known(const struct row *row, const struct packet *packet)
{
	static const char *const of_flags[] = OF_FLAGS;
	struct talk talk;

	talk_open(&talk, packet);
	for (int flags = 0; flags < 512; flags++) {
		bool reply = flags > 255;
		int c = combination((uint8_t)flags);
		char letter = reply ? row->backend[c] : row->client[c];

		set_state(&talk, row->state, row->flags);
		if (reply)
			talk_backend(&talk, (uint8_t)flags, NOTHING);
		else
			talk_client(&talk, (uint8_t)flags,
				    letter == 'N' ? BEGUN(NOTHING) : NOTHING);
		if (talk_state(&talk) != state_of(letter, row->state))
			fail_msg("%s from the %s: state %d", of_flags[c],
				 reply ? "backend" : "client", talk_state(&talk));
	}
}

static void check_row(void **state)
{
	check_known(*state, &PACKET(TCP4));
	check_known(*state, &PACKET(TCP6));
}

static void check_unknown(const struct packet *packet, uint8_t flags)
{
	struct packet p = *packet;
	struct talk talk;

	p.flags = flags;
	switch (unknown[combination(flags)]) {
	case 'd':
		expect_end(world.lan, &p, XDP_DROP, LB_MALFORMED);
		assert_int_equal(flow_count(), 0);
		return;
	case 'p':
		expect_end(world.lan, &p, XDP_PASS, LB_NO_FLOW);
		assert_int_equal(flow_count(), 0);
		return;
	case 's':
		talk_begin(&talk, &p, flags, NOTHING);
		assert_int_equal(talk_state(&talk), LB_STATE_SYN_SENT);
		assert_int_equal(talk_flow_flags(&talk), 0);
		break;
	case 'e':
		talk_begin(&talk, &p, flags, ONE(PICKED_UP));
		assert_int_equal(talk_state(&talk), LB_STATE_ESTABLISHED);
		assert_int_equal(talk_flow_flags(&talk), LB_FLOW_PICKED_UP);
		break;
	default:
		talk_begin(&talk, &p, flags, ONE(PICKED_UP));
		assert_int_equal(talk_state(&talk), LB_STATE_FIN_WAIT);
		assert_int_equal(talk_flow_flags(&talk), LB_FLOW_PICKED_UP | LB_FLOW_FIN_CLIENT);
		break;
	}
	assert_true(flow_remove(&talk.client));
	assert_true(flow_remove(&talk.answer));
}

static void any_flags_for_an_unknown_connection(void **state)
{
	for (int flags = 0; flags < 256; flags++) {
		check_unknown(&PACKET(TCP4), (uint8_t)flags);
		check_unknown(&PACKET(TCP6), (uint8_t)flags);
	}
}

/* Lives of connections: small letters are the backend's packets. */
static const struct life {
	const char *sentence;
	const char *packets; /* S SYN  A ACK  F FIN|ACK  R RST|ACK  B SYN|ACK */
	enum lb_state state;
	uint8_t flags;
} lives[] = {
	{ "the handshake establishes", "SbA", LB_STATE_ESTABLISHED, 0 },
	{ "a repeated SYN changes nothing", "SSbbSA", LB_STATE_ESTABLISHED, 0 },
	{ "data flows both ways", "SbAAaAaaA", LB_STATE_ESTABLISHED, 0 },
	{ "the client closes first", "SbAFafA", LB_STATE_TIME_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_FIN_BACKEND | LB_FLOW_CLIENT_FIRST },
	{ "the backend closes first", "SbAfAFa", LB_STATE_TIME_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_FIN_BACKEND },
	{ "the client closes its half and reads on", "SbAFaaAaaA", LB_STATE_FIN_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_CLIENT_FIRST },
	{ "the backend closes its half and reads on", "SbAfAAaA", LB_STATE_FIN_WAIT,
	  LB_FLOW_FIN_BACKEND },
	{ "both close at once", "SbAFfaA", LB_STATE_TIME_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_FIN_BACKEND | LB_FLOW_CLIENT_FIRST },
	{ "a repeated FIN is waited for", "SbAFafAf", LB_STATE_FIN_WAIT,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_FIN_BACKEND | LB_FLOW_CLIENT_FIRST },
	{ "the backend refuses", "Sr", LB_STATE_CLOSED, 0 },
	{ "the client resets", "SbAR", LB_STATE_CLOSED, 0 },
	{ "the client resets instead of reading to the end", "SbAFaR", LB_STATE_CLOSED,
	  LB_FLOW_FIN_CLIENT | LB_FLOW_CLIENT_FIRST },
	{ "a scan ends in a reset", "SbR", LB_STATE_CLOSED, 0 },
};

static uint8_t flags_of(char letter)
{
	switch (letter | 0x20) {
	case 's':
		return SYN;
	case 'b':
		return SYN | ACK;
	case 'f':
		return FIN | ACK;
	case 'r':
		return RST | ACK;
	default:
		return ACK;
	}
}

static void check_life(void **state)
{
	const struct packet clients[] = { PACKET(TCP4), PACKET(TCP6), PACKET(TCP4, .to = KEEP4) };
	const struct life *life = *state;
	struct talk talk;

	for (size_t i = 0; i < sizeof(clients) / sizeof(*clients); i++) {
		talk_begin(&talk, &clients[i], flags_of(life->packets[0]), NOTHING);
		for (const char *packet = life->packets + 1; *packet; packet++)
			if (*packet & 0x20)
				talk_backend(&talk, flags_of(*packet), NOTHING);
			else
				talk_client(&talk, flags_of(*packet), NOTHING);
		assert_int_equal(talk_state(&talk), life->state);
		assert_int_equal(talk_flow_flags(&talk), life->flags);
	}
}

int test_lb_states(void)
{
	const struct CMUnitTest tests[] = {
		CASE(any_flags_for_an_unknown_connection),
	};

	return cmocka_run_group_tests_name("unknown connections", tests, NULL, NULL) +
	       RUN_ROWS("TCP flags in each state", rows, check_row) +
	       RUN_ROWS("lives of connections", lives, check_life);
}
