/* pidfd.h - duplicates of what other processes have open (pidfd_getfd(2), Linux 5.6).
 * Layer: sys.  Threads: any.  Blocks: reads /proc.
 * Needs: nothing for processes of the same user (but see ptrace_scope below); CAP_SYS_PTRACE for
 * others'.  Without CAP_DAC_READ_SEARCH /proc/PID/fd of others cannot be read: then each
 * descriptor is duplicated in turn to look at it, which is slower and finds the same. */
#ifndef LOOM_PIDFD_H
#define LOOM_PIDFD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"

/* A duplicate of the socket with this inode, from the descriptors of pid; verified to be that
 * socket; O_CLOEXEC.  It keeps the socket alive, traffic included: close it at once after use.
 *
 * -EPERM: the sentence names cap_sys_ptrace, or kernel.yama.ptrace_scope where that is why;
 * -ESRCH: the process is gone; -ENOENT: it does not hold the socket (any more); -ENOSYS: a kernel
 * before 5.6. */
int pidfd_take_socket(pid_t pid, uint64_t inode, struct err *err);
/* The same, looking first where it was seen: no walk through thousands of descriptors.  at: -1:
 * nowhere yet. */
int pidfd_take_socket_at(pid_t pid, int at, uint64_t inode, struct err *err);

/* Whether this descriptor of pid is (still) that socket; true where we may not look at a process
 * that is there. */
bool pidfd_holds(pid_t pid, int fd, uint64_t inode);

/* Calls fn for each socket that pid has open, with its descriptor's number there, until fn returns
 * other than 0, which is returned then.  The set may change meanwhile: what was there all the time
 * is seen once.  0, -EPERM, -ESRCH, -ENOMEM, ... */
typedef int (*pidfd_socket_fn)(void *ctx, int fd, uint64_t inode);
int pidfd_sockets(pid_t pid, pidfd_socket_fn fn, void *ctx);

#endif
