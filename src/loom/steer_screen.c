#include "steer_screen.h"

#include <errno.h>
#include <inttypes.h>
#include <langinfo.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "human.h"
#include "steer_odd.h"
#include "text.h"

#define SCREEN_BAR_MIN 8
#define SCREEN_BAR_MAX 48
/* Columns of a row that are not its bar, about. */
#define SCREEN_ROW_OTHERS 84
#define SCREEN_ODDS	  6 /* sentences below the table */

/* What is counted on and on; rates are differences of it. */
struct screen_counts {
	uint64_t id; /* of the member; 0: the group */
	uint64_t got;
	uint64_t selected;
	uint64_t fallbacks;
	uint64_t drops;
};

struct steer_screen {
	struct screen_counts group;
	struct screen_counts *members; /* owned */
	size_t member_count;
	uint64_t at_ns; /* 0: nothing was read yet */
};

/* A reading and what follows from it. */
struct screen_view {
	const struct session *session;
	const struct steer_read_group *group;
	struct screen_counts now;
	double got; /* of the group, a second */
	double selected;
	double fallbacks;
	double drops;
	double *rates; /* owned: each member's */
	double *drop_rates;
};

struct steer_screen *steer_screen_new(void)
{
	return calloc(1, sizeof(struct steer_screen));
}

void steer_screen_free(struct steer_screen *screen)
{
	if (!screen)
		return;
	free(screen->members);
	free(screen);
}

static struct screen_counts count_member(const struct steer_read_member *member)
{
	return (struct screen_counts){ .id = member->id,
				       .got = steer_read_got(member),
				       .selected = member->selected,
				       .drops = member->drops };
}

static const struct screen_counts *find(const struct steer_screen *screen, uint64_t id)
{
	for (size_t i = 0; i < screen->member_count; i++)
		if (screen->members[i].id == id)
			return &screen->members[i];
	return NULL;
}

/* Members' rates are the API's until there is a reading before. */
static void rate_members(const struct steer_screen *screen, struct screen_view *view,
			 uint64_t elapsed_ns)
{
	const struct steer_read_group *group = view->group;

	for (size_t i = 0; i < group->member_count; i++) {
		const struct screen_counts *before = find(screen, group->members[i].id);
		struct screen_counts now = count_member(&group->members[i]);

		view->rates[i] = before ? human_rate(before->got, now.got, elapsed_ns)
					: (double)group->members[i].rate;
		view->drop_rates[i] = before ? human_rate(before->drops, now.drops, elapsed_ns) : 0;
		view->got += isnan(view->rates[i]) ? 0 : view->rates[i];
		view->drops += isnan(view->drop_rates[i]) ? 0 : view->drop_rates[i];
	}
}

static void view_done(struct screen_view *view)
{
	free(view->rates);
	free(view->drop_rates);
}

/* 0 or -ENOMEM. */
static int view_init(struct screen_view *view, const struct steer_screen *screen,
		     const struct session *session, const struct steer_read_group *group,
		     uint64_t now_ns)
{
	const struct screen_counts *before = &screen->group;
	uint64_t elapsed_ns = screen->at_ns ? now_ns - screen->at_ns : 0;

	*view = (struct screen_view){ .session = session, .group = group };
	view->rates = calloc(group->member_count + 1, sizeof(*view->rates));
	view->drop_rates = calloc(group->member_count + 1, sizeof(*view->drop_rates));
	if (!view->rates || !view->drop_rates)
		return -ENOMEM;
	view->now.selected = steer_read_counter(group, "selected");
	view->now.fallbacks = steer_read_fallbacks(group);
	rate_members(screen, view, elapsed_ns);
	if (screen->at_ns) {
		view->selected = human_rate(before->selected, view->now.selected, elapsed_ns);
		view->fallbacks = human_rate(before->fallbacks, view->now.fallbacks, elapsed_ns);
	}
	return 0;
}

static int remember(struct steer_screen *screen, const struct screen_view *view, uint64_t now_ns)
{
	const struct steer_read_group *group = view->group;
	struct screen_counts *members = calloc(group->member_count + 1, sizeof(*members));

	if (!members)
		return -ENOMEM;
	for (size_t i = 0; i < group->member_count; i++)
		members[i] = count_member(&group->members[i]);
	free(screen->members);
	screen->members = members;
	screen->member_count = group->member_count;
	screen->group = view->now;
	screen->at_ns = now_ns;
	return 0;
}

/* ---- the head ---- */

static void print_safe(FILE *out, const char *text)
{
	struct buf safe;

	buf_init(&safe);
	text_append(&safe, text, false);
	fputs(safe.data ? safe.data : "", out);
	buf_done(&safe);
}

static enum term_colour state_colour(const struct steer_read_group *group)
{
	if (group->fallback || group->reverted)
		return TERM_BAD;
	if (group->frozen)
		return TERM_WARN;
	return strcmp(group->state, "enforced") == 0 ? TERM_GOOD : TERM_PLAIN;
}

static void print_coloured(const struct screen_view *view, enum term_colour colour,
			   const char *text, FILE *out)
{
	bool colours = view->session->term.colours && colour != TERM_PLAIN;

	fputs(colours ? term_colour_sequence(colour) : "", out);
	print_safe(out, text);
	fputs(colours ? "\033[0m" : "", out);
}

static void print_state(const struct screen_view *view, FILE *out)
{
	const struct steer_read_group *group = view->group;
	char state[96];
	char age[HUMAN_LEN];

	print_safe(out, group->name);
	fputs("  ", out);
	print_safe(out, group->protocol);
	fputc(' ', out);
	print_safe(out, group->listen);
	fputs("  ", out);
	print_safe(out, group->policy);
	fputs("  ", out);
	print_coloured(view, state_colour(group), steer_odd_state(group, state, sizeof(state)),
		       out);
	fprintf(out, " for %s", human_seconds(group->state_age_s, age));
	if (*group->target && strcmp(group->target, group->state) != 0) {
		fputs(group->automatic ? ", goes to " : ", target ", out);
		print_safe(out, group->target);
	}
	if (group->cooldown_s > 0)
		fprintf(out, ", cooldown %s", human_seconds(group->cooldown_s, age));
	fputc('\n', out);
}

static void print_counts(const struct screen_view *view, FILE *out)
{
	const struct steer_read_group *group = view->group;
	const char *unit = strcmp(group->protocol, "udp") == 0 ? "pps" : "conn/s";
	char got[HUMAN_LEN];
	char selected[HUMAN_LEN];
	char fallbacks[HUMAN_LEN];
	char all[HUMAN_LEN];

	fprintf(out, "all %s  selected %s  fallbacks %s (%s in all)",
		human_si(view->got, unit, got), human_si(view->selected, "/s", selected),
		human_si(view->fallbacks, "/s", fallbacks),
		human_si((double)view->now.fallbacks, "", all));
	fprintf(out, "  drops %s", human_si(view->drops, "/s", got));
	fprintf(out, "  max/mean %.2f  Jain %.3f", (double)group->max_over_mean_permille / 1000,
		(double)group->jain_permille / 1000);
	if (group->probe_p99_s > 0)
		fprintf(out, "  p99 %.2fms", group->probe_p99_s * 1000);
	fputc('\n', out);
}

static void print_last(const struct screen_view *view, FILE *out)
{
	const struct steer_read_transition *last = &view->group->last;
	char ago[HUMAN_LEN];

	if (last->at <= 0)
		return;
	fputs("last: ", out);
	print_safe(out, last->from);
	fputs(" to ", out);
	print_safe(out, last->to);
	fputs(" by ", out);
	print_safe(out, last->actor);
	fprintf(out, ", %s ago", human_seconds((double)clock_wall_s() - last->at, ago));
	if (*last->reason) {
		fputs(": ", out);
		print_safe(out, last->reason);
	}
	fputc('\n', out);
}

/* ---- the table ---- */

/* Eighths of a column where the terminal can show them. */
static void format_bar(double share, size_t width, char *text, size_t size)
{
	static const char *const eighths[] = { "", "▏", "▎", "▍", "▌", "▋", "▊", "▉" };
	bool blocks = strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
	size_t filled = share > 0 ? (size_t)lround(share * (double)width * 8) : 0;
	size_t len = 0;

	if (filled > width * 8)
		filled = width * 8;
	text[0] = '\0';
	for (size_t i = 0; i < filled / 8; i++)
		len += (size_t)snprintf(text + len, size - len, "%s", blocks ? "█" : "#");
	if (blocks)
		snprintf(text + len, size - len, "%s", eighths[filled % 8]);
}

static enum term_colour row_colour(const struct steer_read_member *member, const char *odd)
{
	if (member->stuck)
		return TERM_BAD;
	if (strcmp(member->state, "active") != 0)
		return TERM_FAINT;
	return *odd ? TERM_WARN : TERM_PLAIN;
}

static void add_row(struct table *table, const struct screen_view *view, size_t i, double most,
		    size_t bar_width)
{
	const struct steer_read_member *member = &view->group->members[i];
	double rate = view->rates[i];
	char bar[SCREEN_BAR_MAX * 3 + 8];
	char text[HUMAN_LEN];
	enum term_colour colour;
	char odd[96];

	steer_odd_member(view->group, member, odd, sizeof(odd));
	colour = row_colour(member, odd);
	table_row(table);
	if (member->slot >= 0)
		table_cell(table, colour, "%d", member->slot);
	else
		table_cell(table, colour, "-");
	table_cell(table, colour, "%" PRIu64, member->pid);
	table_cell(table, colour, "%s", *member->label ? member->label : member->comm);
	table_cell(table, colour, "%s", member->state);
	table_cell(table, colour, "%" PRIu64, member->weight);
	table_cell(table, colour, "%" PRIu64, member->generation);
	table_cell(table, colour, "%s", human_si((double)member->queue, "", text));
	table_cell(table, view->drop_rates[i] > 0 ? TERM_BAD : colour, "%s",
		   human_si((double)member->drops, "", text));
	table_cell(table, colour, "%s", human_si(rate, "/s", text));
	if (view->got > 0 && !isnan(rate))
		table_cell(table, colour, "%.1f%%", rate * 100 / view->got);
	else
		table_cell(table, colour, "-");
	format_bar(most > 0 ? rate / most : 0, bar_width, bar, sizeof(bar));
	table_cell(table, colour, "%s", bar);
	table_cell(table, colour, "%s", odd);
}

static int print_members(const struct screen_view *view, size_t columns, FILE *out, struct err *err)
{
	static const struct table_column heads[] = {
		{ "SLOT", true },
		{ "PID", true },
		{ "PROCESS" },
		{ "STATE" },
		{ "WT", true },
		{ "GEN", true },
		{ "QUEUE", true },
		{ "DROPS", true },
		{ "RATE", true },
		{ "SHARE", true },
		{ "" },
		{ "ODD" },
	};
	struct table *table = session_table(view->session, heads, 12);
	size_t width = columns > SCREEN_ROW_OTHERS + SCREEN_BAR_MIN ? columns - SCREEN_ROW_OTHERS
								    : SCREEN_BAR_MIN;
	double most = 0;

	if (width > SCREEN_BAR_MAX)
		width = SCREEN_BAR_MAX;
	for (size_t i = 0; i < view->group->member_count; i++)
		most = fmax(most, view->rates[i]);
	for (size_t i = 0; i < view->group->member_count; i++)
		add_row(table, view, i, most, width);
	if (!view->group->member_count)
		fputs("no members: nobody listens there with SO_REUSEPORT\n", out);
	return session_print_table(table, out, err);
}

static int print_odds(const struct screen_view *view, FILE *out, struct err *err)
{
	static const enum term_colour colours[] = { TERM_FAINT, TERM_WARN, TERM_BAD };
	struct steer_odd *odds = calloc(STEER_ODD_MAX, sizeof(*odds));
	size_t count;

	if (!odds)
		return err_set(err, -ENOMEM, "cannot print: out of memory");
	count = steer_odd_find(view->group, odds, STEER_ODD_MAX);
	if (count)
		fputc('\n', out);
	for (size_t i = 0; i < count && i < SCREEN_ODDS; i++) {
		print_coloured(view, colours[odds[i].severity], odds[i].text, out);
		fputc('\n', out);
	}
	if (count > SCREEN_ODDS)
		fprintf(out, "and %zu more: loom steer show\n", count - SCREEN_ODDS);
	free(odds);
	return 0;
}

int steer_screen_draw(struct steer_screen *screen, const struct session *session,
		      const struct steer_read_group *group, size_t columns, FILE *out,
		      struct err *err)
{
	uint64_t now_ns = clock_now_ns();
	struct screen_view view;
	int r = view_init(&view, screen, session, group, now_ns);

	if (r == 0) {
		print_state(&view, out);
		print_counts(&view, out);
		print_last(&view, out);
		fputc('\n', out);
		r = print_members(&view, columns, out, err);
	}
	if (r == 0)
		r = print_odds(&view, out, err);
	if (r == 0)
		r = remember(screen, &view, now_ns);
	view_done(&view);
	return r == 0 ? 0 : err_set(err, -ENOMEM, "cannot print: out of memory");
}

int steer_screen_line(struct steer_screen *screen, const struct session *session,
		      const struct steer_read_group *group, FILE *out, struct err *err)
{
	uint64_t now_ns = clock_now_ns();
	time_t now = (time_t)clock_wall_s();
	struct screen_view view;
	char text[HUMAN_LEN];
	char state[96];
	struct tm tm;
	int r = view_init(&view, screen, session, group, now_ns);

	if (r == 0 && strftime(text, sizeof(text), "%H:%M:%S", localtime_r(&now, &tm)))
		fprintf(out, "%s ", text);
	if (r == 0) {
		print_safe(out, steer_odd_state(group, state, sizeof(state)));
		fprintf(out, "  all %s", human_si(view.got, "/s", text));
		fprintf(out, "  selected %s", human_si(view.selected, "/s", text));
		fprintf(out, "  fallbacks %s", human_si(view.fallbacks, "/s", text));
		fprintf(out, "  drops %s ", human_si(view.drops, "/s", text));
		for (size_t i = 0; i < group->member_count; i++)
			fprintf(out, " %d:%s%s", group->members[i].slot,
				human_si(view.rates[i], "/s", text),
				group->members[i].stuck ? "(stuck)" : "");
		fputc('\n', out);
		r = remember(screen, &view, now_ns);
	}
	view_done(&view);
	return r == 0 ? 0 : err_set(err, -ENOMEM, "cannot print: out of memory");
}
