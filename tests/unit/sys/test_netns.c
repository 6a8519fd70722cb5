#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "as_user.h"
#include "lab.h"
#include "sys/netns.h"

static int outside, inside; /* inside is a namespace of the test's own, and current */

static uint64_t current(void)
{
	struct stat st;

	assert_int_equal(stat("/proc/thread-self/ns/net", &st), 0);
	return st.st_ino;
}

static void no_name_is_the_own_namespace(void **state)
{
	int fd = netns_open(NULL, NULL);

	assert_true(fd >= 0);
	assert_true(netns_is_own(fd));
	assert_int_equal(netns_inode(fd), current());
	assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
	close(fd);
	fd = netns_open("", NULL);
	assert_true(netns_is_own(fd));
	close(fd);
}

static void a_process_names_its_namespace(void **state)
{
	char spec[32];
	int fd;

	snprintf(spec, sizeof(spec), "pid:%d", getpid());
	fd = netns_open(spec, NULL);
	assert_true(fd >= 0);
	assert_true(netns_is_own(fd));
	close(fd);
}

static void a_path_and_a_name_are_found(void **state)
{
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/proc/self/fd/%d", outside);
	fd = netns_open(path, NULL);
	assert_true(fd >= 0);
	assert_false(netns_is_own(fd));
	assert_int_equal(netns_inode(fd), netns_inode(outside));
	close(fd);
	mkdir("/run/netns", 0755);
	assert_int_equal(mount("none", "/run/netns", "tmpfs", 0, NULL), 0);
	fd = open("/run/netns/blue", O_RDONLY | O_CREAT | O_CLOEXEC, 0600);
	close(fd);
	assert_int_equal(mount(path, "/run/netns/blue", NULL, MS_BIND, NULL), 0);
	fd = netns_open("blue", NULL);
	assert_true(fd >= 0);
	assert_int_equal(netns_inode(fd), netns_inode(outside));
	close(fd);
	assert_int_equal(umount2("/run/netns/blue", MNT_DETACH), 0);
	assert_int_equal(umount("/run/netns"), 0);
}

static const struct {
	const char *spec;
	int error;
	const char *text;
} refused[] = {
	{ "pid:", -EINVAL, "not a name" },
	{ "pid:0", -EINVAL, "not a name" },
	{ "pid:-1", -EINVAL, "not a name" },
	{ "pid:1x", -EINVAL, "not a name" },
	{ "pid:4294967297", -EINVAL, "not a name" },
	{ "pid:2147483647", -ESRCH, "no such process" },
	{ "..", -EINVAL, "not a name" },
	{ "../../etc/passwd", -EINVAL, "not a name" },
	{ "nowhere", -ENOENT, "/run/netns/nowhere" },
	{ "/nowhere", -ENOENT, "/nowhere" },
	{ "/etc/passwd", -EINVAL, "something else" },
	{ "/proc/self/ns/mnt", -EINVAL, "something else" },
	{ "/tmp", -EINVAL, "something else" },
	{ "/dev/null", -EINVAL, "something else" },
};

static void what_is_no_namespace_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
		struct err err = { 0 };
		int fd = netns_open(refused[i].spec, &err);

		if (fd != refused[i].error || !strstr(err.text, refused[i].text))
			fail_msg("%s: %d: %s", refused[i].spec, fd, err.text);
	}
}

/* A FIFO that nobody writes to. */
static void a_pipe_makes_nobody_wait(void **state)
{
	char path[] = "/tmp/netns-XXXXXX";
	char fifo[64];

	assert_non_null(mkdtemp(path));
	snprintf(fifo, sizeof(fifo), "%s/fifo", path);
	assert_int_equal(mkfifo(fifo, 0600), 0);
	alarm(10);
	assert_int_equal(netns_open(fifo, NULL), -EINVAL);
	alarm(0);
	unlink(fifo);
	rmdir(path);
}

static void one_goes_in_and_comes_back(void **state)
{
	uint64_t own = current();

	assert_int_equal(netns_enter(outside, NULL), 0);
	assert_int_equal(current(), netns_inode(outside));
	assert_int_equal(netns_leave(), 0);
	assert_int_equal(current(), own);
	assert_int_equal(netns_leave(), 0); /* nothing entered: no-op */
	assert_int_equal(current(), own);
}

static void to_enter_the_own_one_is_to_be_there(void **state)
{
	uint64_t own = current();

	assert_int_equal(netns_enter(inside, NULL), 0);
	assert_int_equal(current(), own);
	assert_int_equal(netns_enter(outside, NULL), 0);
	assert_int_equal(netns_enter(inside, NULL), 0);
	assert_int_equal(current(), own);
}

static int check_powerless(void)
{
	struct err err = { 0 };

	if (netns_enter(inside, NULL) != 0 || netns_leave() != 0)
		return 1;
	if (netns_enter(outside, &err) != -EPERM || !strstr(err.text, "cap_sys_admin"))
		return 2;
	return netns_leave() != 0;
}

static void without_powers_only_the_own_one_is_entered(void **state)
{
	assert_int_equal(as_user(NULL, 0, check_powerless), 0);
}

/* ---- */

static int enter(void **state)
{
	outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	inside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	netns_adopt();
	return 0;
}

static int leave(void **state)
{
	assert_int_equal(setns(outside, CLONE_NEWNET), 0);
	close(inside);
	close(outside);
	return 0;
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_name_is_the_own_namespace),
		cmocka_unit_test(a_process_names_its_namespace),
		cmocka_unit_test(a_path_and_a_name_are_found),
		cmocka_unit_test(what_is_no_namespace_is_refused),
		cmocka_unit_test(a_pipe_makes_nobody_wait),
		cmocka_unit_test(one_goes_in_and_comes_back),
		cmocka_unit_test(to_enter_the_own_one_is_to_be_there),
		cmocka_unit_test(without_powers_only_the_own_one_is_entered),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, enter, leave);
}
