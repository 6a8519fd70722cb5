/* latency.h - how long the last probes took.
 * Layer: loomd.  Pure.  Threads: one owner. */
#ifndef LOOM_LATENCY_H
#define LOOM_LATENCY_H

#include <stddef.h>
#include <stdint.h>

#define LATENCY_LAST	128
#define LATENCY_MINIMUM 16 /* fewer say nothing of the slowest one in a hundred */

struct latency { /* {0} is empty */
	uint64_t ns[LATENCY_LAST];
	size_t count;
	size_t next;
};

void latency_add(struct latency *latency, uint64_t ns);
/* 99 of 100 took no longer; 0: not known. */
uint64_t latency_p99(const struct latency *latency);

#endif
