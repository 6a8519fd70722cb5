/* cpus.h - sets of CPUs, as the kernel's files write them.
 * Layer: sys.  Threads: one owner.  Blocks: on files that hold no more than a line. */
#ifndef LOOM_CPUS_H
#define LOOM_CPUS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bitset.h"
#include "base/buf.h"
#include "base/err.h"

#define CPUS_MAX 8192 /* NR_CPUS of the largest kernels */

struct cpus {
	uint64_t words[BITSET_WORDS(CPUS_MAX)];
};

/* "0-3,8", or nothing for the empty set; blanks may surround it.  -EINVAL, -ERANGE (CPUS_MAX);
 * set is unspecified then. */
int cpus_parse_list(struct cpus *set, const char *text);
/* "00000001,0000000f": words of 32 bits, the highest first.  As above. */
int cpus_parse_mask(struct cpus *set, const char *text);

void cpus_print_list(const struct cpus *set, struct buf *out); /* "" if it is empty */
void cpus_print_mask(const struct cpus *set, struct buf *out); /* "0" if it is empty */

void cpus_add(struct cpus *set, uint32_t cpu); /* below CPUS_MAX */
bool cpus_has(const struct cpus *set, uint32_t cpu);
uint32_t cpus_count(const struct cpus *set);
/* The first at or after cpu; CPUS_MAX: there is none. */
uint32_t cpus_next(const struct cpus *set, uint32_t cpu);
bool cpus_equal(const struct cpus *a, const struct cpus *b);

/* Those that run now, by root's /sys ("" for the machine itself).  0, or -errno with a sentence. */
int cpus_online(struct cpus *set, const char *root, struct err *err);

/* 0 if all of wanted are in online, else -ENXIO and a sentence that names the first that is not. */
int cpus_check_online(const struct cpus *wanted, const struct cpus *online, struct err *err);

#endif
