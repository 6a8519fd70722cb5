#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "query.h"
#include "steer_ask.h"
#include "text.h"
#include "trace_stream.h"
#include "trace_text.h"

struct steer_trace_options {
	const char *duration;
	const char *source;
	struct args_number port;
	struct args_number sample;
	struct args_number count;
};

#define OPTION(member) offsetof(struct steer_trace_options, member)

static const struct args_option trace_options[] = {
	{ "duration", 0, ARGS_TEXT, OPTION(duration), "TIME", "end after 1s to 1h (default: 10s)" },
	{ "source", 0, ARGS_TEXT, OPTION(source), "ADDR", "only from this address" },
	{ "port", 0, ARGS_NUMBER, OPTION(port), "N", "only from this port of the source", 1,
	  65535 },
	{ "sample", 0, ARGS_NUMBER, OPTION(sample), "N", "of these, one in N", 1, UINT16_MAX },
	{ "count", 0, ARGS_NUMBER, OPTION(count), "N", "end after so many decisions", 1,
	  UINT32_MAX },
	{ 0 },
};

static char *make_path(const struct steer_trace_options *options, const char *group,
		       struct err *err)
{
	char *base = steer_ask_path(group, "trace", err);
	struct buf path;
	char *text;

	buf_init(&path);
	path.failed |= !base;
	buf_printf(&path, "%s", base ? base : "");
	query_add(&path, "duration", options->duration);
	query_add(&path, "source", options->source);
	query_add_number(&path, "port", &options->port);
	query_add_number(&path, "sample", &options->sample);
	query_add_number(&path, "limit", &options->count);
	free(base);
	text = buf_take(&path);
	if (!text)
		err_set(err, -ENOMEM, "cannot trace: out of memory");
	return text;
}

static void print_cell(const char *text, int width)
{
	struct buf safe;

	buf_init(&safe);
	text_append(&safe, text, false);
	printf("%-*s  ", width, safe.data ? safe.data : "");
	buf_done(&safe);
}

/* The time of day here, to the microsecond. */
static void print_time(const char *given)
{
	char text[32];
	uint64_t ns;
	time_t seconds;
	struct tm tm;
	size_t len;

	if (trace_text_time(given, &ns) < 0) {
		print_cell(given, 15);
		return;
	}
	seconds = (time_t)(ns / NSEC_PER_SEC);
	len = strftime(text, sizeof(text), "%H:%M:%S", localtime_r(&seconds, &tm));
	snprintf(text + len, sizeof(text) - len, ".%06u", (unsigned int)(ns % NSEC_PER_SEC / 1000));
	print_cell(text, 15);
}

/* Nobody, or unknown, is null. */
static void print_slot(struct reply *reply, const json_t *decision, const char *name)
{
	double slot = reply_number_or(reply, decision, name, -1);
	char text[16];

	snprintf(text, sizeof(text), "%.0f", slot);
	print_cell(slot < 0 ? "-" : text, 6);
}

static void print_head(void)
{
	printf("%-15s  %-21s  %-21s  %-6s  %-6s  %-6s  %-8s  %-16s  %s\n", "TIME", "SOURCE",
	       "DESTINATION", "KERNEL", "POLICY", "CHOSEN", "MODE", "WHY", "LENGTH");
}

static int print_decision(struct trace_stream *stream, const json_t *decision)
{
	struct reply *reply = &stream->reply;

	print_time(reply_text(reply, decision, "time"));
	print_cell(reply_text(reply, decision, "source"), 21);
	print_cell(reply_text(reply, decision, "destination"), 21);
	print_slot(reply, decision, "kernel_slot");
	print_slot(reply, decision, "policy_slot");
	print_slot(reply, decision, "chosen_slot");
	print_cell(reply_text(reply, decision, "mode"), 8);
	print_cell(reply_text(reply, decision, "reason"), 16);
	printf("%" PRIu64 "%s\n", reply_count(reply, decision, "length"),
	       reply_bool(reply, decision, "migrated") ? ", migrated" : "");
	return reply_result(reply);
}

static int trace(struct session *session, const void *ctx, char **operands, size_t count)
{
	struct err err = { 0 };
	struct trace_stream stream = { .session = session,
				       .reply = { "GET /steer/groups/NAME/trace", &err },
				       .event = "decision",
				       .narrow = "use --source or --sample",
				       .print = print_decision,
				       .out = stdout };
	char *path = make_path(ctx, operands[0], &err);
	int r = -ENOMEM;

	if (path) {
		trace_stream_catch_signals();
		if (!session->options.json)
			print_head();
		r = trace_stream_follow(&stream, path, &err);
	}
	free(path);
	if (r < 0)
		return session_fail(session, &err);
	fflush(stdout);
	if (!session->options.json)
		trace_stream_print_end(&stream);
	return SESSION_OK;
}

const struct verb cmd_steer_trace = {
	.name = "steer trace",
	.operands = "GROUP",
	.summary = "Show decisions as they are made",
	.help = "KERNEL: whom the kernel's hash chooses; POLICY: whom the policy chooses; CHOSEN:\n"
		"who gets it.  Ctrl-C ends it.\n",
	.options = trace_options,
	.options_size = sizeof(struct steer_trace_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = trace,
};
