/* lb_resolve.h - keeps backends' next hops true, from routes, neighbours and links.
 * Layer: planes.  Threads: control thread only.  Blocks: netlink round trips of microseconds.
 *
 * Traffic through XDP is invisible to the neighbour tables: nothing there would notice that a next
 * hop died.  So each one in use is probed (NTF_USE) while the kernel holds it for stale. */
#ifndef LOOM_LB_RESOLVE_H
#define LOOM_LB_RESOLVE_H

#include "base/err.h"
#include "lb.h"
#include "sys/netlink.h"

/* Resolves every backend of lb anew and writes what changed.  Errors of single backends are logged
 * when they begin and when they end. */
void lb_resolve_all(struct lb *lb, struct netlink *netlink);

#endif
