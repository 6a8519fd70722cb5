/* control_steer.h - what the admin API may ask of socket steering.  loomd implements it; admin/ and
 * its tests only call.
 * Layer: admin.  Threads: control thread only.  Blocks: changes reach the kernel before the call
 * returns.
 *
 * Each function returns 0 or -errno with a sentence in err: -ENOENT no such group or member;
 * -EINVAL nonsense; -EAGAIN not yet (soak, cooldown, quarantine), err says when; -EBUSY frozen;
 * -EPERM a capability is missing; -EOPNOTSUPP the kernel cannot (the gate says what is missing). */
#ifndef LOOM_CONTROL_STEER_H
#define LOOM_CONTROL_STEER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "config/config_steer.h"
#include "planes/steer/steer_view.h"
#include "stream.h"

/* A member, as operators name it: by one of these, the others are 0. */
struct steer_member_name {
	bool has_slot;
	uint16_t slot;
	uint64_t id;
	uint32_t pid;	     /* all its sockets in the group */
	uint32_t generation; /* all of it; 0: not said */
	char unit[256];
};

struct steer_rollout_request {
	char state[16]; /* "observe", "shadow", "canary", "enforced"; "next": one step on; "back" */
	uint16_t canary_permille; /* canary; 0: the next configured step */
	bool force;		  /* without the soak time, past a rollback */
	char reason[128];	  /* for the audit log; "" */
};

struct steer_drain_request {
	struct steer_member_name member;
	uint64_t deadline_ns; /* 0: the group's drain_timeout */
	bool undo;
};

/* From one set of members to another: what is new becomes active, what is old drains. */
struct steer_swap_request {
	struct steer_member_name from; /* drains; none given: whatever is active and not in to */
	struct steer_member_name to;   /* leaves quarantine; none given: whatever is new */
	uint64_t deadline_ns;	       /* 0: the group's drain_timeout */
};

struct steer_flow_request {
	struct addr source;
	uint16_t source_port;
	struct addr destination; /* any: the group's */
	bool has_payload;
	uint8_t payload[64]; /* wireguard, quic, bytes: how the datagram begins */
	uint8_t payload_len;
	uint32_t cpu; /* cpu_local */
};

struct steer_explanation {
	bool known;    /* user space can tell; else only a trace of a packet can */
	uint16_t slot; /* whom the policy chooses; STEER_NOBODY: the kernel's hash decides */
	enum steer_counter why;
	char text[512]; /* a sentence for people: how it came to that */
};

struct steer_trace_request {
	uint64_t duration_ns;
	uint64_t limit;	    /* decisions; 0: none */
	struct addr source; /* any: all */
	uint16_t source_port;
	uint16_t sample; /* one in so many */
};

struct control_steer {
	void *ctx; /* first argument of all */

	int (*view)(void *ctx, const char *group /* NULL: all */, struct steer_view **ret,
		    struct err *err);
	int (*attach)(void *ctx, const char *group, struct err *err);
	int (*detach)(void *ctx, const char *group, struct err *err);
	int (*policy)(void *ctx, const char *group,
		      const struct config_steer_policy_options *policy, struct err *err);
	int (*rollout)(void *ctx, const char *group, const struct steer_rollout_request *request,
		       struct err *err);
	int (*freeze)(void *ctx, const char *group, bool frozen, struct err *err);
	/* on: plain kernel, detached; off: back to the state before, from shadow on */
	int (*fallback)(void *ctx, const char *group, bool on, const char *reason, struct err *err);
	int (*drain)(void *ctx, const char *group, const struct steer_drain_request *request,
		     struct err *err);
	int (*swap)(void *ctx, const char *group, const struct steer_swap_request *request,
		    struct err *err);
	int (*weight)(void *ctx, const char *group, const struct steer_member_name *member,
		      uint32_t weight, struct err *err);
	int (*explain)(void *ctx, const char *group, const struct steer_flow_request *flow,
		       struct steer_explanation *ret, struct err *err);
	/* An index that a member of the group owns: wireguard; see libloom for applications.
	 * slot STEER_NOBODY: nobody owns it any more; 0 as well if nobody did. */
	int (*index)(void *ctx, const char *group, uint32_t index, uint16_t slot, struct err *err);
	/* Decisions as steer_trace_json.h writes them, until a limit is reached; as struct
	 * control's trace. */
	int (*trace)(void *ctx, const char *group, const struct steer_trace_request *request,
		     struct stream **ret, struct err *err);
	/* Each appends one JSON value, which is put into the answer as it is.  audit: an array, the
	 * group's last transitions, oldest first; history: an array, the last 15 minutes of each
	 * member; capabilities: what the kernel can do and cannot. */
	int (*audit)(void *ctx, const char *group, struct buf *out, struct err *err);
	int (*history)(void *ctx, const char *group, struct buf *out, struct err *err);
	int (*capabilities)(void *ctx, struct buf *out, struct err *err);
};

#endif
