/* netns.h - network namespaces: finding one, going in for a moment, coming back.
 * Layer: sys.  Threads: control thread only (setns moves the calling thread).  Blocks: no.
 * Needs: nothing for the process's own namespace; CAP_SYS_ADMIN to enter another,
 * CAP_SYS_PTRACE to open that of another user's process.
 *
 * "Own" is the namespace that the process was in at the first call of any of these. */
#ifndef LOOM_NETNS_H
#define LOOM_NETNS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

/* spec: NULL or "": the own one; an absolute path; "pid:N"; else a name below /run/netns, as
 * `ip netns` makes them.  Returns a descriptor with O_CLOEXEC, the caller's, or -errno: -EINVAL
 * (not a name, or what is there is no network namespace), -ENOENT, -ESRCH, -EACCES, ... */
int netns_open(const char *spec, struct err *err);

/* Goes in; with the own one a no-op.  fd is borrowed.  To be followed by netns_leave.
 * -EPERM: the sentence names cap_sys_admin. */
int netns_enter(int fd, struct err *err);
/* Back to the own one; a no-op where nothing was entered.  Who entered may go back: a failure is
 * the kernel's out of memory, and the caller is still in the other one. */
int netns_leave(void);

/* Whether fd is the own one, by device and inode. */
bool netns_is_own(int fd);
/* As in "net:[4026531840]"; 0: fd is not a descriptor. */
uint64_t netns_inode(int fd);

/* Tests, which unshare: own is from now on the one that the caller is in. */
void netns_adopt(void);

#endif
