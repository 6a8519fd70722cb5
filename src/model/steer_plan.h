/* steer_plan.h - members of a steering group, compiled to the table its program looks up.
 * Layer: model.  Pure.  Threads: any.  Blocks: no.
 *
 * As few flows move as can: an entry keeps its slot while that slot may have it.  A first plan of
 * equal weights is the kernel's own choice, reciprocal_scale(hash, members), entry by entry, so
 * that enforcing it moves nobody. */
#ifndef LOOM_STEER_PLAN_H
#define LOOM_STEER_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/steer_abi.h"

struct steer_plan_member {
	uint64_t cookie;
	uint16_t slot;	 /* below STEER_MAX_SLOTS, unique */
	uint16_t index;	 /* in the kernel's group; 0xffff: unknown */
	uint32_t weight; /* 0: no new flows */
	uint32_t generation;
	bool active; /* neither quarantined nor draining: may get new flows */
	bool held;   /* in a sockmap */
	int32_t cpu; /* SO_INCOMING_CPU; -1: none */
};

struct steer_plan_input {
	enum steer_policy policy;
	const struct steer_plan_member *members; /* borrowed; by index in the group */
	size_t count;				 /* at most STEER_MAX_SLOTS */
	const struct steer_table *before;	 /* in force now; NULL: nothing is */
	const uint32_t *vshard_overrides; /* [STEER_VSHARDS] entries of rx_index_to_slot each has;
					     NULL: none */
};

/* Fills table.  Returns whether some member may not be chosen (struct steer_control.restricted). */
bool steer_plan_compile(const struct steer_plan_input *input, struct steer_table *table);

/* The generation that new flows go to: the highest one with an active member of weight. */
uint32_t steer_plan_generation(const struct steer_plan_member *members, size_t count);

/* Shares entries out by weight.
 * entries	[size], what was there before (STEER_NOBODY: nobody); out: slots
 * slots, weights	[count]; the weight's sum is not 0 */
void steer_plan_share(uint16_t *entries, size_t size, const uint16_t *slots,
		      const uint32_t *weights, size_t count);

#endif
