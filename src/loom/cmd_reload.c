#include "verb.h"

#include "reply.h"

struct reload_options {
	bool reset;
};

static const struct args_option reload_options[] = {
	{ "reset", 0, ARGS_FLAG, offsetof(struct reload_options, reset), NULL,
	  "also forget the changes made by this tool and the API" },
	{ 0 },
};

static int print(const struct session *session, const json_t *answer, struct err *err)
{
	static const struct table_column column[] = { { NULL } };
	struct reply reply = { "POST /config/reload", err };
	struct table *table = session_table(session, column, 1);
	const json_t *element;
	size_t i;

	json_array_foreach(reply_array(&reply, answer, "changes"), i, element)
	{
		table_row(table);
		table_cell(table, TERM_PLAIN, "%s", reply_element_text(&reply, element, "changes"));
	}
	if (!i) {
		table_row(table);
		table_cell(table, TERM_PLAIN, "nothing has changed");
	}
	if (reply_result(&reply) < 0) {
		table_free(table);
		return reply_result(&reply);
	}
	return session_print_table(table, stdout, err);
}

static int reload(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct reload_options *options = ctx;
	const struct client_request request = {
		.method = "POST",
		.path = options->reset ? "/config/reload?reset=true" : "/config/reload",
	};
	struct err err = { 0 };
	json_t *answer;
	int r = client_send(session->client, &request, &answer, &err);

	if (!r)
		r = session->options.json ? session_print_json(session, answer, stdout, &err)
					  : print(session, answer, &err);
	json_decref(answer);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

const struct verb cmd_reload = {
	.name = "reload",
	.operands = "",
	.summary = "Make loomd read its configuration again",
	.help = "A configuration with an error changes nothing; the error is printed.\n",
	.options = reload_options,
	.options_size = sizeof(struct reload_options),
	.run = reload,
};
