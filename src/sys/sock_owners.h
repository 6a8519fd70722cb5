/* sock_owners.h - which processes hold sockets, found by the sockets' inodes.
 * Layer: sys.  Threads: any.  Blocks: reads /proc; without pids, about 4 us for each descriptor
 * open on the host.
 * Needs: as pidfd.h.  Processes that may not be looked into are counted, not an error.
 *
 * What it says was true at some moment of the scan: a process may be gone before it returns. */
#ifndef LOOM_SOCK_OWNERS_H
#define LOOM_SOCK_OWNERS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "abi/steer_truth_abi.h"
#include "base/err.h"

/* Texts are of the process's own making: what is not printable ASCII is '?', what is too long is
 * cut. */
struct sock_process {
	pid_t pid;
	uint64_t start_ticks; /* since boot: with pid, who it is; 0: not known */
	char comm[16];	      /* "nginx" */
	char exe[64];	      /* the program's file name; "" if it cannot be read */
	char unit[128];	      /* "nginx.service": the system's unit, from its cgroup; "": none */
};

struct sock_hold {
	uint64_t inode;
	uint32_t process; /* in sock_owners.processes */
	int32_t fd;	  /* the first of its descriptors for the socket */
};

struct sock_owners {
	struct sock_process *processes; /* owned; by pid */
	size_t process_count;
	struct sock_hold *holds; /* owned; by inode, then pid; one for each pair */
	size_t hold_count;
	size_t unreadable; /* processes that we may not look into */
};

/* inodes: borrowed, ascending.  pids: borrowed, those to look at; NULL: every process.
 * *ret is to be ended with sock_owners_done, after an error too.  0, -ENOMEM, or why /proc cannot
 * be read. */
int sock_owners_scan(const uint64_t *inodes, size_t inode_count, const pid_t *pids,
		     size_t pid_count, struct sock_owners *ret, struct err *err);
/* The same of descriptors that the kernel told of; by pid.  -ENOMEM. */
int sock_owners_of_files(const uint64_t *inodes, size_t inode_count,
			 const struct steer_truth_file *files, size_t file_count,
			 struct sock_owners *ret, struct err *err);
void sock_owners_done(struct sock_owners *owners);

/* The holds on one socket; NULL and 0: nobody's that we may see. */
const struct sock_hold *sock_owners_of(const struct sock_owners *owners, uint64_t inode,
				       size_t *ret_count);
/* Who this is; texts "" where the process is gone.  Returns 0 or -ESRCH. */
int sock_process_read(pid_t pid, struct sock_process *ret);

/* The unit in the text of /proc/PID/cgroup, into unit[size]: the first part of the path that is a
 * service or scope ("user@1000.service", not the user's own unit within).  "": none. */
void sock_owners_unit(const char *cgroup, char *unit, size_t size);

#endif
