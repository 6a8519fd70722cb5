#include <ctype.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

#include <cmocka.h>

#include "observe/metrics.h"

static struct steer_member_view members[] = {
	{ .id = 12,
	  .slot = 3,
	  .pid = 4711,
	  .comm = "unbound",
	  .unit = "unbound.service",
	  .weight = 50,
	  .generation = 2,
	  .state = STEER_ACTIVE,
	  .queue = 768,
	  .queue_max = 212992,
	  .queue_age_ns = 1500000000,
	  .drops = 9,
	  .generation_flows = 6,
	  .count = { 1, 2, 3, 4, 5, 7 } },
	{ .id = 13, .slot = STEER_NOBODY, .comm = "a\"\xff\n\\b", .state = STEER_QUARANTINED },
};
static struct steer_member_view listener = {
	.id = 1, .slot = 0, .state = STEER_DRAINING, .drops = 8, .handshakes = 4, .stuck = true
};
static struct steer_group_view groups[] = {
	{ .name = "dns",
	  .udp = true,
	  .any_family = true,
	  .port = 53,
	  .policy = "weighted",
	  .state = "canary",
	  .canary_permille = 50,
	  .frozen = true,
	  .state_age_ns = 61000000000,
	  .attached = true,
	  .program = 42,
	  .exact = true,
	  .transitions = { 3, 1 },
	  .repairs = 2,
	  .max_over_mean_permille = 1020,
	  .jain_permille = 999,
	  .probe_p99_ns = 2000000,
	  .indices = 77,
	  .members = members,
	  .member_count = 2 },
	{ .name = "web",
	  .port = 80,
	  .policy = "hash",
	  .state = "enforced",
	  .fallback = true,
	  .reverted = true,
	  .resets = 5,
	  .cooldown_ns = 250000000,
	  .members = &listener,
	  .member_count = 1 },
};
static struct steer_view view = { groups, 2 };

static char *render(const struct steer_view *steer)
{
	struct metrics_input input = { .version = "0.1.0", .steer = steer };
	struct buf out;

	for (int i = 0; i < STEER_COUNTERS_END; i++)
		groups[0].counters[i] = 100 + (uint64_t)i;
	assert_int_equal(addr_parse("0.0.0.0", &groups[1].address), 0);
	buf_init(&out);
	assert_int_equal(metrics_render(&input, &out), 0);
	return buf_take(&out);
}

static bool has_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at += len)
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return true;
	return false;
}

static void assert_lines(const char *const *lines, size_t count)
{
	char *text = render(&view);

	for (size_t i = 0; i < count; i++)
		if (!has_line(text, lines[i]))
			fail_msg("no line \"%s\" in:\n%s", lines[i], text);
	free(text);
}

static void a_group_tells_how_far_its_policy_is_in_force(void **state)
{
	static const char *const lines[] = {
		"loom_steer_group_info{group=\"dns\",protocol=\"udp\",address=\"*:53\",netns=\"\","
		"policy=\"weighted\"} 1",
		"loom_steer_group_info{group=\"web\",protocol=\"tcp\",address=\"0.0.0.0:80\","
		"netns=\"\",policy=\"hash\"} 1",
		"loom_steer_state{group=\"dns\",state=\"canary\"} 1",
		"loom_steer_state{group=\"dns\",state=\"enforced\"} 0",
		"loom_steer_state{group=\"web\",state=\"fallback\"} 1",
		"loom_steer_state{group=\"web\",state=\"enforced\"} 0",
		"loom_steer_canary_share_ratio{group=\"dns\"} 0.050",
		"loom_steer_canary_share_ratio{group=\"web\"} 0.000",
		"loom_steer_state_age_seconds{group=\"dns\"} 61.000000000",
		"loom_steer_cooldown_seconds{group=\"web\"} 0.250000000",
		"loom_steer_frozen{group=\"dns\"} 1",
		"loom_steer_reverted{group=\"web\"} 1",
		"loom_steer_attached{group=\"dns\"} 1",
		"loom_steer_program_id{group=\"dns\"} 42",
		"loom_steer_program_id{group=\"web\"} 0",
		"loom_steer_exact{group=\"dns\"} 1",
		"loom_steer_transitions_total{group=\"dns\",direction=\"forward\"} 3",
		"loom_steer_transitions_total{group=\"dns\",direction=\"back\"} 1",
		"loom_steer_repairs_total{group=\"dns\"} 2",
		"loom_steer_resets_total{group=\"web\"} 5",
		"loom_steer_balance_max_over_mean_ratio{group=\"dns\"} 1.020",
		"loom_steer_balance_jain_ratio{group=\"dns\"} 0.999",
		"loom_steer_probe_p99_seconds{group=\"dns\"} 0.002000000",
		"loom_steer_indices{group=\"dns\"} 77",
		"loom_steer_decisions_total{group=\"dns\",reason=\"kernel\"} 100",
		"loom_steer_shadow_total{group=\"dns\",result=\"same\"} 102",
		"loom_steer_shadow_total{group=\"dns\",result=\"other\"} 103",
		"loom_steer_shadow_total{group=\"dns\",result=\"unknown\"} 104",
		"loom_steer_migrations_total{group=\"dns\"} 106",
		"loom_steer_fallbacks_total{group=\"dns\",reason=\"no_slot\"} 107",
		"loom_steer_fallbacks_total{group=\"dns\",reason=\"no_group\"} 113",
	};

	assert_lines(lines, sizeof(lines) / sizeof(lines[0]));
}

static void a_member_tells_what_it_got_and_how_it_keeps_up(void **state)
{
#define DNS_12 "{group=\"dns\",member=\"12\",slot=\"3\""
#define WEB_1  "{group=\"web\",member=\"1\",slot=\"0\""
	static const char *const lines[] = {
		"loom_steer_member_info" DNS_12
		",pid=\"4711\",process=\"unbound\",unit=\"unbound.service\",label=\"\"} 1",
		"loom_steer_member_state" DNS_12 ",state=\"active\"} 1",
		"loom_steer_member_state" DNS_12 ",state=\"draining\"} 0",
		"loom_steer_member_state" WEB_1 ",state=\"draining\"} 1",
		"loom_steer_member_generation" DNS_12 "} 2",
		"loom_steer_member_weight" DNS_12 "} 50",
		"loom_steer_member_selections_total" DNS_12 ",by=\"kernel\"} 1",
		"loom_steer_member_selections_total" DNS_12 ",by=\"selected\"} 3",
		"loom_steer_member_selections_total" DNS_12 ",by=\"shadow\"} 5",
		"loom_steer_member_bytes_total" DNS_12 ",by=\"kernel\"} 2",
		"loom_steer_member_bytes_total" DNS_12 ",by=\"selected\"} 4",
		"loom_steer_member_migrations_total" DNS_12 "} 7",
		"loom_steer_member_drops_total" DNS_12 "} 9",
		"loom_steer_member_overflows_total" WEB_1 "} 8",
		"loom_steer_member_queue" DNS_12 "} 768",
		"loom_steer_member_queue_limit" DNS_12 "} 212992",
		"loom_steer_member_queue_age_seconds" DNS_12 "} 1.500000000",
		"loom_steer_member_flows" DNS_12 "} 6",
		"loom_steer_member_handshakes" WEB_1 "} 4",
		"loom_steer_member_stuck" WEB_1 "} 1",
	};

	assert_lines(lines, sizeof(lines) / sizeof(lines[0]));
}

static void what_is_not_measured_has_no_sample(void **state)
{
	char *text = render(&view);

	assert_null(strstr(text, "loom_steer_probe_p99_seconds{group=\"web\"}"));
	assert_null(strstr(text, "loom_steer_member_drops_total" WEB_1));
	assert_null(strstr(text, "loom_steer_member_overflows_total" DNS_12));
	assert_null(strstr(text, "loom_steer_fallbacks_total{group=\"dns\",reason=\"selected\"}"));
	free(text);
}

static void a_hostile_process_name_cannot_break_the_scrape(void **state)
{
	static const char *const line[] = {
		"loom_steer_member_info{group=\"dns\",member=\"13\",slot=\"\",pid=\"\","
		"process=\"a\\\"??\\\\b\",unit=\"\",label=\"\"} 1"
	};

	assert_lines(line, 1);
}

static void without_groups_there_are_no_families(void **state)
{
	char *text = render(NULL);

	assert_null(strstr(text, "loom_steer_"));
	free(text);
}

static int compare(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void no_series_is_given_twice(void **state)
{
	char *lines[1024];
	size_t count = 0;
	char *text = render(&view);
	char *rest = text;
	char *line;

	while ((line = strsep(&rest, "\n"))) {
		assert_true(count < sizeof(lines) / sizeof(lines[0]));
		if (!*line)
			continue;
		*strrchr(line, ' ') = line[0] == '#' ? ' ' : '\0';
		lines[count++] = line;
	}
	assert_true(count > 100);
	qsort(lines, count, sizeof(lines[0]), compare);
	for (size_t i = 1; i < count; i++)
		assert_string_not_equal(lines[i - 1], lines[i]);
	free(text);
}

static void promtool_finds_nothing_to_complain_about(void **state)
{
	FILE *promtool;
	char *text;
	int status;

	if (system("command -v promtool >/dev/null") != 0)
		skip();
	text = render(&view);
	promtool = popen("promtool check metrics 2>&1", "w");
	assert_non_null(promtool);
	assert_int_equal(fputs(text, promtool) == EOF, 0);
	status = pclose(promtool);
	free(text);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void every_counter_is_called_as_its_enumerator(void **state)
{
	static const char *const enumerators[] = {
#define STEER_COUNTER_TEXT(name, help) #name,
		STEER_COUNTERS(STEER_COUNTER_TEXT)
#undef STEER_COUNTER_TEXT
	};

	for (int i = 0; i < STEER_COUNTERS_END; i++) {
		const char *name = steer_counter_name((enum steer_counter)i);

		assert_int_equal(strlen(name), strlen(enumerators[i]));
		for (size_t j = 0; name[j]; j++)
			assert_int_equal(name[j], tolower(enumerators[i][j]));
		assert_int_equal(
			steer_counter_is_fallback((enum steer_counter)i),
			strncmp(steer_counter_help((enum steer_counter)i), "Fallback: ", 10) == 0);
	}
	assert_string_equal(steer_counter_name(STEER_COUNTERS_END), "unknown");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_group_tells_how_far_its_policy_is_in_force),
		cmocka_unit_test(a_member_tells_what_it_got_and_how_it_keeps_up),
		cmocka_unit_test(what_is_not_measured_has_no_sample),
		cmocka_unit_test(a_hostile_process_name_cannot_break_the_scrape),
		cmocka_unit_test(without_groups_there_are_no_families),
		cmocka_unit_test(no_series_is_given_twice),
		cmocka_unit_test(promtool_finds_nothing_to_complain_about),
		cmocka_unit_test(every_counter_is_called_as_its_enumerator),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
