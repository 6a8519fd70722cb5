#include "verb.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"
#include "base/addr.h"
#include "query.h"
#include "steer_ask.h"

#define PAYLOAD_MAX 64 /* bytes that loomd looks at */

struct explain_options {
	const char *payload;
	const char *destination;
	struct args_number cpu;
};

static const struct args_option explain_options[] = {
	{ "payload", 0, ARGS_TEXT, offsetof(struct explain_options, payload), "HEX",
	  "how the datagram begins: wireguard, quic, bytes" },
	{ "destination", 0, ARGS_TEXT, offsetof(struct explain_options, destination), "ADDR",
	  "that the client sends to (default: the group's)" },
	{ "cpu", 0, ARGS_NUMBER, offsetof(struct explain_options, cpu), "N",
	  "that the packet arrives on: cpu_local", 0, 65535 },
	{ 0 },
};

static int check_payload(const char *hex, struct err *err)
{
	size_t len = strlen(hex);
	size_t i;

	for (i = 0; i < len && isxdigit((unsigned char)hex[i]); i++)
		;
	if (i == len && len && len % 2 == 0 && len <= 2 * PAYLOAD_MAX)
		return 0;
	return err_set(
		err, -EINVAL,
		"cannot use '%s' as payload: it is not 1 to %d bytes, two hexadecimal digits "
		"each",
		hex, PAYLOAD_MAX);
}

static int check(const struct explain_options *options, const char *flow,
		 char address[ADDR_TEXT_LEN], uint16_t *ret_port, struct err *err)
{
	struct addr destination;
	int r = backend_parse_target(flow, address, ret_port, err);

	if (r < 0)
		return err_set(err, -EINVAL,
			       "cannot use '%s' as flow: it is no client's ADDRESS:PORT, as "
			       "10.0.0.7:4711 or [::1]:4711",
			       flow);
	if (options->destination && addr_parse(options->destination, &destination) < 0)
		return err_set(err, -EINVAL, "cannot use '%s' as destination: it is no address",
			       options->destination);
	return options->payload ? check_payload(options->payload, err) : 0;
}

static char *make_path(const struct explain_options *options, const char *group,
		       const char *address, uint16_t port, struct err *err)
{
	char *base = steer_ask_path(group, "explain", err);
	struct buf path;
	char *text;

	buf_init(&path);
	path.failed |= !base;
	buf_printf(&path, "%s", base ? base : "");
	query_add(&path, "source", address);
	buf_printf(&path, "&port=%u", port);
	query_add(&path, "payload", options->payload);
	query_add(&path, "destination", options->destination);
	query_add_number(&path, "cpu", &options->cpu);
	free(base);
	text = buf_take(&path);
	if (!text)
		err_set(err, -ENOMEM, "cannot ask loomd: out of memory");
	return text;
}

static int print(struct session *session, const json_t *answer, struct err *err)
{
	static const struct table_column columns[] = { { NULL }, { NULL } };
	struct reply reply = { "GET /steer/groups/NAME/explain", err };
	const json_t *slot = json_object_get(answer, "slot");
	struct table *table = session_table(session, columns, 2);

	table_row(table);
	table_cell(table, TERM_FAINT, "slot");
	if (!reply_bool(&reply, answer, "known"))
		table_cell(table, TERM_WARN, "only a packet can tell: loom steer trace");
	else if (json_is_null(slot))
		table_cell(table, TERM_WARN, "none: the kernel's hash decides");
	else
		table_cell(table, TERM_PLAIN, "%" PRIu64, reply_count(&reply, answer, "slot"));
	table_row(table);
	table_cell(table, TERM_FAINT, "why");
	table_cell(table, TERM_PLAIN, "%s", reply_text(&reply, answer, "why"));
	table_row(table);
	table_cell(table, TERM_FAINT, "%s", "");
	table_cell(table, TERM_PLAIN, "%s", reply_text(&reply, answer, "text"));
	if (reply_result(&reply) < 0) {
		table_free(table);
		return reply_result(&reply);
	}
	return session_print_table(table, stdout, err);
}

static int explain(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct explain_options *options = ctx;
	struct err err = { 0 };
	json_t *answer = NULL;
	char address[ADDR_TEXT_LEN];
	uint16_t port;
	char *path;
	int r;

	if (check(options, operands[1], address, &port, &err) < 0)
		return session_usage("steer explain", &err);
	path = make_path(options, operands[0], address, port, &err);
	r = path ? client_get(session->client, path, &answer, &err) : -ENOMEM;
	if (r == 0)
		r = session->options.json ? session_print_json(session, answer, stdout, &err)
					  : print(session, answer, &err);
	json_decref(answer);
	free(path);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

const struct verb cmd_steer_explain = {
	.name = "steer explain",
	.operands = "GROUP FLOW",
	.summary = "Tell whom the policy chooses for a flow, and why",
	.help = "FLOW: the client's address and port, as 10.0.0.7:4711 or [::1]:4711.  Nothing is\n"
		"sent.  What depends on the moment (queues, random) only 'loom steer trace' "
		"shows.\n",
	.options = explain_options,
	.options_size = sizeof(struct explain_options),
	.operands_min = 2,
	.operands_max = 2,
	.run = explain,
};
