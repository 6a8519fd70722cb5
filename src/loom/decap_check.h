/* decap_check.h - whether a backend is ready for what loom decap unwraps.
 * Layer: loom.  Threads: one.  Blocks: netlink(7).
 *
 * Looks and changes nothing. */
#ifndef LOOM_DECAP_CHECK_H
#define LOOM_DECAP_CHECK_H

#include "doctor.h"
#include "planes/decap/decap.h"

/* Adds findings on each interface and VIP of setup.  doctor was initialised without a
 * configuration. */
int decap_check(struct doctor *doctor, const struct decap_setup *setup, struct err *err);

#endif
