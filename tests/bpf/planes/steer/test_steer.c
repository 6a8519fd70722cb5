/* The steering program on real sockets, in a network namespace of its own. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/must.h"
#include "group.h"
#include "tests.h"

#define EXIT_SKIPPED 77

static struct group *groups[64];
static unsigned opened;

void tests_at_exit(struct group *group)
{
	must(opened < 64);
	groups[opened++] = group;
}

int main(void)
{
	const struct rlimit files = { 8192, 8192 };
	int failed;

	if (geteuid()) {
		fprintf(stderr, "cannot load BPF programs: not root; run the tests with sudo\n");
		return EXIT_SKIPPED;
	}
	must(setrlimit(RLIMIT_NOFILE, &files) == 0);
	group_enter_namespace();
	failed = tests_of_rows() + tests_of_sets() + tests_of_sockets();
	while (opened)
		group_close(groups[--opened]);
	return failed != 0;
}
