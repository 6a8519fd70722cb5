/* Packet tests of the load balancer's program, by BPF_PROG_TEST_RUN in a namespace of their own;
 * with --traced of the traced one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "groups.h"

#define EXIT_SKIPPED 77

int run_rows(const char *group, const void *rows, size_t row_size, size_t count,
	     CMUnitTestFunction check)
{
	struct CMUnitTest *tests = calloc(count, sizeof(*tests));
	int failed;

	must(tests);
	for (size_t i = 0; i < count; i++) {
		const char *row = (const char *)rows + i * row_size;

		tests[i].name = *(const char *const *)row;
		tests[i].test_func = check;
		tests[i].setup_func = world_test_setup;
		tests[i].initial_state = (void *)(uintptr_t)row;
	}
	failed = _cmocka_run_group_tests(group, tests, count, NULL, NULL);
	free(tests);
	return failed;
}

int main(int argc, char **argv)
{
	int failed = 0;

	if (geteuid()) {
		fprintf(stderr, "cannot load BPF programs: not root; run the tests with sudo\n");
		return EXIT_SKIPPED;
	}
	world.traced = argc > 1 && !strcmp(argv[1], "--traced");
	world_enter_namespace();
	world_open(NULL);
	failed += test_lb_parse();
	failed += test_lb_cut();
	failed += test_lb_forward();
	failed += test_lb_csum();
	failed += test_lb_states();
	failed += test_lb_halves();
	failed += test_lb_backends();
	failed += test_lb_hops();
	failed += test_lb_direct();
	failed += test_lb_mtu();
	failed += test_lb_limit();
	failed += test_lb_select();
	failed += test_lb_fragments();
	failed += test_lb_icmp();
	failed += test_lb_echo();
	failed += test_lb_cookie();
	world_close();
	failed += test_lb_ports();
	failed += test_lb_special();
	failed += test_lb_mss();
	failed += test_lb_stateless();
	failed += test_lb_no_echo();
	failed += test_lb_trace();
	return failed != 0;
}
