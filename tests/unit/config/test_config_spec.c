/* The blocks of the user's document are accepted as they stand, and mean what it says. */
#include "config_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

#define SPEC "tests/unit/config/spec/"

static void assert_backend(const struct config_backend *backend, uint32_t id, const char *address,
			   uint16_t port, uint32_t weight)
{
	char text[ADDR_TEXT_LEN];

	assert_int_equal(backend->id, id);
	assert_string_equal(addr_format(&backend->address, text), address);
	assert_int_equal(backend->port, port);
	assert_int_equal(backend->weight, weight);
}

static void assert_two_backends(const struct config *config)
{
	assert_int_equal(config->service_count, 1);
	assert_true(config->services[0].implicit);
	assert_string_equal(config->services[0].name, "default");
	assert_int_equal(config->services[0].backend_count, 2);
	assert_backend(&config->services[0].backends[0], 1, "10.0.1.10", 8080, 100);
	assert_backend(&config->services[0].backends[1], 2, "10.0.1.11", 8080, 100);
}

static void basic(const struct config *config)
{
	assert_true(config->ebpf.enabled);
	assert_int_equal(config->ebpf.interface_count, 1);
	assert_string_equal(config->ebpf.interfaces[0], "eth0");
	assert_int_equal(config->ebpf.mode, CONFIG_XDP_NATIVE);
	assert_int_equal(config->service_count, 0);
}

static void full(const struct config *config)
{
	basic(config);
	assert_int_equal(config->ebpf.max_connections, 1000000);
	assert_int_equal(config->ebpf.timeout_ns, 300 * NSEC_PER_SEC);
	assert_int_equal(config->ebpf.max_backends, 10000);
}

static void programs(const struct config *config)
{
	full(config);
	assert_int_equal(config->ebpf.program_count, 1);
	assert_string_equal(config->ebpf.programs[0].name, "lb");
	assert_string_equal(config->ebpf.programs[0].path, "/etc/loom/ebpf/lb.o");
	assert_string_equal(config->ebpf.programs[0].section, "xdp_lb");
}

static void algorithms(const struct config *config)
{
	assert_true(config->ebpf.enabled);
	assert_int_equal(config->ebpf.interface_count, 0);
}

/* The document names an upstream of a proxy's and says nothing about its checks. */
static void assert_checked(const struct config *config)
{
	assert_string_equal(config->services[0].health.upstream, "backend");
	assert_int_equal(config->services[0].health.on_unhealthy, CONFIG_UNHEALTHY_KEEP);
	assert_int_equal(config->upstream_count, 1);
	assert_string_equal(config->upstreams[0].name, "backend");
	assert_int_equal(config->upstreams[0].check.type, CONFIG_CHECK_TCP);
	assert_int_equal(config->upstreams[0].check.interval_ns, 2 * NSEC_PER_SEC);
	assert_int_equal(config->upstreams[0].check.fall, 3);
}

static void health(const struct config *config)
{
	assert_checked(config);
	assert_int_equal(config->service_count, 1);
	assert_int_equal(config->services[0].backend_count, 1);
	assert_backend(&config->services[0].backends[0], 1, "10.0.1.10", 8080, 100);
}

static void states(const struct config *config)
{
	assert_int_equal(config->ebpf.max_connections, 1000000);
	assert_int_equal(config->ebpf.timeout_ns, 300 * NSEC_PER_SEC);
	assert_int_equal(config->ebpf.tcp.established_ns, 300 * NSEC_PER_SEC);
	assert_int_equal(config->ebpf.tcp.syn_sent_ns, 30 * NSEC_PER_SEC);
	assert_int_equal(config->ebpf.tcp.syn_recv_ns, 30 * NSEC_PER_SEC);
	assert_int_equal(config->ebpf.tcp.fin_wait_ns, 60 * NSEC_PER_SEC);
	assert_int_equal(config->ebpf.tcp.time_wait_ns, 120 * NSEC_PER_SEC);
}

static void tcp(const struct config *config)
{
	static const uint16_t ports[] = { 80, 443, 8080 };

	assert_int_equal(config->service_count, 1);
	assert_int_equal(config->services[0].tcp_port_count, 3);
	assert_memory_equal(config->services[0].tcp_ports, ports, sizeof(ports));
	assert_int_equal(config->services[0].udp_port_count, 0);
	assert_int_equal(config->services[0].backend_count, 0);
}

static void udp(const struct config *config)
{
	static const uint16_t ports[] = { 53, 5353 };

	assert_int_equal(config->service_count, 1);
	assert_int_equal(config->services[0].udp_port_count, 2);
	assert_memory_equal(config->services[0].udp_ports, ports, sizeof(ports));
	assert_int_equal(config->services[0].udp_affinity_ns, 60 * NSEC_PER_SEC);
	assert_int_equal(config->services[0].tcp_affinity_ns, 0);
	assert_int_equal(config->services[0].tcp_port_count, 0);
}

static void fallback(const struct config *config)
{
	assert_int_equal(config->ebpf.passthrough_port_count, 1);
	assert_int_equal(config->ebpf.passthrough_ports[0], 9091);
	assert_true(config->ebpf.fallback_limit);
	assert_true(config->ebpf.fallback_complex);
	assert_true(config->ebpf.fallback_websocket);
}

static void hybrid(const struct config *config)
{
	static const uint16_t ports[] = { 80, 443 };
	const struct config_route *route = &config->ebpf.routes[0];

	assert_true(config->ebpf.hybrid);
	assert_int_equal(config->ebpf.route_count, 1);
	assert_int_equal(route->port_count, 2);
	assert_memory_equal(route->ports, ports, sizeof(ports));
	assert_true(route->tcp && route->udp && route->balance);
}

static void cpus(const struct config *config)
{
	static const uint16_t list[] = { 0, 1, 2, 3 };

	assert_int_equal(config->ebpf.cpu_affinity_count, 4);
	assert_memory_equal(config->ebpf.cpu_affinity, list, sizeof(list));
}

static void batch(const struct config *config)
{
	assert_int_equal(config->ebpf.batch_size, 64);
	assert_int_equal(config->ebpf.ring_buffer_size, 16384);
}

static void maps(const struct config *config)
{
	assert_int_equal(config->ebpf.max_backends, 10000);
	assert_int_equal(config->ebpf.max_connections, 1000000);
	assert_int_equal(config->ebpf.connections_type, CONFIG_MAP_LRU_HASH);
	assert_int_equal(config->ebpf.stats_entries, 256);
}

static void complete(const struct config *config)
{
	static const uint16_t ports[] = { 80, 443 };

	full(&(struct config){ .ebpf = config->ebpf });
	assert_two_backends(config);
	assert_checked(config);
	assert_int_equal(config->services[0].tcp_affinity_ns, 300 * NSEC_PER_SEC);
	assert_int_equal(config->services[0].algorithm, CONFIG_MAGLEV);
	assert_int_equal(config->services[0].table_size, 65537);
	assert_int_equal(config->services[0].forwarding, CONFIG_NAT_FULL);
	assert_int_equal(config->services[0].tcp_port_count, 2);
	assert_memory_equal(config->services[0].tcp_ports, ports, sizeof(ports));
}

static const struct block {
	const char *file;
	void (*check)(const struct config *config);
} blocks[] = {
	{ SPEC "01_basic_configuration.yaml", basic },
	{ SPEC "02_full_configuration.yaml", programs },
	{ SPEC "03_load_balancing_algorithms.yaml", algorithms },
	{ SPEC "04_connection_affinity.yaml", algorithms },
	{ SPEC "05_static_backends.yaml", assert_two_backends },
	{ SPEC "06_health_check_integration.yaml", health },
	{ SPEC "07_state_table.yaml", states },
	{ SPEC "08_direct_server_return_dsr.yaml", algorithms },
	{ SPEC "09_tcp_load_balancing.yaml", tcp },
	{ SPEC "10_udp_load_balancing.yaml", udp },
	{ SPEC "11_fallback_to_userspace.yaml", fallback },
	{ SPEC "12_hybrid_mode.yaml", hybrid },
	{ SPEC "13_cpu_pinning.yaml", cpus },
	{ SPEC "14_batch_processing.yaml", batch },
	{ SPEC "15_map_sizing.yaml", maps },
	{ SPEC "16_complete_example.yaml", complete },
};

static void test_every_block_of_the_document_loads_and_means_what_it_says(void **state)
{
	for (size_t i = 0; i < COUNT(blocks); i++) {
		struct config *config = load_good_file(blocks[i].file);

		blocks[i].check(config);
		config_free(config);
	}
}

/* The comments in the blocks show other ways to write a key. */
static void test_what_the_blocks_show_in_comments_loads_too(void **state)
{
	static const char *const texts[] = {
		"ebpf: {xdp: {load_balancing: {algorithm: round_robin}}}",
		"ebpf: {xdp: {load_balancing: {algorithm: weighted}}}",
		"ebpf: {xdp_mode: generic}",
		"ebpf: {xdp_mode: offload}",
		"ebpf: {xdp: {mode: offload, dsr: {enabled: true, encap: none}}}",
		"ebpf: {xdp: {cpu_affinity: all}}",
	};

	for (size_t i = 0; i < COUNT(texts); i++)
		config_free(load_good(texts[i]));
}

/* Blocks 4 and 8 name no service; with one they speak for it. */
static void test_affinity_and_dsr_speak_for_services(void **state)
{
	struct config *config = load_good(
		"ebpf: {xdp: {connection_affinity: {enabled: true, timeout: 300s},\n"
		"  dsr: {enabled: true, encap: ipip}}}\n"
		"services: [{name: a, addresses: [192.0.2.1], ports: [80]}]\n");

	assert_int_equal(config->services[0].tcp_affinity_ns, 300 * NSEC_PER_SEC);
	assert_int_equal(config->services[0].forwarding, CONFIG_DSR_IPIP);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_every_block_of_the_document_loads_and_means_what_it_says),
		cmocka_unit_test(test_what_the_blocks_show_in_comments_loads_too),
		cmocka_unit_test(test_affinity_and_dsr_speak_for_services),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
