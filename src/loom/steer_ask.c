#include "steer_ask.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "abi/steer_abi.h"
#include "args.h"
#include "base/buf.h"
#include "steer_odd.h"

char *steer_ask_path(const char *group, const char *action, struct err *err)
{
	char *escaped = group ? client_escape(group) : NULL;
	struct buf path;
	char *text;

	buf_init(&path);
	buf_printf(&path, "/steer/groups");
	path.failed |= group && !escaped;
	if (escaped)
		buf_printf(&path, "/%s", escaped);
	if (action)
		buf_printf(&path, "/%s", action);
	free(escaped);
	text = buf_take(&path);
	if (!text)
		err_set(err, -ENOMEM, "cannot ask loomd: out of memory");
	return text;
}

int steer_ask(struct session *session, const char *group, const char *action, json_t **ret,
	      struct err *err)
{
	char *path = steer_ask_path(group, action, err);
	int r;

	*ret = NULL;
	if (!path)
		return -ENOMEM;
	r = client_get(session->client, path, ret, err);
	free(path);
	return r;
}

int steer_ask_groups(struct session *session, const char *group, json_t **ret_answer,
		     struct steer_read *ret, struct err *err)
{
	struct reply reply = { group ? "GET /steer/groups/NAME" : "GET /steer/groups", err };
	int r = steer_ask(session, group, NULL, ret_answer, err);

	memset(ret, 0, sizeof(*ret));
	return r < 0 ? r : steer_read(&reply, *ret_answer, ret);
}

/* "dns: canary 100, weighted, program 42 attached, 4 members" */
static int print_group(const struct session *session, const json_t *answer, struct err *err)
{
	static const struct table_column column[] = { { NULL } };
	struct reply reply = { "POST /steer/groups/NAME", err };
	const char *unread = json_string_value(json_object_get(answer, "unread"));
	struct table *table;
	struct steer_read read;
	char state[96];
	int r;

	if (unread) {
		table = session_table(session, column, 1);
		table_row(table);
		table_cell(table, TERM_WARN, "done, but %s", unread);
		return session_print_table(table, stdout, err);
	}
	r = steer_read(&reply, answer, &read);
	if (r < 0 || read.group_count != 1) {
		steer_read_done(&read);
		return r;
	}
	table = session_table(session, column, 1);
	table_row(table);
	table_cell(table, TERM_PLAIN, "%s: %s, %s, %s, %zu member%s", read.groups[0].name,
		   steer_odd_state(&read.groups[0], state, sizeof(state)), read.groups[0].policy,
		   read.groups[0].attached ? "attached" : "not attached",
		   read.groups[0].member_count, read.groups[0].member_count == 1 ? "" : "s");
	if (*read.groups[0].held_back) {
		table_row(table);
		table_cell(table, TERM_WARN, "it does not go forward: %s",
			   read.groups[0].held_back);
	}
	steer_read_done(&read);
	return session_print_table(table, stdout, err);
}

int steer_ask_change(struct session *session, const char *group, const char *action, json_t *body)
{
	struct client_request request = { .method = "POST", .body = body };
	struct err err = { 0 };
	json_t *answer = NULL;
	char *path = steer_ask_path(group, action, &err);
	int r = path ? 0 : -ENOMEM;

	if (r == 0 && !body)
		r = err_set(&err, -ENOMEM,
			    "cannot ask loomd: out of memory, or text that is not UTF-8");
	request.path = path;
	if (r == 0)
		r = client_send(session->client, &request, &answer, &err);
	if (r == 0)
		r = session->options.json ? session_print_json(session, answer, stdout, &err)
					  : print_group(session, answer, &err);
	json_decref(answer);
	json_decref(body);
	free(path);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

/* What stands behind prefix in member; NULL: it has another one. */
static const char *behind(const char *member, const char *prefix)
{
	size_t len = strlen(prefix);

	return strncmp(member, prefix, len) == 0 ? member + len : NULL;
}

json_t *steer_ask_member(const char *member, struct err *err)
{
	static const struct {
		const char *prefix;
		const char *name; /* the API's */
		uint64_t min;
		uint64_t max;
	} kinds[] = {
		{ "slot:", "slot", 0, STEER_MAX_SLOTS - 1 },
		{ "id:", "id", 1, INT64_MAX },
		{ "pid:", "pid", 1, INT32_MAX },
		{ "gen:", "generation", 1, UINT32_MAX },
		{ "", "slot", 0, STEER_MAX_SLOTS - 1 },
	};
	const char *unit = behind(member, "unit:");
	json_t *json = NULL;
	uint64_t number;

	if (unit && *unit)
		json = json_pack("{s:s}", "unit", unit);
	for (size_t i = 0; !unit && !json && i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const char *text = behind(member, kinds[i].prefix);

		if (text &&
		    args_number("a member", text, kinds[i].min, kinds[i].max, &number, NULL) == 0)
			json = json_pack("{s:I}", kinds[i].name, (json_int_t)number);
	}
	if (!json)
		err_set(err, -EINVAL,
			"cannot use '%s' as member: it is none of SLOT, slot:N, id:N, pid:N, gen:N "
			"and unit:NAME",
			member);
	return json;
}
