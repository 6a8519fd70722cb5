/* steer audit, history, capabilities: what was, and what this kernel can do. */
#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
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
	const json_t *list = reply_array(&reply, answer, "transitions");
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

static void add_series(struct table *table, const char *member,
		       const struct steer_past_series *series)
{
	const double numbers[] = { series->min, series->mean, series->max, series->last };
	char text[HUMAN_LEN];

	table_row(table);
	table_cell(table, TERM_PLAIN, "%s", member);
	table_cell(table, TERM_PLAIN, "%s", series->name);
	table_cell(table, TERM_FAINT, "%zu", series->count);
	for (size_t i = 0; i < 4; i++)
		table_cell(table, TERM_PLAIN, "%s", human_si(numbers[i], "", text));
}

static int print_history(struct session *session, const json_t *answer, struct err *err)
{
	static const struct table_column columns[] = {
		{ "MEMBER" },	  { "NUMBER" },	   { "WINDOWS", true }, { "MIN", true },
		{ "MEAN", true }, { "MAX", true }, { "LAST", true },
	};
	struct reply reply = { "GET /steer/groups/NAME/history", err };
	struct steer_past_series series[STEER_PAST_SERIES_MAX];
	struct table *table;
	json_t *members;
	const char *name;
	json_t *samples;

	reply_array(&reply, answer, "windows");
	if (reply_result(&reply) < 0)
		return reply_result(&reply);
	members = steer_past_by_member(answer);
	table = session_table(session, columns, 7);
	json_object_foreach(members, name, samples)
	{
		size_t count = steer_past_series(samples, series, STEER_PAST_SERIES_MAX);

		for (size_t i = 0; i < count; i++)
			add_series(table, name, &series[i]);
	}
	if (!json_object_size(members))
		fputs("no member has a history yet\n", stdout);
	json_decref(members);
	return session_print_table(table, stdout, err);
}

static int history(struct session *session, const void *options, char **operands, size_t count)
{
	return show(session, operands[0], "history", print_history);
}

/* ---- capabilities ---- */

static void add_capability(struct table *table, const char *kind, const char *name,
			   const json_t *value)
{
	const json_t *flag = json_is_object(value) ? json_object_get(value, "possible") : value;
	const char *missing = json_string_value(json_object_get(value, "missing"));
	const char *note = json_string_value(json_object_get(value, "note"));

	table_row(table);
	table_cell(table, TERM_PLAIN, "%s", kind);
	table_cell(table, TERM_PLAIN, "%s", name);
	if (json_is_boolean(flag))
		table_cell(table, json_is_true(flag) ? TERM_PLAIN : TERM_BAD, "%s",
			   json_is_true(flag) ? "yes" : "no");
	else
		table_cell(table, TERM_PLAIN, "%s",
			   json_is_string(flag) ? json_string_value(flag) : "-");
	table_cell(table, TERM_PLAIN, "%s", missing ? missing : note ? note : "");
}

/* What is asked for differs from version to version: objects are kinds, all else is one row. */
static int print_capabilities(struct session *session, const json_t *answer, struct err *err)
{
	static const struct table_column columns[] = {
		{ "KIND" }, { "NAME" }, { "POSSIBLE" }, { "WHAT IS MISSING" }
	};
	struct reply reply = { "GET /steer/capabilities", err };
	json_t *all = reply_object(&reply, answer, "capabilities");
	struct table *table;
	const json_t *value;
	const char *kind;
	const json_t *inner;
	const char *name;

	if (reply_result(&reply) < 0)
		return reply_result(&reply);
	table = session_table(session, columns, 4);
	json_object_foreach(all, kind, value)
	{
		if (!json_is_object(value))
			add_capability(table, kind, "", value);
		json_object_foreach((json_t *)value, name, inner)
			add_capability(table, kind, name, inner);
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
	.help = "What the windows of the guard saw; --json has them all.\n",
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
