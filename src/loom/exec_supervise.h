/* exec_supervise.h - keeps the workers of loom exec.
 * Layer: loom.  Threads: one.  Blocks: until the last worker has gone. */
#ifndef LOOM_EXEC_SUPERVISE_H
#define LOOM_EXEC_SUPERVISE_H

#include "exec_worker.h"

#define EXEC_WORKERS_MAX 256

struct exec_options {
	struct exec_plan plan; /* notify is set here */
	unsigned int workers;
	uint32_t generation; /* of the first; each rolling restart adds one */
	bool restart;
	bool by_notify; /* ready is who says READY=1 */
	uint64_t ready_after_ns;
	uint64_t drain_timeout_ns;
};

/* Starts them and serves until all have gone.  *ret_code: 0, or the first failure's exit code (128
 * and the signal's number for who was killed).  -errno with a sentence if they cannot be started;
 * none is left then. */
int exec_supervise(struct exec_options *options, int *ret_code, struct err *err);

#endif
