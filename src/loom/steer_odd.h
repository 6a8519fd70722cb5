/* steer_odd.h - what is odd about a steering group, in sentences, with what to do about it.
 * Layer: loom.  Threads: any.  Blocks: no.
 *
 * Pure: list, show, watch, the report of an incident and the doctor say the same. */
#ifndef LOOM_STEER_ODD_H
#define LOOM_STEER_ODD_H

#include <stddef.h>

#include "steer_read.h"

enum steer_odd_severity {
	STEER_ODD_NOTE,	   /* worth knowing */
	STEER_ODD_WARNING, /* something does not go as configured */
	STEER_ODD_BAD,	   /* clients feel it, or will */
};

struct steer_odd {
	enum steer_odd_severity severity;
	const struct steer_read_member *member; /* borrowed; NULL: the group */
	char text[320];
	char remedy[256]; /* a command, or ""; */
};

#define STEER_ODD_MAX 64

/* Writes at most max, the worst first; returns how many. */
size_t steer_odd_find(const struct steer_read_group *group, struct steer_odd *ret, size_t max);

/* What is odd about one member in a few words, "stuck, drops"; "" if nothing is. */
const char *steer_odd_member(const struct steer_read_group *group,
			     const struct steer_read_member *member, char *text, size_t size);

/* What the state means, a sentence. */
const char *steer_odd_meaning(const struct steer_read_group *group);

/* How the state is written: "fallback", "canary 100‰", "enforced, frozen". */
const char *steer_odd_state(const struct steer_read_group *group, char *text, size_t size);

#endif
