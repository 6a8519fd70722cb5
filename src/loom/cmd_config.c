#include "verb.h"

#include <errno.h>

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	json_t *config;
	int r = client_get(session->client, "/config", &config, err);

	/* For people it is indented even in a file. */
	if (!r && session->options.json)
		r = session_print_json(session, config, out, err);
	else if (!r && session_write_json(session, config, JSON_INDENT(2), out) < 0)
		r = err_set(err, -ENOMEM, "cannot print the configuration: out of memory");
	else if (!r)
		putc('\n', out);
	json_decref(config);
	return r;
}

static int config(struct session *session, const void *options, char **operands, size_t count)
{
	return session_watch(session, draw, NULL);
}

const struct verb cmd_config = {
	.name = "config",
	.operands = "",
	.summary = "Show the configuration in force, as JSON",
	.help = "Secrets are shown as \"***\".\n",
	.run = config,
};
