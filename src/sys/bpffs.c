#include "bpffs.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define BPFFS_ROOT "/sys/fs/bpf"

static bool is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (unsigned long)fs.f_type == BPF_FS_MAGIC;
}

static int make_directories(const char *path)
{
	char part[256];
	size_t length = strlen(path);

	if (length >= sizeof(part))
		return -ENAMETOOLONG;
	for (size_t i = 1; i <= length; i++) {
		if (path[i] != '/' && path[i] != '\0')
			continue;
		memcpy(part, path, i);
		part[i] = '\0';
		if (mkdir(part, 0700) < 0 && errno != EEXIST)
			return -errno;
	}
	return 0;
}

int bpffs_ensure(const char *path, struct err *err)
{
	int r;

	if (!strncmp(path, BPFFS_ROOT "/", strlen(BPFFS_ROOT "/")) && !is_bpffs(BPFFS_ROOT) &&
	    mount("bpf", BPFFS_ROOT, "bpf", 0, "mode=0700") < 0)
		return err_set(err, -errno, "cannot mount a BPF filesystem on " BPFFS_ROOT ": %s",
			       strerror(errno));
	r = make_directories(path);
	if (r < 0)
		return err_set(err, r, "cannot make %s: %s", path, strerror(-r));
	if (!is_bpffs(path))
		return err_set(err, -EINVAL,
			       "cannot pin below %s: it is not on a BPF filesystem; mount one with "
			       "'mount -t bpf bpf DIRECTORY' or change ebpf.pin_path",
			       path);
	return 0;
}
