#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "observe/metrics.h"

static struct backend backends[] = {
	{ .id = 1, .port = 8080, .weight = 100 },
	{ .id = 2, .port = 8080, .weight = 7, .state = BACKEND_DRAINING },
};
static char web[] = "web";
static struct service services[] = { { .name = web, .backends = backends, .backend_count = 2 } };
static struct model model = { services, 1 };

static struct lb_backend_stats stats_of(uint32_t id, const char *service, const char *address,
					uint16_t port)
{
	struct lb_backend_stats stats = {
		.id = id,
		.port = port,
		.to_packets = 10 * id,
		.from_packets = id,
		.to_bytes = 1000 * id,
		.from_bytes = 100 * id,
		.connections_total = 4 * id,
		.connections_active = 2 * id,
		.hop_state = id == 1 ? LB_HOP_RESOLVED : LB_HOP_RESOLVING,
	};

	assert_int_equal(addr_parse(address, &stats.address), 0);
	snprintf(stats.service, sizeof(stats.service), "%s", service);
	return stats;
}

/* The text of a scrape; freed by the caller. */
static char *render(const struct lb_snapshot *snapshot)
{
	struct metrics_input input = {
		.version = "0.1.0",
		.uptime_ns = 12500000000,
		.reloads_succeeded = 3,
		.reloads_failed = 1,
		.last_reload_wall_s = 1700000000,
		.model = &model,
		.snapshot = snapshot,
	};
	struct buf out;

	buf_init(&out);
	assert_int_equal(metrics_render(&input, &out), 0);
	return buf_take(&out);
}

static void assert_line(const char *text, const char *line)
{
	size_t len = strlen(line);

	for (const char *at = text; (at = strstr(at, line)); at += len)
		if ((at == text || at[-1] == '\n') && at[len] == '\n')
			return;
	fail_msg("no line \"%s\" in:\n%s", line, text);
}

static struct lb_snapshot snapshot_of(struct lb_backend_stats *rows, size_t count)
{
	struct lb_snapshot s = {
		.packets_forward = 1,
		.packets_drop = 2,
		.packets_pass = 3,
		.bytes_rx = 4,
		.bytes_tx = 5,
		.connections_total = 6,
		.connections_active = 7,
		.connection_entries = 8,
		.connection_entries_max = 9,
		.sweeps_total = 10,
		.sweep_expired_total = 11,
		.sweep_last_ns = 1500000,
		.repairs_total = 12,
		.backends = rows,
		.backend_count = count,
		.interfaces = { { "eth0", "native", 42 } },
		.interface_count = 1,
	};

	s.reasons[LB_MAP_FULL].packets = 13;
	s.reasons[LB_NOT_OURS].packets = 14;
	s.connections_by_state[LB_STATE_ESTABLISHED] = 15;
	return s;
}

static void names_and_labels_are_those_of_the_specification(void **state)
{
	static const char *const lines[] = {
		"loom_ebpf_packets_total{action=\"forward\"} 1",
		"loom_ebpf_packets_total{action=\"drop\"} 2",
		"loom_ebpf_packets_total{action=\"pass\"} 3",
		"loom_ebpf_bytes_total{direction=\"rx\"} 4",
		"loom_ebpf_bytes_total{direction=\"tx\"} 5",
		"loom_ebpf_connections_active 7",
		"loom_ebpf_connections_total 6",
		"loom_ebpf_backend_packets_total{backend=\"10.0.1.10:8080\",service=\"web\"} 11",
		"loom_ebpf_backend_connections_active{backend=\"10.0.1.10:8080\",service=\"web\"} "
		"2",
		"loom_ebpf_errors_total{type=\"map_full\"} 13",
	};
	struct lb_backend_stats rows[] = { stats_of(1, "web", "10.0.1.10", 8080) };
	struct lb_snapshot snapshot = snapshot_of(rows, 1);
	char *text = render(&snapshot);

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_line(text, lines[i]);
	free(text);
}

static void the_daemon_and_its_tables_are_measured_too(void **state)
{
	static const char *const lines[] = {
		"loom_build_info{version=\"0.1.0\"} 1",
		"loom_uptime_seconds 12.500000000",
		"loom_config_reloads_total{result=\"success\"} 3",
		"loom_config_reloads_total{result=\"failure\"} 1",
		"loom_config_last_reload_success_timestamp_seconds 1700000000",
		"loom_ebpf_map_entries{map=\"connections\"} 8",
		"loom_ebpf_map_max_entries{map=\"connections\"} 9",
		"loom_ebpf_sweeps_total 10",
		"loom_ebpf_sweep_expired_total 11",
		"loom_ebpf_sweep_duration_seconds 0.001500000",
		"loom_ebpf_repairs_total 12",
		"loom_ebpf_packets_by_reason_total{action=\"pass\",reason=\"not_ours\"} 14",
		"loom_ebpf_connections{state=\"established\"} 15",
		"loom_ebpf_interface_info{interface=\"eth0\",mode=\"native\"} 1",
		"loom_ebpf_backend_bytes_total{backend=\"10.0.1.10:8080\",service=\"web\","
		"direction=\"to\"} 1000",
		"loom_ebpf_backend_up{backend=\"10.0.1.10:8080\",service=\"web\"} 1",
		"loom_ebpf_backend_up{backend=\"10.0.1.11:8080\",service=\"web\"} 0",
		"loom_ebpf_backend_weight{backend=\"10.0.1.10:8080\",service=\"web\"} 100",
		"loom_ebpf_backend_weight{backend=\"10.0.1.11:8080\",service=\"web\"} 0",
	};
	struct lb_backend_stats rows[] = { stats_of(1, "web", "10.0.1.10", 8080),
					   stats_of(2, "web", "10.0.1.11", 8080) };
	struct lb_snapshot snapshot = snapshot_of(rows, 2);
	char *text = render(&snapshot);

	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++)
		assert_line(text, lines[i]);
	free(text);
}

static void every_reason_to_drop_is_an_error_type(void **state)
{
	struct lb_snapshot snapshot = snapshot_of(NULL, 0);
	char *text = render(&snapshot);
	char line[128];

	for (int i = 0; i < LB_COUNTER_COUNT; i++) {
		enum lb_counter counter = (enum lb_counter)i;

		snprintf(line, sizeof(line), "loom_ebpf_errors_total{type=\"%s\"}",
			 lb_counter_name(counter));
		if (lb_counter_action(counter) == LB_ACTION_DROP)
			assert_non_null(strstr(text, line));
		else
			assert_null(strstr(text, line));
	}
	free(text);
}

static void two_services_with_one_backend_address_are_two_series(void **state)
{
	struct lb_backend_stats rows[] = { stats_of(1, "web", "10.0.1.10", 8080),
					   stats_of(2, "api", "10.0.1.10", 8080) };
	struct lb_snapshot snapshot = snapshot_of(rows, 2);
	char *text = render(&snapshot);

	assert_line(text, "loom_ebpf_backend_packets_total{backend=\"10.0.1.10:8080\","
			  "service=\"web\"} 11");
	assert_line(text, "loom_ebpf_backend_packets_total{backend=\"10.0.1.10:8080\","
			  "service=\"api\"} 22");
	free(text);
}

static void rows_with_the_same_labels_are_summed_into_one_series(void **state)
{
	struct lb_backend_stats rows[] = { stats_of(2, "web", "10.0.1.10", 8080),
					   stats_of(3, "web", "10.0.1.12", 8080),
					   stats_of(1, "web", "10.0.1.10", 8080) };
	struct lb_snapshot snapshot = snapshot_of(rows, 3);
	char *text = render(&snapshot);

	assert_line(text, "loom_ebpf_backend_packets_total{backend=\"10.0.1.10:8080\","
			  "service=\"web\"} 33");
	assert_line(text, "loom_ebpf_backend_packets_total{backend=\"10.0.1.12:8080\","
			  "service=\"web\"} 33");
	free(text);
}

static void labels_are_escaped_and_ipv6_is_bracketed(void **state)
{
	struct lb_backend_stats rows[] = { stats_of(1, "a\"b\\c\nd", "2001:db8::1", 53),
					   stats_of(2, "any-port", "10.0.1.10", 0) };
	struct lb_snapshot snapshot = snapshot_of(rows, 2);
	char *text = render(&snapshot);

	assert_line(text, "loom_ebpf_backend_up{backend=\"[2001:db8::1]:53\","
			  "service=\"a\\\"b\\\\c\\nd\"} 1");
	assert_line(text, "loom_ebpf_backend_up{backend=\"10.0.1.10\",service=\"any-port\"} 0");
	free(text);
}

static void without_a_data_path_the_daemon_still_tells_of_itself(void **state)
{
	char *text = render(NULL);

	assert_line(text, "loom_uptime_seconds 12.500000000");
	assert_null(strstr(text, "loom_ebpf_"));
	free(text);
}

static void every_family_has_help_and_type_once(void **state)
{
	struct lb_backend_stats rows[] = { stats_of(1, "web", "10.0.1.10", 8080),
					   stats_of(2, "api", "10.0.1.10", 8080) };
	struct lb_snapshot snapshot = snapshot_of(rows, 2);
	char *text = render(&snapshot);
	unsigned int families = 0;

	for (char *at = text; (at = strstr(at, "# HELP ")); families++) {
		char head[128];

		at += strlen("# HELP ");
		snprintf(head, sizeof(head), "# HELP %.*s ", (int)strcspn(at, " "), at);
		assert_null(strstr(at, head));
		memcpy(head + 2, "TYPE", 4);
		assert_non_null(strstr(at, head));
		assert_null(strstr(strstr(at, head) + 1, head));
	}
	assert_true(families > 20);
	free(text);
}

static void promtool_finds_nothing_to_complain_about(void **state)
{
	struct lb_backend_stats rows[] = { stats_of(1, "web", "10.0.1.10", 8080),
					   stats_of(2, "a\"b", "2001:db8::1", 0) };
	struct lb_snapshot snapshot = snapshot_of(rows, 2);
	FILE *promtool;
	char *text;
	int status;

	if (system("command -v promtool >/dev/null") != 0)
		skip();
	text = render(&snapshot);
	promtool = popen("promtool check metrics 2>&1", "w");
	assert_non_null(promtool);
	assert_int_equal(fputs(text, promtool) == EOF, 0);
	status = pclose(promtool);
	free(text);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

static void the_reference_is_what_the_table_prints(void **state)
{
	FILE *file = fopen(TEST_METRICS_DOC, "r");
	char committed[32768];
	struct buf out;
	size_t len;

	assert_non_null(file);
	len = fread(committed, 1, sizeof(committed) - 1, file);
	committed[len] = '\0';
	fclose(file);
	buf_init(&out);
	assert_int_equal(metrics_print_doc(&out), 0);
	/* If this fails: ninja -C build docs-metrics */
	assert_string_equal(committed, out.data);
	buf_done(&out);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_and_labels_are_those_of_the_specification),
		cmocka_unit_test(the_daemon_and_its_tables_are_measured_too),
		cmocka_unit_test(every_reason_to_drop_is_an_error_type),
		cmocka_unit_test(two_services_with_one_backend_address_are_two_series),
		cmocka_unit_test(rows_with_the_same_labels_are_summed_into_one_series),
		cmocka_unit_test(labels_are_escaped_and_ipv6_is_bracketed),
		cmocka_unit_test(without_a_data_path_the_daemon_still_tells_of_itself),
		cmocka_unit_test(every_family_has_help_and_type_once),
		cmocka_unit_test(promtool_finds_nothing_to_complain_about),
		cmocka_unit_test(the_reference_is_what_the_table_prints),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
