#include "exec_internal.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define BACKOFF_MIN_NS (100 * NSEC_PER_MSEC)
#define BACKOFF_DOUBLE 8		   /* times: 25.6 s */
#define STEADY_NS      (10 * NSEC_PER_SEC) /* who lived as long begins anew */
#define LOOK_AGAIN_NS  (100 * NSEC_PER_MSEC)
#define GRACE_NS       (2 * NSEC_PER_SEC) /* what libloom may be late with a drain's deadline */

typedef void (*worker_fn)(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
			  uint64_t arg);

static void each(struct exec *exec, worker_fn fn, uint64_t arg)
{
	size_t i;

	for (i = 0; i < exec->options->workers; i++) {
		struct exec_place *place = &exec->places[i];
		struct exec_worker *now = place->now, *next = place->next;

		/* fn may swap them: each has its turn once. */
		fn(exec, place, now, arg);
		fn(exec, place, next, arg);
	}
}

static void earliest(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		     uint64_t now)
{
	if (worker->due_ns)
		loop_arm_sooner(exec->timer, worker->due_ns > now ? worker->due_ns - now : 0);
}

void exec_arm(struct exec *exec)
{
	loop_disarm(exec->timer);
	each(exec, earliest, clock_now_ns());
}

void exec_stop(struct exec *exec, struct exec_worker *worker)
{
	exec_worker_release(worker, exec->loop);
	worker->state = EXEC_STOPPING;
	worker->due_ns = clock_now_ns() + exec->options->drain_timeout_ns;
	kill(worker->pid, SIGTERM);
}

void exec_try_ready(struct exec *exec, struct exec_worker *worker)
{
	size_t missing;

	if (exec->options->plan.hook && !exec_worker_took_all(worker, &missing)) {
		if (!worker->warned)
			exec_say("worker %u has not bound %s yet, so it is not ready; a static "
				 "program, or one of another address, never does",
				 worker->number, exec->options->plan.listens[missing].text);
		worker->warned = true;
		worker->due_ns = clock_now_ns() + LOOK_AGAIN_NS;
		return;
	}
	exec_worker_ready(worker);
	exec_roll_on(exec);
}

static void drained(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		    uint64_t now)
{
	uint64_t timeout_ns = exec->options->drain_timeout_ns + GRACE_NS;

	if (worker->state != EXEC_DRAINING)
		return;
	if (!worker->due_ns)
		worker->due_ns = now + timeout_ns;
	if (exec_worker_is_drained(worker) || now >= worker->due_ns)
		exec_stop(exec, worker);
}

static void process(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		    uint64_t now)
{
	exec_worker_process(worker, &exec->options->plan);
	drained(exec, place, worker, now);
}

static void on_news(void *ctx, uint32_t events)
{
	struct exec *exec = ctx;

	each(exec, process, clock_now_ns());
	exec_arm(exec);
}

int exec_start(struct exec *exec, struct exec_worker *worker, struct err *err)
{
	int r = exec_worker_start(worker, &exec->options->plan, exec->loop, on_news, exec, err);

	if (r == 0)
		worker->due_ns = exec->options->by_notify
					 ? 0
					 : clock_now_ns() + exec->options->ready_after_ns;
	return r;
}

static void wait_to_restart(struct exec_worker *worker)
{
	uint64_t now = clock_now_ns();
	unsigned int doubled;

	if (worker->started_ns && now - worker->started_ns > STEADY_NS)
		worker->failures = 0;
	doubled = worker->failures < BACKOFF_DOUBLE ? worker->failures : BACKOFF_DOUBLE;
	worker->failures++;
	worker->state = EXEC_WAITING;
	worker->due_ns = now + (BACKOFF_MIN_NS << doubled);
}

static void restart(struct exec *exec, struct exec_worker *worker)
{
	struct err err = { 0 };

	worker->generation = exec->generation;
	if (exec_start(exec, worker, &err) == 0)
		return;
	exec_say("%s", err.text);
	wait_to_restart(worker);
}

static void time_is_up(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		       uint64_t now)
{
	if (!worker->due_ns || now < worker->due_ns)
		return;
	worker->due_ns = 0;
	if (worker->state == EXEC_STARTING)
		exec_try_ready(exec, worker);
	else if (worker->state == EXEC_DRAINING)
		exec_stop(exec, worker);
	else if (worker->state == EXEC_STOPPING)
		kill(worker->pid, SIGKILL);
	else if (worker->state == EXEC_WAITING)
		restart(exec, worker);
}

static void on_timer(void *ctx)
{
	struct exec *exec = ctx;

	each(exec, time_is_up, clock_now_ns());
	exec_arm(exec);
}

static void end_if_none(struct exec *exec)
{
	size_t i;

	for (i = 0; i < exec->options->workers; i++)
		if (exec->places[i].now->state != EXEC_DEAD ||
		    exec->places[i].next->state != EXEC_DEAD)
			return;
	loop_stop(exec->loop);
}

static void has_gone(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		     int status)
{
	bool asked = worker->state == EXEC_STOPPING;
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	exec_worker_release(worker, exec->loop);
	worker->pid = 0;
	worker->due_ns = 0;
	worker->state = EXEC_DEAD;
	if (!asked) {
		exec_say("worker %u %s %d", worker->number,
			 WIFEXITED(status) ? "ended with exit code" : "was killed by signal",
			 WIFEXITED(status) ? code : WTERMSIG(status));
		if (!exec->code)
			exec->code = code;
	}
	if (exec->stopping || exec_roll_gone(exec, place, worker))
		return;
	if (exec->options->restart)
		wait_to_restart(worker);
}

static void reap(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		 uint64_t arg)
{
	int status;

	if (worker->pid && waitpid(worker->pid, &status, WNOHANG) == worker->pid)
		has_gone(exec, place, worker, status);
}

static void forward(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		    uint64_t signal)
{
	if (worker->pid)
		kill(worker->pid, (int)signal);
}

static void stop(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		 uint64_t signal)
{
	if (worker->state == EXEC_WAITING)
		worker->state = EXEC_DEAD;
	worker->due_ns = 0;
	if (!worker->pid)
		return;
	exec_worker_release(worker, exec->loop);
	worker->state = EXEC_STOPPING;
	kill(worker->pid, (int)signal);
}

static void on_signal(void *ctx, int signal)
{
	struct exec *exec = ctx;

	switch (signal) {
	case SIGCHLD:
		each(exec, reap, 0);
		break;
	case SIGHUP:
		exec_roll(exec);
		break;
	case SIGUSR1:
	case SIGUSR2:
		each(exec, forward, (uint64_t)signal);
		break;
	default: /* to end: everybody goes, so nobody is left to drain to */
		exec->stopping = true;
		each(exec, stop, (uint64_t)signal);
		break;
	}
	end_if_none(exec);
	exec_arm(exec);
}

static int open_places(struct exec *exec)
{
	size_t i;

	exec->places = calloc(exec->options->workers, sizeof(*exec->places));
	if (!exec->places)
		return -ENOMEM;
	for (i = 0; i < exec->options->workers; i++) {
		struct exec_place *place = &exec->places[i];

		place->now = calloc(1, sizeof(*place->now));
		place->next = calloc(1, sizeof(*place->next));
		if (!place->now || !place->next)
			return -ENOMEM;
		place->now->number = place->next->number = (unsigned int)i;
		place->now->generation = exec->generation;
	}
	return 0;
}

static int open_loop(struct exec *exec, struct err *err)
{
	static const int signals[] = {
		SIGCHLD, SIGHUP, SIGTERM, SIGINT, SIGQUIT, SIGUSR1, SIGUSR2
	};
	int r = loop_new(&exec->loop);

	if (r == 0)
		r = open_places(exec);
	if (r == 0)
		r = loop_add_timer(exec->loop, on_timer, exec, &exec->timer);
	if (r == 0)
		r = loop_add_signals(exec->loop, signals, sizeof(signals) / sizeof(signals[0]),
				     on_signal, exec);
	if (r < 0)
		return err_set(err, r, "cannot supervise workers: %s; free some memory",
			       strerror(-r));
	if (!exec->options->by_notify)
		return 0;
	r = exec_notify_open(exec, err);
	exec->options->plan.notify = exec->notify;
	return r;
}

static void kill_now(struct exec *exec, struct exec_place *place, struct exec_worker *worker,
		     uint64_t arg)
{
	exec_worker_release(worker, exec->loop);
	if (!worker->pid)
		return;
	kill(worker->pid, SIGKILL);
	waitpid(worker->pid, NULL, 0);
}

static void close_all(struct exec *exec)
{
	size_t i;

	for (i = 0; exec->places && i < exec->options->workers; i++) {
		struct exec_place *place = &exec->places[i];

		if (place->now && place->next) {
			kill_now(exec, place, place->now, 0);
			kill_now(exec, place, place->next, 0);
		}
		free(place->now);
		free(place->next);
	}
	free(exec->places);
	if (exec->loop)
		loop_free(exec->loop);
	if (exec->notify_fd >= 0)
		close(exec->notify_fd);
}

int exec_supervise(struct exec_options *options, int *ret_code, struct err *err)
{
	struct exec exec = { .options = options,
			     .generation = options->generation,
			     .notify_fd = -1 };
	int r = open_loop(&exec, err);
	size_t i;

	for (i = 0; r == 0 && i < options->workers; i++)
		r = exec_start(&exec, exec.places[i].now, err);
	if (r == 0) {
		exec_arm(&exec);
		r = loop_run(exec.loop);
		if (r < 0)
			err_set(err, r, "cannot wait for workers: %s; start again", strerror(-r));
	}
	*ret_code = exec.code;
	close_all(&exec);
	return r;
}
