/* steering.h - the steering groups: who their members are, how far each policy is in force, and
 * what the kernel was told of it.
 * Layer: loomd.  Threads: control thread only.  Blocks: reads of the kernel's socket tables and
 * /proc; loading a program takes milliseconds. */
#ifndef LOOM_STEERING_H
#define LOOM_STEERING_H

#include "admin/control_steer.h"
#include "base/err.h"
#include "config/config.h"
#include "planes/plane.h"
#include "sys/loop.h"

struct steering;

struct steering_options {
	const struct config *config;   /* borrowed until steering_configure or steering_close */
	struct loop *loop;	       /* borrowed; outlives it */
	void (*admin_soon)(void *ctx); /* a stream has bytes to send */
	void *admin_ctx;
	bool detaching; /* to be closed at once: nobody may join */
};

/* Takes over what a predecessor left and the state file tells, and begins to watch.  A group
 * without sockets, or whose program cannot be loaded, is no error: it waits, and says so. */
int steering_open(struct steering **ret, const struct steering_options *options, struct err *err);

/* The groups of another configuration: those that stay keep members, state and counters; those that
 * have gone are detached.  reset: policies and weights that operators have set are forgotten.  On
 * error everything is as before. */
int steering_configure(struct steering *steering, const struct config *config, bool reset,
		       struct err *err);

/* Ends what is streamed to admin clients: before admin_close, which waits for none.
 * NULL is fine. */
void steering_end_streams(struct steering *steering);

/* NULL is fine.  PLANE_KEEP: programs and pins stay; traffic goes on as it went. */
void steering_close(struct steering *steering, enum plane_exit how);

const struct control_steer *steering_control(struct steering *steering);

/* The configuration has no groups: what a predecessor steered is plain Linux's. */
void steering_retire_all(const struct config *config);
/* Detaches whatever an instance left.  Nothing is no error.  -EBUSY: the instance runs. */
int steering_detach(const struct config *config, struct err *err);

#endif
