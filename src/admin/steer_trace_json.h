/* steer_trace_json.h - what a trace of a steering group tells, a line of JSON each
 * (docs/rest-api.md).
 * Layer: admin.  Threads: any.  Blocks: no. */
#ifndef LOOM_STEER_TRACE_JSON_H
#define LOOM_STEER_TRACE_JSON_H

#include <stdint.h>

#include "abi/steer_abi.h"
#include "base/buf.h"

/* time_ns: event->at_ns as wall-clock time. */
void steer_trace_json_decision(struct buf *buf, const struct steer_event *event, int64_t time_ns);

struct steer_trace_totals {
	uint64_t seen;	  /* decisions of the group meanwhile */
	uint64_t matched; /* by filter and sample: sent or lost */
	uint64_t sent;	  /* lines before the last one */
	uint64_t lost;	  /* found no room */
};

/* The last line.  why: what ended the trace. */
void steer_trace_json_end(struct buf *buf, const char *why,
			  const struct steer_trace_totals *totals);

#endif
