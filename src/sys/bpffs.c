#include "bpffs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BPFFS_ROOT "/sys/fs/bpf"
#define PATH_SIZE  256 /* with the NUL */

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static int make_directories(const char *path)
{
	char part[PATH_SIZE];
	size_t length = strlen(path);
	struct stat status;

	for (size_t i = 1; i <= length; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	if (stat(path, &status) < 0)
		return -errno;
	return S_ISDIR(status.st_mode) ? 0 : -ENOTDIR; /* a pin may have the name */
}

/* What exists of path, so that another filesystem is refused before anything is made on it. */
static void existing_part(char *path)
{
	while (access(path, F_OK) < 0 && strrchr(path, '/') > path)
		*strrchr(path, '/') = '\0';
}

static int refuse(const char *path, struct err *err)
{
	return err_set(err, -EINVAL,
		       "cannot pin below %s: it is not on a BPF filesystem; mount one with "
		       "'mount -t bpf bpf DIRECTORY' or choose another pin path",
		       path);
}

static bool is_below_root(const char *path)
{
	size_t length = strlen(BPFFS_ROOT);

	return !strncmp(path, BPFFS_ROOT, length) && (path[length] == '/' || !path[length]);
}

int bpffs_ensure(const char *path, struct err *err)
{
	char existing[PATH_SIZE];
	int r;

	if (strlen(path) >= sizeof(existing))
		return err_set(err, -ENAMETOOLONG,
			       "cannot pin below %s: the name is too long; choose another pin path",
			       path);
	if (is_below_root(path) && !is_bpffs(BPFFS_ROOT) &&
	    mount("bpf", BPFFS_ROOT, "bpf", 0, "mode=0700") < 0)
		return err_set(err, -errno,
			       "cannot mount a BPF filesystem on " BPFFS_ROOT ": %s; as root, run "
			       "'mount -t bpf bpf " BPFFS_ROOT "'",
			       strerror(errno));
	strcpy(existing, path);
	existing_part(existing);
	if (!is_bpffs(existing))
		return refuse(path, err);
	r = make_directories(path);
	if (r < 0)
		return err_set(err, r, "cannot make %s: %s; choose another pin path", path,
			       strerror(-r));
	return 0;
}

int bpffs_lock(const char *path, struct err *err)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return err_set(err, -errno, "cannot open %s: %s", path, strerror(errno));
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return fd;
	close(fd);
	return err_set(err, -EBUSY,
		       "cannot use %s: another loomd serves from it; stop that one first", path);
}
