#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "backend.h"
#include "base/clock.h"
#include "human.h"
#include "reply.h"

#define BACKENDS_PATH "/ebpf/backends"
#define STATS_PATH    "/ebpf/backends/stats"

/* The reading before, for rates: COUNTS by their id as text. */
struct backends_state {
	json_t *counts; /* owned; NULL before the first */
	uint64_t at_ns;
};

static enum term_colour state_colour(const char *state, const char *hop)
{
	if (strcmp(hop, "unreachable") == 0 || strcmp(state, "reset") == 0)
		return TERM_BAD;
	if (strcmp(state, "active") != 0 || strcmp(hop, "resolved") != 0)
		return TERM_WARN;
	return TERM_PLAIN;
}

static char *id_key(uint64_t id, char text[24])
{
	snprintf(text, 24, "%" PRIu64, id);
	return text;
}

/* The COUNTS of an answer of /ebpf/backends/stats, by id; owned.  NULL with err on failure. */
static json_t *index_counts(const json_t *answer, struct err *err)
{
	struct reply reply = { "GET " STATS_PATH, err };
	json_t *index = json_object();
	json_t *counts;
	char key[24];
	size_t i;

	if (!index) {
		err_set(err, -ENOMEM, "cannot read loomd's answer: out of memory");
		return NULL;
	}
	json_array_foreach(reply_array(&reply, answer, "backends"), i, counts)
	{
		if (json_object_set(index, id_key(reply_count(&reply, counts, "id"), key), counts))
			err_set(err, -ENOMEM, "cannot read loomd's answer: out of memory");
	}
	if (!err->code)
		return index;
	json_decref(index);
	return NULL;
}

/* "1.2 M" as a sum, "1.2 kpps" with a reading before that knew the backend. */
static void add_count(struct table *table, struct reply *reply, const json_t *now,
		      const json_t *before, const char *path, uint64_t elapsed_ns)
{
	bool bytes = strncmp(path, "bytes", 5) == 0;
	bool packets = strncmp(path, "packets", 7) == 0;
	uint64_t value = reply_count(reply, now, path);
	char text[HUMAN_LEN];
	double rate;

	if (!elapsed_ns) {
		human_si((double)value, bytes ? "B" : "", text);
	} else {
		rate = before ? human_rate(reply_count(reply, before, path), value, elapsed_ns)
			      : NAN;
		human_si(bytes ? 8 * rate : rate, bytes ? "bit/s" : packets ? "pps" : "/s", text);
	}
	table_cell(table, TERM_PLAIN, "%s", text);
}

static void add_hop(struct table *table, struct reply *reply, const json_t *backend,
		    enum term_colour colour)
{
	const char *hop = reply_text(reply, backend, "next_hop.state");
	const char *interface = reply_text_or(reply, backend, "next_hop.interface", "");
	const char *mac = reply_text_or(reply, backend, "next_hop.mac", "");

	if (strcmp(hop, "resolved") == 0)
		table_cell(table, colour, "%s %s", mac, interface);
	else
		table_cell(table, colour, "%s%s%s", hop, *interface ? " on " : "", interface);
}

static void add_state(struct table *table, struct reply *reply, const json_t *backend,
		      enum term_colour colour)
{
	const char *state = reply_text(reply, backend, "state");
	double deadline = reply_number_or(reply, backend, "deadline_seconds", -1);
	char text[HUMAN_LEN];

	if (deadline < 0)
		table_cell(table, colour, "%s", state);
	else
		table_cell(table, colour, "%s, %s left", state, human_seconds(deadline, text));
}

static void add_health(struct table *table, struct reply *reply, const json_t *backend)
{
	const char *health = reply_text(reply, backend, "health.state");

	table_cell(table, strcmp(health, "unhealthy") == 0 ? TERM_BAD : TERM_PLAIN, "%s", health);
}

static void add_row(struct table *table, struct reply *reply, const json_t *backend,
		    const json_t *counts, const struct backends_state *before, uint64_t elapsed_ns)
{
	static const char *const paths[] = { "connections.total", "packets.to", "packets.from",
					     "bytes.to", "bytes.from" };
	uint64_t id = reply_count(reply, backend, "id");
	enum term_colour colour = state_colour(reply_text(reply, backend, "state"),
					       reply_text(reply, backend, "next_hop.state"));
	const json_t *now;
	struct buf target;
	char text[HUMAN_LEN];
	char key[24];
	size_t i;

	buf_init(&target);
	backend_format(reply, backend, &target);
	table_row(table);
	table_cell(table, colour, "%" PRIu64, id);
	table_cell(table, colour, "%s", reply_text(reply, backend, "service"));
	table_cell(table, colour, "%s", target.data ? target.data : "");
	table_cell(table, colour, "%" PRIu64, reply_count(reply, backend, "weight"));
	add_state(table, reply, backend, colour);
	add_health(table, reply, backend);
	add_hop(table, reply, backend, colour);
	table_cell(table, TERM_PLAIN, "%s",
		   human_si((double)reply_count(reply, backend, "connections_active"), "", text));
	/* One that came or went between the two requests has no counts. */
	now = json_object_get(counts, id_key(id, key));
	reply->what = "GET " STATS_PATH;
	for (i = 0; now && i < sizeof(paths) / sizeof(paths[0]); i++)
		add_count(table, reply, now, json_object_get(before->counts, key), paths[i],
			  elapsed_ns);
	reply->what = "GET " BACKENDS_PATH;
	buf_done(&target);
}

static int print(struct session *session, const json_t *answer, json_t *counts,
		 struct backends_state *before, FILE *out, struct err *err)
{
	static const struct table_column columns[] = {
		{ "ID", true },
		{ "SERVICE" },
		{ "BACKEND" },
		{ "WEIGHT", true },
		{ "STATE" },
		{ "HEALTH" },
		{ "NEXT HOP" },
		{ "ACTIVE", true },
		{ "CONNS", true },
		{ "PACKETS TO", true },
		{ "PACKETS FROM", true },
		{ "BYTES TO", true },
		{ "BYTES FROM", true },
	};
	struct reply reply = { "GET " BACKENDS_PATH, err };
	struct table *table = session_table(session, columns, 13);
	uint64_t now_ns = clock_now_ns();
	uint64_t elapsed_ns = before->at_ns ? now_ns - before->at_ns : 0;
	const json_t *backend;
	size_t i;

	json_array_foreach(reply_array(&reply, answer, "backends"), i, backend)
		add_row(table, &reply, backend, counts, before, elapsed_ns);
	if (reply_result(&reply) < 0) {
		table_free(table);
		return reply_result(&reply);
	}
	json_decref(before->counts);
	before->counts = json_incref(counts);
	before->at_ns = now_ns;
	if (!i)
		fputs("no backends; add one with 'loom backends add ADDRESS:PORT'\n", out);
	return session_print_table(table, out, err);
}

/* BACKENDs as they are, each with its COUNTS as "stats". */
static int print_json(struct session *session, json_t *answer, const json_t *counts, FILE *out,
		      struct err *err)
{
	struct reply reply = { "GET " BACKENDS_PATH, err };
	json_t *backend;
	char key[24];
	size_t i;

	json_array_foreach(reply_array(&reply, answer, "backends"), i, backend)
	{
		uint64_t id = reply_count(&reply, backend, "id");
		json_t *one = json_object_get(counts, id_key(id, key));

		if (one && json_object_set(backend, "stats", one))
			return err_set(err, -ENOMEM, "cannot print: out of memory");
	}
	if (reply_result(&reply) < 0)
		return reply_result(&reply);
	return session_print_json(session, answer, out, err);
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	json_t *answer = NULL;
	json_t *stats = NULL;
	json_t *counts = NULL;
	int r;

	r = client_get(session->client, BACKENDS_PATH, &answer, err);
	if (!r)
		r = client_get(session->client, STATS_PATH, &stats, err);
	if (!r) {
		counts = index_counts(stats, err);
		r = err->code;
	}
	if (!r)
		r = session->options.json ? print_json(session, answer, counts, out, err)
					  : print(session, answer, counts, ctx, out, err);
	json_decref(answer);
	json_decref(stats);
	json_decref(counts);
	return r;
}

static int backends(struct session *session, const void *options, char **operands, size_t count)
{
	struct backends_state before = { 0 };
	int r = session_watch(session, draw, &before);

	json_decref(before.counts);
	return r;
}

const struct verb cmd_backends = {
	.name = "backends",
	.operands = "",
	.summary = "List the backends",
	.help = "With --watch, sums become rates from the second reading on.  In JSON, each "
		"backend\n"
		"has its counts as \"stats\".\n",
	.watchable = true,
	.run = backends,
};
