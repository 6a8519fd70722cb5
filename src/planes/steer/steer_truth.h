/* steer_truth.h - what the kernel says of reuseport groups, read from it at each call.
 * Layer: planes.  Threads: control thread only.  Blocks: no (the fallback waits for sock_diag).
 * Needs: CAP_BPF and CAP_PERFMON at open, none to read in the own namespace, CAP_SYS_ADMIN to read
 * in another.  Without them, or on a kernel without BTF, sock_diag tells what it knows. */
#ifndef LOOM_STEER_TRUTH_H
#define LOOM_STEER_TRUTH_H

#include <stdbool.h>
#include <stddef.h>

#include "abi/steer_truth_abi.h"
#include "base/buf.h"
#include "base/err.h"

struct steer_truth;

/* Succeeds without the iterators: steer_truth_is_exact tells.  -ENOMEM. */
int steer_truth_open(struct steer_truth **ret, struct err *err);
void steer_truth_close(struct steer_truth *truth); /* NULL is fine */
/* false: why[0] says, if why is not NULL, what is missing, as a sentence. */
bool steer_truth_is_exact(const struct steer_truth *truth, const char **why);

/* All zeroes is none; used again from read to read, so that a steady state allocates nothing. */
struct steer_truth_rows {
	struct steer_truth_row *rows; /* owned; by group, then index */
	size_t count;
	size_t room;
	/* false: from sock_diag.  A group then is what shares family, address, port and device
	 * (sockets alone there are told too, with reuseport or not); index, programs, CPUs,
	 * requests and ids are not known. */
	bool exact;
	/* Groups changed during each of some tries: a row may be missing, or there twice. */
	bool torn;
};
void steer_truth_rows_done(struct steer_truth_rows *rows);

/* The TCP listeners or UDP sockets that are in groups in one namespace.
 * netns_fd	borrowed; -1: the own one
 * protocol	IPPROTO_TCP or IPPROTO_UDP
 * -EPERM (cannot enter), -ENOMEM, or the kernel's; rows then are the ones read so far. */
int steer_truth_read(struct steer_truth *truth, int netns_fd, int protocol,
		     struct steer_truth_rows *rows, struct err *err);

/* Appends a struct steer_truth_file for each descriptor of such sockets, of all namespaces; by pid,
 * then number.  About 0.6 us for each descriptor open on the host, a tenth of what /proc
 * takes.
 * -ENOTSUP: nothing tells (no iterators, Linux before 5.12, a PID namespace of our own); -ENOMEM,
 * or the kernel's. */
int steer_truth_files(const struct steer_truth *truth, struct buf *ret);

/* The group's rows from rows->rows[from] on: how many. */
size_t steer_truth_group(const struct steer_truth_rows *rows, size_t from);

#endif
