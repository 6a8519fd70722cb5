/* expect.h - what ought to become of a packet, and connections as a test drives them.
 *
 * An expectation names everything there is to see: verdict, the whole frame, and the one counter
 * that rises; it fails the test if another one does. */
#ifndef TEST_EXPECT_H
#define TEST_EXPECT_H

#include "world.h"

/* Beside the verdict: events and connections that ought to be counted. */
struct beside {
	int counter; /* enum lb_counter, LB_COUNTER_COUNT: none */
	int count;
	int other; /* one more counter, or LB_COUNTER_COUNT */
	int connections;
};
#define NOTHING	      ((struct beside){ LB_COUNTER_COUNT, 0, LB_COUNTER_COUNT, 0 })
#define ONE(name)     ((struct beside){ LB_##name, 1, LB_COUNTER_COUNT, 0 })
#define MANY(name, n) ((struct beside){ LB_##name, n, LB_COUNTER_COUNT, 0 })
#define BOTH(a, b)    ((struct beside){ LB_##a, 1, LB_##b, 0 })
/* The same, and a connection begins. */
#define BEGUN(beside) beside_begun(beside)

static inline struct beside beside_begun(struct beside beside)
{
	beside.connections = 1;
	return beside;
}

/* p arrives at ifindex, and ends in verdict under counter, the frame as it was; no other counter
 * rises. */
void expect_end(uint32_t ifindex, const struct packet *p, uint32_t verdict, int counter);
void expect_end_beside(uint32_t ifindex, const struct packet *p, uint32_t verdict, int counter,
		       struct beside beside);
void expect_frame_end(uint32_t ifindex, const uint8_t *frame, size_t length, uint32_t verdict,
		      int counter, struct beside beside);
/* in arrives and leaves as out, and is counted for the backend of row alone. */
void expect_forward(uint32_t ifindex, const struct packet *in, uint32_t verdict,
		    const struct packet *out, uint32_t row, bool reply, struct beside beside);

/* in arrives and out leaves: counted for the backend of row, or under counter if row is ROW_NONE.
 */
void expect_sent(uint32_t ifindex, const struct packet *in, uint32_t verdict,
		 const struct packet *out, uint32_t row, bool reply, int counter,
		 struct beside beside);

/* in is answered with the RST out. */
void expect_reset(uint32_t ifindex, const struct packet *in, uint32_t verdict,
		  const struct packet *out);

/* A connection as a test drives it. */
struct talk {
	struct packet client;  /* what the client sends */
	struct packet backend; /* what the backend sees of it */
	struct packet answer;  /* what the backend sends */
	struct packet reply;   /* what the client sees of that */
	uint32_t row;
	uint32_t client_side; /* interfaces */
	uint32_t backend_side;
};

/* What the backend will see of the client's packets, but for the source port, and both directions
 * once that is known. */
void talk_prepare(struct talk *talk, const struct packet *first, uint8_t flags);
void talk_complete(struct talk *talk, uint16_t sport);

/* The client's first packet goes to the usual backend of its family; the source port that Loom
 * chose is found in what came out, and everything else about that frame is checked.  A connection
 * is counted, and what beside says. */
void talk_begin(struct talk *talk, const struct packet *first, uint8_t first_flags,
		struct beside beside);
/* The same without a look at the counters. */
void talk_begin_quietly(struct talk *talk, const struct packet *first, uint8_t first_flags);
/* The same through to ESTABLISHED. */
void talk_open(struct talk *talk, const struct packet *first);
/* One more packet in either direction, with these TCP flags. */
void talk_client(struct talk *talk, uint8_t flags, struct beside beside);
void talk_backend(struct talk *talk, uint8_t flags, struct beside beside);
/* Both halves' state; LB_STATES if they differ or one is missing. */
enum lb_state talk_state(const struct talk *talk);
uint8_t talk_flow_flags(const struct talk *talk);

#endif
