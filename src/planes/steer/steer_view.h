/* steer_view.h - what is shown of the steering groups: read back from the kernel, joined with what
 * loomd knows of the members.
 * Layer: planes.  Plain data: steer_view_free gives it back. */
#ifndef LOOM_STEER_VIEW_H
#define LOOM_STEER_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/steer_abi.h"
#include "base/addr.h"

enum steer_member_state {
	STEER_QUARANTINED, /* new, or somebody's that no members entry names: gets nothing */
	STEER_ACTIVE,
	STEER_DRAINING, /* gets nothing new */
	STEER_DRAINED,	/* its queue is empty: it may close */
};

struct steer_member_view {
	uint64_t id;   /* unique in the group for as long as loomd lives */
	uint16_t slot; /* STEER_NOBODY: it has none (yet) */
	uint64_t cookie;
	uint64_t inode;
	int32_t index; /* in the kernel's group; -1: unknown */
	uint32_t pid;  /* the first process that holds it; 0: unknown */
	uint32_t holders;
	char comm[16];
	char unit[256];	    /* systemd's; "" */
	char label[32];	    /* by libloom; "" */
	const char *source; /* "process", "unit", "pid", "any", "join"; "" if no entry names it */
	struct addr address;
	uint32_t weight;
	uint32_t generation;
	enum steer_member_state state;
	uint64_t age_ns;
	uint64_t drain_left_ns; /* DRAINING: until its deadline; 0: none */
	bool held;		/* selected by way of a sockmap */
	bool stuck;		/* its queue has not moved for queue_age_ns */
	uint32_t queue;		/* TCP: connections to accept; UDP: bytes */
	uint32_t queue_max;
	uint32_t handshakes; /* TCP: requests in the listener's queue */
	uint64_t queue_age_ns;
	uint64_t drops; /* UDP: datagrams; TCP: connections refused because the queue was full */
	uint64_t generation_flows;
	struct steer_member_count count; /* summed over CPUs */
	uint64_t rate;			 /* packets or connections a second, last window */
};

struct steer_transition_view { /* the last one */
	int64_t wall_s;
	char from[24];
	char to[24];
	char actor[16];
	char reason[160];
};

struct steer_group_view {
	char name[64];
	bool udp;
	struct addr address;
	bool any_family;
	uint16_t port;
	char netns[128];    /* "" : loomd's */
	const char *policy; /* "weighted" ... */
	const char *state;  /* "observe", "shadow", "canary", "enforced" */
	uint16_t canary_permille;
	bool frozen;
	bool fallback;
	const char *target;
	bool automatic;
	bool reverted;	     /* went back by itself: only an operator goes on */
	char held_back[160]; /* why it does not go forward; "" */
	uint64_t state_age_ns;
	uint64_t cooldown_ns; /* left */
	bool attached;	      /* our program, read back from the kernel */
	uint32_t program;     /* attached program's id; 0: none */
	uint32_t program_own; /* ours */
	bool exact;	      /* the kernel's choice is known exactly (BTF, CAP_PERFMON) */
	uint64_t counters[STEER_COUNTERS_END];
	uint64_t transitions[2]; /* forward, back */
	uint64_t repairs;
	uint64_t
		resets; /* connections reset in restart windows, as far as the kernel counts them */
	uint32_t max_over_mean_permille;
	uint32_t jain_permille;
	uint64_t probe_p99_ns; /* 0: none */
	uint64_t probe_failures;
	uint64_t indices; /* wireguard: rx_index_to_slot's entries */
	struct steer_transition_view last;
	struct steer_member_view *members; /* owned; by slot, those without one last */
	size_t member_count;
};

struct steer_view {
	struct steer_group_view *groups; /* owned; in the configuration's order */
	size_t group_count;
};

void steer_view_free(struct steer_view *view); /* NULL is fine */

const char *steer_member_state_name(enum steer_member_state state);
/* "weighted", ...; NULL: no such policy */
const char *steer_policy_name(enum steer_policy policy);
/* "slot_empty" ...: the counter's name in labels and JSON */
const char *steer_counter_name(enum steer_counter counter);
/* What it counts, in words; "" if there is none such. */
const char *steer_counter_help(enum steer_counter counter);
/* Whether the policy wanted to choose and the kernel's hash had to. */
bool steer_counter_is_fallback(enum steer_counter counter);

#endif
