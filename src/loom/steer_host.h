/* steer_host.h - what this machine is like, and the sockets on a group's port, for a report.
 * Layer: loom.  Threads: one owner.  Blocks: /proc. */
#ifndef LOOM_STEER_HOST_H
#define LOOM_STEER_HOST_H

#include <stdint.h>

#include "base/buf.h"

/* Kernel, uptime, load, and the sysctls that socket steering meets; one that is not there says so.
 */
void steer_host_kernel(struct buf *out);

/* Sockets on port as ss(8) would list them: queues, drops, inode and who holds them.
 * port	0: all that listen
 * pid	whose network namespace is looked into; 0: this process's own */
void steer_host_sockets(struct buf *out, uint16_t port, uint64_t pid);

#endif
