/* trace_stream.h - follows a trace of loomd's, event by event, until it ends or a signal ends it.
 * Layer: loom.  Threads: one.  Blocks: until then. */
#ifndef LOOM_TRACE_STREAM_H
#define LOOM_TRACE_STREAM_H

#include <stdint.h>
#include <stdio.h>

#include "reply.h"
#include "session.h"

struct trace_stream {
	struct session *session;
	struct reply reply;
	const char *event;  /* what is told of: "packet" */
	const char *narrow; /* how less is lost: "use --sample" */
	/* Prints an event, unless JSON is wanted.  0, or -errno with reply.err. */
	int (*print)(struct trace_stream *stream, const json_t *event);
	void *ctx; /* print's own */
	FILE *out; /* that print writes */
	uint64_t events;
	uint64_t lost;
	int result; /* 0 or -errno: what ended it */
};

/* From now on SIGINT and SIGTERM end the trace, once. */
void trace_stream_catch_signals(void);

/* GETs path.  0; -errno with err. */
int trace_stream_follow(struct trace_stream *stream, const char *path, struct err *err);

/* How many there were, on standard error: standard output may be a file that others read. */
void trace_stream_print_end(const struct trace_stream *stream);

#endif
