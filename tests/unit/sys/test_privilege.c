/* What is left after dropping, tried in a child that cannot get it back. */
#include <bpf/bpf.h>
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/privilege.h"

/* Exit status: 0, or the step that went wrong. */
static int child(void)
{
	struct err err = { 0 };
	__u32 zero = 0;
	int fd;

	/* If dropping fails to drop, what is tried below must hurt nobody else. */
	if (unshare(CLONE_NEWNS) < 0 || mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return 6;
	if (privilege_check(&err) < 0 || privilege_drop(&err) < 0)
		return 1;
	if (mount("none", "/tmp", "tmpfs", 0, NULL) == 0 || errno != EPERM)
		return 2;
	if (unshare(CLONE_NEWNET) == 0 || errno != EPERM)
		return 3;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "left", 4, 4, 1, NULL);
	if (fd < 0 || bpf_map_update_elem(fd, &zero, &zero, BPF_ANY) < 0)
		return 4;
	if (privilege_check(&err) < 0)
		return 5;
	return 0;
}

static void only_what_is_needed_is_left(void **state)
{
	int status = -1;
	pid_t pid;

	(void)state;
	pid = fork();
	if (pid == 0)
		_exit(child());
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = { cmocka_unit_test(only_what_is_needed_is_left) };

	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
