/* trace_json.h - what a trace tells, a line of JSON each (docs/rest-api.md).
 * Layer: admin.  Threads: any.  Blocks: no. */
#ifndef LOOM_TRACE_JSON_H
#define LOOM_TRACE_JSON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "planes/lb/lb_trace.h"

/* frame: with what was captured of it, in base64. */
void trace_json_packet(struct buf *buf, const struct lb_trace_packet *packet, bool frame);

/* The last line.  why: what ended the trace; written: lines before this one. */
void trace_json_end(struct buf *buf, const char *why, const struct lb_trace_count *totals,
		    uint64_t written);

/* What lines of any trace are made with.  Takes line; NULL: out of memory, which buf remembers. */
void trace_json_line(struct buf *buf, json_t *line);
/* RFC 3339, in UTC, to the nanosecond: "2026-01-02T03:04:05.123456789Z". */
json_t *trace_json_time(int64_t ns);

#endif
