#include "lab.h"

#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cmocka.h>

#define SKIPPED 77 /* as meson knows it */

static int outside = -1; /* the namespace the program came from */
static int there = -1;

void lab_need_root(void)
{
	/* Mounts stay private: on most hosts "/" is shared, and what a broken build mounts would
	 * show everywhere. */
	if (geteuid() != 0 || unshare(CLONE_NEWNS) < 0 ||
	    mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
		fputs("skipped: needs root\n", stderr);
		exit(SKIPPED);
	}
}

static void run(const char *prefix, const char *fmt, va_list args)
{
	char command[2048];
	int n = snprintf(command, sizeof(command), "%s", prefix);

	vsnprintf(command + n, sizeof(command) - (size_t)n, fmt, args);
	/* NOLINTNEXTLINE(bugprone-command-processor,cert-env33-c): the shell is what tests speak.
	 */
	if (system(command) != 0)
		fail_msg("failed: %s", command);
}

void lab_here(const char *fmt, ...)
{
	va_list args;

	va_start(args, fmt);
	run("", fmt, args);
	va_end(args);
}

void lab_there(const char *fmt, ...)
{
	char prefix[64];
	va_list args;

	snprintf(prefix, sizeof(prefix), "nsenter --net=/proc/%d/fd/%d ", getpid(), there);
	va_start(args, fmt);
	run(prefix, fmt, args);
	va_end(args);
}

/* A new interface then is quiet at once: nothing of its own comes a second later. */
#define QUIET                                            \
	"sysctl -qw net.ipv6.conf.default.accept_dad=0 " \
	"net.ipv6.conf.default.router_solicitations=0"

static int current(void)
{
	int fd = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);

	assert_true(fd >= 0);
	return fd;
}

void lab_open(void)
{
	outside = current();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	there = current();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	lab_here(QUIET);
	lab_there(QUIET);
	lab_here("ip link set lo up");
	lab_here("ip link add near address " LAB_NEAR_MAC
		 " type veth peer name far address " LAB_FAR_MAC);
	lab_here("ip link set far netns /proc/%d/fd/%d", getpid(), there);
	lab_here("ip addr add 192.0.2.1/24 dev near");
	lab_here("ip addr add 2001:db8::1/64 dev near nodad");
	lab_here("ip link set near up");
	lab_there("ip addr add 192.0.2.2/24 dev far");
	lab_there("ip addr add 2001:db8::2/64 dev far nodad");
	lab_there("ip link set far up");
}

void lab_close(void)
{
	assert_int_equal(setns(outside, CLONE_NEWNET), 0);
	close(outside);
	close(there);
	outside = there = -1;
}

bool lab_can(const char *command)
{
	/* NOLINTNEXTLINE(bugprone-command-processor,cert-env33-c) */
	return system(command) == 0;
}
