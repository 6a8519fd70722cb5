/* steer_probe.h - what this kernel lets this process do for socket steering, found out by doing it:
 * programs are loaded, attached to two sockets of our own on 127.0.0.1, and choose between them.
 * Layer: planes.  Threads: control thread only.  Blocks: as long as the verifier takes
 * for the one program that each call loads, 15 to 60 ms; nothing is left behind. */
#ifndef LOOM_STEER_PROBE_H
#define LOOM_STEER_PROBE_H

#include <stdbool.h>
#include <stdint.h>

#include "abi/steer_abi.h"

/* name, what for */
#define STEER_FEATURES(X)                                                            \
	X(LOAD, "load", "programs that choose sockets")                              \
	X(SELECT, "select", "a chosen socket gets the packet")                       \
	X(READ_GROUP, "read_group", "the kernel's own choice, least_loaded")         \
	X(MIGRATE, "migrate", "connections of a listener that closes go to another") \
	X(SOCKMAP, "sockmap", "sockets that another tool's map holds")               \
	X(PIDFD_GETFD, "pidfd_getfd", "sockets of running processes")                \
	X(DEATHS, "deaths", "sockets that close are told at once, not found by looking")

enum steer_feature {
#define STEER_FEATURE_ENUM(name, text, help) STEER_FEATURE_##name,
	STEER_FEATURES(STEER_FEATURE_ENUM)
#undef STEER_FEATURE_ENUM
		STEER_FEATURES_END
};

#define STEER_POLICIES_END (STEER_GENERATION + 1)

struct steer_finding {
	bool done;	   /* the rest is set */
	bool possible;	   /* or nothing speaks against it */
	bool probed;	   /* it was done, not concluded */
	char missing[128]; /* not possible: what is, CAP_... first where that is it; possible, not
			      probed: why not; "" */
};

struct steer_probe {
	struct steer_finding features[STEER_FEATURES_END];
	struct steer_finding policies[STEER_POLICIES_END];
};

/* What all policies need, STEER_FEATURE_SELECT excepted.  Loads one program. */
void steer_probe_features(struct steer_probe *ret);
/* Loads the policy's program and has it choose, unless that was done; selects, if any does. */
void steer_probe_policy(struct steer_probe *probe, enum steer_policy policy);

const char *steer_feature_name(enum steer_feature feature);
const char *steer_feature_help(enum steer_feature feature);

#endif
