#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "pcapng.h"
#include "reply.h"
#include "trace_text.h"

struct trace_options {
	const char *duration;
	const char *address;
	struct args_number port;
	const char *proto;
	struct args_number backend;
	bool drops;
	struct args_number sample;
	struct args_number count;
	const char *write;
};

#define OPTION(member) offsetof(struct trace_options, member)

static const struct args_option trace_options[] = {
	{ "duration", 0, ARGS_TEXT, OPTION(duration), "TIME", "end after 1s to 1h (default: 10s)" },
	{ "address", 0, ARGS_TEXT, OPTION(address), "CIDR",
	  "only from or to this host or network" },
	{ "port", 0, ARGS_NUMBER, OPTION(port), "N", "only from or to this port", 1, 65535 },
	{ "proto", 0, ARGS_TEXT, OPTION(proto), "NAME", "only tcp, udp, icmp or icmpv6" },
	{ "backend", 0, ARGS_NUMBER, OPTION(backend), "ID", "only of this backend", 1, UINT32_MAX },
	{ "drops", 0, ARGS_FLAG, OPTION(drops), NULL, "only packets that are dropped" },
	{ "sample", 0, ARGS_NUMBER, OPTION(sample), "N", "of these, one in N", 1, UINT32_MAX },
	{ "count", 0, ARGS_NUMBER, OPTION(count), "N", "end after so many packets", 1, UINT32_MAX },
	{ "write", 'w', ARGS_TEXT, OPTION(write), "FILE",
	  "write a pcapng file, the decision as each packet's\n"
	  "                             comment; - is standard output" },
	{ 0 },
};

static const char trace_help[] =
	"A packet from or to an address or port may have it as it comes, or as NAT writes it.\n"
	"There is one trace at a time.  Ctrl-C ends it.  What a busy balancer cannot tell of in\n"
	"time is counted as lost: narrow the filter, or use --sample.\n";

/* A trace under way. */
struct trace {
	struct session *session;
	struct reply reply;
	struct trace_columns columns;
	struct pcapng *pcapng; /* owned; NULL: print */
	FILE *file;	       /* of pcapng; owned unless it is standard output */
	uint64_t packets;
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
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESETHAND };

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

static char *make_path(const struct trace_options *options)
{
	struct buf path;

	buf_init(&path);
	buf_printf(&path, "/ebpf/trace?frames=%s", options->write ? "true" : "false");
	add(&path, "duration", options->duration);
	add(&path, "address", options->address);
	add_number(&path, "port", &options->port);
	add(&path, "proto", options->proto);
	add_number(&path, "backend", &options->backend);
	add(&path, "only", options->drops ? "drops" : NULL);
	add_number(&path, "sample", &options->sample);
	add_number(&path, "limit", &options->count);
	return buf_take(&path);
}

static int capture(struct trace *trace, const json_t *packet)
{
	struct reply *reply = &trace->reply;
	struct pcapng_packet frame = { .interface = reply_text(reply, packet, "interface") };
	struct buf comment;
	struct buf bytes;
	int r;

	buf_init(&comment);
	buf_init(&bytes);
	trace_text_comment(&comment, reply, packet);
	r = trace_text_base64(reply_text(reply, packet, "frame"), &bytes);
	if (r == 0)
		r = trace_text_time(reply_text(reply, packet, "time"), &frame.time_ns);
	frame.length = (uint32_t)reply_count(reply, packet, "length");
	frame.frame = (const uint8_t *)bytes.data;
	frame.captured = (uint32_t)bytes.len;
	frame.comment = comment.data;
	if (reply_result(reply) < 0)
		r = reply_result(reply);
	else if (r < 0)
		r = err_set(reply->err, -EBADMSG,
			    "cannot read loomd's answer to %s: a packet's time or frame is garbled",
			    reply->what);
	else if (buf_failed(&comment) || buf_failed(&bytes))
		r = err_set(reply->err, -ENOMEM, "cannot write the packet: out of memory");
	else if ((r = pcapng_write(trace->pcapng, &frame)) < 0)
		err_set(reply->err, r, "cannot write the capture: %s", strerror(-r));
	buf_done(&comment);
	buf_done(&bytes);
	return r;
}

static int show(struct trace *trace, const json_t *packet)
{
	if (trace->session->options.json) {
		if (session_write_json(trace->session, packet, JSON_COMPACT, stdout) < 0)
			return err_set(trace->reply.err, -ENOMEM, "cannot print: out of memory");
		putchar('\n');
		return 0;
	}
	if (trace->pcapng)
		return capture(trace, packet);
	trace_text_print(&trace->columns, &trace->reply, packet, stdout);
	return reply_result(&trace->reply);
}

static bool on_line(void *ctx, const json_t *line)
{
	struct trace *trace = ctx;
	const char *event = reply_text(&trace->reply, line, "event");

	if (trace->result < 0)
		return false;
	if (strcmp(event, "end") == 0) {
		trace->lost = reply_count(&trace->reply, line, "lost");
		trace->result = trace->session->options.json ? show(trace, line)
							     : reply_result(&trace->reply);
	} else if (strcmp(event, "packet") == 0) {
		trace->packets++;
		trace->result = show(trace, line);
	} else {
		trace->result = reply_result(&trace->reply); /* of a later version */
	}
	return trace->result == 0 && !ferror(stdout);
}

static void on_pause(void *ctx)
{
	struct trace *trace = ctx;

	if (fflush(trace->pcapng ? trace->file : stdout) != 0 && trace->result == 0)
		trace->result = err_set(trace->reply.err, -EIO, "cannot write the trace: %s",
					strerror(errno));
}

static int open_file(struct trace *trace, const char *path, struct err *err)
{
	bool is_stdout = strcmp(path, "-") == 0;

	trace->file = is_stdout ? stdout : fopen(path, "wbe");
	if (!trace->file)
		return err_set(err, -EIO, "cannot write %s: %s", path, strerror(errno));
	trace->pcapng = pcapng_new(trace->file, "loom " LOOM_VERSION);
	return trace->pcapng ? 0 : err_set(err, -EIO, "cannot write %s: %s", path, strerror(errno));
}

static int close_file(struct trace *trace, const char *path, struct err *err)
{
	pcapng_free(trace->pcapng);
	if (!trace->file || trace->file == stdout)
		return 0;
	return fclose(trace->file) == 0
		       ? 0
		       : err_set(err, -EIO, "cannot write %s: %s", path, strerror(errno));
}

/* On standard error: standard output may be a file that others read. */
static void print_end(const struct trace *trace)
{
	fprintf(stderr, "loom: %" PRIu64 " packet%s", trace->packets,
		trace->packets == 1 ? "" : "s");
	if (trace->lost)
		fprintf(stderr, "; %" PRIu64 " more were lost: narrow the filter, or use --sample",
			trace->lost);
	fputc('\n', stderr);
}

static int follow(struct trace *trace, const struct trace_options *options, struct err *err)
{
	const struct client_lines lines = { on_line, on_pause, trace, &interrupted };
	char *path = make_path(options);
	int r;

	if (!path)
		return err_set(err, -ENOMEM, "cannot trace: out of memory");
	if (!options->write && !trace->session->options.json)
		trace_text_head(&trace->columns, stdout);
	fflush(stdout);
	r = client_stream(trace->session->client, path, &lines, err);
	free(path);
	return r < 0 ? r : trace->result;
}

static int check_options(const struct session *session, const struct trace_options *options,
			 struct err *err)
{
	if (options->write && session->options.json)
		return err_set(err, -EINVAL, "cannot use --write with --json: leave one out");
	if (options->write && strcmp(options->write, "-") == 0 && isatty(STDOUT_FILENO))
		return err_set(err, -EINVAL,
			       "cannot write a capture to the terminal: name a file, or pipe it "
			       "into 'tshark -r -'");
	return 0;
}

static int trace(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct trace_options *options = ctx;
	struct err err = { 0 };
	struct trace trace = { .session = session, .reply = { "GET /ebpf/trace", &err } };
	struct err closing = { 0 };
	int r = check_options(session, options, &err);

	(void)operands, (void)count;
	if (r < 0)
		return session_usage("trace", &err);
	if (options->write)
		r = open_file(&trace, options->write, &err);
	if (r == 0) {
		catch_signals();
		r = follow(&trace, options, &err);
	}
	if (close_file(&trace, options->write, &closing) < 0 && r == 0) {
		r = closing.code;
		err = closing;
	}
	if (r < 0)
		return session_fail(session, &err);
	fflush(stdout);
	if (!session->options.json)
		print_end(&trace);
	return SESSION_OK;
}

const struct verb cmd_trace = {
	.name = "trace",
	.operands = "",
	.summary = "Show packets and what becomes of them",
	.help = trace_help,
	.options = trace_options,
	.options_size = sizeof(struct trace_options),
	.run = trace,
};
