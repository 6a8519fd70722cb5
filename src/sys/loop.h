/* loop.h - the control thread's event loop: descriptors, timers, signals.
 * Layer: sys.  Threads: one.  Blocks: only in loop_run.
 *
 * Callbacks may add and remove anything, themselves included. */
#ifndef LOOM_LOOP_H
#define LOOM_LOOP_H

#include <stdint.h>

struct loop;
struct loop_fd;
struct loop_timer;

/* events as in epoll_ctl(2). */
typedef void (*loop_fd_fn)(void *ctx, uint32_t events);
typedef void (*loop_timer_fn)(void *ctx);
typedef void (*loop_signal_fn)(void *ctx, int signal);

int loop_new(struct loop **ret);
void loop_free(struct loop *loop); /* NULL is fine; the descriptors stay their owners' */

/* Watches fd (borrowed).  *ret may be NULL if it is never removed before loop_free. */
int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *ctx,
		struct loop_fd **ret);
void loop_remove_fd(struct loop *loop, struct loop_fd *watch);

/* A timer, not armed. */
int loop_add_timer(struct loop *loop, loop_timer_fn fn, void *ctx, struct loop_timer **ret);
/* Fires once after delay_ns (0: as soon as the loop comes round), replacing what was armed before.
 */
void loop_arm(struct loop_timer *timer, uint64_t delay_ns);
/* The same, unless it fires sooner already. */
void loop_arm_sooner(struct loop_timer *timer, uint64_t delay_ns);
void loop_disarm(struct loop_timer *timer);

/* Blocks the signals for the process and hands them to fn. */
int loop_add_signals(struct loop *loop, const int *signals, int count, loop_signal_fn fn,
		     void *ctx);

/* Serves until loop_stop.  Returns 0 or -errno of epoll_wait. */
int loop_run(struct loop *loop);
void loop_stop(struct loop *loop);

#endif
