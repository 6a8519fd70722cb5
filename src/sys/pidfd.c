#include "pidfd.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* A process that opens and closes while we look: so often do we look again. */
#define TRIES 5

static int pidfd_open_(pid_t pid)
{
	int fd = (int)syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : fd;
}

/* The duplicate has O_CLOEXEC: pidfd_getfd(2). */
static int take(int pidfd, int fd)
{
	int copy = (int)syscall(SYS_pidfd_getfd, pidfd, fd, 0);

	return copy < 0 ? -errno : copy;
}

/* The inode of a descriptor of ours if it is a socket, else 0. */
static uint64_t socket_inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode) ? st.st_ino : 0;
}

/* ---- which sockets there are ---- */

/* "socket:[4711]"; 0: anything else. */
static uint64_t inode_of_link(const char *text)
{
	static const char prefix[] = "socket:[";
	unsigned long long inode;
	char *end;

	if (strncmp(text, prefix, sizeof(prefix) - 1) != 0)
		return 0;
	inode = strtoull(text + sizeof(prefix) - 1, &end, 10);
	return end[0] == ']' && end[1] == '\0' ? inode : 0;
}

static bool is_number(const char *name)
{
	return name[0] >= '0' && name[0] <= '9';
}

static bool is_gone(pid_t pid)
{
	return kill(pid, 0) < 0 && errno == ESRCH;
}

/* The descriptor's inode, if it is a socket; else 0, also of one closed since.  -ESRCH, -EPERM. */
static int inode_at(pid_t pid, int dir, const char *name, uint64_t *ret)
{
	char text[64];
	ssize_t n = readlinkat(dir, name, text, sizeof(text) - 1);

	*ret = 0;
	/* Also of a process that ended just now. */
	if (n < 0 && (errno == EACCES || errno == EPERM))
		return is_gone(pid) ? -ESRCH : -EPERM;
	if (n <= 0)
		return 0;
	text[n] = '\0';
	*ret = inode_of_link(text);
	return 0;
}

static int sockets_of_dir(pid_t pid, DIR *dir, pidfd_socket_fn fn, void *ctx)
{
	const struct dirent *entry;

	while ((entry = readdir(dir))) {
		uint64_t inode;
		int r;

		if (!is_number(entry->d_name))
			continue;
		r = inode_at(pid, dirfd(dir), entry->d_name, &inode);
		if (r == 0 && inode)
			r = fn(ctx, atoi(entry->d_name), inode);
		if (r)
			return r;
	}
	return 0;
}

bool pidfd_holds(pid_t pid, int fd, uint64_t inode)
{
	char path[64];
	uint64_t there;

	snprintf(path, sizeof(path), "/proc/%d/fd/%d", pid, fd);
	return inode_at(pid, AT_FDCWD, path, &there) == -EPERM || there == inode;
}

/* How many descriptors the process has room for: /proc/PID/status is everybody's to read. */
static int room_of(pid_t pid)
{
	char path[64], line[256];
	int room = 0;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "re");
	if (!file)
		return errno == ENOENT ? -ESRCH : -errno;
	while (!room && fgets(line, sizeof(line), file))
		if (!strncmp(line, "FDSize:", 7))
			room = atoi(line + 7);
	fclose(file);
	return room > 0 ? room : -ESRCH;
}

/* Without CAP_DAC_READ_SEARCH: each number is tried. */
static int sockets_one_by_one(pid_t pid, pidfd_socket_fn fn, void *ctx)
{
	int room = room_of(pid);
	int pidfd, r = 0;

	if (room < 0)
		return room;
	pidfd = pidfd_open_(pid);
	if (pidfd < 0)
		return pidfd;
	for (int fd = 0; r == 0 && fd < room; fd++) {
		int copy = take(pidfd, fd);
		uint64_t inode;

		if (copy == -EBADF)
			continue;
		if (copy < 0) {
			r = copy;
			break;
		}
		inode = socket_inode(copy);
		close(copy);
		if (inode)
			r = fn(ctx, fd, inode);
	}
	close(pidfd);
	return r;
}

int pidfd_sockets(pid_t pid, pidfd_socket_fn fn, void *ctx)
{
	char path[64];
	DIR *dir;
	int r;

	snprintf(path, sizeof(path), "/proc/%d/fd", pid);
	dir = opendir(path);
	if (!dir && errno == EACCES)
		return sockets_one_by_one(pid, fn, ctx);
	if (!dir)
		return errno == ENOENT ? -ESRCH : -errno;
	r = sockets_of_dir(pid, dir, fn, ctx);
	closedir(dir);
	return r;
}

/* ---- taking one ---- */

struct wanted {
	uint64_t inode;
	int fd;
};

static int note_wanted(void *ctx, int fd, uint64_t inode)
{
	struct wanted *wanted = ctx;

	if (inode != wanted->inode)
		return 0;
	wanted->fd = fd;
	return 1;
}

/* -EAGAIN: the descriptor is another's. */
static int take_at(int pidfd, int fd, uint64_t inode)
{
	int copy = take(pidfd, fd);

	if (copy < 0)
		return copy == -EBADF ? -EAGAIN : copy;
	if (socket_inode(copy) == inode)
		return copy;
	close(copy);
	return -EAGAIN;
}

/* One look.  -EAGAIN: the descriptor was another by the time that we had it. */
static int try_to_take(pid_t pid, int pidfd, uint64_t inode)
{
	struct wanted wanted = { .inode = inode };
	int r = pidfd_sockets(pid, note_wanted, &wanted);

	if (r <= 0)
		return r < 0 ? r : -ENOENT;
	return take_at(pidfd, wanted.fd, inode);
}

static bool is_yama_strict(void)
{
	char text[4] = "";
	int fd = open("/proc/sys/kernel/yama/ptrace_scope", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof(text) - 1);

	if (fd >= 0)
		close(fd);
	return n > 0 && text[0] > '0';
}

static int explain(int error, pid_t pid, uint64_t inode, struct err *err)
{
	unsigned long long socket = inode;

	switch (error) {
	case -ESRCH:
		return err_set(err, error,
			       "cannot take socket %llu of process %d: the process is gone", socket,
			       pid);
	case -EAGAIN:
	case -ENOENT:
		return err_set(
			err, -ENOENT,
			"cannot take socket %llu of process %d: the process does not hold it "
			"any more",
			socket, pid);
	case -EPERM:
	case -EACCES:
		return err_set(err, -EPERM,
			       "cannot take socket %llu of process %d: not permitted; this takes "
			       "cap_sys_ptrace%s",
			       socket, pid,
			       is_yama_strict() ? ", of the same user, too, unless sysctl "
						  "kernel.yama.ptrace_scope is 0"
						: "");
	case -ENOSYS:
		return err_set(err, error,
			       "cannot take socket %llu of process %d: this kernel has no "
			       "pidfd_getfd; Linux 5.6 has",
			       socket, pid);
	default:
		return err_set(err, error, "cannot take socket %llu of process %d: %s", socket, pid,
			       strerror(-error));
	}
}

int pidfd_take_socket_at(pid_t pid, int at, uint64_t inode, struct err *err)
{
	/* Before the look: what has this number later is then not taken for it. */
	int pidfd = pid > 0 ? pidfd_open_(pid) : -ESRCH;
	int r = -EAGAIN;

	if (pidfd < 0)
		return explain(pidfd, pid, inode, err);
	if (at >= 0)
		r = take_at(pidfd, at, inode);
	for (int i = 0; r == -EAGAIN && i < TRIES; i++)
		r = try_to_take(pid, pidfd, inode);
	close(pidfd);
	return r < 0 ? explain(r, pid, inode, err) : r;
}

int pidfd_take_socket(pid_t pid, uint64_t inode, struct err *err)
{
	return pidfd_take_socket_at(pid, -1, inode, err);
}
