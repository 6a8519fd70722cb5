/* config_steer.h - the steering: part of loom.yaml, parsed and checked.
 * Layer: config.  Read-only once loaded; owned by struct config. */
#ifndef LOOM_CONFIG_STEER_H
#define LOOM_CONFIG_STEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define CONFIG_STEER_CANARY_STEPS 8

enum config_steer_policy { /* in the order of enum steer_policy */
			   CONFIG_STEER_HASH,
			   CONFIG_STEER_WEIGHTED,
			   CONFIG_STEER_RANDOM,
			   CONFIG_STEER_LEAST_LOADED,
			   CONFIG_STEER_SOURCE_HASH,
			   CONFIG_STEER_CPU_LOCAL,
			   CONFIG_STEER_WIREGUARD,
			   CONFIG_STEER_QUIC,
			   CONFIG_STEER_BYTES,
			   CONFIG_STEER_GENERATION,
};

enum config_steer_state {
	CONFIG_STEER_OBSERVE,
	CONFIG_STEER_SHADOW,
	CONFIG_STEER_CANARY,
	CONFIG_STEER_ENFORCED,
};

enum config_steer_action {
	CONFIG_STEER_WARN,     /* logs, counts, audits */
	CONFIG_STEER_REPAIR,   /* what others broke is put right; if that fails thrice, as revert */
	CONFIG_STEER_REVERT,   /* back to shadow */
	CONFIG_STEER_FALLBACK, /* plain kernel, detached */
};

/* policy: NAME, or a mapping with name and what the policy needs. */
struct config_steer_policy_options {
	enum config_steer_policy policy;
	uint16_t offset; /* quic: of the slot within the connection id; bytes: in the payload */
	uint8_t length;	 /* bytes that are read, big endian: 1 to 4; default 1 */
	uint8_t shift;
	uint32_t mask;		  /* default: all bits */
	uint64_t flow_timeout_ns; /* generation: of an idle flow; default 3 minutes */
	uint32_t max_flows;	  /* generation; default 65536 */
	uint32_t max_indices;	  /* wireguard: entries of rx_index_to_slot; default 131072 */
};

enum config_steer_source {
	CONFIG_STEER_PROCESS, /* members[].process: NAME: comm, or the executable's path if absolute
			       */
	CONFIG_STEER_UNIT,    /* members[].unit: NAME.service */
	CONFIG_STEER_PID,     /* members[].pid: N, and its descendants */
	CONFIG_STEER_ANY,     /* members[].any: true: whoever is bound there */
	CONFIG_STEER_JOIN,    /* members[].join: true: by libloom and loom exec */
};

struct config_steer_member {
	enum config_steer_source source;
	char *name;
	uint32_t pid;
	uint32_t weight; /* of each socket found so; default 100; 0: none */
};

/* guard.rules.NAME: what is measured per window, when it is bad and what is done then. */
struct config_steer_rule {
	bool enabled;	  /* latency and probe_failures need a probe, metric a path: else false */
	bool below;	  /* low values are the bad ones: jain; metric if clear > threshold */
	double threshold; /* 0 for foreign and membership, as clear: set is bad */
	double clear;	  /* good again; hysteresis */
	uint32_t windows; /* consecutive bad ones; foreign and membership: 0 is at once */
	enum config_steer_action action;
};

/* In the order of the rules' names in the schema: config_steer_rule_names. */
enum config_steer_rule_name {
	CONFIG_STEER_RULE_IMBALANCE,	  /* max/mean of what members got, by weight */
	CONFIG_STEER_RULE_JAIN,		  /* Jain's index, too low */
	CONFIG_STEER_RULE_DROPS,	  /* per window */
	CONFIG_STEER_RULE_OVERFLOW,	  /* permille of samples in which a queue was full */
	CONFIG_STEER_RULE_QUEUE_AGE,	  /* seconds for which a queue did not move */
	CONFIG_STEER_RULE_FALLBACKS,	  /* permille of selections */
	CONFIG_STEER_RULE_LATENCY,	  /* the probe's p99, times its baseline */
	CONFIG_STEER_RULE_PROBE_FAILURES, /* permille */
	CONFIG_STEER_RULE_METRIC,	  /* what the application says: guard.metric */
	CONFIG_STEER_RULE_FOREIGN,	  /* another program is attached, or none */
	CONFIG_STEER_RULE_MEMBERSHIP,	  /* sockets in the group that no members entry names */
	CONFIG_STEER_RULES,
};
extern const char *const config_steer_rule_names[CONFIG_STEER_RULES];

enum config_steer_probe_type {
	CONFIG_STEER_PROBE_NONE,
	CONFIG_STEER_PROBE_CONNECT,
	CONFIG_STEER_PROBE_HTTP,
	CONFIG_STEER_PROBE_DNS,
};

struct config_steer_probe {
	enum config_steer_probe_type type;
	struct addr address;  /* default: the group's, loopback for a wildcard ("*": 127.0.0.1) */
	uint64_t interval_ns; /* default 200 ms */
	uint64_t timeout_ns;  /* default 1 s */
	char *path;	      /* http; default "/" */
	char *query;	      /* dns; default "." */
};

struct config_steer_guard {
	bool enabled;		 /* default true */
	uint64_t window_ns;	 /* default 10 s */
	uint64_t cooldown_ns;	 /* after an action; default 5 min */
	uint32_t min_selections; /* a window with fewer is not judged; default 200 */
	struct config_steer_rule rules[CONFIG_STEER_RULES];
	struct config_steer_probe probe;
	char *metric_path; /* guard.metric: a file with one number, read each window; NULL */
};

struct config_steer_rollout {
	enum config_steer_state target; /* rollout.target; default observe */
	bool automatic;			/* goes there by itself, a step a soak; default false */
	uint16_t canary_permille[CONFIG_STEER_CANARY_STEPS]; /* default 10, 100, 500 */
	size_t canary_count;
	uint64_t soak_ns; /* per step; default 1 min */
};

struct config_steer_group {
	char *name;
	bool udp;
	struct addr address; /* that the sockets are bound to; any: 0.0.0.0 or :: */
	bool any_family;     /* "*", the default: both; address is :: then */
	uint16_t port;
	char *netns;			     /* a name, a path, or pid:N; NULL: loomd's own */
	struct config_steer_member *members; /* none: {any: true} and {join: true} */
	size_t member_count;
	struct config_steer_policy_options policy;
	struct config_steer_rollout rollout;
	struct config_steer_guard guard;
	uint64_t quarantine_ns;	   /* default 1 s */
	uint64_t drain_timeout_ns; /* default 30 s; 0: for ever */
	uint64_t flow_idle_ns;	   /* a draining UDP member's flows; default 0: only its queue */
};

struct config_steering {
	struct config_steer_group *groups;
	size_t group_count;
	uint64_t poll_ns; /* steering.poll: how often the kernel is asked for members; default 50 ms
			   */
	char *join_socket;    /* steering.join.socket; NULL: /run/loom/INSTANCE.steer; "": none */
	uint32_t *join_users; /* steering.join.users: uids that may join; none: root and loomd's own
			       */
	size_t join_user_count;
};

#endif
