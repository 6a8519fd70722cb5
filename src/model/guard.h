/* guard.h - does the policy that is in force hurt?
 * Layer: model.  Pure: time comes in the samples.  Threads: one owner at a time.  Blocks: no.
 *
 * Samples (about one a second) are gathered into windows.  While the kernel chooses (observe,
 * shadow) windows make the baseline; while the policy chooses (canary, enforced) each rule compares
 * the window with its limit.  Enough bad windows in a row trip the rule, which makes a verdict;
 * enough good ones, by a stricter limit, clear it.  A window between the two limits, or with too
 * little in it to say, counts neither way.
 *
 * Chance is not a verdict: the two balance rules only count what chance in independent selections
 * cannot explain, so that a slow or a large group is not taken for a skewed one. */
#ifndef LOOM_GUARD_H
#define LOOM_GUARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GUARD_MAX_MEMBERS      256 /* slots 0 .. 255 */
#define GUARD_FALLBACK_REASONS 16
#define GUARD_NO_MEMBER	       UINT32_MAX

#define GUARD_DEFAULT_WINDOW_NS	     10000000000ull
#define GUARD_DEFAULT_COOLDOWN_NS    300000000000ull
#define GUARD_DEFAULT_MIN_SELECTIONS 200

/* In the order of severity: of several at once the last one wins. */
enum guard_action {
	GUARD_NONE,
	GUARD_WARN,	/* say so */
	GUARD_REPAIR,	/* put back what somebody else broke */
	GUARD_REVERT,	/* to shadow */
	GUARD_FALLBACK, /* to the plain kernel */
};

/* Rule, its name in the configuration and in audit records, unit of its value, then the defaults:
 * enabled, action, threshold, clear, relative (permille of the baseline, 0: none), minimum,
 * windows, clear windows; then what it is.  The first ones in the order of enum
 * config_steer_rule_name.  Of several rules that trip at once the first one with the severest
 * action speaks.
 *
 * QUEUE_AGE only warns: the kernel's hash would send a stuck member its whole share, so moving back
 * rarely helps.  P99 and METRIC know no limit that fits every application. */
#define GUARD_RULES(X)                                                                           \
	X(IMBALANCE, "imbalance", RATIO, true, REVERT, 1800, 1500, 1250,                         \
	  GUARD_DEFAULT_MIN_SELECTIONS, 2, 3, "the busiest member's selections over its share")  \
	X(JAIN, "jain", RATIO, true, REVERT, 600, 700, 1250, GUARD_DEFAULT_MIN_SELECTIONS, 2, 3, \
	  "Jain's fairness index of selections over weights")                                    \
	X(DROPS, "drops", COUNT, true, REVERT, 1000, 100, 2000, 0, 2, 3, "drops in a window")    \
	X(OVERFLOW, "overflow", PERMILLE, true, REVERT, 500, 100, 1500, 0, 2, 3,                 \
	  "part of the samples in which a member's queue was full")                              \
	X(QUEUE_AGE, "queue_age", NS, true, WARN, 5000000000ull, 1000000000ull, 0, 0, 1, 2,      \
	  "age of a queue whose head does not move")                                             \
	X(FALLBACKS, "fallbacks", PERMILLE, true, REVERT, 100, 50, 1500,                         \
	  GUARD_DEFAULT_MIN_SELECTIONS, 2, 3, "selections that the policy left to the kernel")   \
	X(LATENCY, "latency", RATIO, true, REVERT, 2000, 1500, 0, 5000000, 3, 3,                 \
	  "the probe's 99th percentile over its baseline")                                       \
	X(PROBE_FAILURES, "probe_failures", PERMILLE, true, REVERT, 300, 50, 1500, 3, 2, 3,      \
	  "probes that failed")                                                                  \
	X(METRIC, "metric", VALUE, false, REVERT, 0, 0, 0, 0, 3, 3,                              \
	  "the application's own metric")                                                        \
	X(FOREIGN, "foreign", FLAG, true, REPAIR, 0, 0, 0, 0, 0, 1,                              \
	  "a program of somebody else is attached, or none")                                     \
	X(MEMBERSHIP, "membership", FLAG, true, WARN, 0, 0, 0, 0, 0, 1,                          \
	  "a member nobody expected, or one missing")                                            \
	X(DROP_SHARE, "drop_share", PERMILLE, true, REVERT, 10, 5, 1500,                         \
	  GUARD_DEFAULT_MIN_SELECTIONS, 2, 3, "drops over all that came")                        \
	X(P99, "p99", NS, false, REVERT, 1000000000ull, 500000000ull, 0, 0, 3, 3,                \
	  "the probe's 99th percentile")

enum guard_rule_id {
#define X(id, ...) GUARD_RULE_##id,
	GUARD_RULES(X)
#undef X
		GUARD_RULE_COUNT,
};

enum guard_unit {
	GUARD_UNIT_PERMILLE, /* of a whole */
	GUARD_UNIT_RATIO,    /* thousandths: 1800 is 1.8 */
	GUARD_UNIT_COUNT,    /* per window_ns */
	GUARD_UNIT_NS,
	GUARD_UNIT_VALUE, /* thousandths of the application's unit */
	GUARD_UNIT_FLAG,  /* no threshold: set is bad */
};

struct guard_rule {
	bool enabled;
	enum guard_action action;
	bool below;	    /* low values are the bad ones (JAIN; METRIC as configured) */
	uint64_t threshold; /* bad: the value is past it, and past the relative limit */
	uint64_t clear;	    /* good: the value is not past it, or not past the baseline */
	/* Permille of the baseline: above 1000; 0: the baseline does not count.  With below, the
	 * limit is the baseline divided by it. */
	uint32_t relative_permille;
	/* No verdict with less of: selections; PROBE_FAILURES: probes; LATENCY: p99 in ns. */
	uint64_t minimum;
	uint16_t windows; /* bad ones in a row that trip it; flags: 0 is at the sample itself */
	uint16_t clear_windows; /* good ones in a row that clear it */
};

struct guard_config {
	uint64_t window_ns;
	/* After a revert no revert, after a fallback neither; a share put in force anew ends it.
	 * Nor does a rule repeat its warning sooner; a repair is asked for once a window. */
	uint64_t cooldown_ns;
	uint32_t fallback_reasons; /* bit n: fallbacks[n] counts as the policy's failure */
	struct guard_rule rules[GUARD_RULE_COUNT];
};

/* Counters may restart: one that went back starts anew and counts nothing for that sample. */
struct guard_member {
	uint32_t slot;	   /* below GUARD_MAX_MEMBERS */
	uint64_t identity; /* the socket's (its cookie): another one in the slot starts anew */
	uint32_t weight;   /* its share is weight over the eligible ones' sum.  0: the policy does
			    * not mean to choose it, the balance is judged without it */
	bool eligible;	   /* alive and to be chosen: not draining, not quarantined */
	uint64_t
		selections; /* counter: chosen by the policy; in observe and shadow by the kernel */
	uint64_t bytes;	    /* counter, 0 if not known; no rule uses it */
	uint64_t drops;	    /* counter */
	uint32_t queue_depth;
	uint32_t queue_limit;  /* same unit; 0: not known */
	uint64_t queue_age_ns; /* how long the head of a queue that is not empty has not moved */
};

struct guard_sample {
	uint64_t now;
	const struct guard_member *members; /* borrowed; slots unique; at most GUARD_MAX_MEMBERS */
	size_t member_count;
	uint64_t total; /* counter: everything that came to the group, whoever chose */
	uint64_t fallbacks[GUARD_FALLBACK_REASONS]; /* counters, not in members' selections */
	uint64_t migrations;			    /* counter; no rule uses it */
	uint64_t probes;			    /* counter */
	uint64_t probe_failures;		    /* counter, part of probes */
	uint64_t probe_p99_ns;			    /* over the last window or so; 0: none */
	bool has_metric;
	uint64_t metric; /* thousandths */
	bool foreign_program;
	bool unexpected_membership;
};

/* The numbers that caused it. */
struct guard_verdict {
	enum guard_action action;
	enum guard_rule_id rule;
	uint32_t windows;   /* bad ones in a row; 0: at the sample itself */
	uint32_t member;    /* slot, or GUARD_NO_MEMBER */
	uint64_t value;	    /* in the rule's unit, as the following */
	uint64_t threshold; /* the limit as it was: with the baseline in it */
	uint64_t baseline;  /* LATENCY: in ns */
	bool has_baseline;
	char text[128]; /* the same as a sentence; fits rollout's reason */
};

/* Private to guard*.c from here to struct guard. */
struct guard_slot {
	uint64_t identity;
	uint64_t last_selections;
	uint64_t last_drops;
	uint64_t weight_sum; /* of the window, as the following */
	uint64_t selections;
	uint64_t drops;
	uint64_t queue_age_ns; /* highest */
	uint32_t eligible;     /* samples */
	uint32_t full;	       /* samples */
	bool known;	       /* was in the last sample */
	bool sampled;	       /* is in this one */
};

struct guard_window {
	uint64_t start_ns;
	uint32_t samples;
	uint64_t total;
	uint64_t fallbacks;
	uint64_t probes;
	uint64_t probe_failures;
	uint64_t p99_sum;
	uint32_t p99_samples;
	uint64_t metric_sum;
	uint32_t metric_samples;
	bool flags[GUARD_RULE_COUNT]; /* of the rules that are flags */
};

struct guard_rule_state {
	uint32_t bad;  /* windows in a row */
	uint32_t good; /* while tripped */
	bool tripped;
	uint64_t quiet_until_ns; /* says nothing again before */
	uint64_t baseline;	 /* moving mean, in units of 1/16 */
	uint32_t baseline_windows;
};

/* About 20 KiB. */
struct guard {
	const struct guard_config *config; /* borrowed */
	bool enforced_share;
	bool started; /* a sample has come: the counters have a past */
	uint64_t last_ns;
	enum guard_action quiet_action; /* neither this nor less, of REVERT and FALLBACK ... */
	uint64_t quiet_until_ns;	/* ... before */
	uint64_t last_total;
	uint64_t last_fallbacks[GUARD_FALLBACK_REASONS];
	uint64_t last_probes;
	uint64_t last_probe_failures;
	struct guard_window window;
	struct guard_rule_state rules[GUARD_RULE_COUNT];
	struct guard_slot slots[GUARD_MAX_MEMBERS];
};

void guard_config_default(struct guard_config *config);

/* config is borrowed until the next guard_configure().  Starts as while the kernel chooses. */
void guard_init(struct guard *guard, const struct guard_config *config);
/* A new configuration takes the old one's place.  Baselines stay, the window starts anew. */
void guard_configure(struct guard *guard, const struct guard_config *config);
/* Does the policy choose for anybody (rollout_share_permille() is not 0)?  Call at every move of
 * the rollout, before the next sample.  The window and all counts of bad ones start anew: a window
 * of two states is nobody's.  Baselines stay. */
void guard_phase(struct guard *guard, bool enforced_share);
/* Another policy, or other members altogether: baselines are of no use any more. */
void guard_forget(struct guard *guard);

/* Returns 1 with verdict filled (action is never GUARD_NONE), or 0.  While the kernel chooses only
 * the rules that are flags speak. */
int guard_feed(struct guard *guard, const struct guard_sample *sample,
	       struct guard_verdict *verdict);

/* weights: NULL for equal ones; members of weight 0 do not take part.
 * *ret_max_over_mean: the busiest member's part of the sum over its weight's part of theirs; 1000
 * is even.  *ret_jain: Jain's index of values over weights, 1000 is even, 1000/n is all to one
 * (Jain, Chiu, Hawe, DEC-TR-301).  With nothing to judge both are 1000.
 * Returns the index of the busiest, or n if there is nothing to judge. */
size_t guard_balance(const uint64_t *values, const uint32_t *weights, size_t n,
		     uint32_t *ret_max_over_mean_permille, uint32_t *ret_jain_permille);

const char *guard_rule_name(enum guard_rule_id rule);
const char *guard_rule_help(enum guard_rule_id rule);
enum guard_unit guard_rule_unit(enum guard_rule_id rule);
const char *guard_action_name(enum guard_action action); /* "revert" */
/* Return 0 or -EINVAL with what is returned untouched. */
int guard_action_parse(const char *name, enum guard_action *ret_action);
int guard_rule_parse(const char *name, enum guard_rule_id *ret_rule);

#endif
