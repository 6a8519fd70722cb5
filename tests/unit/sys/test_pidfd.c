#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "as_user.h"
#include "holder.h"
#include "lab.h"
#include "sys/pidfd.h"

#define OTHER_USER 65533

static struct holder holder;
static uint64_t inode;

static void a_socket_is_taken_from_a_process(void **state)
{
	int fd = pidfd_take_socket(holder.pid, inode, NULL);

	assert_true(fd >= 0);
	assert_int_equal(holder_inode(fd), inode);
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
}

static int number_of_inode;

static int note_number(void *ctx, int fd, uint64_t at)
{
	(void)ctx;
	if (at == inode)
		number_of_inode = fd;
	return 0;
}

static void where_it_was_seen_is_a_hint_and_no_more(void **state)
{
	const int hints[] = { -1, 0, 9999, 0 /* where it is */ };

	assert_int_equal(pidfd_sockets(holder.pid, note_number, NULL), 0);
	for (size_t i = 0; i < sizeof(hints) / sizeof(hints[0]); i++) {
		int at = i == 3 ? number_of_inode : hints[i];
		int fd = pidfd_take_socket_at(holder.pid, at, inode, NULL);

		assert_true(fd >= 0);
		assert_int_equal(holder_inode(fd), inode);
		close(fd);
	}
}

static void what_the_process_does_not_hold_is_not_there(void **state)
{
	struct err err = { 0 };
	int mine = holder_socket(); /* after the holder's fork */

	assert_int_equal(pidfd_take_socket(holder.pid, holder_inode(mine), &err), -ENOENT);
	assert_non_null(strstr(err.text, "does not hold it"));
	close(mine);
}

static void who_holds_it_is_told_from_who_does_not(void **state)
{
	assert_int_equal(pidfd_sockets(holder.pid, note_number, NULL), 0);
	assert_true(pidfd_holds(holder.pid, number_of_inode, inode));
	assert_false(pidfd_holds(holder.pid, number_of_inode, inode + 1));
	assert_false(pidfd_holds(holder.pid, 0, inode));
	assert_false(pidfd_holds(holder.pid, 9999, inode));
}

static void a_process_that_is_gone_is_told(void **state)
{
	struct err err = { 0 };
	pid_t pid = fork();

	if (pid == 0)
		_exit(0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(pidfd_take_socket(pid, inode, &err), -ESRCH);
	assert_non_null(strstr(err.text, "the process is gone"));
	assert_int_equal(pidfd_take_socket(0, inode, NULL), -ESRCH);
	assert_int_equal(pidfd_take_socket(-1, inode, NULL), -ESRCH);
	assert_false(pidfd_holds(pid, number_of_inode, inode));
}

static int check_forbidden(void)
{
	struct err err = { 0 };

	if (pidfd_take_socket(holder.pid, inode, &err) != -EPERM)
		return 1;
	/* Not known is not gone. */
	if (!pidfd_holds(holder.pid, number_of_inode, inode + 1))
		return 3;
	return strstr(err.text, "cap_sys_ptrace") ? 0 : 2;
}

static void another_users_process_takes_a_capability(void **state)
{
	assert_int_equal(as_user(NULL, 0, check_forbidden), 0);
}

static int check_allowed(void)
{
	struct err err = { 0 };
	int fd = pidfd_take_socket(holder.pid, inode, &err);

	if (fd < 0) {
		fprintf(stderr, "%s\n", err.text);
		return 1;
	}
	return holder_inode(fd) != inode;
}

/* /proc/PID/fd is closed to it: the other way is taken. */
static void cap_sys_ptrace_alone_is_enough(void **state)
{
	static const int ptrace[] = { CAP_SYS_PTRACE };

	assert_int_equal(as_user(ptrace, 1, check_allowed), 0);
}

struct seen {
	uint64_t inode;
	int times;
	int fd;
};

static int note(void *ctx, int fd, uint64_t found)
{
	struct seen *seen = ctx;

	if (found == seen->inode) {
		seen->times++;
		seen->fd = fd;
	}
	return 0;
}

static void each_socket_is_seen_once_and_files_are_not(void **state)
{
	int fd = holder_socket();
	struct seen seen = { .inode = holder_inode(fd) };

	assert_int_equal(pidfd_sockets(getpid(), note, &seen), 0);
	assert_int_equal(seen.times, 1);
	assert_int_equal(seen.fd, fd);
	close(fd);
	seen.times = 0;
	assert_int_equal(pidfd_sockets(getpid(), note, &seen), 0);
	assert_int_equal(seen.times, 0);
}

static int stop(void *ctx, int fd, uint64_t found)
{
	return 42;
}

static void a_walk_stops_when_told(void **state)
{
	assert_int_equal(pidfd_sockets(holder.pid, stop, NULL), 42);
}

/* A process that closes and opens the socket's number again without end: what comes back is the
 * socket or nothing, never another one. */
static void a_busy_process_never_gives_another_socket(void **state)
{
	int taken = 0;
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;) {
			int other = socket(AF_INET, SOCK_DGRAM, 0);

			dup2(other, 200);
			close(other);
		}
	}
	for (int i = 0; i < 2000; i++) {
		struct seen any = { 0 };
		int fd = pidfd_take_socket(pid, inode, NULL);

		pidfd_sockets(pid, note, &any);
		if (fd < 0)
			continue;
		assert_int_equal(holder_inode(fd), inode);
		taken++;
		close(fd);
	}
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(waitpid(pid, NULL, 0), pid);
	assert_int_equal(taken, 2000); /* it held it all the time, under another number */
}

/* ---- */

static int start(void **state)
{
	int fd = holder_socket();

	inode = holder_inode(fd);
	holder = holder_start("holder", OTHER_USER);
	return 0; /* fd stays, for the busy process to inherit */
}

static int end(void **state)
{
	holder_end(&holder);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_socket_is_taken_from_a_process),
		cmocka_unit_test(where_it_was_seen_is_a_hint_and_no_more),
		cmocka_unit_test(what_the_process_does_not_hold_is_not_there),
		cmocka_unit_test(who_holds_it_is_told_from_who_does_not),
		cmocka_unit_test(a_process_that_is_gone_is_told),
		cmocka_unit_test(another_users_process_takes_a_capability),
		cmocka_unit_test(cap_sys_ptrace_alone_is_enough),
		cmocka_unit_test(each_socket_is_seen_once_and_files_are_not),
		cmocka_unit_test(a_walk_stops_when_told),
		cmocka_unit_test(a_busy_process_never_gives_another_socket),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, start, end);
}
