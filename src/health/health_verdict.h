/* health_verdict.h - from the results of checks to a verdict, and from a verdict to a share.
 * Layer: health.  Pure: time and chance are arguments.  Threads: any. */
#ifndef LOOM_HEALTH_VERDICT_H
#define LOOM_HEALTH_VERDICT_H

#include <stdbool.h>
#include <stdint.h>

#include "config/config.h"
#include "model/model.h"

/* A backend that falls again and again needs at most so many times `rise` successes. */
#define HEALTH_PENALTY_MAX 8

/* {0} is a backend that was never checked. */
struct health_verdict {
	enum backend_health state;
	uint32_t streak;       /* results in a row that speak against state */
	uint32_t penalty;      /* what `rise` is multiplied by; 0: nothing, it has never fallen */
	uint64_t last_fall_ns; /* 0: never */
	uint64_t checks;
	uint64_t failures;
	uint64_t falls; /* healthy, or unchecked, to unhealthy */
};

/* Takes the result of a check.  A backend that was never checked is healthy by its first success.
 * Returns whether the state has changed. */
bool health_verdict_take(struct health_verdict *verdict, const struct config_check *check, bool ok,
			 uint64_t now_ns);

/* Successes in a row that make an unhealthy backend healthy, damping included. */
uint32_t health_verdict_rise(const struct health_verdict *verdict,
			     const struct config_check *check);

/* Time from the begin of a check to the begin of the next: the interval, more or less its jitter.
 * chance is any 32 bits. */
uint64_t health_interval(const struct config_check *check, uint32_t chance);

/* The first check of `count` new backends comes within so long: at once for a few, spread over the
 * interval for many. */
uint64_t health_first(const struct config_check *check, uint64_t count, uint32_t chance);

/* What slow start withholds of a weight, elapsed_ns after it began, in steps. */
uint16_t health_withheld(uint64_t slow_start_ns, uint64_t elapsed_ns);
/* How long a step of slow start lasts; 0 without one. */
uint64_t health_step(uint64_t slow_start_ns);

#endif
