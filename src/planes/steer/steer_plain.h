/* steer_plain.h - two programs behind one skeleton: one reads the kernel's group, one does not.
 * Layer: planes. */
#ifndef LOOM_STEER_PLAIN_H
#define LOOM_STEER_PLAIN_H

#include <stdbool.h>

struct steer_bpf;

/* As steer_bpf__open(): NULL with errno, or what steer_bpf__destroy() frees. */
struct steer_bpf *steer_plain_open(bool reads_group);

#endif
