/* steering.h - socket steering as far as the admin API sees it: struct control_steer over the
 * groups "dns" (UDP, two members) and "web" (TCP, none). */
#ifndef LOOM_TEST_STEERING_H
#define LOOM_TEST_STEERING_H

#include "admin/control_steer.h"

struct steering {
	struct control_steer control;
	unsigned int *changes;
	/* What the next calls return instead of working, if not 0. */
	int fail;
	int fail_view;
	unsigned int fail_index_after; /* so many that work */

	/* As the last call got it. */
	char call[16]; /* its name */
	char group[64];
	struct config_steer_policy_options policy;
	struct steer_rollout_request rollout;
	struct steer_drain_request drain;
	struct steer_swap_request swap;
	struct steer_member_name member;
	struct steer_flow_request flow;
	struct steer_trace_request trace;
	struct stream *stream; /* the writer's hold of the last trace; the test's to end */
	char reason[128];
	uint32_t weight;
	uint32_t indices[8];
	size_t index_count;
	uint16_t slot;
	bool on; /* of freeze and fallback */

	struct steer_explanation explanation; /* what explain answers */
	const char *text;		      /* what audit, history and capabilities append */
	const char *comm;		      /* of the first member */
};

/* changes: counts the calls that change something. */
void steering_init(struct steering *steering, unsigned int *changes);

#endif
