#include "decap_show.h"

#include <errno.h>
#include <string.h>

#include "human.h"

static const char *mode_of(const struct decap_link *link)
{
	if (link->gone)
		return "gone";
	return link->generic ? "generic" : "native";
}

/* ---- JSON; jansson takes NULL for a failure all the way up ---- */

static json_t *links_json(const struct decap_state *state)
{
	json_t *list = json_array();

	for (size_t i = 0; i < state->link_count; i++)
		if (json_array_append_new(list,
					  json_pack("{s:s, s:s}", "name", state->links[i].name,
						    "mode", mode_of(&state->links[i]))))
			goto fail;
	return list;
fail:
	json_decref(list);
	return NULL;
}

static json_t *vips_json(const struct decap_state *state)
{
	json_t *list = json_array();
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < state->vip_count; i++)
		if (json_array_append_new(list, json_string(addr_format(&state->vips[i], text))))
			goto fail;
	return list;
fail:
	json_decref(list);
	return NULL;
}

static json_t *counters_json(const struct decap_state *state)
{
	json_t *object = json_object();

	for (enum decap_counter i = 0; i < DECAP_COUNTER_COUNT; i++) {
		json_t *row = json_pack("{s:s, s:I, s:I, s:s}", "action", decap_counter_action(i),
					"packets", (json_int_t)state->counts[i].packets, "bytes",
					(json_int_t)state->counts[i].bytes, "help",
					decap_counter_help(i));

		if (json_object_set_new(object, decap_counter_name(i), row))
			goto fail;
	}
	return object;
fail:
	json_decref(object);
	return NULL;
}

static int show_json(const struct session *session, const struct decap_state *state,
		     json_t *findings, struct err *err)
{
	json_t *object = json_pack("{s:o, s:o, s:i, s:o}", "interfaces", links_json(state), "vips",
				   vips_json(state), "gue_port", state->gue_port, "counters",
				   counters_json(state));
	int r = object ? 0 : -ENOMEM;

	if (r == 0 && findings)
		r = json_object_set(object, "findings", findings);
	if (r)
		r = err_set(err, -ENOMEM, "cannot print what is unwrapped: out of memory");
	else
		r = session_print_json(session, object, stdout, err);
	json_decref(object);
	return r;
}

/* ---- text ---- */

static int print_setup(const struct session *session, const struct decap_state *state,
		       struct err *err)
{
	static const struct table_column plain[] = { { NULL }, { NULL } };
	struct table *table = session_table(session, plain, 2);
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < state->link_count; i++) {
		const struct decap_link *link = &state->links[i];

		table_row(table);
		table_cell(table, TERM_PLAIN, "%s", i ? "" : "interfaces");
		table_cell(table, link->gone ? TERM_BAD : TERM_PLAIN, "%s (%s)", link->name,
			   mode_of(link));
	}
	for (size_t i = 0; i < state->vip_count; i++) {
		table_row(table);
		table_cell(table, TERM_PLAIN, "%s", i ? "" : "vips");
		table_cell(table, TERM_PLAIN, "%s", addr_format(&state->vips[i], text));
	}
	table_row(table);
	table_cell(table, TERM_PLAIN, "gue port");
	table_cell(table, TERM_PLAIN, "%u", state->gue_port);
	return session_print_table(table, stdout, err);
}

static int print_counters(const struct session *session, const struct decap_state *state,
			  struct err *err)
{
	static const struct table_column columns[] = {
		{ "KIND" }, { "ACTION" }, { "PACKETS", true }, { "BYTES", true }, { "" },
	};
	struct table *table = session_table(session, columns, 5);
	char text[HUMAN_LEN];

	for (enum decap_counter i = 0; i < DECAP_COUNTER_COUNT; i++) {
		const struct decap_count *count = &state->counts[i];
		bool bad = count->packets && !strcmp(decap_counter_action(i), "drop");
		enum term_colour colour = bad ? TERM_BAD : count->packets ? TERM_PLAIN : TERM_FAINT;

		table_row(table);
		table_cell(table, colour, "%s", decap_counter_name(i));
		table_cell(table, colour, "%s", decap_counter_action(i));
		table_cell(table, colour, "%s", human_si((double)count->packets, "", text));
		table_cell(table, colour, "%s", human_si((double)count->bytes, "B", text));
		table_cell(table, colour, "%s", decap_counter_help(i));
	}
	return session_print_table(table, stdout, err);
}

int decap_show(struct session *session, const struct decap_state *state, json_t *findings,
	       struct err *err)
{
	int r;

	if (session->options.json)
		return show_json(session, state, findings, err);
	r = print_setup(session, state, err);
	if (r == 0) {
		putchar('\n');
		r = print_counters(session, state, err);
	}
	return r;
}
