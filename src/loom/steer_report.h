/* steer_report.h - the report of an incident that a person reads first, at 3 a.m.
 * Layer: loom.  Threads: one owner.  Blocks: no. */
#ifndef LOOM_STEER_REPORT_H
#define LOOM_STEER_REPORT_H

#include "base/buf.h"
#include "steer_pins.h"
#include "steer_read.h"

/* All that is known; what is not is NULL, and its error says why. */
struct steer_report {
	const char *name;
	const char *where;		      /* loomd */
	const struct steer_read_group *group; /* as loomd says; NULL: it cannot be asked */
	const struct steer_pinned *pinned;    /* as the pins say */
	const json_t *audit;		      /* answers */
	const json_t *history;
	const char *daemon_error; /* "" */
	const char *pins_error;
	const char *host;
	double now; /* seconds since the epoch */
};

/* Writes the whole report. */
void steer_report_write(struct buf *out, const struct steer_report *report);

#endif
