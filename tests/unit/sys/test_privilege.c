#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cap-ng.h>
#include <cmocka.h>

#include "lab.h"
#include "sys/privilege.h"

/* CAP_NET_ADMIN is 12, CAP_PERFMON 38, CAP_BPF 39 (linux/capability.h). */
#define NEEDED	 "000000c000001000"
#define WITH_RAW "000000c000003000" /* and CAP_NET_RAW */
#define NONE	 "0000000000000000"

/* A child ends with the line that was not so, or 0. */
#define EXPECT(condition)                      \
	do {                                   \
		if (!(condition))              \
			return __LINE__ % 256; \
	} while (0)

/* Powers cannot be taken back: each case is a process. */
static void in_a_child(int (*body)(void))
{
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0)
		_exit(body());
	assert_int_equal(waitpid(child, &status, 0), child);
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		fail_msg("the child ended with %#x: a line (modulo 256) or a signal", status);
}

/* Whether /proc says so of this process, "CapEff:\t00...". */
static bool status_says(const char *field, const char *value)
{
	char wanted[64], line[256];
	bool found = false;
	FILE *file = fopen("/proc/self/status", "re");

	snprintf(wanted, sizeof(wanted), "%s:\t%s\n", field, value);
	while (file && fgets(line, sizeof(line), file))
		found |= !strcmp(line, wanted);
	if (file)
		fclose(file);
	return found;
}

static int drop_and_read_back(void)
{
	EXPECT(privilege_drop(PRIVILEGE_BALANCE, NULL) == 0);
	EXPECT(status_says("CapEff", NEEDED));
	EXPECT(status_says("CapPrm", NEEDED));
	EXPECT(status_says("CapBnd", NEEDED));
	EXPECT(status_says("CapInh", NONE));
	EXPECT(status_says("CapAmb", NONE));
	EXPECT(status_says("NoNewPrivs", "1"));
	EXPECT(privilege_check(PRIVILEGE_BALANCE, NULL) == 0);
	return 0;
}

static void what_is_kept_is_what_is_needed_in_every_set(void **state)
{
	in_a_child(drop_and_read_back);
}

static int keep_raw_sockets(void)
{
	EXPECT(privilege_drop(PRIVILEGE_BALANCE | PRIVILEGE_RAW, NULL) == 0);
	EXPECT(status_says("CapEff", WITH_RAW));
	EXPECT(status_says("CapPrm", WITH_RAW));
	EXPECT(status_says("CapBnd", WITH_RAW));
	/* Once given up, it does not come back. */
	EXPECT(privilege_drop(PRIVILEGE_BALANCE, NULL) == 0);
	EXPECT(privilege_drop(PRIVILEGE_BALANCE | PRIVILEGE_RAW, NULL) == 0);
	EXPECT(status_says("CapEff", NEEDED));
	return 0;
}

static void raw_sockets_stay_for_whoever_wants_them(void **state)
{
	in_a_child(keep_raw_sockets);
}

static int inherit_and_drop(void)
{
	capng_get_caps_process();
	capng_update(CAPNG_ADD, CAPNG_INHERITABLE, CAP_SYS_ADMIN);
	EXPECT(capng_apply(CAPNG_SELECT_CAPS) == 0);
	EXPECT(prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, CAP_SYS_ADMIN, 0, 0) == 0);
	EXPECT(!status_says("CapAmb", NONE));
	return drop_and_read_back();
}

static void what_was_to_be_inherited_goes_too(void **state)
{
	in_a_child(inherit_and_drop);
}

static int use_maps(void)
{
	uint32_t key = 0, value = 7;
	int map = bpf_map_create(BPF_MAP_TYPE_LRU_HASH, "loom_sys", 4, 4, 16, NULL);

	EXPECT(map >= 0);
	EXPECT(bpf_map_update_elem(map, &key, &value, BPF_ANY) == 0);
	close(map);
	return 0;
}

static int use_what_is_left(void)
{
	int file = memfd_create("loom_sys", MFD_CLOEXEC);

	EXPECT(file >= 0);
	EXPECT(privilege_drop(PRIVILEGE_BALANCE, NULL) == 0);
	EXPECT(use_maps() == 0);
	EXPECT(mount("none", "/mnt", "tmpfs", 0, NULL) == -1 && errno == EPERM);
	EXPECT(unshare(CLONE_NEWNET) == -1 && errno == EPERM);
	EXPECT(fchown(file, 1, 1) == -1 && errno == EPERM);
	EXPECT(socket(AF_PACKET, SOCK_RAW, 0) == -1 && errno == EPERM);
	EXPECT(setgid(1) == -1 && errno == EPERM);
	close(file);
	return 0;
}

static void afterwards_maps_work_and_the_rest_does_not(void **state)
{
	in_a_child(use_what_is_left);
}

static int exec_as_root(void)
{
	EXPECT(privilege_drop(PRIVILEGE_BALANCE, NULL) == 0);
	execl("/bin/sh", "sh", "-c",
	      "test \"$(sed -n 's/^CapEff:.//p' /proc/$$/status)\" = " NEEDED, NULL);
	return 255;
}

/* Root's exec would fill the sets again, were it not for the bounding set. */
static void a_program_it_runs_has_no_more(void **state)
{
	in_a_child(exec_as_root);
}

static int lose(unsigned int capability, const char *name)
{
	struct err err = { 0 };

	capng_get_caps_process();
	capng_update(CAPNG_DROP, CAPNG_EFFECTIVE | CAPNG_PERMITTED, capability);
	EXPECT(capng_apply(CAPNG_SELECT_CAPS) == 0);
	EXPECT(privilege_check(PRIVILEGE_BALANCE, &err) == -EPERM && err.code == -EPERM);
	EXPECT(strstr(err.text, name) && strstr(err.text, "; "));
	EXPECT(!strstr(err.text, ","));
	return 0;
}

static int lose_bpf(void)
{
	return lose(CAP_BPF, " cap_bpf;");
}

static int lose_net_admin(void)
{
	return lose(CAP_NET_ADMIN, " cap_net_admin;");
}

static int lose_perfmon(void)
{
	return lose(CAP_PERFMON, " cap_perfmon;");
}

static int lose_all(void)
{
	struct err err = { 0 };

	capng_clear(CAPNG_SELECT_CAPS);
	EXPECT(capng_apply(CAPNG_SELECT_CAPS) == 0);
	EXPECT(privilege_check(PRIVILEGE_BALANCE, &err) == -EPERM);
	EXPECT(strstr(err.text, "cap_bpf, cap_net_admin, cap_perfmon;"));
	return 0;
}

static void what_is_missing_is_named(void **state)
{
	assert_int_equal(privilege_check(PRIVILEGE_BALANCE, NULL), 0);
	in_a_child(lose_bpf);
	in_a_child(lose_net_admin);
	in_a_child(lose_perfmon);
	in_a_child(lose_all);
}

/* As a container or a unit with a narrow CapabilityBoundingSet= starts it: nothing to drop, and no
 * CAP_SETPCAP to drop it with. */
static int drop_nothing(void)
{
	struct err err = { 0 };

	capng_clear(CAPNG_SELECT_BOTH);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET, CAP_BPF,
		      CAP_NET_ADMIN, CAP_PERFMON, -1);
	EXPECT(capng_apply(CAPNG_SELECT_BOTH) == 0);
	if (privilege_drop(PRIVILEGE_BALANCE, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	return drop_and_read_back();
}

static void who_has_no_more_than_is_needed_has_nothing_to_drop(void **state)
{
	in_a_child(drop_nothing);
}

/* A file's owner who has the three by file capabilities, the bounding set still full: it cannot be
 * emptied, and nothing can be gained from it either, for no_new_privs. */
static int drop_without_setpcap(void)
{
	struct err err = { 0 };

	capng_clear(CAPNG_SELECT_CAPS);
	capng_updatev(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED, CAP_BPF, CAP_NET_ADMIN,
		      CAP_PERFMON, -1);
	EXPECT(capng_apply(CAPNG_SELECT_CAPS) == 0);
	if (privilege_drop(PRIVILEGE_BALANCE, &err) < 0)
		fprintf(stderr, "%s\n", err.text);
	EXPECT(status_says("CapEff", NEEDED));
	EXPECT(status_says("CapPrm", NEEDED));
	EXPECT(status_says("NoNewPrivs", "1"));
	return 0;
}

static void without_the_power_to_empty_the_bounding_set_nothing_can_be_gained_either(void **state)
{
	in_a_child(drop_without_setpcap);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_kept_is_what_is_needed_in_every_set),
		cmocka_unit_test(raw_sockets_stay_for_whoever_wants_them),
		cmocka_unit_test(what_was_to_be_inherited_goes_too),
		cmocka_unit_test(afterwards_maps_work_and_the_rest_does_not),
		cmocka_unit_test(a_program_it_runs_has_no_more),
		cmocka_unit_test(what_is_missing_is_named),
		cmocka_unit_test(who_has_no_more_than_is_needed_has_nothing_to_drop),
		cmocka_unit_test(
			without_the_power_to_empty_the_bounding_set_nothing_can_be_gained_either),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
