#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "human.h"
#include "steer_ask.h"
#include "steer_odd.h"
#include "steer_pins.h"

struct list_options {
	bool direct;
	const char *pin_path;
};

static const struct args_option list_options[] = {
	{ "direct", 0, ARGS_FLAG, offsetof(struct list_options, direct), NULL,
	  "what the pins say, without loomd" },
	{ "pin-path", 0, ARGS_TEXT, offsetof(struct list_options, pin_path), "DIR",
	  "ebpf.pin_path of that loomd (default: /sys/fs/bpf/loom)" },
	{ 0 },
};

/* ---- by loomd ---- */

static enum term_colour worst_colour(const struct steer_odd *odds, size_t count)
{
	if (!count || odds[0].severity == STEER_ODD_NOTE)
		return TERM_PLAIN;
	return odds[0].severity == STEER_ODD_BAD ? TERM_BAD : TERM_WARN;
}

static void add_group(struct table *table, const struct steer_read_group *group)
{
	struct steer_odd odds[1];
	size_t count = steer_odd_find(group, odds, 1);
	enum term_colour colour = worst_colour(odds, count);
	char text[HUMAN_LEN];
	char state[96];
	size_t active = 0;
	uint64_t rate = 0;

	for (size_t i = 0; i < group->member_count; i++) {
		active += strcmp(group->members[i].state, "active") == 0;
		rate += group->members[i].rate;
	}
	table_row(table);
	table_cell(table, colour, "%s", group->name);
	table_cell(table, colour, "%s %s%s%s", group->protocol, group->listen,
		   *group->netns ? " in " : "", group->netns);
	table_cell(table, colour, "%s", group->policy);
	table_cell(table, colour, "%s", steer_odd_state(group, state, sizeof(state)));
	table_cell(table, colour, "%s", human_seconds(group->state_age_s, text));
	table_cell(table, group->attached || group->fallback ? colour : TERM_BAD, "%s",
		   group->attached ? "yes" : "no");
	table_cell(table, active ? colour : TERM_BAD, "%zu of %zu", active, group->member_count);
	table_cell(table, colour, "%s", human_si((double)rate, "/s", text));
	table_cell(table, colour, "%s", human_si((double)steer_read_fallbacks(group), "", text));
	table_cell(table, colour, "%.2f", (double)group->max_over_mean_permille / 1000);
	table_cell(table, colour, "%s",
		   count && odds[0].severity != STEER_ODD_NOTE ? odds[0].text : "");
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	static const struct table_column columns[] = {
		{ "GROUP" },	       { "LISTENS" },	     { "POLICY" },	 { "STATE" },
		{ "FOR", true },       { "ATTACHED" },	     { "ACTIVE", true }, { "RATE", true },
		{ "FALLBACKS", true }, { "MAX/MEAN", true }, { "ODD" },
	};
	struct steer_read read;
	json_t *answer = NULL;
	struct table *table;
	int r = steer_ask_groups(session, NULL, &answer, &read, err);

	if (r == 0 && session->options.json) {
		r = session_print_json(session, answer, out, err);
	} else if (r == 0) {
		table = session_table(session, columns, 11);
		for (size_t i = 0; i < read.group_count; i++)
			add_group(table, &read.groups[i]);
		if (!read.group_count)
			fputs("no groups; steering.groups in loom.yaml names them\n", out);
		r = session_print_table(table, out, err);
	}
	steer_read_done(&read);
	json_decref(answer);
	return r;
}

/* ---- by the pins ---- */

struct direct_list {
	struct table *table;
	json_t *groups;
	bool failed; /* a group's pins cannot be read */
};

static uint64_t selected_of(const struct steer_pinned *pinned)
{
	return pinned->counters[STEER_COUNT_SELECTED];
}

static uint64_t fallbacks_of(const struct steer_pinned *pinned)
{
	uint64_t sum = 0;
	char name[32];

	for (int i = 0; i < STEER_COUNTERS_END; i++)
		if (steer_read_is_fallback(steer_pins_counter((enum steer_counter)i, name)))
			sum += pinned->counters[i];
	return sum;
}

static json_t *pinned_json(const struct steer_pinned *pinned)
{
	json_t *counters = json_object();
	char name[32];

	for (int i = 0; i < STEER_COUNTERS_END; i++)
		json_object_set_new(counters, steer_pins_counter((enum steer_counter)i, name),
				    json_integer((json_int_t)pinned->counters[i]));
	return json_pack("{s:s, s:s, s:s, s:f, s:I, s:I, s:o}", "name", pinned->name, "part",
			 pinned->part, "mode", steer_pins_mode(pinned->control.mode),
			 "canary_permille", (double)pinned->control.canary * 1000 / 4294967296.0,
			 "members", (json_int_t)pinned->members, "eligible",
			 (json_int_t)pinned->eligible, "counters", counters);
}

static int add_pinned(void *ctx, const struct steer_pinned *pinned, const struct err *error)
{
	struct direct_list *list = ctx;
	char text[HUMAN_LEN];

	list->failed |= error->code < 0;
	if (json_array_append_new(list->groups,
				  error->code < 0 ? json_pack("{s:s, s:s}", "name", pinned->name,
							      "error", error->text)
						  : pinned_json(pinned)) < 0)
		return -ENOMEM;
	table_row(list->table);
	table_cell(list->table, TERM_PLAIN, "%s", pinned->name);
	table_cell(list->table, TERM_PLAIN, "%s%s", pinned->part[0] ? "IPv" : "", pinned->part);
	if (error->code < 0) {
		table_cell(list->table, TERM_BAD, "%s", error->text);
		return 0;
	}
	table_cell(list->table, TERM_PLAIN, "%s", steer_pins_mode(pinned->control.mode));
	if (pinned->control.mode == STEER_CANARY)
		table_cell(list->table, TERM_PLAIN, "%.0f",
			   (double)pinned->control.canary * 1000 / 4294967296.0);
	else
		table_cell(list->table, TERM_PLAIN, "-");
	if (pinned->has_table)
		table_cell(list->table, TERM_PLAIN, "%" PRIu32 " of %" PRIu32, pinned->eligible,
			   pinned->members);
	else
		table_cell(list->table, TERM_PLAIN, "?");
	table_cell(list->table, TERM_PLAIN, "%s",
		   pinned->has_counters ? human_si((double)selected_of(pinned), "", text) : "?");
	table_cell(list->table, TERM_PLAIN, "%s",
		   pinned->has_counters ? human_si((double)fallbacks_of(pinned), "", text) : "?");
	return 0;
}

static int list_direct(struct session *session, const char *pin_path, struct err *err)
{
	static const struct table_column columns[] = {
		{ "GROUP" },	       { "FAMILY" },	     { "MODE" },
		{ "PERMILLE", true },  { "ELIGIBLE", true }, { "SELECTED", true },
		{ "FALLBACKS", true },
	};
	struct direct_list list = { .groups = json_array() };
	char dir[STEER_PINS_DIR_LEN];
	json_t *whole;
	int r;

	list.table = session_table(session, columns, 7);
	steer_pins_dir(pin_path, session->options.instance, dir);
	r = steer_pins_each(dir, add_pinned, &list, err);
	whole = json_pack("{s:s, s:o}", "pins", dir, "groups", list.groups);
	if (r == 0 && !whole)
		r = err_set(err, -ENOMEM, "cannot print: out of memory");
	else if (r == 0 && session->options.json)
		r = session_print_json(session, whole, stdout, err);
	else if (r == 0 && !json_array_size(list.groups))
		printf("no groups are pinned below %s\n", dir);
	else if (r == 0) {
		r = session_print_table(list.table, stdout, err);
		list.table = NULL;
	}
	table_free(list.table);
	json_decref(whole);
	return r < 0 ? r : list.failed ? SESSION_REFUSED : SESSION_OK;
}

static int list(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct list_options *options = ctx;
	struct err err = { 0 };
	int r;

	if (options->pin_path && !options->direct) {
		err_set(&err, -EINVAL, "cannot use --pin-path without --direct: leave it out");
		return session_usage("steer list", &err);
	}
	if (options->direct) {
		r = list_direct(session, options->pin_path, &err);
		return r < 0 ? session_fail(session, &err) : r;
	}
	return session_watch(session, draw, NULL);
}

const struct verb cmd_steer_list = {
	.name = "steer list",
	.operands = "",
	.summary = "List the steering groups",
	.help = "ODD: the worst that is odd about the group; 'loom steer show GROUP' has it all.\n",
	.options = list_options,
	.options_size = sizeof(struct list_options),
	.watchable = true,
	.run = list,
};
