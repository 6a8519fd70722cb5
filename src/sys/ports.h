/* ports.h - which source ports NAT may use on this host.
 * Layer: sys.  Threads: any.  Blocks: reads /proc. */
#ifndef LOOM_PORTS_H
#define LOOM_PORTS_H

#include <stdint.h>

#include "base/err.h"

/* The configured range first..last (host order), or if first is 0 the larger one beside the
 * kernel's own ephemeral ports (ip_local_port_range), so that no socket is ever bound there
 * unasked.  -EINVAL if there is no room. */
int ports_for_nat(uint16_t first, uint16_t last, uint16_t *ret_first, uint16_t *ret_last,
		  struct err *err);

/* The choice alone: the kernel's range is low..high. */
int ports_beside(uint32_t low, uint32_t high, uint16_t *ret_first, uint16_t *ret_last);

#endif
