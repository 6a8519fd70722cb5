#include "verb.h"

#include <inttypes.h>
#include <errno.h>
#include <math.h>
#include <string.h>

#include "human.h"
#include "reply.h"
#include "totals.h"

/* The reading before, for rates. */
struct stats_state {
	struct totals totals;
	json_t *reasons; /* owned; NULL before the first */
};

static enum term_colour action_colour(const char *action, uint64_t packets)
{
	if (!packets)
		return TERM_FAINT;
	return strcmp(action, "drop") == 0 ? TERM_BAD : TERM_PLAIN;
}

static void print_totals(struct table *table, const struct totals *now, const struct totals *before)
{
	table_row(table);
	table_cell(table, TERM_PLAIN, "packets");
	totals_packets(table, now, before);
	table_row(table);
	table_cell(table, TERM_PLAIN, "bytes");
	totals_bytes(table, now, before);
}

/* Growth since the reading before; NAN where there is nothing to compare with. */
static double rate(const struct stats_state *state, const char *reason, const char *member,
		   uint64_t now, uint64_t elapsed_ns)
{
	const json_t *before = json_object_get(json_object_get(state->reasons, reason), member);

	if (!json_is_integer(before) || json_integer_value(before) < 0)
		return NAN;
	return human_rate((uint64_t)json_integer_value(before), now, elapsed_ns);
}

static void add_reason(struct table *table, struct reply *reply, const char *name,
		       const json_t *reason, const struct stats_state *state, uint64_t elapsed_ns)
{
	uint64_t packets = reply_count(reply, reason, "packets");
	uint64_t bytes = reply_count(reply, reason, "bytes");
	const char *action = reply_text(reply, reason, "action");
	enum term_colour colour = action_colour(action, packets);
	char text[HUMAN_LEN];

	table_row(table);
	table_cell(table, colour, "%s", name);
	table_cell(table, colour, "%s", action);
	table_cell(table, colour, "%s", human_si((double)packets, "", text));
	table_cell(table, colour, "%s", human_si((double)bytes, "B", text));
	if (!state->reasons)
		return;
	table_cell(table, colour, "%s",
		   human_si(rate(state, name, "packets", packets, elapsed_ns), "pps", text));
	table_cell(table, colour, "%s",
		   human_si(8 * rate(state, name, "bytes", bytes, elapsed_ns), "bit/s", text));
}

static int print(struct session *session, json_t *answer, struct stats_state *state, FILE *out,
		 struct err *err)
{
	static const struct table_column columns[] = {
		{ "REASON" },	   { "ACTION" },     { "PACKETS", true },
		{ "BYTES", true }, { "RATE", true }, { "BIT RATE", true },
	};
	static const struct table_column plain[] = { { NULL }, { NULL } };
	struct reply reply = { "GET /ebpf/stats", err };
	struct table *sums = session_table(session, plain, 2);
	struct table *table = session_table(session, columns, state->reasons ? 6 : 4);
	json_t *reasons = reply_object(&reply, answer, "reasons");
	struct totals now;
	json_t *reason;
	const char *name;
	int r;

	totals_read(&reply, answer, &now);
	print_totals(sums, &now, &state->totals);
	json_object_foreach(reasons, name, reason)
		add_reason(table, &reply, name, reason, state, now.at_ns - state->totals.at_ns);
	r = reply_result(&reply);
	if (!r)
		r = table_print(sums, out) ? err_set(err, -ENOMEM, "cannot print: out of memory")
					   : 0;
	if (!r) {
		putc('\n', out);
		r = table_print(table, out) ? err_set(err, -ENOMEM, "cannot print: out of memory")
					    : 0;
		json_decref(state->reasons);
		state->reasons = json_incref(reasons);
		state->totals = now;
	}
	table_free(sums);
	table_free(table);
	return r;
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	json_t *answer;
	int r = client_get(session->client, "/ebpf/stats", &answer, err);

	if (!r)
		r = session->options.json ? session_print_json(session, answer, out, err)
					  : print(session, answer, ctx, out, err);
	json_decref(answer);
	return r;
}

static int stats(struct session *session, const void *options, char **operands, size_t count)
{
	struct stats_state state = { 0 };
	int r = session_watch(session, draw, &state);

	json_decref(state.reasons);
	return r;
}

const struct verb cmd_stats = {
	.name = "stats",
	.operands = "",
	.summary = "Count packets and bytes by what became of them",
	.help = "With --watch, the sums become rates from the second reading on.\n",
	.watchable = true,
	.run = stats,
};
