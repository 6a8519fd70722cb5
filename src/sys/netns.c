#include "netns.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/nsfs.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define NAMES_DIR "/run/netns/"

static int own_fd = -1; /* since the first use; ends with the process */
static bool is_away;

static int own(void)
{
	/* Of the thread, not of the process's first one. */
	if (own_fd < 0)
		own_fd = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
	return own_fd < 0 ? -errno : own_fd;
}

void netns_adopt(void)
{
	if (own_fd >= 0)
		close(own_fd);
	own_fd = -1;
	is_away = false;
	own();
}

/* ---- finding one ---- */

/* The path that spec stands for.  -EINVAL: none. */
static int path_of(const char *spec, char *path, size_t size)
{
	int n;

	if (!strncmp(spec, "pid:", 4)) {
		char *end;
		unsigned long pid;

		if (spec[4] < '1' || spec[4] > '9')
			return -EINVAL;
		errno = 0;
		pid = strtoul(spec + 4, &end, 10);
		if (errno || *end || pid > INT32_MAX)
			return -EINVAL;
		n = snprintf(path, size, "/proc/%lu/ns/net", pid);
	} else if (spec[0] == '/') {
		n = snprintf(path, size, "%s", spec);
	} else {
		if (strchr(spec, '/') || !strcmp(spec, ".") || !strcmp(spec, ".."))
			return -EINVAL;
		n = snprintf(path, size, NAMES_DIR "%s", spec);
	}
	return n < 0 || (size_t)n >= size ? -EINVAL : 0;
}

static bool is_netns(int fd)
{
	struct statfs fs;

	return fstatfs(fd, &fs) == 0 && fs.f_type == NSFS_MAGIC &&
	       ioctl(fd, NS_GET_NSTYPE) == CLONE_NEWNET;
}

static int explain(int error, const char *spec, const char *path, struct err *err)
{
	if (error == -ENOENT && !strncmp(spec, "pid:", 4))
		return err_set(err, -ESRCH, "cannot find network namespace '%s': no such process",
			       spec);
	if (error == -ENOENT)
		return err_set(err, error,
			       "cannot find network namespace '%s': there is no %s; 'ip netns "
			       "list' shows the names, pid:N is that of a process",
			       spec, path);
	if (error == -EACCES || error == -EPERM)
		return err_set(err, -EPERM,
			       "cannot open network namespace '%s': not permitted; this takes "
			       "cap_sys_ptrace for another user's process",
			       spec);
	return err_set(err, error, "cannot open network namespace '%s': %s", spec,
		       strerror(-error));
}

static int open_own(struct err *err)
{
	int fd = own();

	if (fd >= 0)
		fd = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (fd == -1)
		fd = -errno;
	return fd < 0 ? err_set(err, fd, "cannot open the own network namespace: %s", strerror(-fd))
		      : fd;
}

int netns_open(const char *spec, struct err *err)
{
	char path[4096];
	int fd;

	if (!spec || !*spec)
		return open_own(err);
	if (path_of(spec, path, sizeof(path)) < 0)
		return err_set(err, -EINVAL,
			       "cannot open network namespace '%s': not a name; give a name below "
			       "/run/netns, an absolute path, or pid:N",
			       spec);
	/* Whatever lies there must not make us wait, nor become our terminal. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	if (fd < 0)
		return explain(-errno, spec, path, err);
	if (!is_netns(fd)) {
		close(fd);
		return err_set(err, -EINVAL,
			       "cannot open network namespace '%s': %s is something else; give a "
			       "name below /run/netns, an absolute path, or pid:N",
			       spec, path);
	}
	return fd;
}

/* ---- which is which ---- */

uint64_t netns_inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

bool netns_is_own(int fd)
{
	struct stat a, b;
	int mine = own();

	return mine >= 0 && fstat(fd, &a) == 0 && fstat(mine, &b) == 0 && a.st_dev == b.st_dev &&
	       a.st_ino == b.st_ino;
}

/* ---- going ---- */

int netns_enter(int fd, struct err *err)
{
	/* From where to come back must be known first. */
	int mine = own();
	int r;

	if (mine < 0)
		return err_set(err, mine, "cannot open the own network namespace: %s",
			       strerror(-mine));
	if (netns_is_own(fd)) {
		r = netns_leave();
		return r < 0 ? err_set(err, r, "cannot return to the own network namespace: %s",
				       strerror(-r))
			     : 0;
	}
	if (setns(fd, CLONE_NEWNET) == 0) {
		is_away = true;
		return 0;
	}
	r = -errno;
	if (r == -EPERM)
		return err_set(err, r,
			       "cannot enter the network namespace: not permitted; this takes "
			       "cap_sys_admin");
	return err_set(err, r, "cannot enter the network namespace: %s", strerror(-r));
}

int netns_leave(void)
{
	if (!is_away)
		return 0;
	if (setns(own_fd, CLONE_NEWNET) < 0)
		return -errno;
	is_away = false;
	return 0;
}
