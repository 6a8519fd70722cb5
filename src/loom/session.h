/* session.h - one run of the tool: its options, its connection to loomd, its output.
 * Layer: loom.  Threads: one.  Blocks: on standard output and in watch. */
#ifndef LOOM_SESSION_H
#define LOOM_SESSION_H

#include <jansson.h>
#include <stdbool.h>
#include <stdio.h>

#include "args.h"
#include "base/err.h"
#include "client.h"
#include "table.h"
#include "term.h"

/* The tool's exit codes (loom(1)). */
enum session_exit {
	SESSION_OK = 0,
	SESSION_REFUSED = 1,	 /* loomd refused, or its answer cannot be used */
	SESSION_USAGE = 2,	 /* the command line makes no sense; nothing was sent */
	SESSION_UNREACHABLE = 3, /* loomd did not answer */
	SESSION_NOT_READY = 4,	 /* status: loomd answers, the data path does not stand */
};

struct session_options {
	const char *instance;
	const char *socket;
	const char *url;
	const char *token_file;
	bool json;
	struct args_seconds watch;
	bool help;
	bool version;
};

struct session {
	struct session_options options;
	struct client *client; /* NULL in verbs that need none */
	struct term term;
};

/* Prints err's sentence, all of a refusal, on standard error; returns the exit code for it. */
int session_fail(const struct session *session, const struct err *err);

/* Prints a usage error and where help is; returns SESSION_USAGE. */
int session_usage(const char *verb, const struct err *err);

/* Prints json as one document: indented for a terminal, one line for a program.  Returns 0 or
 * -ENOMEM. */
int session_print_json(const struct session *session, const json_t *json, FILE *out,
		       struct err *err);

/* A part of a document, without a newline; flags are jansson's.  0 or -ENOMEM. */
int session_write_json(const struct session *session, const json_t *json, size_t flags, FILE *out);

/* A table for this session's terminal; see table_new(). */
struct table *session_table(const struct session *session, const struct table_column *columns,
			    size_t count);
/* Prints table and frees it.  0 or -ENOMEM with err. */
int session_print_table(struct table *table, FILE *out, struct err *err);

/* Prints one reading.  Returns an exit code, or -errno with err. */
typedef int session_draw_fn(struct session *session, FILE *out, void *ctx, struct err *err);

/* Calls draw once, or with --watch again and again: over the last frame on a terminal, after it
 * elsewhere.  The first reading must succeed; later failures are shown, and tried again.  Returns
 * the exit code. */
int session_watch(struct session *session, session_draw_fn *draw, void *ctx);

#endif
