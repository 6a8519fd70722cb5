#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "human.h"
#include "query.h"
#include "reply.h"

#define CONNS_DEFAULT 100
#define CONNS_PAGE    1000 /* the API's most */

struct conns_options {
	const char *client;
	struct args_number backend;
	const char *state;
	struct args_number limit;
	bool all;
};

static const struct args_option conns_options[] = {
	{ "client", 0, ARGS_TEXT, offsetof(struct conns_options, client), "CIDR",
	  "only of these clients: an address or a network" },
	{ "backend", 0, ARGS_NUMBER, offsetof(struct conns_options, backend), "ID",
	  "only to this backend", 1, UINT32_MAX },
	{ "state", 0, ARGS_TEXT, offsetof(struct conns_options, state), "STATE",
	  "only in this state: udp, syn_sent, syn_recv, established,\n"
	  "                             fin_wait, time_wait, closed" },
	{ "limit", 0, ARGS_NUMBER, offsetof(struct conns_options, limit), "N",
	  "at most so many (default: 100)", 1, UINT32_MAX },
	{ "all", 0, ARGS_FLAG, offsetof(struct conns_options, all), NULL, "all of them" },
	{ 0 },
};

/* A listing under way, page by page: there may be more connections than memory. */
struct listing {
	struct session *session;
	FILE *out;
	struct table *table;
	const struct conns_options *options;
	char *cursor;  /* owned; NULL: the beginning, or after the end */
	uint64_t room; /* how many more are wanted */
	uint64_t shown;
	bool begun; /* JSON only */
};

static int out_of_memory(struct err *err)
{
	return err_set(err, -ENOMEM, "cannot list connections: out of memory");
}

/* The path of the page at the cursor. */
static char *make_path(const struct listing *listing)
{
	uint64_t limit = listing->room < CONNS_PAGE ? listing->room : CONNS_PAGE;
	struct buf path;

	buf_init(&path);
	buf_printf(&path, "/ebpf/connections?limit=%" PRIu64, limit);
	query_add(&path, "client", listing->options->client);
	query_add_number(&path, "backend", &listing->options->backend);
	query_add(&path, "state", listing->options->state);
	query_add(&path, "cursor", listing->cursor);
	return buf_take(&path);
}

static int get_page(struct listing *listing, json_t **ret, struct err *err)
{
	char *path = make_path(listing);
	int r;

	*ret = NULL;
	if (!path)
		return out_of_memory(err);
	r = client_get(listing->session->client, path, ret, err);
	free(path);
	return r;
}

/* Moves to the page after; a server that leads in a circle is stopped where it stands still. */
static int advance(struct listing *listing, struct reply *reply, const json_t *page)
{
	const char *next = reply_text_or(reply, page, "next_cursor", NULL);
	char *old = listing->cursor;

	if (reply_result(reply) < 0)
		return reply_result(reply);
	if (next && old && strcmp(next, old) == 0)
		return err_set(
			reply->err, -EBADMSG,
			"cannot list connections: loomd gave the same 'next_cursor' twice; is "
			"it of another version than this loom (" LOOM_VERSION ")?");
	listing->cursor = next ? strdup(next) : NULL;
	free(old);
	return next && !listing->cursor ? out_of_memory(reply->err) : 0;
}

static void add_row(struct table *table, struct reply *reply, const json_t *connection)
{
	static const char *const texts[] = { "protocol", "client", "service_address", "backend" };
	const json_t *id = json_object_get(connection, "backend_id");
	char text[HUMAN_LEN];
	size_t i;

	table_row(table);
	for (i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		table_cell(table, TERM_PLAIN, "%s", reply_text(reply, connection, texts[i]));
	if (json_is_null(id))
		table_cell(table, TERM_WARN, "gone");
	else
		table_cell(table, TERM_PLAIN, "%" PRIu64,
			   reply_count(reply, connection, "backend_id"));
	table_cell(table, TERM_PLAIN, "%s", reply_text(reply, connection, "source"));
	table_cell(table, TERM_PLAIN, "%s", reply_text(reply, connection, "state"));
	table_cell(table, TERM_PLAIN, "%s",
		   human_seconds(reply_number(reply, connection, "idle_seconds"), text));
	if (json_is_null(json_object_get(connection, "age_seconds")))
		table_cell(table, TERM_PLAIN, "-");
	else
		table_cell(table, TERM_PLAIN, "%s",
			   human_seconds(reply_number(reply, connection, "age_seconds"), text));
}

static int print_page(struct listing *listing, struct reply *reply, const json_t *connections)
{
	const json_t *connection;
	size_t i;

	json_array_foreach(connections, i, connection) add_row(listing->table, reply, connection);
	listing->shown += i;
	if (reply_result(reply) < 0)
		return reply_result(reply);
	return table_print(listing->table, listing->out) < 0 ? out_of_memory(reply->err) : 0;
}

/* Pages become one document, whose next_cursor is the last page's. */
static int print_page_json(struct listing *listing, struct reply *reply, const json_t *connections)
{
	const json_t *connection;
	size_t i;

	/* Here, so that a refused first page leaves no torn document behind. */
	if (!listing->begun)
		fputs("{\"connections\": [", listing->out);
	listing->begun = true;
	json_array_foreach(connections, i, connection)
	{
		fputs(listing->shown++ ? ",\n  " : "\n  ", listing->out);
		if (session_write_json(listing->session, connection, 0, listing->out) < 0)
			return out_of_memory(reply->err);
	}
	return reply_result(reply);
}

static int list_page(struct listing *listing, struct err *err)
{
	struct reply reply = { "GET /ebpf/connections", err };
	const json_t *connections;
	json_t *page;
	size_t count;
	int r;

	r = get_page(listing, &page, err);
	if (r < 0)
		return r;
	connections = reply_array(&reply, page, "connections");
	count = json_array_size(connections);
	r = reply_result(&reply);
	if (!r)
		r = listing->session->options.json ? print_page_json(listing, &reply, connections)
						   : print_page(listing, &reply, connections);
	if (!r)
		r = advance(listing, &reply, page);
	listing->room -= count < listing->room ? count : listing->room;
	json_decref(page);
	return r;
}

static int end_json(const struct listing *listing, struct err *err)
{
	json_t *cursor = listing->cursor ? json_string(listing->cursor) : json_null();
	int r;

	fprintf(listing->out, "%s], \"next_cursor\": ", listing->shown ? "\n" : "");
	r = session_write_json(listing->session, cursor, 0, listing->out);
	fputs("}\n", listing->out);
	json_decref(cursor);
	return r < 0 ? out_of_memory(err) : 0;
}

static int list(struct listing *listing, struct err *err)
{
	bool json = listing->session->options.json;
	int r;

	if (!json && !listing->table)
		return out_of_memory(err);
	do {
		r = list_page(listing, err);
	} while (!r && listing->cursor && listing->room);
	if (r < 0)
		return r;
	if (json)
		return end_json(listing, err);
	if (!listing->shown)
		fputs("no connections\n", listing->out);
	else if (listing->cursor && !listing->session->options.watch.given)
		fprintf(stderr, "loom: the first %" PRIu64 "; --limit N or --all lists more\n",
			listing->shown);
	return 0;
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	static const struct table_column columns[] = {
		{ "PROTO" },  { "CLIENT" }, { "SERVICE" },    { "BACKEND" },   { "ID", true },
		{ "SOURCE" }, { "STATE" },  { "IDLE", true }, { "AGE", true },
	};
	const struct conns_options *options = ctx;
	struct listing listing = {
		.session = session,
		.out = out,
		.table = session_table(session, columns, 9),
		.options = options,
		.room = options->all	       ? UINT64_MAX
			: options->limit.given ? options->limit.value
					       : CONNS_DEFAULT,
	};
	int r = list(&listing, err);

	table_free(listing.table);
	free(listing.cursor);
	return r;
}

static int conns(struct session *session, const void *ctx, char **operands, size_t count)
{
	struct conns_options options = *(const struct conns_options *)ctx;
	struct err err = { 0 };

	if (options.all && options.limit.given)
		err_set(&err, -EINVAL, "cannot use --all with --limit: leave one out");
	if (options.all && session->options.watch.given)
		err_set(&err, -EINVAL, "cannot use --all with --watch: use --limit");
	if (err.code)
		return session_usage("conns", &err);
	return session_watch(session, draw, &options);
}

const struct verb cmd_conns = {
	.name = "conns",
	.operands = "",
	.summary = "List connections",
	.options = conns_options,
	.options_size = sizeof(struct conns_options),
	.watchable = true,
	.run = conns,
};
