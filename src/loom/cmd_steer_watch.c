#include "verb.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "steer_ask.h"
#include "steer_screen.h"
#include "text.h"

#define WATCH_S 1.0

struct watch_options {
	struct args_seconds interval;
	struct args_number count;
};

static const struct args_option watch_options[] = {
	{ "interval", 0, ARGS_SECONDS, offsetof(struct watch_options, interval), "SECONDS",
	  "between two readings (default: 1)" },
	{ "count", 0, ARGS_NUMBER, offsetof(struct watch_options, count), "N",
	  "end after so many readings", 1, UINT32_MAX },
	{ 0 },
};

struct watch {
	struct session *session;
	const char *group;
	struct steer_screen *screen;
	bool live; /* on a terminal, over the frame before */
};

static int print(struct watch *watch, FILE *out, struct err *err)
{
	struct steer_read read;
	json_t *answer = NULL;
	size_t rows;
	size_t columns;
	int r = steer_ask_groups(watch->session, watch->group, &answer, &read, err);

	term_size(&rows, &columns);
	if (r < 0 || !read.group_count)
		goto done;
	if (watch->session->options.json)
		r = session_print_json(watch->session, answer, out, err);
	else if (watch->live)
		r = steer_screen_draw(watch->screen, watch->session, &read.groups[0], columns, out,
				      err);
	else
		r = steer_screen_line(watch->screen, watch->session, &read.groups[0], out, err);
done:
	steer_read_done(&read);
	json_decref(answer);
	return r;
}

static void show(const struct watch *watch, const char *text)
{
	if (watch->live) {
		term_draw(text);
		return;
	}
	fputs(text, stdout);
	fflush(stdout);
}

/* A reading that failed after one that did not: loomd may be on its way back. */
static void show_failure(const struct watch *watch, const struct err *err)
{
	struct buf text;

	if (!watch->live) {
		session_fail(watch->session, err);
		return;
	}
	buf_init(&text);
	text_append(&text,
		    err->code == -EREMOTEIO ? client_refusal(watch->session->client) : err->text,
		    true);
	buf_printf(&text, "\n\nq: quit; without loomd: loom steer fallback %s --direct\n",
		   watch->group);
	term_draw(text.data ? text.data : "");
	buf_done(&text);
}

static int read_once(struct watch *watch, struct err *err)
{
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	int r;

	if (!out)
		return err_set(err, -ENOMEM, "cannot print: out of memory");
	r = print(watch, out, err);
	if (fclose(out) != 0 && r == 0)
		r = err_set(err, -ENOMEM, "cannot print: out of memory");
	if (r == 0)
		show(watch, text);
	free(text);
	return r;
}

/* Waits out the interval.  False: the one at the keyboard has seen enough. */
static bool wait_for_next(const struct watch *watch, double seconds)
{
	uint64_t end = clock_now_ns() + (uint64_t)(seconds * (double)NSEC_PER_SEC);

	for (;;) {
		uint64_t now = clock_now_ns();
		int key;

		if (now >= end)
			return true;
		key = term_key((int)((end - now) / NSEC_PER_MSEC) + 1);
		if (watch->live && (key == 'q' || key == 'Q' || key == TERM_CTRL_C))
			return false;
	}
}

static int follow(struct watch *watch, const struct watch_options *options)
{
	double seconds = options->interval.value > 0 ? options->interval.value : WATCH_S;
	struct err err = { 0 };
	uint64_t readings = 1;

	if (read_once(watch, &err) < 0)
		return session_fail(watch->session, &err);
	while ((!options->count.given || readings++ < options->count.value) && !ferror(stdout) &&
	       wait_for_next(watch, seconds)) {
		err.code = 0;
		if (read_once(watch, &err) < 0)
			show_failure(watch, &err);
	}
	if (watch->live)
		term_leave();
	return SESSION_OK;
}

static int watch(struct session *session, const void *ctx, char **operands, size_t count)
{
	struct watch watch = {
		.session = session,
		.group = operands[0],
		.screen = steer_screen_new(),
		.live = session->term.is_terminal && !session->options.json,
	};
	struct err err = { 0 };
	int r;

	if (!watch.screen) {
		err_set(&err, -ENOMEM, "cannot watch: out of memory");
		return session_fail(session, &err);
	}
	if (watch.live)
		term_want_keys();
	r = follow(&watch, ctx);
	steer_screen_free(watch.screen);
	return r;
}

const struct verb cmd_steer_watch = {
	.name = "steer watch",
	.operands = "GROUP",
	.summary = "A live screen of a group",
	.help = "q or Ctrl-C ends it.  Where standard output is no terminal, each reading is a "
		"line;\nwith --json, the group's JSON.\n",
	.options = watch_options,
	.options_size = sizeof(struct watch_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = watch,
};
