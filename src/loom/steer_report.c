#include "steer_report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"
#include "steer_odd.h"
#include "steer_past.h"
#include "text.h"

#define REPORT_PAST_S 900.0 /* what is called the last minutes */

static void head(struct buf *out, const char *text)
{
	buf_printf(out, "\n%s\n", text);
	for (size_t i = 0; text[i]; i++)
		buf_append(out, "-", 1);
	buf_append(out, "\n", 1);
}

/* ---- the state ---- */

static void write_part(struct buf *out, const struct steer_pinned *pinned)
{
	buf_printf(out, "In the kernel%s%s:  mode %s", pinned->part[0] ? ", IPv" : "", pinned->part,
		   steer_pins_mode(pinned->control.mode));
	if (pinned->control.mode == STEER_CANARY)
		buf_printf(out, " for %.0f of 1000 flows",
			   (double)pinned->control.canary * 1000 / 4294967296.0);
	if (pinned->has_table)
		buf_printf(out, ", %u of %u members may be chosen", pinned->eligible,
			   pinned->members);
	buf_printf(out, "\n");
}

static void write_pinned(struct buf *out, const struct steer_report *report)
{
	for (size_t i = 0; report->pinned && i < STEER_PINS_PARTS; i++)
		if (report->pinned[i].there)
			write_part(out, &report->pinned[i]);
	if (!report->pinned)
		buf_printf(out, "The kernel's side is unknown: %s\n", report->pins_error);
}

/* "canary -> shadow by guard: REASON (numbers)"; "drain by operator" moves nothing. */
static void write_move(struct buf *out, const struct steer_past_record *record)
{
	buf_printf(out, "%s%s%s by %s%s%s", record->from, *record->from ? " -> " : "", record->to,
		   record->actor, *record->reason ? ": " : "", record->reason);
	if (*record->numbers)
		buf_printf(out, " (%s)", record->numbers);
	buf_printf(out, "\n");
}

/* The last one that moved the group; loomd itself tells it while it can be asked. */
static void write_last_move(struct buf *out, const struct steer_report *report)
{
	const json_t *list = steer_past_list(report->audit, "transitions");

	for (size_t i = json_array_size(list); i--;) {
		struct steer_past_record record;

		steer_past_record(json_array_get(list, i), &record);
		if (!*record.from)
			continue;
		buf_printf(out, "Last moved at %s: ", record.time);
		write_move(out, &record);
		return;
	}
}

static void write_state(struct buf *out, const struct steer_report *report)
{
	const struct steer_read_group *group = report->group;
	char state[96];
	char age[HUMAN_LEN];
	char when[32];

	head(out, "1. What is the state");
	if (!group) {
		buf_printf(out,
			   "loomd cannot be asked: %s\n"
			   "Its program stays attached without it and does what its maps say.\n",
			   report->daemon_error);
		write_pinned(out, report);
		write_last_move(out, report);
		return;
	}
	buf_printf(out, "%s, since %s. %s\n", steer_odd_state(group, state, sizeof(state)),
		   human_seconds(group->state_age_s, age), steer_odd_meaning(group));
	if (group->last.at > 0)
		buf_printf(out, "Moved from %s to %s by %s at %s: %s\n", group->last.from,
			   group->last.to, group->last.actor, steer_past_time(group->last.at, when),
			   *group->last.reason ? group->last.reason : "no reason was given");
	else
		buf_printf(out, "Nobody has moved it since loomd began.\n");
	buf_printf(out, "Policy %s, target %s (%s)\n", group->policy, group->target,
		   group->automatic ? "goes there by itself" : "an operator moves it");
	if (group->program)
		buf_printf(out, "Program %" PRIu64 " is attached; Loom's is %" PRIu64 "\n",
			   group->program, group->program_own);
	else
		buf_printf(out, "No program is attached\n");
	write_pinned(out, report);
}

/* ---- members ---- */

static void write_odd(struct buf *out, const struct steer_odd *odds, size_t count)
{
	static const char *const marks[] = { "note", "WARNING", "BAD" };

	head(out, "2. What is odd, the worst first");
	for (size_t i = 0; i < count; i++)
		buf_printf(out, "%-8s %s\n", marks[odds[i].severity], odds[i].text);
	if (!count)
		buf_printf(out, "Nothing that this tool knows of.\n");
}

static void write_member(struct buf *out, const struct steer_read_group *group,
			 const struct steer_read_member *member)
{
	char slot[16] = "-";
	char queue[48];
	char got[HUMAN_LEN];
	char rate[HUMAN_LEN];
	char odd[96];

	if (member->slot >= 0)
		snprintf(slot, sizeof(slot), "%d", member->slot);
	snprintf(queue, sizeof(queue), "%" PRIu64 "/%" PRIu64, member->queue, member->queue_max);
	buf_printf(out,
		   "%4s %5" PRIu64 " %7" PRIu64 " %-15s %-12s %6" PRIu64 " %4" PRIu64
		   " %15s %8" PRIu64 " %8s %8s  %s\n",
		   slot, member->id, member->pid, *member->label ? member->label : member->comm,
		   member->state, member->weight, member->generation, queue, member->drops,
		   human_si((double)steer_read_got(member), "", got),
		   human_si((double)member->rate, "/s", rate),
		   steer_odd_member(group, member, odd, sizeof(odd)));
}

static void write_members(struct buf *out, const struct steer_read_group *group)
{
	head(out, "3. Members");
	if (!group) {
		buf_printf(out, "Only loomd knows them by name; programs.json has slots and "
				"cookies, sockets.txt who listens.\n");
		return;
	}
	buf_printf(out, "%4s %5s %7s %-15s %-12s %6s %4s %15s %8s %8s %8s  %s\n", "SLOT", "ID",
		   "PID", "PROCESS", "STATE", "WEIGHT", "GEN", "QUEUE", "DROPS", "GOT", "RATE",
		   "ODD");
	for (size_t i = 0; i < group->member_count; i++)
		write_member(out, group, &group->members[i]);
}

/* ---- the last 15 minutes ---- */

static void write_audit(struct buf *out, const struct steer_report *report)
{
	const json_t *list = steer_past_list(report->audit, "transitions");
	const json_t *json;
	size_t written = 0;
	size_t i;

	json_array_foreach((json_t *)list, i, json)
	{
		struct steer_past_record record;

		steer_past_record(json, &record);
		if (record.at > 0 && record.at < report->now - REPORT_PAST_S)
			continue;
		written++;
		buf_printf(out, "%s  ", record.time);
		write_move(out, &record);
	}
	if (!list)
		buf_printf(out, "The audit log cannot be had%s%s\n",
			   *report->daemon_error ? ": " : "", report->daemon_error);
	else if (!written)
		buf_printf(out, "Nobody moved the group (audit.json has what was before).\n");
}

static void write_series(struct buf *out, const char *member, const json_t *samples)
{
	struct steer_past_series series[STEER_PAST_SERIES_MAX];
	size_t count = steer_past_series(samples, series, STEER_PAST_SERIES_MAX);

	for (size_t i = 0; i < count; i++) {
		const double numbers[] = { series[i].min, series[i].mean, series[i].max,
					   series[i].last };
		char text[HUMAN_LEN];

		buf_printf(out, "%-18s %-16s", member, series[i].name);
		for (size_t k = 0; k < 4; k++)
			buf_printf(out, " %10s", human_si(numbers[k], "", text));
		buf_printf(out, "\n");
	}
}

static void write_history(struct buf *out, const struct steer_report *report)
{
	json_t *members = steer_past_by_member(report->history);
	const char *name;
	json_t *samples;

	if (json_object_size(members))
		buf_printf(out, "\n%-18s %-16s %10s %10s %10s %10s\n", "MEMBER", "NUMBER", "MIN",
			   "MEAN", "MAX", "LAST");
	else
		buf_printf(out, "The members' history cannot be had, or is empty.\n");
	json_object_foreach(members, name, samples) write_series(out, name, samples);
	json_decref(members);
}

/* ---- what to do ---- */

static void write_without_daemon(struct buf *out, const struct steer_report *report)
{
	buf_printf(out,
		   "a. Why is loomd gone:\n"
		   "     systemctl status loomd; journalctl -u loomd -n 100\n"
		   "b. Clients suffer and the mode above is canary or enforced: plain Linux, now:\n"
		   "     loom steer fallback %s --direct\n"
		   "c. Start it again; it takes over what is pinned:\n"
		   "     systemctl start loomd\n",
		   report->name);
}

static bool decides(const struct steer_read_group *group)
{
	return !group->fallback &&
	       (strcmp(group->state, "canary") == 0 || strcmp(group->state, "enforced") == 0);
}

static void write_next(struct buf *out, const struct steer_report *report,
		       const struct steer_odd *odds, size_t count)
{
	char letter = 'a';

	head(out, "5. What to do next");
	if (!report->group) {
		write_without_daemon(out, report);
		return;
	}
	if (!decides(report->group))
		buf_printf(out,
			   "Plain Linux decides: unless a foreign program is attached, Loom is not "
			   "what clients feel.\n");
	else
		buf_printf(out,
			   "%c. Clients suffer and it is not known why: plain Linux, now:\n"
			   "     loom steer fallback %s --reason incident\n",
			   letter++, report->name);
	for (size_t i = 0; i < count && letter < 'w'; i++)
		if (*odds[i].remedy)
			buf_printf(out, "%c. %s:\n     %s\n", letter++, odds[i].text,
				   odds[i].remedy);
	buf_printf(out,
		   "%c. See it live, and decision by decision:\n"
		   "     loom steer watch %s\n     loom steer trace %s --duration 5s\n",
		   letter, report->name, report->name);
}

void steer_report_write(struct buf *out, const struct steer_report *report)
{
	struct steer_odd *odds = calloc(STEER_ODD_MAX, sizeof(*odds));
	size_t count = odds && report->group ? steer_odd_find(report->group, odds, STEER_ODD_MAX)
					     : 0;
	struct buf raw;
	char when[32];

	buf_init(&raw);
	raw.failed |= !odds;
	buf_printf(&raw, "Incident report of the steering group %s\n", report->name);
	buf_printf(&raw,
		   "written %s (all times here are local) on %s by loom " LOOM_VERSION
		   ", loomd at %s\n",
		   steer_past_time(report->now, when), report->host, report->where);
	if (report->group)
		buf_printf(&raw, "%s %s%s%s\n", report->group->protocol, report->group->listen,
			   *report->group->netns ? " in " : "", report->group->netns);
	write_state(&raw, report);
	if (report->group)
		write_odd(&raw, odds, count);
	write_members(&raw, report->group);
	head(&raw, "4. The last 15 minutes");
	write_audit(&raw, report);
	write_history(&raw, report);
	write_next(&raw, report, odds, count);
	out->failed |= buf_failed(&raw);
	/* Names of processes are anybody's: the report is read on a terminal. */
	text_append(out, raw.data ? raw.data : "", true);
	buf_done(&raw);
	free(odds);
}
