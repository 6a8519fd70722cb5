/* steer_plain.bpf.c - steer.bpf.c without what reads the kernel's group.  For a function that the
 * kernel lacks libbpf looks through its modules, though nobody calls it, and that takes
 * CAP_SYS_ADMIN. */
#define STEER_PLAIN
#include "steer.bpf.c"
