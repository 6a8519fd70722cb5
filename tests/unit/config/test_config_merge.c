/* Several files: later ones override, named lists append, what is there twice is an error. */
#include "config_fixture.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[] = "/tmp/loom-test-XXXXXX";

static int enter_directory(void **state)
{
	return mkdtemp(directory) ? chdir(directory) : -1;
}

static int leave_directory(void **state)
{
	unlink("a.yaml");
	unlink("b.yaml");
	return chdir("/") || rmdir(directory);
}

static void write_file(const char *path, const char *text)
{
	FILE *file = fopen(path, "we");

	assert_non_null(file);
	fputs(text, file);
	fclose(file);
}

static int load_two(const char *a, const char *b, struct config **ret, struct buf *complaints)
{
	static const char *const paths[] = { "a.yaml", "b.yaml" };

	write_file("a.yaml", a);
	write_file("b.yaml", b);
	buf_init(complaints);
	return config_load(paths, 2, ret, complaints);
}

static struct config *merge_good(const char *a, const char *b)
{
	struct config *config;
	struct buf complaints;

	if (load_two(a, b, &config, &complaints) != 0)
		fail_msg("%s", complaints.data);
	buf_done(&complaints);
	return config;
}

static void assert_merge_complaints(const char *a, const char *b, const char *expected)
{
	struct config *config;
	struct buf complaints;

	assert_int_equal(load_two(a, b, &config, &complaints), -EINVAL);
	assert_null(config);
	assert_string_equal(complaints.data, expected);
	buf_done(&complaints);
}

static void test_a_later_file_overrides_key_by_key(void **state)
{
	struct config *config = merge_good("ebpf:\n"
					   "  interface: eth0\n"
					   "  conntrack: {timeout: 10s, max_entries: 5}\n",
					   "ebpf: {conntrack: {timeout: 20s}}\n");

	assert_string_equal(config->ebpf.interfaces[0], "eth0");
	assert_int_equal(config->ebpf.timeout_ns, 20000000000);
	assert_int_equal(config->ebpf.max_connections, 5);
	config_free(config);
}

static void test_the_full_form_overrides_an_earlier_short_form_and_back(void **state)
{
	struct config *config = merge_good("ebpf: {interface: eth0, xdp: {mode: generic}}\n",
					   "ebpf: {xdp_mode: native, xdp: {interface: eth1}}\n");

	assert_int_equal(config->ebpf.interface_count, 1);
	assert_string_equal(config->ebpf.interfaces[0], "eth1");
	assert_int_equal(config->ebpf.mode, CONFIG_XDP_NATIVE);
	config_free(config);
}

static void test_plain_lists_are_replaced(void **state)
{
	struct config *config = merge_good("ebpf: {xdp: {passthrough_ports: [1, 2]}}\n",
					   "ebpf: {xdp: {passthrough_ports: [3]}}\n");

	assert_int_equal(config->ebpf.passthrough_port_count, 1);
	assert_int_equal(config->ebpf.passthrough_ports[0], 3);
	config_free(config);
}

static void test_services_and_backends_append(void **state)
{
	struct config *config =
		merge_good("ebpf: {backends: [{address: 10.0.0.1}]}\n"
			   "services: [{name: a, addresses: [192.0.2.1], ports: [80]}]\n",
			   "ebpf: {backends: [{id: 1, address: 10.0.0.2}]}\n"
			   "services: [{name: b, addresses: [192.0.2.2], ports: [80]}]\n");

	assert_int_equal(config->service_count, 3);
	assert_int_equal(config->services[0].backend_count, 2);
	assert_int_equal(config->services[0].backends[0].id, 2);
	assert_int_equal(config->services[0].backends[1].id, 1);
	assert_string_equal(config->services[2].name, "b");
	config_free(config);
}

static void test_a_duplicate_over_two_files_names_both_places(void **state)
{
	static const struct {
		const char *a, *b, *complaint;
	} rows[] = {
		{ "ebpf: {backends: [{id: 1, address: 10.0.0.1}]}\n",
		  "ebpf:\n  backends:\n    - {id: 1, address: 10.0.0.2}\n",
		  "b.yaml:3:12: error: the backend id 1 is given twice; first at a.yaml:1:24\n"
		  "    - {id: 1, address: 10.0.0.2}\n"
		  "           ^\n" },
		{ "services: [{name: a, addresses: [192.0.2.1], ports: [80]}]\n",
		  "services: [{name: a, addresses: [192.0.2.2], ports: [80]}]\n",
		  "b.yaml:1:19: error: the service name 'a' is given twice; first at a.yaml:1:19\n"
		  "services: [{name: a, addresses: [192.0.2.2], ports: [80]}]\n"
		  "                  ^\n" },
		{ "services: [{name: a, addresses: [192.0.2.1], ports: [80, 81]}]\n",
		  "services: [{name: b, addresses: [192.0.2.1], ports: [81, 82]}]\n",
		  "b.yaml:1:34: error: 192.0.2.1:81 for tcp is given twice; first at a.yaml:1:34\n"
		  "services: [{name: b, addresses: [192.0.2.1], ports: [81, 82]}]\n"
		  "                                 ^\n" },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		assert_merge_complaints(rows[i].a, rows[i].b, rows[i].complaint);
}

static void test_complaints_about_all_files_are_told_at_once(void **state)
{
	assert_merge_complaints("a: [\n", "ebpf: {enabled: 1}\n",
				"a.yaml:2:1: error: flow sequence without a closing bracket\n"
				"\n^\n"
				"b.yaml:1:17: error: ebpf.enabled: expected true or false\n"
				"ebpf: {enabled: 1}\n"
				"                ^\n");
}

static void test_a_file_that_cannot_be_read_is_a_complaint(void **state)
{
	static const char *const paths[] = { "none.yaml" };
	struct config *config;
	struct buf complaints;

	buf_init(&complaints);
	assert_int_equal(config_load(paths, 1, &config, &complaints), -EINVAL);
	assert_string_equal(complaints.data,
			    "none.yaml:1:1: error: cannot read this file: No such file or "
			    "directory; check the path given with -c\n");
	buf_done(&complaints);
}

static void test_without_a_file_there_is_no_configuration(void **state)
{
	struct config *config;
	struct buf complaints;

	buf_init(&complaints);
	assert_int_equal(config_load(NULL, 0, &config, &complaints), -EINVAL);
	assert_string_equal(complaints.data, "no configuration is given; name one with -c FILE\n");
	buf_done(&complaints);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_later_file_overrides_key_by_key),
		cmocka_unit_test(test_the_full_form_overrides_an_earlier_short_form_and_back),
		cmocka_unit_test(test_plain_lists_are_replaced),
		cmocka_unit_test(test_services_and_backends_append),
		cmocka_unit_test(test_a_duplicate_over_two_files_names_both_places),
		cmocka_unit_test(test_complaints_about_all_files_are_told_at_once),
		cmocka_unit_test(test_a_file_that_cannot_be_read_is_a_complaint),
		cmocka_unit_test(test_without_a_file_there_is_no_configuration),
	};

	return cmocka_run_group_tests(tests, enter_directory, leave_directory);
}
