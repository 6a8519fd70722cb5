#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "human.h"
#include "steer_ask.h"
#include "steer_odd.h"

static void row(struct table *table, const char *label)
{
	table_row(table);
	table_cell(table, TERM_FAINT, "%s", label);
}

static void add_program(struct table *table, const struct steer_read_group *group)
{
	row(table, "program");
	if (!group->program)
		table_cell(table, group->fallback ? TERM_PLAIN : TERM_BAD, "none attached");
	else if (group->program == group->program_own)
		table_cell(table, TERM_PLAIN, "%" PRIu64 ", Loom's", group->program);
	else
		table_cell(table, TERM_BAD, "%" PRIu64 ", not Loom's", group->program);
}

static void add_rollout(struct table *table, const struct steer_read_group *group)
{
	char state[96];
	char age[HUMAN_LEN];

	row(table, "state");
	table_cell(table, group->fallback || group->reverted ? TERM_BAD : TERM_PLAIN,
		   "%s for %s. %s", steer_odd_state(group, state, sizeof(state)),
		   human_seconds(group->state_age_s, age), steer_odd_meaning(group));
	row(table, "target");
	table_cell(table, TERM_PLAIN, "%s, %s", group->target,
		   group->automatic ? "by itself" : "by an operator");
	if (*group->held_back) {
		row(table, "held back");
		table_cell(table, TERM_WARN, "%s", group->held_back);
	}
	if (group->cooldown_s > 0) {
		row(table, "cooldown");
		table_cell(table, TERM_PLAIN, "%s", human_seconds(group->cooldown_s, age));
	}
	if (group->last.at > 0) {
		row(table, "last move");
		table_cell(table, TERM_PLAIN, "%s to %s by %s, %s ago%s%s", group->last.from,
			   group->last.to, group->last.actor,
			   human_seconds((double)clock_wall_s() - group->last.at, age),
			   *group->last.reason ? ": " : "", group->last.reason);
	}
}

static void add_numbers(struct table *table, const struct steer_read_group *group)
{
	row(table, "balance");
	table_cell(table, TERM_PLAIN, "max/mean %.2f, Jain's index %.3f",
		   (double)group->max_over_mean_permille / 1000,
		   (double)group->jain_permille / 1000);
	if (group->probe_p99_s > 0 || group->probe_failures) {
		row(table, "probe");
		table_cell(table, group->probe_failures ? TERM_WARN : TERM_PLAIN,
			   "p99 %.2fms, %" PRIu64 " failed", group->probe_p99_s * 1000,
			   group->probe_failures);
	}
	if (group->indices) {
		row(table, "indices");
		table_cell(table, TERM_PLAIN, "%" PRIu64, group->indices);
	}
	row(table, "repairs");
	table_cell(table, TERM_PLAIN, "%" PRIu64 ", resets in restart windows %" PRIu64,
		   group->repairs, group->resets);
}

static int print_head(struct session *session, const struct steer_read_group *group, FILE *out,
		      struct err *err)
{
	static const struct table_column columns[] = { { NULL }, { NULL } };
	struct table *table = session_table(session, columns, 2);

	row(table, "group");
	table_cell(table, TERM_PLAIN, "%s, %s %s%s%s", group->name, group->protocol, group->listen,
		   *group->netns ? " in " : "", group->netns);
	row(table, "policy");
	table_cell(table, TERM_PLAIN, "%s", group->policy);
	add_program(table, group);
	add_rollout(table, group);
	add_numbers(table, group);
	return session_print_table(table, out, err);
}

static void add_queue(struct table *table, enum term_colour colour,
		      const struct steer_read_member *member)
{
	char queue[HUMAN_LEN];
	char max[HUMAN_LEN];

	table_cell(table, member->stuck ? TERM_BAD : colour, "%s/%s",
		   human_si((double)member->queue, "", queue),
		   human_si((double)member->queue_max, "", max));
}

static void add_member(struct table *table, const struct steer_read_group *group,
		       const struct steer_read_member *member)
{
	enum term_colour colour = strcmp(member->state, "active") == 0 ? TERM_PLAIN : TERM_WARN;
	char text[HUMAN_LEN];
	char odd[96];

	table_row(table);
	if (member->slot >= 0)
		table_cell(table, colour, "%d", member->slot);
	else
		table_cell(table, colour, "-");
	table_cell(table, colour, "%" PRIu64, member->id);
	table_cell(table, colour, "%" PRIu64, member->pid);
	table_cell(table, colour, "%s", *member->label ? member->label : member->comm);
	table_cell(table, colour, "%s", member->address);
	if (member->drain_left_s >= 0 && strcmp(member->state, "draining") == 0)
		table_cell(table, colour, "%s, %s left", member->state,
			   human_seconds(member->drain_left_s, text));
	else
		table_cell(table, colour, "%s", member->state);
	table_cell(table, colour, "%" PRIu64, member->weight);
	table_cell(table, colour, "%" PRIu64, member->generation);
	add_queue(table, colour, member);
	table_cell(table, member->drops ? TERM_BAD : colour, "%s",
		   human_si((double)member->drops, "", text));
	table_cell(table, colour, "%s", human_si((double)member->selected, "", text));
	table_cell(table, colour, "%s", human_si((double)member->kernel, "", text));
	table_cell(table, colour, "%s", human_si((double)member->shadow, "", text));
	table_cell(table, colour, "%s", human_si((double)member->rate, "/s", text));
	table_cell(table, TERM_WARN, "%s", steer_odd_member(group, member, odd, sizeof(odd)));
}

static int print_members(struct session *session, const struct steer_read_group *group, FILE *out,
			 struct err *err)
{
	static const struct table_column columns[] = {
		{ "SLOT", true },   { "ID", true },	  { "PID", true },
		{ "PROCESS" },	    { "ADDRESS" },	  { "STATE" },
		{ "WEIGHT", true }, { "GEN", true },	  { "QUEUE", true },
		{ "DROPS", true },  { "SELECTED", true }, { "KERNEL", true },
		{ "SHADOW", true }, { "RATE", true },	  { "ODD" },
	};
	struct table *table = session_table(session, columns, 15);

	for (size_t i = 0; i < group->member_count; i++)
		add_member(table, group, &group->members[i]);
	return session_print_table(table, out, err);
}

static int print_counters(struct session *session, const struct steer_read_group *group, FILE *out,
			  struct err *err)
{
	static const struct table_column columns[] = { { "COUNTER" }, { "PACKETS", true } };
	struct table *table = session_table(session, columns, 2);
	const json_t *value;
	const char *name;

	json_object_foreach((json_t *)group->counters, name, value)
	{
		if (!json_integer_value(value))
			continue;
		table_row(table);
		table_cell(table, steer_read_is_fallback(name) ? TERM_WARN : TERM_PLAIN, "%s",
			   name);
		table_cell(table, TERM_PLAIN, "%" JSON_INTEGER_FORMAT, json_integer_value(value));
	}
	return session_print_table(table, out, err);
}

static int print_odds(struct session *session, const struct steer_read_group *group, FILE *out,
		      struct err *err)
{
	static const struct table_column columns[] = { { "ODD" }, { "WHAT TO DO" } };
	static const enum term_colour colours[] = { TERM_PLAIN, TERM_WARN, TERM_BAD };
	struct steer_odd *odds = calloc(STEER_ODD_MAX, sizeof(*odds));
	struct table *table = odds ? session_table(session, columns, 2) : NULL;
	size_t count = odds ? steer_odd_find(group, odds, STEER_ODD_MAX) : 0;

	for (size_t i = 0; i < count; i++) {
		table_row(table);
		table_cell(table, colours[odds[i].severity], "%s", odds[i].text);
		table_cell(table, TERM_PLAIN, "%s", odds[i].remedy);
	}
	if (count)
		fputc('\n', out);
	free(odds);
	return session_print_table(table, out, err);
}

static int print(struct session *session, const struct steer_read_group *group, FILE *out,
		 struct err *err)
{
	int r = print_head(session, group, out, err);

	fputc('\n', out);
	if (r == 0)
		r = print_members(session, group, out, err);
	if (group->member_count)
		fputc('\n', out);
	if (r == 0)
		r = print_counters(session, group, out, err);
	if (r == 0)
		r = print_odds(session, group, out, err);
	return r;
}

static int draw(struct session *session, FILE *out, void *ctx, struct err *err)
{
	const char *name = ctx;
	struct steer_read read;
	json_t *answer = NULL;
	int r = steer_ask_groups(session, name, &answer, &read, err);

	if (r == 0 && session->options.json)
		r = session_print_json(session, answer, out, err);
	else if (r == 0 && read.group_count)
		r = print(session, &read.groups[0], out, err);
	steer_read_done(&read);
	json_decref(answer);
	return r;
}

static int show(struct session *session, const void *options, char **operands, size_t count)
{
	return session_watch(session, draw, operands[0]);
}

const struct verb cmd_steer_show = {
	.name = "steer show",
	.operands = "GROUP",
	.summary = "Show a group, its members, and what is odd about them",
	.operands_min = 1,
	.operands_max = 1,
	.watchable = true,
	.run = show,
};
