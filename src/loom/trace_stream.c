#include "trace_stream.h"

#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>

static volatile sig_atomic_t interrupted;

static void on_signal(int signal)
{
	(void)signal;
	interrupted = 1;
}

void trace_stream_catch_signals(void)
{
	struct sigaction action = { .sa_handler = on_signal, .sa_flags = (int)SA_RESETHAND };

	sigaction(SIGINT, &action, NULL);
	sigaction(SIGTERM, &action, NULL);
}

static int show(struct trace_stream *stream, const json_t *line)
{
	if (!stream->session->options.json)
		return stream->print(stream, line);
	if (session_write_json(stream->session, line, JSON_COMPACT, stdout) < 0)
		return err_set(stream->reply.err, -ENOMEM, "cannot print: out of memory");
	putchar('\n');
	return 0;
}

static bool on_line(void *ctx, const json_t *line)
{
	struct trace_stream *stream = ctx;
	const char *event = reply_text(&stream->reply, line, "event");

	if (stream->result < 0)
		return false;
	if (strcmp(event, "end") == 0) {
		stream->lost = reply_count(&stream->reply, line, "lost");
		stream->result = stream->session->options.json ? show(stream, line)
							       : reply_result(&stream->reply);
	} else if (strcmp(event, stream->event) == 0) {
		stream->events++;
		stream->result = show(stream, line);
	} else {
		stream->result = reply_result(&stream->reply); /* of a later version */
	}
	return stream->result == 0 && !ferror(stdout);
}

static void on_pause(void *ctx)
{
	struct trace_stream *stream = ctx;

	if (fflush(stream->out) != 0 && stream->result == 0)
		stream->result = err_set(stream->reply.err, -EIO, "cannot write the trace: %s",
					 strerror(errno));
}

int trace_stream_follow(struct trace_stream *stream, const char *path, struct err *err)
{
	const struct client_lines lines = { on_line, on_pause, stream, &interrupted };
	int r;

	fflush(stdout);
	r = client_stream(stream->session->client, path, &lines, err);
	return r < 0 ? r : stream->result;
}

void trace_stream_print_end(const struct trace_stream *stream)
{
	fprintf(stderr, "loom: %" PRIu64 " %s%s", stream->events, stream->event,
		stream->events == 1 ? "" : "s");
	if (stream->lost)
		fprintf(stderr, "; %" PRIu64 " more were lost: %s", stream->lost, stream->narrow);
	fputc('\n', stderr);
}
