#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "human.h"
#include "reply.h"
#include "totals.h"

/* From this fill level on a table is shown in colour. */
#define STATUS_FULL_PERCENT 90

/* All that is asked; owned.  While loomd is not ready some of it may be NULL. */
struct status_answers {
	json_t *ready;
	json_t *stats;
	json_t *backends;
	json_t *config;
};

static void answers_done(struct status_answers *answers)
{
	json_decref(answers->ready);
	json_decref(answers->stats);
	json_decref(answers->backends);
	json_decref(answers->config);
}

/* Returns 0 or -errno; *ret_ready tells what /ready said. */
static int ask(struct session *session, struct status_answers *ret, bool *ret_ready,
	       struct err *err)
{
	const struct {
		const char *path;
		json_t **answer;
	} rest[] = {
		{ "/ebpf/stats", &ret->stats },
		{ "/ebpf/backends", &ret->backends },
		{ "/config", &ret->config },
	};
	const struct client_request ready = { .method = "GET",
					      .path = "/ready",
					      .also_accept = 503 };
	struct reply reply = { "GET /ready", err };
	size_t i;
	int r;

	r = client_send(session->client, &ready, &ret->ready, err);
	if (r < 0)
		return r;
	*ret_ready = reply_bool(&reply, ret->ready, "ready");
	for (i = 0; i < 3 && !reply_result(&reply); i++) {
		r = client_get(session->client, rest[i].path, rest[i].answer, err);
		/* Before the data path stands, loomd has no numbers; its reason is what matters. */
		if (r == -EREMOTEIO && !*ret_ready)
			err->code = 0;
	}
	return reply_result(&reply);
}

static void row(struct table *table, const char *label)
{
	table_row(table);
	table_cell(table, TERM_FAINT, "%s", label);
}

static void add_interfaces(struct table *table, struct reply *reply, const json_t *stats)
{
	const json_t *interface;
	size_t i;

	json_array_foreach(reply_array(reply, stats, "interfaces"), i, interface)
	{
		row(table, i ? "" : "interfaces");
		table_cell(table, TERM_PLAIN, "%s, %s XDP, program %" PRIu64,
			   reply_text(reply, interface, "name"),
			   reply_text(reply, interface, "mode"),
			   reply_count(reply, interface, "program_id"));
	}
	if (!i) {
		row(table, "interfaces");
		table_cell(table, TERM_WARN, "none");
	}
}

static void add_connections(struct table *table, struct reply *reply, const json_t *stats,
			    const struct totals *now, const struct totals *before)
{
	json_t *states = reply_object(reply, stats, "connections.by_state");
	char active[HUMAN_LEN];
	char total[HUMAN_LEN];
	char one[HUMAN_LEN];
	const char *name;
	json_t *count;

	human_si((double)reply_count(reply, stats, "connections.active"), "", active);
	if (before->at_ns)
		human_si(human_rate(before->connections, now->connections,
				    now->at_ns - before->at_ns),
			 "new/s", total);
	else
		human_si((double)now->connections, "since start", total);
	row(table, "connections");
	table_cell(table, TERM_PLAIN, "%s active, %s", active, total);
	json_object_foreach(states, name, count)
	{
		uint64_t connections = reply_count(reply, states, name);

		if (!connections)
			continue;
		row(table, "");
		table_cell(table, TERM_FAINT, "%s %s", human_si((double)connections, "", one),
			   name);
	}
}

static void add_maps(struct table *table, struct reply *reply, const json_t *stats)
{
	json_t *maps = reply_object(reply, stats, "maps");
	const char *label = "tables";
	char entries[HUMAN_LEN];
	char room[HUMAN_LEN];
	char share[HUMAN_LEN];
	const char *name;
	json_t *map;

	json_object_foreach(maps, name, map)
	{
		uint64_t used = reply_count(reply, map, "entries");
		uint64_t max = reply_count(reply, map, "max_entries");
		bool full = max && (double)used >= (double)max * STATUS_FULL_PERCENT / 100;

		row(table, label);
		table_cell(table, full ? TERM_BAD : TERM_PLAIN, "%s: %s of %s (%s)", name,
			   human_si((double)used, "", entries), human_si((double)max, "", room),
			   human_share(used, max, share));
		label = "";
	}
}

/* Up: active, and its next hop is known. */
static void add_backends(struct table *table, struct reply *reply, const json_t *answer)
{
	const json_t *backend;
	size_t up = 0;
	size_t i;

	json_array_foreach(reply_array(reply, answer, "backends"), i, backend)
	{
		const char *state = reply_text(reply, backend, "state");
		const char *hop = reply_text(reply, backend, "next_hop.state");

		up += strcmp(state, "active") == 0 && strcmp(hop, "resolved") == 0;
	}
	row(table, "backends");
	table_cell(table, up == i ? TERM_PLAIN : up ? TERM_WARN : TERM_BAD, "%zu of %zu up", up, i);
}

static void add_ready(struct session *session, struct table *table,
		      const struct status_answers *answers, struct reply *reply, bool ready)
{
	char uptime[HUMAN_LEN] = "";

	if (answers->stats)
		human_seconds(reply_number(reply, answers->stats, "uptime_seconds"), uptime);
	row(table, "loomd");
	if (ready)
		table_cell(table, TERM_GOOD, "ready");
	else
		table_cell(table, TERM_BAD, "not ready: %s",
			   reply_text(reply, answers->ready, "reason"));
	if (!answers->stats)
		return;
	row(table, "version");
	table_cell(table, TERM_PLAIN, "%s, up %s, at %s",
		   reply_text(reply, answers->stats, "version"), uptime,
		   client_where(session->client));
}

static int print(struct session *session, const struct status_answers *answers, bool ready,
		 struct totals *before, FILE *out, struct err *err)
{
	static const struct table_column columns[] = { { NULL }, { NULL } };
	struct reply reply = { "GET /ready", err };
	struct table *table = session_table(session, columns, 2);
	struct totals now = { 0 };

	add_ready(session, table, answers, &reply, ready);
	if (answers->stats) {
		reply.what = "GET /ebpf/stats";
		totals_read(&reply, answers->stats, &now);
		add_interfaces(table, &reply, answers->stats);
		row(table, "packets");
		totals_packets(table, &now, before);
		row(table, "bytes");
		totals_bytes(table, &now, before);
		add_connections(table, &reply, answers->stats, &now, before);
		add_maps(table, &reply, answers->stats);
	}
	if (answers->backends) {
		reply.what = "GET /ebpf/backends";
		add_backends(table, &reply, answers->backends);
	}
	if (reply_result(&reply) < 0) {
		table_free(table);
		return reply_result(&reply);
	}
	*before = now;
	return session_print_table(table, out, err);
}

/* One document: what /ready says, and the other answers below names of their own. */
static int print_json(struct session *session, const struct status_answers *answers, FILE *out,
		      struct err *err)
{
	json_t *whole = json_deep_copy(answers->ready);
	json_t *backends = json_object_get(answers->backends, "backends");
	int r;

	if (!whole ||
	    json_object_set_new(whole, "where", json_string(client_where(session->client))) ||
	    (answers->stats && json_object_set(whole, "stats", answers->stats)) ||
	    (backends && json_object_set(whole, "backends", backends)))
		r = err_set(err, -ENOMEM, "cannot print loomd's answer: out of memory");
	else
		r = session_print_json(session, whole, out, err);
	json_decref(whole);
	return r;
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	struct status_answers answers = { 0 };
	bool ready = false;
	int r = ask(session, &answers, &ready, err);

	if (!r)
		r = session->options.json ? print_json(session, &answers, out, err)
					  : print(session, &answers, ready, ctx, out, err);
	answers_done(&answers);
	if (r < 0)
		return r;
	return ready ? SESSION_OK : SESSION_NOT_READY;
}

static int status(struct session *session, const void *options, char **operands, size_t count)
{
	struct totals before = { 0 };

	return session_watch(session, draw, &before);
}

const struct verb cmd_status = {
	.name = "status",
	.operands = "",
	.summary = "Show whether loomd is ready and what it does",
	.help = "Exit code 4: loomd answers, but is not ready.  With --watch, sums of packets,\n"
		"bytes and connections become rates from the second reading on.\n",
	.watchable = true,
	.run = status,
};
