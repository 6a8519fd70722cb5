/* exec_worker.h - one worker of loom exec: its sockets, their memberships, its process.
 * Layer: loom.  Threads: one.  Blocks: while it joins (2 s a socket at most) and forks. */
#ifndef LOOM_EXEC_WORKER_H
#define LOOM_EXEC_WORKER_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "exec_listen.h"
#include "libloom/loom_steer.h"
#include "sys/loop.h"

/* What all workers are started with.  Borrowed strings. */
struct exec_plan {
	struct exec_listen listens[EXEC_LISTEN_MAX];
	size_t listen_count;
	char **argv;	    /* NULL-terminated */
	const char *socket; /* loomd's; NULL: libloom's default */
	const char *hook;   /* path of libloom-bind.so; NULL: LISTEN_FDS */
	const char *notify; /* value of NOTIFY_SOCKET; NULL: none */
	uint32_t weight;
};

enum exec_state {
	EXEC_DEAD,     /* no process, no sockets */
	EXEC_STARTING, /* quarantined: not ready yet */
	EXEC_READY,
	EXEC_DRAINING, /* no new flows; it still serves */
	EXEC_STOPPING, /* its memberships ended, SIGTERM sent */
	EXEC_WAITING,  /* dead, to be started again */
};

struct exec_worker {
	enum exec_state state;
	unsigned int number;
	uint32_t generation;
	pid_t pid;	 /* 0: none */
	uint64_t due_ns; /* when the state's time is up; 0: never */
	uint64_t started_ns;
	unsigned int failures; /* in a row */
	bool warned;	       /* of sockets that it did not take */

	int fds[EXEC_LISTEN_MAX];		    /* owned; -1 */
	struct loom_steer *steers[EXEC_LISTEN_MAX]; /* owned; NULL */
	struct loop_fd *watches[EXEC_LISTEN_MAX];
	enum loom_steer_state told[EXEC_LISTEN_MAX]; /* what was printed last */
	size_t count;
};

/* A line for whoever reads the log: "loom exec: ...". */
void exec_say(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* Makes and joins the sockets and starts the process.  fn and ctx: called by the loop when a
 * membership has news.  On error it is as it was, with a sentence. */
int exec_worker_start(struct exec_worker *worker, const struct exec_plan *plan, struct loop *loop,
		      loop_fd_fn fn, void *ctx, struct err *err);

/* Takes what loomd told and prints what changed. */
void exec_worker_process(struct exec_worker *worker, const struct exec_plan *plan);

/* True if the process took every socket by bind; in plan->hook's case alone it may not have.
 * *ret_missing: the first one it did not take. */
bool exec_worker_took_all(const struct exec_worker *worker, size_t *ret_missing);

void exec_worker_ready(struct exec_worker *worker);
void exec_worker_drain(struct exec_worker *worker, uint32_t deadline_ms);
bool exec_worker_is_drained(struct exec_worker *worker);

/* Ends the memberships and closes our copies of the sockets: from now on the process alone keeps
 * them. */
void exec_worker_release(struct exec_worker *worker, struct loop *loop);

#endif
