/* health: what the checks say of each backend, and why. */
#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "backend.h"
#include "base/clock.h"
#include "human.h"
#include "reply.h"

#define HEALTH_PATH "/ebpf/health"

static enum term_colour health_colour(const char *state)
{
	if (strcmp(state, "unhealthy") == 0)
		return TERM_BAD;
	return strcmp(state, "healthy") == 0 ? TERM_GOOD : TERM_WARN;
}

/* "unhealthy, 2 of 8 to rise" while checks speak against the state. */
static void add_state(struct table *table, struct reply *reply, const json_t *backend)
{
	const char *state = reply_text(reply, backend, "state");
	uint64_t streak = reply_count(reply, backend, "streak");
	uint64_t needed = reply_count(reply, backend, "needed");
	bool down = strcmp(state, "unhealthy") == 0;

	if (streak)
		table_cell(table, health_colour(state), "%s, %" PRIu64 " of %" PRIu64 " to %s",
			   state, streak, needed, down ? "rise" : "fall");
	else
		table_cell(table, health_colour(state), "%s", state);
}

static void add_age(struct table *table, struct reply *reply, const json_t *backend,
		    const char *path)
{
	double at = reply_number_or(reply, backend, path, 0);
	double age = (double)clock_wall_s() - at;
	char text[HUMAN_LEN];

	table_cell(table, TERM_PLAIN, "%s", at > 0 ? human_seconds(age > 0 ? age : 0, text) : "-");
}

static void add_row(struct table *table, struct reply *reply, const json_t *backend)
{
	uint64_t withheld = reply_count(reply, backend, "withheld_permille");
	struct buf target;

	buf_init(&target);
	backend_format(reply, backend, &target);
	table_row(table);
	table_cell(table, TERM_PLAIN, "%" PRIu64, reply_count(reply, backend, "id"));
	table_cell(table, TERM_PLAIN, "%s", reply_text(reply, backend, "service"));
	table_cell(table, TERM_PLAIN, "%s", target.data ? target.data : "");
	table_cell(table, TERM_PLAIN, "%s :%" PRIu64, reply_text(reply, backend, "type"),
		   reply_count(reply, backend, "check_port"));
	add_state(table, reply, backend);
	add_age(table, reply, backend, "since");
	table_cell(table, TERM_PLAIN, "%" PRIu64 "%%", (1000 - withheld) / 10);
	table_cell(table, TERM_PLAIN, "%" PRIu64, reply_count(reply, backend, "checks"));
	table_cell(table, TERM_PLAIN, "%" PRIu64, reply_count(reply, backend, "failures"));
	table_cell(table, TERM_PLAIN, "%" PRIu64, reply_count(reply, backend, "falls"));
	add_age(table, reply, backend, "last_error_at");
	table_cell(table, TERM_PLAIN, "%s", reply_text_or(reply, backend, "last_error", "-"));
	buf_done(&target);
}

static void print_panics(struct reply *reply, const json_t *answer, struct table *table)
{
	const json_t *service;
	size_t i;

	json_array_foreach(reply_array(reply, answer, "services"), i, service)
	{
		if (!reply_bool(reply, service, "panic"))
			continue;
		table_row(table);
		table_cell(table, TERM_BAD,
			   "service %s panics: %" PRIu64 " of %" PRIu64
			   " backends are usable, less than %" PRIu64 "%%; all are used",
			   reply_text(reply, service, "name"),
			   reply_count(reply, service, "usable"),
			   reply_count(reply, service, "backends"),
			   reply_count(reply, service, "min_healthy_percent"));
	}
}

static int print(struct session *session, const json_t *answer, FILE *out, struct err *err)
{
	static const struct table_column columns[] = {
		{ "ID", true },	      { "SERVICE" },	 { "BACKEND" },	     { "CHECK" },
		{ "HEALTH" },	      { "SINCE", true }, { "SHARE", true },  { "CHECKS", true },
		{ "FAILURES", true }, { "FALLS", true }, { "FAILED", true }, { "LAST ERROR" },
	};
	static const struct table_column one[] = { { NULL } };
	struct reply reply = { "GET " HEALTH_PATH, err };
	struct table *panics = session_table(session, one, 1);
	struct table *table = session_table(session, columns, 12);
	const json_t *backend;
	size_t i;
	int r;

	print_panics(&reply, answer, panics);
	json_array_foreach(reply_array(&reply, answer, "backends"), i, backend)
		add_row(table, &reply, backend);
	if (reply_result(&reply) < 0) {
		table_free(panics);
		table_free(table);
		return reply_result(&reply);
	}
	r = session_print_table(panics, out, err);
	if (r < 0 || !i) {
		table_free(table);
		if (!i)
			fputs("no backend is checked; see 'upstreams' in loom.yaml(5)\n", out);
		return r;
	}
	return session_print_table(table, out, err);
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	json_t *answer;
	int r = client_get(session->client, HEALTH_PATH, &answer, err);

	if (!r)
		r = session->options.json ? session_print_json(session, answer, out, err)
					  : print(session, answer, out, err);
	json_decref(answer);
	return r;
}

static int health(struct session *session, const void *options, char **operands, size_t count)
{
	return session_watch(session, draw, NULL);
}

const struct verb cmd_health = {
	.name = "health",
	.operands = "",
	.summary = "Show what health checks say of the backends",
	.help = "SHARE is what slow start leaves of a backend's weight; FAILED how long ago a "
		"check\n"
		"failed last, and LAST ERROR why.\n",
	.watchable = true,
	.run = health,
};
