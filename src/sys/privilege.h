/* privilege.h - the capabilities loomd needs, and no more.
 * Layer: sys.  Threads: before others start.  Blocks: no. */
#ifndef LOOM_PRIVILEGE_H
#define LOOM_PRIVILEGE_H

#include <stdbool.h>

#include "base/err.h"

/* CAP_BPF (maps, programs), CAP_NET_ADMIN (XDP, neighbours), CAP_PERFMON (pointer arithmetic in
 * programs): -EPERM names what is missing. */
int privilege_check(struct err *err);

/* Gives up everything else for good, in every set, and the power to gain it by exec.
 * raw_sockets: CAP_NET_RAW stays, too, if it is there. */
int privilege_drop(bool raw_sockets, struct err *err);

#endif
