/* steer_past.h - what was: the audit log and the members' last minutes, for people.
 * Layer: loom.  Threads: one owner.  Blocks: no.
 *
 * Tolerant: these answers are also read when something is wrong with loomd. */
#ifndef LOOM_STEER_PAST_H
#define LOOM_STEER_PAST_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* A record of the audit log; texts are "" where it has none. */
struct steer_past_record {
	double at;	  /* seconds since the epoch; 0: it does not say */
	char time[32];	  /* here */
	const char *from; /* borrowed, as the following */
	const char *to;
	const char *actor;
	const char *reason;
	char numbers[400]; /* all else: "rule=imbalance, value=3.1, threshold=2" */
};

void steer_past_record(const json_t *json, struct steer_past_record *ret);

/* "2026-11-21 03:04:05", the time here. */
char *steer_past_time(double at, char text[32]);

/* The list that an answer holds, {"transitions": [...]}; borrowed, NULL if there is none. */
const json_t *steer_past_list(const json_t *answer, const char *name);

/* The lines of loomd's audit file that are about group, the last max of them, in the form of an
 * answer: for when loomd cannot be asked.  Owned by the caller.  NULL with err: the file cannot be
 * read. */
json_t *steer_past_read_file(const char *path, const char *group, size_t max, struct err *err);

/* The samples of a history by their members, {"slot 3 id 12": [...]}, owned by the caller; NULL:
 * out of memory.  An answer without any gives an empty one. */
json_t *steer_past_by_member(const json_t *answer);

/* A number of a member's over its samples. */
struct steer_past_series {
	const char *name; /* borrowed */
	size_t count;
	double min;
	double mean;
	double max;
	double last;
};

/* The numbers that samples have, at most max; identities are none.  Returns how many. */
size_t steer_past_series(const json_t *samples, struct steer_past_series *ret, size_t max);
#define STEER_PAST_SERIES_MAX 16

#endif
