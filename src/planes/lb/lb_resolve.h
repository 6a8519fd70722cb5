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
/* The same in steps of at most 2 ms.  Returns whether the pass is complete; the next call begins
 * another. */
bool lb_resolve_step(struct lb *lb, struct netlink *netlink);
/* Resolves the backends that lb_apply added since they were last looked at, for at most 2 ms: the
 * steps of a pass find the rest.  Returns whether there is no rest. */
bool lb_resolve_new(struct lb *lb, struct netlink *netlink);

#endif
