#include "verb.h"

#include <inttypes.h>

#include "base/buf.h"
#include "reply.h"

/* "10.0.0.1, 2001:db8::1"; "-" for none. */
static void join_texts(struct reply *reply, const json_t *service, const char *array,
		       struct buf *ret)
{
	const json_t *element;
	size_t i;

	json_array_foreach(reply_array(reply, service, array), i, element)
		buf_printf(ret, "%s%s", i ? ", " : "", reply_element_text(reply, element, array));
	if (!i)
		buf_printf(ret, "-");
}

/* "tcp 80, 443; udp 53" */
static void join_ports(struct reply *reply, const json_t *service, const char *array,
		       const char *protocol, struct buf *ret)
{
	const json_t *element;
	size_t i;

	json_array_foreach(reply_array(reply, service, array), i, element)
	{
		if (i)
			buf_printf(ret, ", ");
		else
			buf_printf(ret, "%s%s ", ret->len ? "; " : "", protocol);
		buf_printf(ret, "%" PRIu64, reply_element_count(reply, element, array));
	}
}

/* "full", "ipip": of nat or encap, whichever the service has. */
static const char *forwarding(struct reply *reply, const json_t *service)
{
	return reply_text(reply, service, json_object_get(service, "encap") ? "encap" : "nat");
}

static void add_row(struct table *table, struct reply *reply, const json_t *service)
{
	struct buf addresses;
	struct buf ports;

	buf_init(&addresses);
	buf_init(&ports);
	join_texts(reply, service, "addresses", &addresses);
	join_ports(reply, service, "tcp_ports", "tcp", &ports);
	join_ports(reply, service, "udp_ports", "udp", &ports);
	table_row(table);
	table_cell(table, TERM_PLAIN, "%s", reply_text(reply, service, "name"));
	table_cell(table, TERM_PLAIN, "%s", addresses.data ? addresses.data : "-");
	table_cell(table, TERM_PLAIN, "%s", ports.data ? ports.data : "-");
	table_cell(table, TERM_PLAIN, "%s", reply_text(reply, service, "algorithm"));
	table_cell(table, TERM_PLAIN, "%" PRIu64, reply_count(reply, service, "maglev_table_size"));
	table_cell(table, TERM_PLAIN, "%s %s", reply_text(reply, service, "mode"),
		   forwarding(reply, service));
	table_cell(table, TERM_PLAIN, "%zu",
		   json_array_size(reply_array(reply, service, "backends")));
	buf_done(&addresses);
	buf_done(&ports);
}

static int print(struct session *session, const json_t *answer, FILE *out, struct err *err)
{
	static const struct table_column columns[] = {
		{ "SERVICE" },	   { "ADDRESSES" }, { "PORTS" },	  { "ALGORITHM" },
		{ "TABLE", true }, { "MODE" },	    { "BACKENDS", true },
	};
	struct reply reply = { "GET /services", err };
	struct table *table = session_table(session, columns, 7);
	const json_t *services = reply_array(&reply, answer, "services");
	const json_t *service;
	size_t i;

	json_array_foreach(services, i, service) add_row(table, &reply, service);
	if (reply_result(&reply) < 0) {
		table_free(table);
		return reply_result(&reply);
	}
	if (!i)
		fputs("no services\n", out);
	return session_print_table(table, out, err);
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	json_t *answer;
	int r = client_get(session->client, "/services", &answer, err);

	if (!r)
		r = session->options.json ? session_print_json(session, answer, out, err)
					  : print(session, answer, out, err);
	json_decref(answer);
	return r;
}

static int services(struct session *session, const void *options, char **operands, size_t count)
{
	return session_watch(session, draw, NULL);
}

const struct verb cmd_services = {
	.name = "services",
	.operands = "",
	.summary = "List the services",
	.watchable = true,
	.run = services,
};
