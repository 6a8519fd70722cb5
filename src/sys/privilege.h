/* privilege.h - the capabilities loomd needs, and no more.
 * Layer: sys.  Threads: before others start.  Blocks: no. */
#ifndef LOOM_PRIVILEGE_H
#define LOOM_PRIVILEGE_H

#include <stdbool.h>

#include "base/err.h"

/* What is to be done with them. */
enum privilege_use {
	PRIVILEGE_BALANCE = 1 << 0, /* CAP_BPF, CAP_NET_ADMIN (XDP, neighbours), CAP_PERFMON
				       (pointer arithmetic in programs) */
	PRIVILEGE_RAW = 1 << 1,	    /* CAP_NET_RAW, if it is there: checks through tunnels */
	PRIVILEGE_STEER = 1 << 2,   /* CAP_BPF; if they are there also CAP_PERFMON (the kernel's own
				       choice, least_loaded), CAP_SYS_PTRACE and
				       CAP_DAC_READ_SEARCH (other users' sockets), CAP_NET_ADMIN
				       (sockets that others' maps hold) */
	PRIVILEGE_NETNS = 1 << 3,   /* CAP_SYS_ADMIN: to look into other namespaces */
};

/* -EPERM names what is missing of what uses cannot do without. */
int privilege_check(unsigned int uses, struct err *err);

/* Gives up everything else for good, in every set, and the power to gain it by exec. */
int privilege_drop(unsigned int uses, struct err *err);

/* Is capability (CAP_*) in force? */
bool privilege_has(unsigned int capability);

#endif
