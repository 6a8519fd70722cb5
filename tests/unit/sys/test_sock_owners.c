#include <errno.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "as_user.h"
#include "holder.h"
#include "lab.h"
#include "sys/sock_owners.h"

#define OTHER_USER 65533

static const struct sock_process *process_of(const struct sock_owners *owners,
					     const struct sock_hold *hold)
{
	assert_true(hold->process < owners->process_count);
	return &owners->processes[hold->process];
}

static void every_process_that_holds_a_socket_is_found(void **state)
{
	int fd = holder_socket();
	uint64_t inode = holder_inode(fd);
	struct holder one = holder_start("worker one", 0);
	struct holder two = holder_start("worker two", OTHER_USER);
	const struct sock_hold *holds;
	struct sock_owners owners;
	size_t count;

	close(fd);
	assert_int_equal(sock_owners_scan(&inode, 1, NULL, 0, &owners, NULL), 0);
	holds = sock_owners_of(&owners, inode, &count);
	assert_int_equal(count, 2);
	assert_int_equal(process_of(&owners, &holds[0])->pid, one.pid);
	assert_int_equal(process_of(&owners, &holds[1])->pid, two.pid);
	assert_string_equal(process_of(&owners, &holds[0])->comm, "worker one");
	assert_string_equal(process_of(&owners, &holds[1])->comm, "worker two");
	assert_string_equal(process_of(&owners, &holds[0])->exe, "test_sys_sock_owners");
	assert_true(process_of(&owners, &holds[0])->start_ticks > 0);
	assert_int_equal(holds[0].fd, fd);
	sock_owners_done(&owners);
	holder_end(&one);
	holder_end(&two);
}

static int by_value(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a;
	uint64_t y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static void a_set_is_looked_for_in_one_scan(void **state)
{
	enum { COUNT = 100 };
	uint64_t inodes[COUNT];
	struct sock_owners owners;
	int fds[COUNT];
	pid_t self = getpid();
	size_t count;

	for (int i = 0; i < COUNT; i++) {
		fds[i] = holder_socket();
		inodes[i] = holder_inode(fds[i]);
	}
	qsort(inodes, COUNT, sizeof(inodes[0]), by_value);
	close(fds[COUNT - 1]);
	assert_int_equal(sock_owners_scan(inodes, COUNT, &self, 1, &owners, NULL), 0);
	assert_int_equal(owners.process_count, 1);
	assert_int_equal(owners.hold_count, COUNT - 1);
	for (int i = 0; i < COUNT - 1; i++) {
		const struct sock_hold *hold = sock_owners_of(&owners, holder_inode(fds[i]),
							      &count);

		assert_int_equal(count, 1);
		assert_int_equal(hold->fd, fds[i]);
		close(fds[i]);
	}
	sock_owners_done(&owners);
}

static void two_descriptors_for_one_socket_are_one_hold(void **state)
{
	int first = holder_socket();
	int second = dup(first);
	uint64_t inode = holder_inode(first);
	pid_t self[] = { getpid(), getpid() }; /* told twice, looked at once */
	const struct sock_hold *hold;
	struct sock_owners owners;
	size_t count;

	assert_int_equal(sock_owners_scan(&inode, 1, self, 2, &owners, NULL), 0);
	hold = sock_owners_of(&owners, inode, &count);
	assert_int_equal(count, 1);
	assert_int_equal(hold->fd, first);
	sock_owners_done(&owners);
	close(first);
	close(second);
}

static void only_the_given_processes_are_looked_at(void **state)
{
	int fd = holder_socket();
	uint64_t inode = holder_inode(fd);
	struct holder one = holder_start("one", 0);
	struct sock_owners owners;

	assert_int_equal(sock_owners_scan(&inode, 1, &one.pid, 1, &owners, NULL), 0);
	assert_int_equal(owners.hold_count, 1);
	assert_int_equal(owners.processes[0].pid, one.pid);
	sock_owners_done(&owners);
	holder_end(&one);
	/* It is gone by now: nobody's, and no error. */
	assert_int_equal(sock_owners_scan(&inode, 1, &one.pid, 1, &owners, NULL), 0);
	assert_int_equal(owners.hold_count, 0);
	assert_int_equal(owners.unreadable, 0);
	sock_owners_done(&owners);
	close(fd);
}

static void descriptors_that_the_kernel_told_are_kept_if_they_are_asked_for(void **state)
{
	struct holder one = holder_start("one", 0);
	struct steer_truth_file files[] = {
		{ 11, getpid(), 3 }, { 12, getpid(), 4 }, { 11, getpid(), 5 },
		{ 11, one.pid, 3 },  { 12, one.pid, 3 },
	};
	const uint64_t inodes[] = { 11, 13 };
	const struct sock_hold *holds;
	struct sock_owners owners;
	size_t count;

	assert_int_equal(sock_owners_of_files(inodes, 2, files, 5, &owners, NULL), 0);
	holds = sock_owners_of(&owners, 11, &count);
	assert_int_equal(count, 2);
	assert_int_equal(process_of(&owners, &holds[0])->pid, getpid());
	assert_int_equal(holds[0].fd, 3);
	assert_string_equal(process_of(&owners, &holds[1])->comm, "one");
	assert_null(sock_owners_of(&owners, 12, &count));
	sock_owners_done(&owners);
	/* Gone since: it holds nothing. */
	holder_end(&one);
	assert_int_equal(sock_owners_of_files(inodes, 2, files, 5, &owners, NULL), 0);
	assert_int_equal(owners.process_count, 1);
	assert_non_null(sock_owners_of(&owners, 11, &count));
	assert_int_equal(count, 1);
	sock_owners_done(&owners);
}

static void nothing_asked_is_nothing_found(void **state)
{
	struct sock_owners owners;
	uint64_t inode = 1;
	size_t count;

	assert_int_equal(sock_owners_scan(NULL, 0, NULL, 0, &owners, NULL), 0);
	assert_null(sock_owners_of(&owners, inode, &count));
	assert_int_equal(count, 0);
	sock_owners_done(&owners);
	assert_int_equal(sock_owners_scan(&inode, 1, NULL, 0, &owners, NULL), 0);
	assert_null(sock_owners_of(&owners, inode, &count));
	sock_owners_done(&owners);
}

static void what_a_process_calls_itself_is_made_harmless(void **state)
{
	int fd = holder_socket();
	struct holder one = holder_start("\x1b[2J\n\"\xff)x", 0);
	struct sock_process process;

	assert_int_equal(sock_process_read(one.pid, &process), 0);
	assert_string_equal(process.comm, "?[2J?\"?)x");
	assert_true(process.start_ticks > 0);
	holder_end(&one);
	assert_int_equal(sock_process_read(one.pid, &process), -ESRCH);
	close(fd);
}

/* Some hosts hide their first process. */
static size_t unreadable_anyway(const uint64_t *inode)
{
	struct sock_owners owners;
	size_t unreadable;

	assert_int_equal(sock_owners_scan(inode, 1, NULL, 0, &owners, NULL), 0);
	unreadable = owners.unreadable;
	sock_owners_done(&owners);
	return unreadable;
}

/* A neighbour that starts and ends processes without end. */
static void processes_that_vanish_are_no_error(void **state)
{
	int fd = holder_socket();
	uint64_t inode = holder_inode(fd);
	size_t unreadable = unreadable_anyway(&inode);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			pid_t child = fork();

			if (child == 0)
				_exit(0);
			waitpid(child, NULL, 0);
		}
	}
	for (int i = 0; i < 30; i++) {
		struct sock_owners owners;
		size_t count;

		assert_int_equal(sock_owners_scan(&inode, 1, NULL, 0, &owners, NULL), 0);
		assert_non_null(sock_owners_of(&owners, inode, &count));
		assert_true(count >= 2); /* we and the neighbour */
		assert_int_equal(owners.unreadable, unreadable);
		sock_owners_done(&owners);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	close(fd);
}

/* ---- powers ---- */

static uint64_t foreign;
static pid_t foreign_pid;

static int scan_foreign(size_t *ret_holds, size_t *ret_unreadable)
{
	struct sock_owners owners;
	int r = sock_owners_scan(&foreign, 1, &foreign_pid, 1, &owners, NULL);

	*ret_holds = owners.hold_count;
	*ret_unreadable = owners.unreadable;
	sock_owners_done(&owners);
	return r;
}

static int check_unreadable(void)
{
	size_t holds, unreadable;

	return scan_foreign(&holds, &unreadable) != 0 || holds != 0 || unreadable != 1;
}

static int check_readable(void)
{
	size_t holds, unreadable;

	return scan_foreign(&holds, &unreadable) != 0 || holds != 1 || unreadable != 0;
}

static void who_may_not_be_looked_into_is_counted(void **state)
{
	static const int ptrace[] = { CAP_SYS_PTRACE };
	int fd = holder_socket();
	struct holder one = holder_start("one", OTHER_USER);

	foreign = holder_inode(fd);
	foreign_pid = one.pid;
	assert_int_equal(as_user(NULL, 0, check_unreadable), 0);
	assert_int_equal(as_user(ptrace, 1, check_readable), 0);
	holder_end(&one);
	close(fd);
}

/* ---- units ---- */

static const struct {
	const char *cgroup, *unit;
} cgroups[] = {
	{ "0::/system.slice/nginx.service\n", "nginx.service" },
	{ "0::/system.slice/system-web.slice/web@1.service\n", "web@1.service" },
	{ "0::/system.slice/nginx.service/workers\n", "nginx.service" },
	{ "0::/user.slice/user-1000.slice/user@1000.service/app.slice/x.service\n",
	  "user@1000.service" },
	{ "0::/user.slice/user-1000.slice/session-3.scope\n", "session-3.scope" },
	{ "0::/init.scope\n", "init.scope" },
	{ "0::/system.slice/_cpu.service\n", "cpu.service" },
	{ "4:cpu:/other.service\n1:name=systemd:/system.slice/a.service\n0::/\n", "a.service" },
	{ "0::/\n", "" },
	{ "", "" },
	{ "0::/a.service", "a.service" },
	{ "0::/.service\n", "" },
	{ "0::/a.services\n", "" },
	{ "nonsense", "" },
	{ "nonsense\n0::/a.service\n", "" },
	{ "0::a.service\n", "" },
	{ "0::/\x1b[2J.service\n", "?[2J.service" },
};

static void the_unit_is_read_from_the_cgroup(void **state)
{
	for (size_t i = 0; i < sizeof(cgroups) / sizeof(cgroups[0]); i++) {
		char unit[128] = "before";

		sock_owners_unit(cgroups[i].cgroup, unit, sizeof(unit));
		assert_string_equal(unit, cgroups[i].unit);
	}
}

static void a_unit_that_is_too_long_is_cut(void **state)
{
	char unit[8];

	sock_owners_unit("0::/abcdefghijkl.service\n", unit, sizeof(unit));
	assert_string_equal(unit, "abcdefg");
}

/* ---- */

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_process_that_holds_a_socket_is_found),
		cmocka_unit_test(a_set_is_looked_for_in_one_scan),
		cmocka_unit_test(two_descriptors_for_one_socket_are_one_hold),
		cmocka_unit_test(only_the_given_processes_are_looked_at),
		cmocka_unit_test(descriptors_that_the_kernel_told_are_kept_if_they_are_asked_for),
		cmocka_unit_test(nothing_asked_is_nothing_found),
		cmocka_unit_test(what_a_process_calls_itself_is_made_harmless),
		cmocka_unit_test(processes_that_vanish_are_no_error),
		cmocka_unit_test(who_may_not_be_looked_into_is_counted),
		cmocka_unit_test(the_unit_is_read_from_the_cgroup),
		cmocka_unit_test(a_unit_that_is_too_long_is_cut),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
