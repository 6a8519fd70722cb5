/* clock.h - monotonic time, replaceable in tests.
 * Layer: base.  Threads: any; clock_fake only before threads start.  Blocks: no. */
#ifndef LOOM_CLOCK_H
#define LOOM_CLOCK_H

#include <stdint.h>

#define NSEC_PER_SEC  1000000000ull
#define NSEC_PER_MSEC 1000000ull

/* CLOCK_MONOTONIC in ns: the clock of bpf_ktime_get_ns() and bpf_ktime_get_coarse_ns(). */
uint64_t clock_now_ns(void);

/* Wall-clock seconds since the epoch, for state that outlives a boot. */
int64_t clock_wall_s(void);

/* Tests: from now on both clocks read what *now_ns holds (wall: in seconds); NULL restores them. */
void clock_fake(const uint64_t *now_ns);

#endif
