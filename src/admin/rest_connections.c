#include "rest.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define CONNECTIONS_DEFAULT_LIMIT 100
#define CONNECTIONS_MAX_LIMIT	  1000

/* A cursor is "FAMILY-BUCKET-SKIP" in hexadecimal, of this length. */
#define CURSOR_LEN 19

static void cursor_format(const struct lb_cursor *cursor, char *text)
{
	snprintf(text, CURSOR_LEN + 1, "%u-%08x-%08x", cursor->family & 1u, cursor->bucket,
		 cursor->skip);
}

/* Only what cursor_format writes is accepted. */
static int cursor_parse(const char *text, struct lb_cursor *ret)
{
	struct lb_cursor cursor = { 0 };
	char again[CURSOR_LEN + 1];
	char *end;

	if (strlen(text) != CURSOR_LEN || (text[0] != '0' && text[0] != '1'))
		return -EINVAL;
	cursor.family = (uint8_t)(text[0] - '0');
	cursor.bucket = (uint32_t)strtoul(text + 2, &end, 16);
	if (*end != '-')
		return -EINVAL;
	cursor.skip = (uint32_t)strtoul(end + 1, NULL, 16);
	cursor_format(&cursor, again);
	if (strcmp(text, again) != 0)
		return -EINVAL;
	*ret = cursor;
	return 0;
}

static int read_client(const struct call *call, struct lb_connection_filter *filter)
{
	const char *text = query_get(&call->query, "client");
	int r;

	if (!text)
		return 0;
	r = addr_net_parse(text, &filter->client);
	if (r < 0) {
		reply_error(call->reply, REPLY_BAD_REQUEST, "client",
			    "cannot use client=%s: %s; give an address or a network such as "
			    "10.0.0.0/8",
			    text,
			    r == -EDOM	   ? "it has bits set beyond its length"
			    : r == -ERANGE ? "its length is out of range"
					   : "it is no address");
		return r;
	}
	filter->has_client = true;
	return 0;
}

static int read_state(const struct call *call, struct lb_connection_filter *filter)
{
	const char *text = query_get(&call->query, "state");

	if (!text)
		return 0;
	if (lb_state_parse(text, &filter->state) < 0) {
		reply_error(call->reply, REPLY_BAD_REQUEST, "state",
			    "cannot use state=%s: there is no such state; give udp, syn_sent, "
			    "syn_recv, established, fin_wait, time_wait or closed",
			    text);
		return -EINVAL;
	}
	filter->has_state = true;
	return 0;
}

static int read_query(const struct call *call, struct lb_connection_filter *filter,
		      struct lb_cursor *cursor, uint32_t *limit)
{
	const char *text = query_get(&call->query, "cursor");
	int r;

	if (text && cursor_parse(text, cursor) < 0) {
		reply_error(
			call->reply, REPLY_BAD_REQUEST, "cursor",
			"cannot use cursor=%s: no page answered with it; begin without a cursor",
			text);
		return -EINVAL;
	}
	r = query_uint(&call->query, "limit", 1, CONNECTIONS_MAX_LIMIT, limit, call->reply);
	if (r < 0)
		return r;
	r = query_uint(&call->query, "backend", 1, UINT32_MAX, &filter->backend_id, call->reply);
	if (r < 0)
		return r;
	filter->has_backend = filter->backend_id != 0;
	r = read_client(call, filter);
	return r < 0 ? r : read_state(call, filter);
}

static json_t *connection_json(const struct lb_connection *connection)
{
	char client[ADDR_PORT_TEXT_LEN];
	char vip[ADDR_PORT_TEXT_LEN];
	char backend[ADDR_PORT_TEXT_LEN];
	char source[ADDR_PORT_TEXT_LEN];
	json_t *id = connection->backend_id ? json_integer(connection->backend_id) : json_null();
	json_t *age = connection->age_ns == LB_AGE_UNKNOWN
			      ? json_null()
			      : json_real((double)connection->age_ns / NSEC_PER_SEC);

	return json_pack("{s:s, s:s, s:s, s:s, s:o, s:s, s:s, s:f, s:o}", "protocol",
			 connection->proto == IPPROTO_TCP ? "tcp" : "udp", "client",
			 addr_port_format(&connection->client, connection->client_port, client),
			 "service_address",
			 addr_port_format(&connection->vip, connection->vip_port, vip), "backend",
			 addr_port_format(&connection->backend, connection->backend_port, backend),
			 "backend_id", id, "source",
			 addr_port_format(&connection->source, connection->source_port, source),
			 "state", lb_state_name(connection->state), "idle_seconds",
			 (double)connection->idle_ns / NSEC_PER_SEC, "age_seconds", age);
}

static json_t *page_json(const struct lb_connection *connections, size_t count,
			 const struct lb_cursor *cursor)
{
	char text[CURSOR_LEN + 1];
	json_t *list = json_array();

	cursor_format(cursor, text);
	for (size_t i = 0; i < count; i++)
		json_array_append_new(list, connection_json(&connections[i]));
	return json_pack("{s:o, s:s?}", "connections", list, "next_cursor",
			 cursor->done ? NULL : text);
}

void rest_connections(struct call *call)
{
	const struct control *control = call->control;
	struct lb_connection_filter filter = { 0 };
	struct lb_cursor cursor = { 0 };
	uint32_t limit = CONNECTIONS_DEFAULT_LIMIT;
	struct lb_connection *connections;
	int r;

	if (read_query(call, &filter, &cursor, &limit) < 0)
		return;
	connections = calloc(limit, sizeof(*connections));
	if (!connections) {
		reply_json(call->reply, 500, NULL);
		return;
	}
	r = control->connections(control->ctx, &filter, &cursor, connections, limit);
	if (r < 0)
		reply_errno(call->reply, r, NULL, NULL);
	else
		reply_json(call->reply, 200, page_json(connections, (size_t)r, &cursor));
	free(connections);
}
