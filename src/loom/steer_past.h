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

#include "base/buf.h"

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

/* The list that an answer holds, {"audit": [...]}; borrowed, NULL if there is none. */
const json_t *steer_past_list(const json_t *answer, const char *name);

/* One of a member's numbers over its samples. */
struct steer_past_series {
	size_t count;
	double min;
	double mean;
	double max;
	double last;
};

/* key: of samples, "rate".  False: no sample has it. */
bool steer_past_series(const json_t *samples, const char *key, struct steer_past_series *ret);

#endif
