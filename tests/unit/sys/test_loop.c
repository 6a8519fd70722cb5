#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sys/loop.h"

/* What one callback does to the loop, and how often it was called. */
struct actor {
	struct loop *loop;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *timer;
	int calls;
	int stop_after;	      /* calls; 0: never */
	struct actor *victim; /* whose watch is removed */
	bool removed;
	struct actor *other; /* whose timer is disarmed */
};

static struct loop *open_loop(void)
{
	struct loop *loop;

	assert_int_equal(loop_new(&loop), 0);
	return loop;
}

static int ready_fd(void)
{
	int fd = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);

	assert_true(fd >= 0);
	return fd;
}

static void count(struct actor *actor)
{
	if (++actor->calls == actor->stop_after)
		loop_stop(actor->loop);
}

static void on_fd(void *ctx, uint32_t events)
{
	struct actor *actor = ctx;

	assert_int_equal(events, EPOLLIN);
	assert_false(actor->removed);
	if (actor->victim) {
		loop_remove_fd(actor->loop, actor->victim->watch);
		actor->victim->removed = true;
		actor->victim = NULL;
	}
	count(actor);
}

static void on_timer(void *ctx)
{
	struct actor *actor = ctx;

	if (actor->other)
		loop_disarm(actor->other->timer);
	count(actor);
}

static struct actor *new_actor(struct loop *loop)
{
	struct actor *actor = calloc(1, sizeof(*actor));

	assert_non_null(actor);
	actor->loop = loop;
	actor->fd = ready_fd();
	assert_int_equal(loop_add_fd(loop, actor->fd, EPOLLIN, on_fd, actor, &actor->watch), 0);
	return actor;
}

static void free_actor(struct actor *actor)
{
	close(actor->fd);
	free(actor);
}

static void a_ready_descriptor_is_served_until_it_is_read(void **state)
{
	struct loop *loop = open_loop();
	struct actor *actor = new_actor(loop);

	actor->stop_after = 3;
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(actor->calls, 3);
	loop_free(loop);
	assert_true(fcntl(actor->fd, F_GETFD) >= 0); /* it stays its owner's */
	free_actor(actor);
}

/* Whoever is served first (epoll's order is its own) removes the other, whose event is of the same
 * round. */
static void who_is_removed_is_not_called_even_if_its_event_is_there(void **state)
{
	struct loop *loop = open_loop();
	struct actor *one = new_actor(loop);
	struct actor *two = new_actor(loop);
	struct actor clock = { .loop = loop, .stop_after = 1 };

	one->victim = two;
	two->victim = one;
	assert_int_equal(loop_add_timer(loop, on_timer, &clock, &clock.timer), 0);
	loop_arm(clock.timer, 2 * NSEC_PER_MSEC);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(clock.calls, 1);
	assert_true(one->removed != two->removed);
	assert_true((one->removed ? two : one)->calls > 0);
	loop_free(loop);
	free_actor(one);
	free_actor(two);
}

static void remove_self(void *ctx, uint32_t events)
{
	struct actor *actor = ctx;

	loop_remove_fd(actor->loop, actor->watch);
	actor->calls++;
	/* The descriptor may be watched anew in the same breath; removing twice is removing once.
	 */
	assert_int_equal(loop_add_fd(actor->loop, actor->fd, EPOLLIN, on_fd, actor, NULL), 0);
	loop_remove_fd(actor->loop, actor->watch);
}

static void a_callback_may_remove_itself_and_watch_again(void **state)
{
	struct loop *loop = open_loop();
	struct actor actor = { .loop = loop, .fd = ready_fd(), .stop_after = 2 };

	assert_int_equal(loop_add_fd(loop, actor.fd, EPOLLIN, remove_self, &actor, &actor.watch),
			 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(actor.calls, 2);
	loop_remove_fd(loop, NULL);
	loop_free(loop);
	close(actor.fd);
}

static void stopping_leaves_what_is_ready_for_the_next_run(void **state)
{
	struct loop *loop = open_loop();
	struct actor *one = new_actor(loop);
	struct actor *two = new_actor(loop);

	one->stop_after = two->stop_after = 1;
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(one->calls + two->calls, 1);
	assert_int_equal(loop_run(loop), 0); /* until the other was served */
	assert_true(one->calls > 0 && two->calls > 0);
	loop_free(loop);
	free_actor(one);
	free_actor(two);
}

static void what_cannot_be_watched_is_refused(void **state)
{
	struct loop *loop = open_loop();
	int file = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
	int fd = ready_fd();
	const struct {
		int fd;
		int error;
	} rows[] = { { -1, -EBADF }, { file, -EPERM }, { fd, -EEXIST } };

	assert_int_equal(loop_add_fd(loop, fd, EPOLLIN, on_fd, NULL, NULL), 0);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++)
		assert_int_equal(loop_add_fd(loop, rows[i].fd, EPOLLIN, on_fd, NULL, NULL),
				 rows[i].error);
	loop_free(loop);
	loop_free(NULL);
	close(file);
	close(fd);
}

static void a_timer_fires_once_and_not_before_its_time(void **state)
{
	struct loop *loop = open_loop();
	struct actor early = { .loop = loop };
	struct actor late = { .loop = loop, .stop_after = 1 };
	uint64_t start = clock_now_ns();

	/* The last to come is the first of a round: on a busy machine both may be due in one. */
	assert_int_equal(loop_add_timer(loop, on_timer, &late, &late.timer), 0);
	assert_int_equal(loop_add_timer(loop, on_timer, &early, &early.timer), 0);
	loop_arm(early.timer, NSEC_PER_MSEC);
	loop_arm(late.timer, 1);
	loop_arm(late.timer, 5 * NSEC_PER_MSEC); /* replaces */
	assert_int_equal(loop_run(loop), 0);
	assert_true(clock_now_ns() - start >= 5 * NSEC_PER_MSEC);
	assert_int_equal(early.calls, 1);
	loop_free(loop);
}

static void arming_sooner_never_means_later(void **state)
{
	static const struct {
		uint64_t armed_ms, sooner_ms, fires_ms; /* armed 0: not at all */
	} rows[] = { { 0, 3, 3 }, { 2, 60000, 2 }, { 60000, 2, 2 } };

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct loop *loop = open_loop();
		struct actor actor = { .loop = loop, .stop_after = 1 };
		uint64_t start = clock_now_ns();
		uint64_t took;

		assert_int_equal(loop_add_timer(loop, on_timer, &actor, &actor.timer), 0);
		if (rows[i].armed_ms)
			loop_arm(actor.timer, rows[i].armed_ms * NSEC_PER_MSEC);
		loop_arm_sooner(actor.timer, rows[i].sooner_ms * NSEC_PER_MSEC);
		assert_int_equal(loop_run(loop), 0);
		took = clock_now_ns() - start;
		assert_true(took >= rows[i].fires_ms * NSEC_PER_MSEC);
		assert_true(took < 30 * NSEC_PER_SEC);
		loop_free(loop);
	}
}

/* Each disarms the other; both are due in one round. */
static void a_timer_disarmed_by_another_of_its_round_does_not_fire(void **state)
{
	struct loop *loop = open_loop();
	struct actor one = { .loop = loop };
	struct actor two = { .loop = loop, .other = &one };
	struct actor end = { .loop = loop, .stop_after = 1 };

	one.other = &two;
	assert_int_equal(loop_add_timer(loop, on_timer, &one, &one.timer), 0);
	assert_int_equal(loop_add_timer(loop, on_timer, &two, &two.timer), 0);
	assert_int_equal(loop_add_timer(loop, on_timer, &end, &end.timer), 0);
	loop_arm(one.timer, 0);
	loop_arm(two.timer, 0);
	loop_arm(end.timer, NSEC_PER_MSEC);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(one.calls + two.calls, 1);
	loop_free(loop);
}

static void again_at_once(void *ctx)
{
	struct actor *actor = ctx;

	actor->calls++;
	loop_arm(actor->timer, 0);
}

static void a_timer_that_is_always_due_starves_no_descriptor(void **state)
{
	struct loop *loop = open_loop();
	struct actor greedy = { .loop = loop };
	struct actor *actor = new_actor(loop);

	actor->stop_after = 100;
	assert_int_equal(loop_add_timer(loop, again_at_once, &greedy, &greedy.timer), 0);
	loop_arm(greedy.timer, 0);
	assert_int_equal(loop_run(loop), 0);
	assert_int_equal(greedy.calls, 99);
	loop_free(loop);
	free_actor(actor);
}

static int signals_seen[2];

static void on_signal(void *ctx, int signal)
{
	struct actor *actor = ctx;

	signals_seen[actor->calls] = signal;
	count(actor);
}

static void signals_come_by_the_loop_also_those_from_before_it_ran(void **state)
{
	static const int signals[] = { SIGHUP, SIGTERM };
	struct loop *loop = open_loop();
	struct actor actor = { .loop = loop, .stop_after = 2 };
	sigset_t before;

	sigprocmask(SIG_SETMASK, NULL, &before);
	assert_int_equal(loop_add_signals(loop, signals, 2, on_signal, &actor), 0);
	kill(getpid(), SIGTERM);
	kill(getpid(), SIGHUP);
	assert_int_equal(loop_run(loop), 0);
	/* The kernel hands out the lower number first. */
	assert_int_equal(signals_seen[0], SIGHUP);
	assert_int_equal(signals_seen[1], SIGTERM);
	loop_free(loop);
	sigprocmask(SIG_SETMASK, &before, NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_ready_descriptor_is_served_until_it_is_read),
		cmocka_unit_test(who_is_removed_is_not_called_even_if_its_event_is_there),
		cmocka_unit_test(a_callback_may_remove_itself_and_watch_again),
		cmocka_unit_test(stopping_leaves_what_is_ready_for_the_next_run),
		cmocka_unit_test(what_cannot_be_watched_is_refused),
		cmocka_unit_test(a_timer_fires_once_and_not_before_its_time),
		cmocka_unit_test(arming_sooner_never_means_later),
		cmocka_unit_test(a_timer_disarmed_by_another_of_its_round_does_not_fire),
		cmocka_unit_test(a_timer_that_is_always_due_starves_no_descriptor),
		cmocka_unit_test(signals_come_by_the_loop_also_those_from_before_it_ran),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
