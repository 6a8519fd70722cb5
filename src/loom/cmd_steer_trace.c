#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/buf.h"
#include "base/clock.h"
#include "steer_ask.h"
#include "text.h"
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

/* A trace under way. */
struct steer_trace {
	const struct session *session;
	struct reply reply;
	uint64_t decisions;
	uint64_t lost;
	int result; /* 0 or -errno: what ended it */
};

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

static void catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static void add(struct buf *path, const char *name, const char *value)
{
	char *escaped = value ? client_escape(value) : NULL;

	if (!value)
		return;
	path->failed |= !escaped;
	buf_printf(path, "&%s=%s", name, escaped ? escaped : "");
	free(escaped);
}

static void add_number(struct buf *path, const char *name, const struct args_number *number)
{
	if (number->given)
		buf_printf(path, "&%s=%" PRIu64, name, number->value);
}

static char *make_path(const struct steer_trace_options *options, const char *group,
		       struct err *err)
{
	char *base = steer_ask_path(group, "trace", err);
	struct buf path;
	char *text;
	char *mark;

	buf_init(&path);
	path.failed |= !base;
	buf_printf(&path, "%s", base ? base : "");
	add(&path, "duration", options->duration);
	add(&path, "source", options->source);
	add_number(&path, "port", &options->port);
	add_number(&path, "sample", &options->sample);
	add_number(&path, "limit", &options->count);
	free(base);
	text = buf_take(&path);
	mark = text ? strchr(text, '&') : NULL;
	if (mark)
		*mark = '?';
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

static int print_decision(struct reply *reply, const json_t *decision)
{
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

static int show(struct steer_trace *trace, const json_t *line)
{
	if (!trace->session->options.json)
		return print_decision(&trace->reply, line);
	if (session_write_json(trace->session, line, JSON_COMPACT, stdout) < 0)
		return err_set(trace->reply.err, -ENOMEM, "cannot print: out of memory");
	putchar('\n');
	return 0;
}

static bool on_line(void *ctx, const json_t *line)
{
	struct steer_trace *trace = ctx;
	const char *event = reply_text(&trace->reply, line, "event");

	if (trace->result < 0)
		return false;
	if (strcmp(event, "end") == 0) {
		trace->lost = reply_count(&trace->reply, line, "lost");
		trace->result = trace->session->options.json ? show(trace, line)
							     : reply_result(&trace->reply);
	} else if (strcmp(event, "decision") == 0) {
		trace->decisions++;
		trace->result = show(trace, line);
	} else {
		trace->result = reply_result(&trace->reply); /* of a later version */
	}
	return trace->result == 0 && !ferror(stdout);
}

static void on_pause(void *ctx)
{
	struct steer_trace *trace = ctx;

	if (fflush(stdout) != 0 && trace->result == 0)
		trace->result = err_set(trace->reply.err, -EIO, "cannot write the trace: %s",
					strerror(errno));
}

static int trace(struct session *session, const void *ctx, char **operands, size_t count)
{
	struct err err = { 0 };
	struct steer_trace trace = { .session = session,
				     .reply = { "GET /steer/groups/NAME/trace", &err } };
	const struct client_lines lines = { on_line, on_pause, &trace, &interrupted };
	char *path = make_path(ctx, operands[0], &err);
	int r = -ENOMEM;

	if (path) {
		catch_signals();
		if (!session->options.json)
			print_head();
		fflush(stdout);
		r = client_stream(session->client, path, &lines, &err);
	}
	free(path);
	if (r == 0)
		r = trace.result;
	if (r < 0)
		return session_fail(session, &err);
	fflush(stdout);
	if (!session->options.json) {
		fprintf(stderr, "loom: %" PRIu64 " decision%s", trace.decisions,
			trace.decisions == 1 ? "" : "s");
		if (trace.lost)
			fprintf(stderr, "; %" PRIu64 " more were lost: use --source or --sample",
				trace.lost);
		fputc('\n', stderr);
	}
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
