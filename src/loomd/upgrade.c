#include "upgrade.h"

#include <errno.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "state.h"

#define WAIT_NS	 (30 * NSEC_PER_SEC)
#define WAIT_MS	 20
#define REPLACED " (deleted)"

/* The path a process was started from, also if another file stands there by now. */
static int path_of(const char *link, char path[PATH_MAX])
{
	ssize_t length = readlink(link, path, PATH_MAX - 1);
	size_t suffix = strlen(REPLACED);

	if (length < 0)
		return -errno;
	path[length] = '\0';
	if ((size_t)length > suffix && !strcmp(path + length - suffix, REPLACED))
		path[(size_t)length - suffix] = '\0';
	return 0;
}

static bool same_file(const char *a, const char *b)
{
	struct stat sa;
	struct stat sb;

	return stat(a, &sa) == 0 && stat(b, &sb) == 0 && sa.st_dev == sb.st_dev &&
	       sa.st_ino == sb.st_ino;
}

/* Was it started from the path where this binary stands? */
static int check_binary(pid_t pid, struct err *err)
{
	char theirs[PATH_MAX];
	char link[64];
	int r;

	snprintf(link, sizeof(link), "/proc/%d/exe", (int)pid);
	r = path_of(link, theirs);
	if (r < 0)
		return err_set(err, r, "cannot upgrade process %d: %s", (int)pid, strerror(-r));
	if (!same_file(theirs, "/proc/self/exe"))
		return err_set(err, -EXDEV,
			       "cannot upgrade process %d: it runs %s; put the new loomd there and "
			       "run 'upgrade' of that one",
			       (int)pid, theirs);
	return 0;
}

int upgrade_request(const char *state_path, pid_t *ret_pid, struct err *err)
{
	uint64_t end = clock_now_ns() + WAIT_NS;
	struct timespec since;
	struct timespec now;
	pid_t owner;
	int r = state_owner(state_path, ret_pid, &since);

	if (r < 0)
		return err_set(err, -ESRCH,
			       "cannot upgrade: no loomd serves here; start one with 'loomd run'");
	r = check_binary(*ret_pid, err);
	if (r < 0)
		return r;
	if (kill(*ret_pid, SIGUSR2) < 0)
		return err_set(err, -errno, "cannot signal process %d: %s", (int)*ret_pid,
			       strerror(errno));
	while (clock_now_ns() < end) {
		if (kill(*ret_pid, 0) < 0)
			return err_set(err, -ESRCH,
				       "process %d ended instead of going on; see its log, and "
				       "start it with 'loomd run'; the data path stays",
				       (int)*ret_pid);
		if (state_owner(state_path, &owner, &now) == 0 && owner == *ret_pid &&
		    (now.tv_sec != since.tv_sec || now.tv_nsec != since.tv_nsec))
			return 0;
		poll(NULL, 0, WAIT_MS);
	}
	return err_set(err, -ETIMEDOUT, "process %d does not go on as this binary; see its log",
		       (int)*ret_pid);
}

void upgrade_exec(char *const *argv)
{
	char path[PATH_MAX];
	sigset_t none;
	int r = path_of("/proc/self/exe", path);

	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	if (r == 0) {
		execv(path, argv);
		r = -errno;
	}
	log_error("cannot execute %s: %s; the data path stays, start loomd again", path,
		  strerror(-r));
}
