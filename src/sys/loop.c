#include "loop.h"

#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/clock.h"

#define MAX_EVENTS 32

struct loop_fd {
	struct loop_fd *next;
	int fd;	      /* borrowed */
	bool removed; /* freed once no event of the current round can name it */
	loop_fd_fn fn;
	void *ctx;
};

struct loop_timer {
	struct loop_timer *next;
	uint64_t due_ns; /* 0: not armed */
	loop_timer_fn fn;
	void *ctx;
};

struct loop {
	int epoll_fd;
	int signal_fd;
	bool stopped;
	struct loop_fd *fds;	   /* owned */
	struct loop_timer *timers; /* owned; few: searched linearly */
	loop_signal_fn signal_fn;
	void *signal_ctx;
};

int loop_new(struct loop **ret)
{
	struct loop *loop = calloc(1, sizeof(*loop));

	*ret = NULL;
	if (!loop)
		return -ENOMEM;
	loop->signal_fd = -1;
	loop->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (loop->epoll_fd < 0) {
		int r = -errno;

		free(loop);
		return r;
	}
	*ret = loop;
	return 0;
}

void loop_free(struct loop *loop)
{
	if (!loop)
		return;
	while (loop->fds) {
		struct loop_fd *next = loop->fds->next;

		free(loop->fds);
		loop->fds = next;
	}
	while (loop->timers) {
		struct loop_timer *next = loop->timers->next;

		free(loop->timers);
		loop->timers = next;
	}
	if (loop->signal_fd >= 0)
		close(loop->signal_fd);
	close(loop->epoll_fd);
	free(loop);
}

int loop_add_fd(struct loop *loop, int fd, uint32_t events, loop_fd_fn fn, void *ctx,
		struct loop_fd **ret)
{
	struct loop_fd *watch = calloc(1, sizeof(*watch));
	struct epoll_event event = { .events = events };

	if (!watch)
		return -ENOMEM;
	watch->fd = fd;
	watch->fn = fn;
	watch->ctx = ctx;
	event.data.ptr = watch;
	if (epoll_ctl(loop->epoll_fd, EPOLL_CTL_ADD, fd, &event) < 0) {
		int r = -errno;

		free(watch);
		return r;
	}
	watch->next = loop->fds;
	loop->fds = watch;
	if (ret)
		*ret = watch;
	return 0;
}

void loop_remove_fd(struct loop *loop, struct loop_fd *watch)
{
	if (!watch || watch->removed)
		return;
	epoll_ctl(loop->epoll_fd, EPOLL_CTL_DEL, watch->fd, NULL);
	watch->removed = true;
}

int loop_add_timer(struct loop *loop, loop_timer_fn fn, void *ctx, struct loop_timer **ret)
{
	struct loop_timer *timer = calloc(1, sizeof(*timer));

	if (!timer)
		return -ENOMEM;
	timer->fn = fn;
	timer->ctx = ctx;
	timer->next = loop->timers;
	loop->timers = timer;
	*ret = timer;
	return 0;
}

void loop_arm(struct loop_timer *timer, uint64_t delay_ns)
{
	timer->due_ns = clock_now_ns() + delay_ns;
}

void loop_arm_sooner(struct loop_timer *timer, uint64_t delay_ns)
{
	uint64_t due = clock_now_ns() + delay_ns;

	if (!timer->due_ns || timer->due_ns > due)
		timer->due_ns = due;
}

void loop_disarm(struct loop_timer *timer)
{
	timer->due_ns = 0;
}

static void on_signal(void *ctx, uint32_t events)
{
	struct loop *loop = ctx;
	struct signalfd_siginfo info;

	(void)events;
	while (read(loop->signal_fd, &info, sizeof(info)) == sizeof(info))
		loop->signal_fn(loop->signal_ctx, (int)info.ssi_signo);
}

int loop_add_signals(struct loop *loop, const int *signals, int count, loop_signal_fn fn, void *ctx)
{
	sigset_t set;

	sigemptyset(&set);
	for (int i = 0; i < count; i++)
		sigaddset(&set, signals[i]);
	if (sigprocmask(SIG_BLOCK, &set, NULL) < 0)
		return -errno;
	loop->signal_fd = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
	if (loop->signal_fd < 0)
		return -errno;
	loop->signal_fn = fn;
	loop->signal_ctx = ctx;
	return loop_add_fd(loop, loop->signal_fd, EPOLLIN, on_signal, loop, NULL);
}

/* Milliseconds until the first timer is due, rounded up; -1 without one. */
static int next_timeout(const struct loop *loop)
{
	uint64_t now = clock_now_ns();
	uint64_t due = 0;

	for (const struct loop_timer *timer = loop->timers; timer; timer = timer->next)
		if (timer->due_ns && (!due || timer->due_ns < due))
			due = timer->due_ns;
	if (!due)
		return -1;
	if (due <= now)
		return 0;
	due = (due - now + NSEC_PER_MSEC - 1) / NSEC_PER_MSEC;
	return due > 3600000 ? 3600000 : (int)due;
}

static void run_timers(struct loop *loop)
{
	uint64_t now = clock_now_ns();

	/* Timers are never freed while the loop lives, so the list holds still. */
	for (struct loop_timer *timer = loop->timers; timer && !loop->stopped;
	     timer = timer->next) {
		if (!timer->due_ns || timer->due_ns > now)
			continue;
		timer->due_ns = 0;
		timer->fn(timer->ctx);
	}
}

static void free_removed(struct loop *loop)
{
	struct loop_fd **at = &loop->fds;

	while (*at) {
		struct loop_fd *watch = *at;

		if (!watch->removed) {
			at = &watch->next;
			continue;
		}
		*at = watch->next;
		free(watch);
	}
}

int loop_run(struct loop *loop)
{
	struct epoll_event events[MAX_EVENTS];

	loop->stopped = false;
	while (!loop->stopped) {
		int n = epoll_wait(loop->epoll_fd, events, MAX_EVENTS, next_timeout(loop));

		if (n < 0 && errno != EINTR)
			return -errno;
		for (int i = 0; i < n && !loop->stopped; i++) {
			struct loop_fd *watch = events[i].data.ptr;

			if (!watch->removed)
				watch->fn(watch->ctx, events[i].events);
		}
		if (!loop->stopped)
			run_timers(loop);
		free_removed(loop);
	}
	return 0;
}

void loop_stop(struct loop *loop)
{
	loop->stopped = true;
}
