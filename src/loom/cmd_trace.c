#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "pcapng.h"
#include "query.h"
#include "trace_stream.h"
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

/* Where a trace goes. */
struct trace {
	struct trace_columns columns;
	struct pcapng *pcapng; /* owned; NULL: print */
	FILE *file;	       /* of pcapng; owned unless it is standard output */
};

static char *make_path(const struct trace_options *options)
{
	struct buf path;

	buf_init(&path);
	buf_printf(&path, "/ebpf/trace?frames=%s", options->write ? "true" : "false");
	query_add(&path, "duration", options->duration);
	query_add(&path, "address", options->address);
	query_add_number(&path, "port", &options->port);
	query_add(&path, "proto", options->proto);
	query_add_number(&path, "backend", &options->backend);
	query_add(&path, "only", options->drops ? "drops" : NULL);
	query_add_number(&path, "sample", &options->sample);
	query_add_number(&path, "limit", &options->count);
	return buf_take(&path);
}

static int capture(struct pcapng *pcapng, struct reply *reply, const json_t *packet)
{
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
	else if ((r = pcapng_write(pcapng, &frame)) < 0)
		err_set(reply->err, r, "cannot write the capture: %s", strerror(-r));
	buf_done(&comment);
	buf_done(&bytes);
	return r;
}

static int print_packet(struct trace_stream *stream, const json_t *packet)
{
	struct trace *trace = stream->ctx;

	if (trace->pcapng)
		return capture(trace->pcapng, &stream->reply, packet);
	trace_text_print(&trace->columns, &stream->reply, packet, stdout);
	return reply_result(&stream->reply);
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

static int follow(struct trace_stream *stream, const struct trace_options *options, struct err *err)
{
	struct trace *trace = stream->ctx;
	char *path = make_path(options);
	int r;

	if (!path)
		return err_set(err, -ENOMEM, "cannot trace: out of memory");
	if (!options->write && !stream->session->options.json)
		trace_text_head(&trace->columns, stdout);
	r = trace_stream_follow(stream, path, err);
	free(path);
	return r;
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
	struct err closing = { 0 };
	struct trace trace = { 0 };
	struct trace_stream stream = { .session = session,
				       .reply = { "GET /ebpf/trace", &err },
				       .event = "packet",
				       .narrow = "narrow the filter, or use --sample",
				       .print = print_packet,
				       .ctx = &trace,
				       .out = stdout };
	int r = check_options(session, options, &err);

	(void)operands, (void)count;
	if (r < 0)
		return session_usage("trace", &err);
	if (options->write)
		r = open_file(&trace, options->write, &err);
	if (r == 0) {
		stream.out = trace.file ? trace.file : stdout;
		trace_stream_catch_signals();
		r = follow(&stream, options, &err);
	}
	if (close_file(&trace, options->write, &closing) < 0 && r == 0) {
		r = closing.code;
		err = closing;
	}
	if (r < 0)
		return session_fail(session, &err);
	fflush(stdout);
	if (!session->options.json)
		trace_stream_print_end(&stream);
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
