/* abi.h - how layouts shared with BPF programs are pinned down.
 * Layer: abi. */
#ifndef LOOM_ABI_H
#define LOOM_ABI_H

#include <linux/types.h>

#define ABI_SIZE(type, bytes) _Static_assert(sizeof(type) == (bytes), "layout of " #type " changed")

#endif
