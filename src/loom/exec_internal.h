/* exec_internal.h - seen by the files of loom exec's supervisor.
 * Layer: loom.  Threads: one.
 *
 * A place is one of --workers: its worker, and during a rolling restart the one that takes over. */
#ifndef LOOM_EXEC_INTERNAL_H
#define LOOM_EXEC_INTERNAL_H

#include "exec_supervise.h"

struct exec_place {
	struct exec_worker *now;  /* owned */
	struct exec_worker *next; /* owned; EXEC_DEAD unless it takes over */
};

struct exec {
	struct exec_options *options; /* borrowed */
	struct loop *loop;
	struct loop_timer *timer;
	struct exec_place *places; /* options->workers of them */
	uint32_t generation;
	bool stopping;
	bool rolling;
	bool roll_again; /* asked for while one went on */
	size_t roll_at;	 /* the place that is being replaced */
	int code;
	int notify_fd; /* -1 */
	char notify[32];
};

/* Starts worker (of a place) in its generation. */
int exec_start(struct exec *exec, struct exec_worker *worker, struct err *err);
/* It serves: the loop's timer, READY=1 or nothing else holds it back. */
void exec_try_ready(struct exec *exec, struct exec_worker *worker);
/* Ends its memberships and asks it to end. */
void exec_stop(struct exec *exec, struct exec_worker *worker);
/* The timer fires when the next state's time is up. */
void exec_arm(struct exec *exec);

/* Rolling restart: begins one, and goes on when something changed. */
void exec_roll(struct exec *exec);
void exec_roll_on(struct exec *exec);
/* worker of place has gone; true if that belongs to the rolling restart. */
bool exec_roll_gone(struct exec *exec, struct exec_place *place, struct exec_worker *worker);

/* The socket at which workers say READY=1.  0 or -errno with a sentence. */
int exec_notify_open(struct exec *exec, struct err *err);

#endif
