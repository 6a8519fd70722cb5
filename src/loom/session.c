#include "session.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock.h"
#include "text.h"

#define SESSION_WATCH_S 2.0

static void print_sentence(FILE *out, const char *text)
{
	struct buf safe;

	buf_init(&safe);
	text_append(&safe, text, true);
	fprintf(out, "loom: %s\n", safe.data ? safe.data : "cannot go on: out of memory");
	buf_done(&safe);
}

static const char *sentence(const struct session *session, const struct err *err)
{
	return session && err->code == -EREMOTEIO ? client_refusal(session->client) : err->text;
}

int session_fail(const struct session *session, const struct err *err)
{
	fflush(stdout);
	print_sentence(stderr, sentence(session, err));
	switch (err->code) {
	case -EINVAL:
		return SESSION_USAGE;
	case -ENOTCONN:
		return SESSION_UNREACHABLE;
	default:
		return SESSION_REFUSED;
	}
}

int session_usage(const char *verb, const struct err *err)
{
	struct err whole;

	err_set(&whole, -EINVAL, "%s; see 'loom help%s%s'", err->text, verb ? " " : "",
		verb ? verb : "");
	return session_fail(NULL, &whole);
}

int session_write_json(const struct session *session, const json_t *json, size_t flags, FILE *out)
{
	/* jansson escapes C0 only; for a terminal everything beyond ASCII is escaped, too. */
	size_t ascii = session->term.is_terminal ? JSON_ENSURE_ASCII : 0;
	char *text = json ? json_dumps(json, flags | ascii | JSON_ENCODE_ANY) : NULL;
	const char *c;

	if (!text)
		return -ENOMEM;
	for (c = text; *c; c++) {
		if (*c == '\x7f') /* stands in strings only */
			fputs("\\u007f", out);
		else
			putc(*c, out);
	}
	free(text);
	return 0;
}

int session_print_json(const struct session *session, const json_t *json, FILE *out,
		       struct err *err)
{
	size_t flags = session->term.is_terminal ? JSON_INDENT(2) : 0;

	if (session_write_json(session, json, flags, out) < 0)
		return err_set(err, -ENOMEM, "cannot print loomd's answer: out of memory");
	putc('\n', out);
	return 0;
}

struct table *session_table(const struct session *session, const struct table_column *columns,
			    size_t count)
{
	return table_new(columns, count, session->term.colours);
}

int session_print_table(struct table *table, FILE *out, struct err *err)
{
	int r = table_print(table, out);

	table_free(table);
	return r < 0 ? err_set(err, r, "cannot print the table: out of memory") : 0;
}

/* One frame's text in *ret (owned by the caller), whatever draw returns. */
static int draw_frame(struct session *session, session_draw_fn *draw, void *ctx, char **ret,
		      struct err *err)
{
	size_t len = 0;
	FILE *out = open_memstream(ret, &len);
	int r;

	if (!out)
		return err_set(err, -ENOMEM, "cannot print: out of memory");
	r = draw(session, out, ctx, err);
	if (fclose(out) != 0 && r >= 0)
		return err_set(err, -ENOMEM, "cannot print: out of memory");
	return r;
}

static void sleep_seconds(double seconds)
{
	struct timespec rest = { .tv_sec = (time_t)seconds };

	rest.tv_nsec = (long)((seconds - (double)rest.tv_sec) * (double)NSEC_PER_SEC);
	while (nanosleep(&rest, &rest) < 0 && errno == EINTR)
		;
}

static void show_frame(const struct session *session, const char *frame, bool first)
{
	if (session->term.is_terminal) {
		term_draw(frame);
		return;
	}
	if (!first && !session->options.json)
		putchar('\n');
	fputs(frame, stdout);
	fflush(stdout);
}

/* What is shown when a later reading fails: loomd may be on its way back. */
static void show_failure(const struct session *session, const struct err *err)
{
	struct buf text;

	if (!session->term.is_terminal) {
		session_fail(session, err);
		return;
	}
	buf_init(&text);
	text_append(&text, sentence(session, err), true);
	term_draw(text.data ? text.data : "");
	buf_done(&text);
}

static int watch_on(struct session *session, session_draw_fn *draw, void *ctx)
{
	double pause = session->options.watch.value;
	bool first = true;

	for (;; sleep_seconds(pause > 0 ? pause : SESSION_WATCH_S)) {
		struct err err = { 0 };
		char *frame = NULL;
		int r = draw_frame(session, draw, ctx, &frame, &err);

		if (r < 0 && first) {
			free(frame);
			return session_fail(session, &err);
		}
		if (r < 0)
			show_failure(session, &err);
		else
			show_frame(session, frame, first);
		free(frame);
		if (ferror(stdout))
			return SESSION_REFUSED;
		first = false;
	}
}

int session_watch(struct session *session, session_draw_fn *draw, void *ctx)
{
	struct err err = { 0 };
	int r;

	if (session->options.watch.given)
		return watch_on(session, draw, ctx);
	r = draw(session, stdout, ctx, &err);
	return r < 0 ? session_fail(session, &err) : r;
}
