/* steer audit, history, capabilities: what was, and what this kernel can do. */
#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "human.h"
#include "steer_ask.h"
#include "steer_past.h"

/* GETs action of a group (NULL: of none), and prints it as JSON or by print. */
static int show(struct session *session, const char *group, const char *action,
		int (*print)(struct session *session, const json_t *answer, struct err *err))
{
	struct err err = { 0 };
	json_t *answer = NULL;
	int r = group ? steer_ask(session, group, action, &answer, &err)
		      : client_get(session->client, action, &answer, &err);

	if (r == 0)
		r = session->options.json ? session_print_json(session, answer, stdout, &err)
					  : print(session, answer, &err);
	json_decref(answer);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

static int print_audit(struct session *session, const json_t *answer, struct err *err)
{
	static const struct table_column columns[] = {
		{ "TIME" }, { "FROM" }, { "TO" }, { "BY" }, { "REASON" }, { "NUMBERS" },
	};
	struct reply reply = { "GET /steer/groups/NAME/audit", err };
	const json_t *list = reply_array(&reply, answer, "audit");
	struct table *table;
	const json_t *json;
	size_t i;

	if (reply_result(&reply) < 0)
		return reply_result(&reply);
	table = session_table(session, columns, 6);
	json_array_foreach(list, i, json)
	{
		struct steer_past_record record;

		steer_past_record(json, &record);
		table_row(table);
		table_cell(table, TERM_PLAIN, "%s", record.time);
		table_cell(table, TERM_PLAIN, "%s", record.from);
		table_cell(table, strcmp(record.actor, "guard") == 0 ? TERM_WARN : TERM_PLAIN, "%s",
			   record.to);
		table_cell(table, TERM_PLAIN, "%s", record.actor);
		table_cell(table, TERM_PLAIN, "%s", record.reason);
		table_cell(table, TERM_FAINT, "%s", record.numbers);
	}
	if (!i)
		fputs("nothing has happened yet\n", stdout);
	return session_print_table(table, stdout, err);
}

static int audit(struct session *session, const void *options, char **operands, size_t count)
{
	return show(session, operands[0], "audit", print_audit);
}

/* ---- history ---- */

static void add_series(struct table *table, const json_t *samples, const char *key)
{
	struct steer_past_series series;
	char mean[HUMAN_LEN];
	char max[HUMAN_LEN];

	if (steer_past_series(samples, key, &series))
		table_cell(table, TERM_PLAIN, "%s, max %s", human_si(series.mean, "", mean),
			   human_si(series.max, "", max));
	else
		table_cell(table, TERM_FAINT, "-");
}

static int print_history(struct session *session, const json_t *answer, struct err *err)
{
	static const struct table_column columns[] = {
		{ "SLOT", true }, { "ID", true }, { "PID", true }, { "SAMPLES", true },
		{ "RATE" },	  { "QUEUE" },	  { "DROPS" },
	};
	struct reply reply = { "GET /steer/groups/NAME/history", err };
	const json_t *members = reply_array(&reply, answer, "members");
	struct table *table;
	const json_t *member;
	size_t i;

	if (reply_result(&reply) < 0)
		return reply_result(&reply);
	table = session_table(session, columns, 7);
	json_array_foreach(members, i, member)
	{
		const json_t *samples = reply_array(&reply, member, "samples");

		table_row(table);
		table_cell(table, TERM_PLAIN, "%.0f", reply_number_or(&reply, member, "slot", -1));
		table_cell(table, TERM_PLAIN, "%" PRIu64, reply_count(&reply, member, "id"));
		table_cell(table, TERM_PLAIN, "%.0f", reply_number_or(&reply, member, "pid", 0));
		table_cell(table, TERM_PLAIN, "%zu", json_array_size(samples));
		add_series(table, samples, "rate");
		add_series(table, samples, "queue");
		add_series(table, samples, "drops");
	}
	if (reply_result(&reply) < 0) {
		table_free(table);
		return reply_result(&reply);
	}
	if (!i)
		fputs("no member has a history yet\n", stdout);
	return session_print_table(table, stdout, err);
}

static int history(struct session *session, const void *options, char **operands, size_t count)
{
	return show(session, operands[0], "history", print_history);
}

/* ---- capabilities ---- */

static int print_capabilities(struct session *session, const json_t *answer, struct err *err)
{
	static const struct table_column columns[] = { { "POLICY" }, { "ARMED" }, { "MISSING" } };
	struct reply reply = { "GET /steer/capabilities", err };
	const json_t *list = reply_array(&reply, answer, "policies");
	struct table *table = session_table(session, columns, 3);
	const json_t *policy;
	size_t i;

	json_array_foreach(list, i, policy)
	{
		bool possible = reply_bool(&reply, policy, "possible");

		table_row(table);
		table_cell(table, TERM_PLAIN, "%s", reply_text(&reply, policy, "policy"));
		table_cell(table, possible ? TERM_GOOD : TERM_BAD, "%s",
			   possible ? "possible" : "impossible");
		table_cell(table, TERM_PLAIN, "%s", reply_text_or(&reply, policy, "missing", ""));
	}
	if (reply_result(&reply) < 0) {
		table_free(table);
		return reply_result(&reply);
	}
	return session_print_table(table, stdout, err);
}

static int capabilities(struct session *session, const void *options, char **operands, size_t count)
{
	return show(session, NULL, "/steer/capabilities", print_capabilities);
}

const struct verb cmd_steer_audit = {
	.name = "steer audit",
	.operands = "GROUP",
	.summary = "Who moved a group, when, why, by which numbers",
	.operands_min = 1,
	.operands_max = 1,
	.run = audit,
};

const struct verb cmd_steer_history = {
	.name = "steer history",
	.operands = "GROUP",
	.summary = "The last 15 minutes of each member",
	.help = "Mean and maximum of the samples; --json has them all.\n",
	.operands_min = 1,
	.operands_max = 1,
	.run = history,
};

const struct verb cmd_steer_capabilities = {
	.name = "steer capabilities",
	.operands = "",
	.summary = "Which policies this kernel and loomd's privileges allow",
	.help = "Found out by probing: load, attach, select.\n",
	.run = capabilities,
};
