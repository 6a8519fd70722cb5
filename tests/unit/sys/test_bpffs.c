#include <bpf/bpf.h>
#include <errno.h>
#include <linux/magic.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cap-ng.h>
#include <cmocka.h>

#include "lab.h"
#include "sys/bpffs.h"

#define ROOT "/sys/fs/bpf"

/* A tmpfs of this program's namespace; the directory below it is this run's alone. */
static char elsewhere[] = "/tmp/loom-sys-XXXXXX";

static const char *below(const char *name)
{
	static char path[256];

	snprintf(path, sizeof(path), "%s/%s", elsewhere, name);
	return path;
}

static bool on_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

/* From here on, what is mounted is mounted for this program alone. */
static int open_all(void **state)
{
	assert_int_equal(unshare(CLONE_NEWNS), 0);
	assert_int_equal(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL), 0);
	while (on_bpffs(ROOT))
		assert_int_equal(umount2(ROOT, MNT_DETACH), 0);
	assert_int_equal(mount("none", elsewhere, "tmpfs", 0, NULL), 0);
	return 0;
}

static int close_all(void **state)
{
	assert_int_equal(umount2(elsewhere, MNT_DETACH), 0);
	while (on_bpffs(ROOT))
		assert_int_equal(umount2(ROOT, MNT_DETACH), 0);
	return 0;
}

static void check_made(const char *path)
{
	struct err err = { 0 };
	struct stat status;

	if (bpffs_ensure(path, &err) < 0)
		fail_msg("%s: %s", path, err.text);
	assert_true(on_bpffs(path));
	assert_int_equal(stat(path, &status), 0);
	assert_int_equal(status.st_mode & 0777, 0700);
}

static void a_filesystem_is_mounted_where_none_is(void **state)
{
	assert_false(on_bpffs(ROOT));
	check_made(ROOT "/loom/one");
	check_made(ROOT "/loom/one"); /* and is used once it is there */
	check_made(ROOT "/loom/two/");
	assert_int_equal(umount(ROOT), 0);
	assert_false(on_bpffs(ROOT));
}

static void the_mount_point_itself_will_do(void **state)
{
	check_made(ROOT);
}

static void a_filesystem_elsewhere_will_do(void **state)
{
	assert_int_equal(mkdir(below("bpf"), 0700), 0);
	assert_int_equal(mount("bpf", below("bpf"), "bpf", 0, "mode=0700"), 0);
	check_made(below("bpf/loom/one"));
	assert_false(on_bpffs(ROOT));
	assert_int_equal(umount(below("bpf")), 0);
}

static void another_filesystem_is_refused_and_left_as_it_was(void **state)
{
	struct err err = { 0 };

	assert_int_equal(bpffs_ensure(below("loom/one"), &err), -EINVAL);
	assert_non_null(strstr(err.text, below("loom/one")));
	assert_non_null(strstr(err.text, "mount -t bpf"));
	assert_int_equal(access(below("loom"), F_OK), -1);
}

static void what_cannot_be_a_directory_is_an_error(void **state)
{
	static const char *const paths[] = { ROOT "/pin", ROOT "/pin/one" };
	char path[512] = ROOT "/";
	struct err err = { 0 };
	int map;

	memset(path + strlen(path), 'x', 400);
	assert_int_equal(bpffs_ensure(path, &err), -ENAMETOOLONG);
	check_made(ROOT);
	map = bpf_map_create(BPF_MAP_TYPE_ARRAY, "loom_sys", 4, 4, 1, NULL);
	assert_true(map >= 0);
	assert_int_equal(bpf_obj_pin(map, ROOT "/pin"), 0);
	close(map);
	for (size_t i = 0; i < 2; i++) {
		assert_int_equal(bpffs_ensure(paths[i], &err), -ENOTDIR);
		assert_non_null(strstr(err.text, paths[i]));
	}
}

/* Exit code of the child: what bpffs_ensure said, negated. */
static int ensure_without_powers(struct err *err)
{
	capng_clear(CAPNG_SELECT_CAPS);
	if (capng_apply(CAPNG_SELECT_CAPS) < 0)
		return 255;
	return -bpffs_ensure(ROOT "/loom", err) == EPERM && strstr(err->text, "; ") ? 0 : 1;
}

static void without_the_power_to_mount_the_next_step_is_told(void **state)
{
	struct err err = { 0 };
	pid_t child = fork();
	int status;

	if (child == 0)
		_exit(ensure_without_powers(&err));
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_int_equal(status, 0);
	assert_false(on_bpffs(ROOT));
}

static int make_directory(void **state)
{
	return mkdtemp(elsewhere) ? 0 : -1;
}

static int remove_directory(void **state)
{
	return rmdir(elsewhere);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_filesystem_is_mounted_where_none_is),
		CASE(the_mount_point_itself_will_do),
		CASE(a_filesystem_elsewhere_will_do),
		CASE(another_filesystem_is_refused_and_left_as_it_was),
		CASE(what_cannot_be_a_directory_is_an_error),
		CASE(without_the_power_to_mount_the_next_step_is_told),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, make_directory, remove_directory);
}
