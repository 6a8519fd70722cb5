/* backends add, weight, drain, undrain: one request each, answered by the backend as it is now. */
#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>

#include "backend.h"
#include "base/addr.h"
#include "reply.h"

struct add_options {
	struct args_number weight;
	struct args_number id;
	const char *service;
};

static const struct args_option add_options[] = {
	{ "weight", 0, ARGS_NUMBER, offsetof(struct add_options, weight), "N",
	  "its share of new connections (default: 100)", 0, 65535 },
	{ "id", 0, ARGS_NUMBER, offsetof(struct add_options, id), "N",
	  "its id (default: the lowest free one)", 1, UINT32_MAX },
	{ "service", 0, ARGS_TEXT, offsetof(struct add_options, service), "NAME",
	  "the service it joins (default: the only one)" },
	{ 0 },
};

static int print(const struct session *session, const char *what, const json_t *backend,
		 struct err *err)
{
	static const struct table_column column[] = { { NULL } };
	struct reply reply = { what, err };
	struct table *table = session_table(session, column, 1);
	struct buf target;

	buf_init(&target);
	backend_format(&reply, backend, &target);
	table_row(table);
	table_cell(table, TERM_PLAIN, "backend %" PRIu64 " of %s: %s, weight %" PRIu64 ", %s",
		   reply_count(&reply, backend, "id"), reply_text(&reply, backend, "service"),
		   target.data ? target.data : "", reply_count(&reply, backend, "weight"),
		   reply_text(&reply, backend, "state"));
	buf_done(&target);
	if (reply_result(&reply) < 0) {
		table_free(table);
		return reply_result(&reply);
	}
	return session_print_table(table, stdout, err);
}

/* Sends body, which it takes over, and prints the backend that comes back. */
static int change(struct session *session, const char *method, const char *path, json_t *body)
{
	const struct client_request request = { .method = method, .path = path, .body = body };
	struct err err = { 0 };
	char what[128];
	json_t *backend;
	int r;

	if (!body) {
		err_set(&err, -ENOMEM,
			"cannot ask loomd: out of memory, or text that is not UTF-8");
		return session_fail(session, &err);
	}
	snprintf(what, sizeof(what), "%s %s", method, path);
	r = client_send(session->client, &request, &backend, &err);
	if (!r)
		r = session->options.json ? session_print_json(session, backend, stdout, &err)
					  : print(session, what, backend, &err);
	json_decref(backend);
	json_decref(body);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

/* PATCHes the backend whose id is text with body, which is taken over. */
static int patch(struct session *session, const char *verb, const char *id_text, json_t *body)
{
	struct err err = { 0 };
	char path[64];
	uint32_t id;

	if (backend_parse_id(id_text, &id, &err) < 0) {
		json_decref(body);
		return session_usage(verb, &err);
	}
	snprintf(path, sizeof(path), "/ebpf/backends/%" PRIu32, id);
	return change(session, "PATCH", path, body);
}

static int add(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct add_options *options = ctx;
	char address[ADDR_TEXT_LEN];
	struct err err = { 0 };
	bool failed = false;
	uint16_t port;
	json_t *body;

	if (backend_parse_target(operands[0], address, &port, &err) < 0)
		return session_usage("backends add", &err);
	body = json_pack("{s:s, s:i}", "address", address, "port", (int)port);
	/* What is not said is left to loomd's defaults. */
	if (options->weight.given)
		failed |= json_object_set_new(body, "weight",
					      json_integer((json_int_t)options->weight.value)) < 0;
	if (options->id.given)
		failed |= json_object_set_new(body, "id",
					      json_integer((json_int_t)options->id.value)) < 0;
	if (options->service)
		failed |= json_object_set_new(body, "service", json_string(options->service)) < 0;
	if (failed) {
		json_decref(body);
		body = NULL;
	}
	return change(session, "POST", "/ebpf/backends", body);
}

static int weight(struct session *session, const void *options, char **operands, size_t count)
{
	struct err err = { 0 };
	uint64_t value;

	if (args_number("a weight", operands[1], 0, 65535, &value, &err) < 0)
		return session_usage("backends weight", &err);
	return patch(session, "backends weight", operands[0],
		     json_pack("{s:I}", "weight", (json_int_t)value));
}

struct drain_options {
	const char *deadline;
};

static const struct args_option drain_options[] = {
	{ "deadline", 0, ARGS_TEXT, offsetof(struct drain_options, deadline), "TIME",
	  "cut what is left then, as 30s or 5m (default: never)" },
	{ 0 },
};

static int drain(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct drain_options *options = ctx;

	return patch(session, "backends drain", operands[0],
		     json_pack("{s:s, s:s*}", "state", "draining", "deadline", options->deadline));
}

static int undrain(struct session *session, const void *options, char **operands, size_t count)
{
	return patch(session, "backends undrain", operands[0],
		     json_pack("{s:s}", "state", "active"));
}

const struct verb cmd_backends_add = {
	.name = "backends add",
	.operands = "ADDRESS:PORT",
	.summary = "Add a backend",
	.help = "An IPv6 address stands in brackets: [2001:db8::1]:8080.  Port 0 is the port the\n"
		"client used.\n",
	.options = add_options,
	.options_size = sizeof(struct add_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = add,
};

const struct verb cmd_backends_weight = {
	.name = "backends weight",
	.operands = "ID N",
	.summary = "Set a backend's share of new connections",
	.help = "Weight 0 gives it no new ones.  Established connections stay where they are.\n",
	.operands_min = 2,
	.operands_max = 2,
	.run = weight,
};

const struct verb cmd_backends_drain = {
	.name = "backends drain",
	.operands = "ID",
	.summary = "Give a backend no new connections, and keep it",
	.options = drain_options,
	.options_size = sizeof(struct drain_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = drain,
};

const struct verb cmd_backends_undrain = {
	.name = "backends undrain",
	.operands = "ID",
	.summary = "Give a drained backend new connections again",
	.operands_min = 1,
	.operands_max = 1,
	.run = undrain,
};
