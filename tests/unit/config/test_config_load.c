/* Good documents: defaults, and every key's way into struct config. */
#include "config_fixture.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "base/log.h"

static void test_an_empty_document_gives_the_defaults(void **state)
{
	static const char *const texts[] = { "",      "# nothing\n",
					     "---\n", "ebpf:\n",
					     "{}\n",  "ebpf:\n  backends:\n  xdp: ~\n" };

	for (size_t i = 0; i < COUNT(texts); i++) {
		struct config *config = load_good(texts[i]);

		assert_string_equal(config->instance, "default");
		assert_string_equal(config->state_dir, "/var/lib/loom");
		assert_int_equal(config->log_level, LOG_LEVEL_INFO);
		assert_true(config->ebpf.enabled);
		assert_int_equal(config->ebpf.interface_count, 0);
		assert_int_equal(config->ebpf.mode, CONFIG_XDP_NATIVE);
		assert_false(config->ebpf.generic_fallback);
		assert_string_equal(config->ebpf.pin_path, "/sys/fs/bpf/loom");
		assert_int_equal(config->ebpf.snat_address_count, 0);
		assert_int_equal(config->ebpf.snat_port_first, 0);
		assert_int_equal(config->ebpf.max_connections, 1000000);
		assert_int_equal(config->ebpf.connections_type, CONFIG_MAP_LRU_HASH);
		assert_int_equal(config->ebpf.timeout_ns, 300 * NSEC_PER_SEC);
		assert_int_equal(config->ebpf.tcp.established_ns, 300 * NSEC_PER_SEC);
		assert_int_equal(config->ebpf.tcp.time_wait_ns, 120 * NSEC_PER_SEC);
		assert_int_equal(config->ebpf.sweep_interval_ns, 5 * NSEC_PER_SEC);
		assert_int_equal(config->ebpf.max_backends, 10000);
		assert_int_equal(config->ebpf.batch_size, 64);
		assert_int_equal(config->ebpf.ring_buffer_size, 16384);
		assert_int_equal(config->admin.port, 9091);
		assert_int_equal(addr_v4(&config->admin.listen), htonl(0x7f000001));
		assert_null(config->admin.socket);
		assert_null(config->admin.bearer);
		assert_null(config->admin.basic_user);
		assert_int_equal(config->service_count, 0);
		config_free(config);
	}
}

static void assert_ebpf(const struct config_ebpf *ebpf)
{
	char text[ADDR_TEXT_LEN];

	assert_int_equal(ebpf->interface_count, 2);
	assert_string_equal(ebpf->interfaces[1], "eth1");
	assert_int_equal(ebpf->mode, CONFIG_XDP_GENERIC);
	assert_true(ebpf->generic_fallback);
	assert_int_equal(ebpf->snat_address_count, 6);
	assert_string_equal(addr_format(&ebpf->snat_addresses[0], text), "192.0.2.1");
	assert_string_equal(addr_format(&ebpf->snat_addresses[4], text), "192.0.2.19");
	assert_string_equal(addr_format(&ebpf->snat_addresses[5], text), "2001:db8::f0");
	assert_int_equal(ebpf->snat_port_first, 1024);
	assert_int_equal(ebpf->snat_port_last, 32767);
	assert_int_equal(ebpf->max_connections, 5000);
	assert_int_equal(ebpf->connections_type, CONFIG_MAP_HASH);
	assert_int_equal(ebpf->timeout_ns, 90 * NSEC_PER_SEC);
	assert_int_equal(ebpf->tcp.established_ns, 3600 * NSEC_PER_SEC);
	assert_int_equal(ebpf->tcp.syn_sent_ns, 10 * NSEC_PER_SEC);
	assert_int_equal(ebpf->tcp.syn_recv_ns, 11 * NSEC_PER_SEC);
	assert_int_equal(ebpf->tcp.fin_wait_ns, 12 * NSEC_PER_SEC);
	assert_int_equal(ebpf->tcp.time_wait_ns, 13 * NSEC_PER_SEC);
	assert_int_equal(ebpf->sweep_interval_ns, 500 * NSEC_PER_MSEC);
	assert_int_equal(ebpf->max_backends, 100);
	assert_int_equal(ebpf->ring_buffer_size, 65536);
	assert_int_equal(ebpf->max_affinities, 77);
	assert_int_equal(ebpf->max_fragments, 78);
	assert_int_equal(ebpf->max_sources, 79);
	assert_int_equal(ebpf->stats_entries, 256);
	assert_true(ebpf->hybrid);
	assert_int_equal(ebpf->route_count, 1);
	assert_int_equal(ebpf->routes[0].port_count, 4);
	assert_true(ebpf->routes[0].tcp && !ebpf->routes[0].udp && ebpf->routes[0].balance);
	assert_true(ebpf->fallback_websocket && ebpf->fallback_complex && !ebpf->fallback_limit);
	assert_int_equal(ebpf->outer4.length, 16);
	assert_int_equal(ebpf->gue_port, 6081);
	assert_false(ebpf->icmp_echo);
	assert_int_equal(ebpf->icmp_rate, 50);
	assert_true(ebpf->mss_clamp);
	assert_int_equal(ebpf->mss_max, 1400);
	assert_int_equal(ebpf->cpu_affinity_count, 2);
	assert_int_equal(ebpf->program_count, 1);
	assert_string_equal(ebpf->programs[0].section, "xdp_lb");
}

static void assert_check(const struct config_check *check)
{
	assert_int_equal(check->type, CONFIG_CHECK_HTTPS);
	assert_int_equal(check->interval_ns, 3 * NSEC_PER_SEC);
	assert_int_equal(check->timeout_ns, 500 * NSEC_PER_MSEC);
	assert_int_equal(check->jitter_permille, 200);
	assert_int_equal(check->rise, 4);
	assert_int_equal(check->fall, 5);
	assert_int_equal(check->port, 81);
	assert_string_equal(check->path, "/alive");
	assert_string_equal(check->host, "example.org");
	assert_string_equal(check->method, "HEAD");
	assert_int_equal(check->status_first, 200);
	assert_int_equal(check->status_last, 204);
	assert_true(check->verify_tls && !check->through_tunnel);
	assert_null(check->send);
	assert_string_equal(check->expect, "world");
}

static void test_every_key_reaches_the_configuration(void **state)
{
	struct config *config = load_good_file("tests/unit/config/every_key.yaml");
	char text[ADDR_TEXT_LEN];

	assert_string_equal(config->instance, "edge-1");
	assert_int_equal(config->log_level, LOG_LEVEL_DEBUG);
	assert_string_equal(addr_format(&config->admin.listen, text), "2001:db8::1");
	assert_string_equal(config->admin.socket, "/run/loom/edge.sock");
	assert_string_equal(config->admin.bearer, "sesame-open-up-17");
	assert_string_equal(config->admin.basic_user, "operator");
	assert_string_equal(config->admin.basic_password, "sesame-open-up-18");
	assert_ebpf(&config->ebpf);
	assert_int_equal(config->upstream_count, 3);
	assert_check(&config->upstreams[0].check);
	assert_int_equal(config->upstreams[0].backend_count, 1);
	assert_int_equal(config->upstreams[1].check.type, CONFIG_CHECK_UDP);
	assert_string_equal(config->upstreams[1].check.send, "hello\r\n\x1b\\");
	assert_string_equal(config->upstreams[1].check.expect, "\xff"
							       "world");
	assert_true(config->upstreams[1].check.through_tunnel);
	assert_int_equal(config->upstreams[2].check.type, CONFIG_CHECK_DNS);
	assert_string_equal(config->upstreams[2].check.query, "example.org");
	assert_string_equal(config->upstreams[2].check.query_type, "SOA");
	config_free(config);
}

static void test_services_take_what_they_leave_open_from_ebpf(void **state)
{
	struct config *config = load_good_file("tests/unit/config/every_key.yaml");
	const struct config_service *implicit = &config->services[0];
	const struct config_service *web = &config->services[1];
	const struct config_service *plain = &config->services[2];

	assert_int_equal(config->service_count, 3);
	assert_true(implicit->implicit);
	assert_int_equal(implicit->forwarding, CONFIG_NAT_DESTINATION);
	assert_int_equal(implicit->table_size, 251);
	assert_int_equal(implicit->backends[0].id, 7);
	assert_int_equal(implicit->backends[0].weight, 0);
	assert_int_equal(implicit->backends[1].id, 1);
	assert_int_equal(implicit->backends[1].port, 0);
	assert_string_equal(web->name, "web");
	assert_false(web->implicit);
	assert_int_equal(web->address_count, 2);
	assert_int_equal(web->tcp_port_count, 2);
	assert_int_equal(web->udp_port_count, 2);
	assert_int_equal(web->table_size, 1009);
	assert_int_equal(web->forwarding, CONFIG_DSR_IPIP);
	assert_int_equal(web->tcp_affinity_ns, 7 * NSEC_PER_SEC);
	assert_int_equal(web->udp_affinity_ns, 8 * NSEC_PER_SEC);
	assert_int_equal(web->quic.offset, 2);
	assert_int_equal(web->quic.length, 3);
	assert_int_equal(web->limits.new_per_second, 5);
	assert_int_equal(web->limits.new_per_second_per_source, 0);
	assert_true(web->limits.syn_cookies);
	assert_int_equal(web->allow_count, 1);
	assert_int_equal(web->deny_count, 2);
	assert_true(web->websocket && !web->complex_routing);
	assert_string_equal(web->health.upstream, "web");
	assert_int_equal(web->health.on_unhealthy, CONFIG_UNHEALTHY_RESET);
	assert_int_equal(web->health.min_healthy_percent, 50);
	assert_int_equal(web->backends[0].server_id, 70000);
	assert_int_equal(plain->limits.new_per_second_per_source, 10);
	assert_int_equal(plain->tcp_affinity_ns, 300 * NSEC_PER_SEC);
	assert_int_equal(plain->health.on_unhealthy, CONFIG_UNHEALTHY_DRAIN);
	assert_int_equal(plain->health.slow_start_ns, 3 * NSEC_PER_SEC);
	assert_int_equal(web->backends[0].id, 2);
	assert_int_equal(web->backends[0].port, 80);
	assert_int_equal(web->backends[0].weight, 65535);
	assert_int_equal(web->backends[1].id, 3);
	assert_int_equal(plain->udp_port_count, 0);
	assert_int_equal(plain->table_size, 251);
	assert_int_equal(plain->forwarding, CONFIG_NAT_DESTINATION);
	assert_int_equal(plain->backends[0].id, 4);
	config_free(config);
}

static void test_a_protocol_that_is_switched_off_has_no_ports(void **state)
{
	struct config *config = load_good("ebpf: {xdp: {protocols: {\n"
					  "  tcp: {enabled: false, ports: [80]},\n"
					  "  udp: {ports: [53]}}}}");

	assert_int_equal(config->services[0].tcp_port_count, 0);
	assert_int_equal(config->services[0].udp_port_count, 1);
	config_free(config);
}

static void test_both_switches_must_be_on(void **state)
{
	static const struct {
		const char *text;
		bool enabled;
	} rows[] = {
		{ "ebpf: {enabled: true, xdp: {enabled: true}}", true },
		{ "ebpf: {enabled: false, xdp: {enabled: true}}", false },
		{ "ebpf: {enabled: true, xdp: {enabled: false}}", false },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config *config = load_good(rows[i].text);

		assert_int_equal(config->ebpf.enabled, rows[i].enabled);
		config_free(config);
	}
}

static void test_the_short_form_and_the_full_form_may_agree(void **state)
{
	struct config *config = load_good("ebpf:\n"
					  "  interface: eth0\n"
					  "  xdp_mode: generic\n"
					  "  xdp: {interface: [eth0], mode: generic}\n"
					  "  conntrack: {max_entries: 7}\n"
					  "  maps: {connections: {max_entries: 7}}\n");

	assert_int_equal(config->ebpf.interface_count, 1);
	assert_int_equal(config->ebpf.mode, CONFIG_XDP_GENERIC);
	assert_int_equal(config->ebpf.max_connections, 7);
	config_free(config);
}

static void test_an_established_connection_lives_as_long_as_conntrack_says(void **state)
{
	struct config *config = load_good("ebpf: {conntrack: {timeout: 10m}}");

	assert_int_equal(config->ebpf.tcp.established_ns, 600 * NSEC_PER_SEC);
	assert_int_equal(config->ebpf.tcp.syn_sent_ns, 30 * NSEC_PER_SEC);
	config_free(config);
}

static void test_the_admin_api_may_be_switched_off(void **state)
{
	struct config *config = load_good("admin: {listen: off, socket: off}");

	assert_int_equal(config->admin.port, 0);
	assert_string_equal(config->admin.socket, "");
	config_free(config);
}

static void test_values_may_name_the_environment(void **state)
{
	struct config *config;

	setenv("LOOM_TEST_IF", "eth7", 1);
	setenv("LOOM_TEST_EMPTY", "", 1);
	config = load_good("ebpf:\n"
			   "  interface: ${LOOM_TEST_IF}\n"
			   "  conntrack: {timeout: \"${LOOM_TEST_EMPTY:-2}${LOOM_TEST_NONE:-m}\"}\n"
			   "admin: {auth: {bearer: '$${x}$y'}}\n");
	assert_string_equal(config->ebpf.interfaces[0], "eth7");
	assert_int_equal(config->ebpf.timeout_ns, 120 * NSEC_PER_SEC);
	assert_string_equal(config->admin.bearer, "${x}$y");
	config_free(config);
}

/* libfyaml 0.7.12 leaks in fy_token_get_text() for these. */
static void test_a_text_of_many_pieces_is_put_together(void **state)
{
	struct config *config =
		load_good("admin: {auth: {bearer: 'a''b''c''d''e''f''g''h''i''j''k''l'}}");

	assert_string_equal(config->admin.bearer, "a'b'c'd'e'f'g'h'i'j'k'l");
	config_free(config);
}

static void test_ports_are_numbers_ranges_or_any(void **state)
{
	static const struct {
		const char *text;
		uint16_t ports[4];
		size_t count;
	} rows[] = {
		{ "80", { 80 }, 1 },
		{ "[443, 80]", { 443, 80 }, 2 },
		{ "8000-8003", { 8000, 8001, 8002, 8003 }, 4 },
		{ "[90, 8000-8001, '70']", { 90, 8000, 8001, 70 }, 4 },
		{ "any", { 0 }, 1 },
		{ "[any]", { 0 }, 1 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[200];
		struct config *config;

		snprintf(text, sizeof(text),
			 "services: [{name: a, addresses: [192.0.2.1], ports: %s}]\n",
			 rows[i].text);
		config = load_good(text);
		assert_int_equal(config->services[0].tcp_port_count, rows[i].count);
		assert_memory_equal(config->services[0].tcp_ports, rows[i].ports,
				    rows[i].count * sizeof(*rows[i].ports));
		config_free(config);
	}
}

static void test_a_port_of_ones_own_wins_over_any(void **state)
{
	config_free(load_good("services:\n"
			      "  - {name: a, addresses: [192.0.2.1], ports: any}\n"
			      "  - {name: b, addresses: [192.0.2.1], ports: [80]}\n"));
}

static void test_the_clamp_is_off_automatic_or_a_number(void **state)
{
	static const struct {
		const char *text;
		bool clamp;
		uint16_t max;
	} rows[] = {
		{ "false", false, 0 }, { "off", false, 0 },    { "true", true, 0 },
		{ "auto", true, 0 },   { "1400", true, 1400 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[80];
		struct config *config;

		snprintf(text, sizeof(text), "ebpf: {xdp: {mss_clamp: %s}}\n", rows[i].text);
		config = load_good(text);
		assert_int_equal(config->ebpf.mss_clamp, rows[i].clamp);
		assert_int_equal(config->ebpf.mss_max, rows[i].max);
		config_free(config);
	}
}

static void test_affinity_is_on_where_it_is_given(void **state)
{
	static const struct {
		const char *common, *own;
		unsigned int tcp_seconds, udp_seconds;
	} rows[] = {
		{ "", "", 0, 0 },
		{ "connection_affinity: {timeout: 9s}", "", 9, 9 },
		{ "connection_affinity: {enabled: false, timeout: 9s}", "", 0, 0 },
		{ "connection_affinity: {timeout: 9s}", ", session_affinity: {}", 9, 60 },
		{ "connection_affinity: {timeout: 9s}", ", connection_affinity: {enabled: false}",
		  0, 0 },
		{ "protocols: {udp: {session_affinity: {timeout: 8s}}}",
		  ", session_affinity: {enabled: false}", 0, 0 },
		{ "protocols: {udp: {session_affinity: {timeout: 8s}}}",
		  ", connection_affinity: {timeout: 7s}", 7, 8 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char text[300];
		struct config *config;

		snprintf(text, sizeof(text),
			 "ebpf: {xdp: {%s}}\n"
			 "services: [{name: a, addresses: [192.0.2.1], ports: [80]%s}]\n",
			 rows[i].common, rows[i].own);
		config = load_good(text);
		assert_int_equal(config->services[0].tcp_affinity_ns,
				 rows[i].tcp_seconds * NSEC_PER_SEC);
		assert_int_equal(config->services[0].udp_affinity_ns,
				 rows[i].udp_seconds * NSEC_PER_SEC);
		config_free(config);
	}
}

static void test_without_upstreams_every_name_stands_for_tcp_checks(void **state)
{
	struct config *config = load_good(
		"ebpf: {health_integration: {enabled: true, upstream: one, drain_timeout: 0}}\n"
		"services:\n"
		"  - {name: a, addresses: [192.0.2.1], ports: [80]}\n"
		"  - {name: b, addresses: [192.0.2.2], ports: [80], health: {upstream: two}}\n"
		"  - {name: c, addresses: [192.0.2.3], ports: [80], health: {upstream: two}}\n"
		"  - {name: d, addresses: [192.0.2.4], ports: [80], health: {enabled: false}}\n");

	assert_int_equal(config->upstream_count, 2);
	assert_string_equal(config->services[0].health.upstream, "one");
	assert_int_equal(config->services[0].health.drain_timeout_ns, 0);
	assert_string_equal(config->services[1].health.upstream, "two");
	assert_string_equal(config->services[2].health.upstream, "two");
	assert_null(config->services[3].health.upstream);
	assert_string_equal(config->upstreams[1].name, "two");
	assert_int_equal(config->upstreams[1].check.type, CONFIG_CHECK_TCP);
	assert_int_equal(config->upstreams[1].check.jitter_permille, 100);
	assert_string_equal(config->upstreams[1].check.path, "/");
	assert_int_equal(config->upstreams[1].check.status_last, 399);
	assert_string_equal(config->upstreams[1].check.query_type, "NS");
	config_free(config);
}

static void test_dsr_alone_may_go_without_the_connection_table(void **state)
{
	struct config *config = load_good(
		"ebpf: {conntrack: {enabled: false}, xdp: {dsr: {enabled: true, encap: gue}}}\n"
		"services:\n"
		"  - name: a\n"
		"    addresses: [192.0.2.1]\n"
		"    ports: [80]\n"
		"    backends: [{address: 10.0.0.1, port: 80}, {address: '2001:db8::1'}]\n");
	char text[ADDR_TEXT_LEN];

	assert_true(config->ebpf.stateless);
	assert_int_equal(config->services[0].forwarding, CONFIG_DSR_GUE);
	assert_int_equal(config->services[0].backends[0].port, 80);
	assert_string_equal(addr_format(&config->ebpf.outer4.addr, text), "172.16.0.0");
	assert_int_equal(config->ebpf.outer6.length, 64);
	assert_int_equal(config->ebpf.gue_port, 6080);
	config_free(config);
}

/* A time that grows by the square of the length made it 14 seconds. */
static void test_long_lists_of_clients_load_at_once(void **state)
{
	struct config *config;
	struct timespec begun, ended;
	struct buf text;

	buf_init(&text);
	buf_printf(&text, "services: [{name: a, addresses: [192.0.2.1], ports: [80], deny: [");
	for (unsigned int i = 0; i < 65536; i++)
		buf_printf(&text, "%u.%u.%u.0/24, ", 10 + (i >> 16), i >> 8 & 255, i & 255);
	buf_printf(&text, "]}]\n");
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &begun);
	config = load_good(text.data);
	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
	assert_int_equal(config->services[0].deny_count, 65536);
	assert_true(ended.tv_sec - begun.tv_sec < 5); /* with sanitizers, too */
	config_free(config);
	buf_done(&text);
}

static void test_the_examples_of_each_subject_mean_what_they_say(void **state)
{
	struct config *config = load_good_file("etc/dsr.yaml");

	assert_int_equal(config->services[0].forwarding, CONFIG_DSR_IPIP);
	assert_int_equal(config->services[1].forwarding, CONFIG_DSR_GUE);
	assert_true(config->services[1].quic.enabled);
	assert_int_equal(config->services[2].forwarding, CONFIG_NAT_FULL);
	config_free(config);
	config = load_good_file("etc/health.yaml");
	assert_string_equal(config->services[0].health.upstream, "web");
	assert_int_equal(config->services[1].health.slow_start_ns, 20 * NSEC_PER_SEC);
	assert_null(config->services[3].health.upstream);
	assert_string_equal(config->upstreams[2].check.send, "PING\r\n");
	config_free(config);
	config = load_good_file("etc/hybrid.yaml");
	assert_true(config->ebpf.hybrid);
	assert_int_equal(config->ebpf.route_count, 3);
	assert_true(config->services[1].websocket);
	config_free(config);
}

static void test_the_example_in_etc_loads(void **state)
{
	struct config *config = load_good_file("etc/loom.yaml");

	assert_int_equal(config->service_count, 2);
	config_free(config);
}

static void test_nothing_is_freed_without_harm(void **state)
{
	config_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_an_empty_document_gives_the_defaults),
		cmocka_unit_test(test_every_key_reaches_the_configuration),
		cmocka_unit_test(test_services_take_what_they_leave_open_from_ebpf),
		cmocka_unit_test(test_a_protocol_that_is_switched_off_has_no_ports),
		cmocka_unit_test(test_both_switches_must_be_on),
		cmocka_unit_test(test_the_short_form_and_the_full_form_may_agree),
		cmocka_unit_test(test_an_established_connection_lives_as_long_as_conntrack_says),
		cmocka_unit_test(test_the_admin_api_may_be_switched_off),
		cmocka_unit_test(test_values_may_name_the_environment),
		cmocka_unit_test(test_a_text_of_many_pieces_is_put_together),
		cmocka_unit_test(test_ports_are_numbers_ranges_or_any),
		cmocka_unit_test(test_a_port_of_ones_own_wins_over_any),
		cmocka_unit_test(test_the_clamp_is_off_automatic_or_a_number),
		cmocka_unit_test(test_affinity_is_on_where_it_is_given),
		cmocka_unit_test(test_without_upstreams_every_name_stands_for_tcp_checks),
		cmocka_unit_test(test_dsr_alone_may_go_without_the_connection_table),
		cmocka_unit_test(test_long_lists_of_clients_load_at_once),
		cmocka_unit_test(test_the_examples_of_each_subject_mean_what_they_say),
		cmocka_unit_test(test_the_example_in_etc_loads),
		cmocka_unit_test(test_nothing_is_freed_without_harm),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
