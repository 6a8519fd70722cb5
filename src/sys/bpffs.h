/* bpffs.h - the BPF filesystem that pins live on.
 * Layer: sys.  Threads: any.  Blocks: file system calls. */
#ifndef LOOM_BPFFS_H
#define LOOM_BPFFS_H

#include "base/err.h"

/* Makes the directory path (mode 0700), and what is missing above it; mounts a BPF filesystem on
 * /sys/fs/bpf if path lies there and none is mounted.  Fails with -EINVAL, nothing made, if path is
 * on another kind of filesystem; -ENAMETOOLONG; mount(2)'s and mkdir(2)'s errors. */
int bpffs_ensure(const char *path, struct err *err);

/* Takes the directory for the caller alone.  Returns a descriptor that holds it until it is closed;
 * -EBUSY: another process has it; open(2)'s errors. */
int bpffs_lock(const char *path, struct err *err);

#endif
