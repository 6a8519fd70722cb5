/* trace_text.h - a traced packet, read from a line of loomd's and written for people.
 * Layer: loom.  Threads: one owner.  Blocks: on the stream. */
#ifndef LOOM_TRACE_TEXT_H
#define LOOM_TRACE_TEXT_H

#include <jansson.h>
#include <stdint.h>
#include <stdio.h>

#include "base/buf.h"
#include "reply.h"

#define TRACE_COLUMNS 10

/* How wide the columns have become. */
struct trace_columns {
	int width[TRACE_COLUMNS];
};

/* A line of the table: columns are as wide as they ever had to be.  Mismatches are reply's. */
void trace_text_print(struct trace_columns *columns, struct reply *reply, const json_t *packet,
		      FILE *out);
void trace_text_head(struct trace_columns *columns, FILE *out);

/* The decision in a sentence: the comment on a captured packet. */
void trace_text_comment(struct buf *buf, struct reply *reply, const json_t *packet);

/* RFC 3339 in UTC, as loomd writes it, to ns since 1970.  0 or -EINVAL. */
int trace_text_time(const char *text, uint64_t *ret_ns);

/* RFC 4648 section 4, onto buf.  0 or -EINVAL. */
int trace_text_base64(const char *text, struct buf *buf);

#endif
