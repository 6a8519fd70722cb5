/* rollout.h - how much of a steering policy is in force, and what may move it.
 * Layer: model.  Pure: time comes as an argument (any monotonic clock, ns).
 * Threads: one owner at a time.  Blocks: no.
 *
 * The ladder is observe, shadow, canary at each configured share, enforced.  Forward it goes one
 * rung at a time, each after the soak time of the one before; back it goes at once.
 *
 * frozen	nothing moves it but an operator's unfreeze or fallback.  The guard may still move
 *it BACK, or into fallback: a freeze must never keep a harmful policy in force. fallback
 *plain kernel, whatever the state.  The state is kept to be shown; resuming starts at shadow, never
 *where it was. reverted	the guard or a repair moved it back.  It stays until an operator
 *moves it forward; after that it may go on by itself, but to the point it fell from, and past it,
 *only an operator moves it. */
#ifndef LOOM_ROLLOUT_H
#define LOOM_ROLLOUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define ROLLOUT_STEPS_MAX  8
#define ROLLOUT_REASON_LEN 128
#define ROLLOUT_POINT_LEN  16 /* "canary:999" with its end, and room */

/* Defaults, the configuration's: a group of which it says nothing more is observed, and nothing is
 * selected until somebody asks for it. */
#define ROLLOUT_DEFAULT_TARGET	    ROLLOUT_OBSERVE
#define ROLLOUT_DEFAULT_AUTOMATIC   false
#define ROLLOUT_DEFAULT_CANARY	    10, 100, 500 /* permille */
#define ROLLOUT_DEFAULT_SOAK_NS	    60000000000ull
#define ROLLOUT_DEFAULT_COOLDOWN_NS 300000000000ull

enum rollout_state {
	ROLLOUT_OBSERVE,  /* the kernel chooses; what it does is measured */
	ROLLOUT_SHADOW,	  /* the policy is computed and compared; the kernel chooses */
	ROLLOUT_CANARY,	  /* the policy chooses for a share of the flows */
	ROLLOUT_ENFORCED, /* the policy chooses for all */
};

enum rollout_actor {
	ROLLOUT_BY_OPERATOR,
	ROLLOUT_BY_AUTOMATIC, /* a soak time that is over */
	ROLLOUT_BY_GUARD,
	ROLLOUT_BY_REPAIR,
};

/* A rung, or a share between two. */
struct rollout_point {
	enum rollout_state state;
	uint16_t permille; /* CANARY: 1 .. 999, in requests also 0: its next step.  Otherwise 0. */
};

struct rollout_config {
	struct rollout_point target;		     /* how far it goes by itself */
	bool automatic;				     /* whether it goes at all */
	uint16_t canary_permille[ROLLOUT_STEPS_MAX]; /* strictly ascending, each 1 .. 999 */
	uint8_t canary_count;			     /* 0: from shadow to enforced */
	uint64_t soak_ns;			     /* at each rung before the next */
	uint64_t cooldown_ns; /* after a revert or a fallback by the guard or a repair, before
			       * anything goes forward */
};

/* Read freely; written only by the functions below. */
struct rollout {
	const struct rollout_config *config; /* borrowed */
	enum rollout_state state;
	uint16_t canary_permille; /* CANARY: the share; otherwise 0 */
	uint8_t canary_step;	  /* CANARY: configured steps at or below the share; otherwise 0 */
	bool frozen;
	bool fallback;
	enum rollout_actor fallback_by; /* who made the fallback there is */
	bool automatic;
	bool reverted;
	bool held;		       /* an operator moved it back: not forward by itself */
	struct rollout_point target;   /* how far it goes by itself */
	struct rollout_point highest;  /* where a rollback came from; OBSERVE: there was none */
	uint64_t since_ns;	       /* when it came to where it is */
	uint64_t cooldown_until_ns;    /* 0: none */
	char gate[ROLLOUT_REASON_LEN]; /* why the policy cannot be armed; empty: it can */
};

enum rollout_move_kind {
	ROLLOUT_MOVED,
	ROLLOUT_FROZE,
	ROLLOUT_UNFROZE,
	ROLLOUT_FELL_BACK,
	ROLLOUT_RESUMED,
};

/* What happened, for the audit log. */
struct rollout_move {
	enum rollout_move_kind kind;
	struct rollout_point from;
	struct rollout_point to;
	enum rollout_actor actor;
	char reason[ROLLOUT_REASON_LEN]; /* cut to fit */
	uint64_t at_ns;
};

void rollout_config_default(struct rollout_config *config);
/* Returns 0 or -EINVAL: shares out of range or not ascending, or a target that is none. */
int rollout_config_check(const struct rollout_config *config, struct err *err);

/* In observe.  config is borrowed until the next rollout_configure() and must be a checked one. */
void rollout_init(struct rollout *rollout, const struct rollout_config *config, uint64_t now);
/* A new configuration takes the old one's place.  Moves nothing, and an operator's hold stays. */
void rollout_configure(struct rollout *rollout, const struct rollout_config *config);
/* What another process, or an earlier life of this one, left in force.  saved's config and times
 * are not used: the soak time starts anew, and a cooldown, where it was reverted, too. */
void rollout_adopt(struct rollout *rollout, const struct rollout *saved, uint64_t now);
/* why: the policy cannot be armed (a failed probe, as a sentence's end); NULL: it can.  Closed, no
 * move to canary or enforced happens, forced or not; one that is there is the caller's to revert.
 */
void rollout_gate(struct rollout *rollout, const char *why);

/* An operator's move.  Back goes at once, to stay there.  Forward needs the soak time and goes one
 * rung (a canary share at or below the next step will do); force leaves out rungs, soak time and
 * cooldown, but neither freeze, fallback nor gate.
 * reason	optional, goes into the move
 * Returns 1 with move filled; 0 if it is there already; -EINVAL: no such share, or rungs left out;
 * -EAGAIN: soak time or cooldown is not over; -EBUSY: frozen or in fallback; -EOPNOTSUPP: the gate
 * is closed.  err says what would be possible; on error nothing has changed. */
int rollout_request(struct rollout *rollout, struct rollout_point wanted, bool force,
		    const char *reason, uint64_t now, struct rollout_move *move, struct err *err);

/* Moves by itself if it is due.  Returns 1 with move filled, or 0. */
int rollout_tick(struct rollout *rollout, uint64_t now, struct rollout_move *move);
/* When rollout_tick() will next move it, UINT64_MAX: not as things are. */
uint64_t rollout_due_ns(const struct rollout *rollout);

/* The guard's (or a repair's) way back to "to", SHADOW or OBSERVE, frozen or not.  Starts the
 * cooldown.  Returns 1 with move filled, or 0: in fallback, or not above "to" anyway. */
int rollout_revert(struct rollout *rollout, enum rollout_state to, enum rollout_actor actor,
		   const char *reason, uint64_t now, struct rollout_move *move);

/* Plain kernel.  Anybody may, at any time; not an operator's is also a rollback.  Returns 1 with
 * move filled, or 0 if it is in fallback already. */
int rollout_fallback(struct rollout *rollout, enum rollout_actor actor, const char *reason,
		     uint64_t now, struct rollout_move *move);
/* Out of fallback, to shadow (or observe if it was there).  For an operator, and for a repair that
 * undoes a repair's fallback.  Returns 1 with move filled; 0 if there is no fallback; -EBUSY:
 * frozen; -EPERM: not this actor's to undo. */
int rollout_resume(struct rollout *rollout, enum rollout_actor actor, const char *reason,
		   uint64_t now, struct rollout_move *move, struct err *err);

/* An operator's.  Return 1 with move filled, or 0 if it is so already.  Unfreezing starts the soak
 * time anew. */
int rollout_freeze(struct rollout *rollout, const char *reason, uint64_t now,
		   struct rollout_move *move);
int rollout_unfreeze(struct rollout *rollout, const char *reason, uint64_t now,
		     struct rollout_move *move);

struct rollout_point rollout_point(const struct rollout *rollout);
/* The share of flows the policy chooses for, 0 .. 1000: what goes into the program's state. */
uint16_t rollout_share_permille(const struct rollout *rollout);
/* Less than 0, 0 or more: a is below, at or above b on the ladder. */
int rollout_point_compare(struct rollout_point a, struct rollout_point b);

const char *rollout_state_name(enum rollout_state state);	 /* "canary" */
const char *rollout_actor_name(enum rollout_actor actor);	 /* "guard" */
const char *rollout_move_kind_name(enum rollout_move_kind kind); /* "moved", "fallback", ... */
/* "canary:50"; the others by name.  Returns text. */
char *rollout_point_print(struct rollout_point point, char text[ROLLOUT_POINT_LEN]);
/* "observe", "shadow", "enforced", "canary" (permille 0: the next step), "canary:50" (permille),
 * "canary=50", "canary:5%", "canary=0.5%".  Returns 0 or -EINVAL with point untouched. */
int rollout_point_parse(const char *text, struct rollout_point *point, struct err *err);

#endif
