#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "sys/loop.h"

struct bench {
	struct loop *loop;
	struct loop_timer *timers[3];
	struct loop_fd *watch;
	int pipe[2];
	char trace[32];
};

static void note(struct bench *bench, char c)
{
	size_t n = strlen(bench->trace);

	if (n + 1 < sizeof(bench->trace))
		bench->trace[n] = c;
}

static int setup(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	assert_int_equal(loop_new(&bench->loop), 0);
	assert_int_equal(pipe(bench->pipe), 0);
	*state = bench;
	return 0;
}

static int teardown(void **state)
{
	struct bench *bench = *state;

	loop_free(bench->loop);
	close(bench->pipe[0]);
	close(bench->pipe[1]);
	free(bench);
	return 0;
}

static void on_a(void *ctx)
{
	note(ctx, 'a');
}

static void on_b(void *ctx)
{
	note(ctx, 'b');
}

static void on_stop(void *ctx)
{
	struct bench *bench = ctx;

	note(bench, '.');
	loop_stop(bench->loop);
}

static void timers_fire_once_and_in_their_order(void **state)
{
	struct bench *bench = *state;

	loop_add_timer(bench->loop, on_stop, bench, &bench->timers[0]);
	loop_add_timer(bench->loop, on_a, bench, &bench->timers[1]);
	loop_add_timer(bench->loop, on_b, bench, &bench->timers[2]);
	loop_arm(bench->timers[0], 20 * NSEC_PER_MSEC);
	loop_arm(bench->timers[1], 8 * NSEC_PER_MSEC);
	loop_arm(bench->timers[2], 1 * NSEC_PER_MSEC);
	assert_int_equal(loop_run(bench->loop), 0);
	assert_string_equal(bench->trace, "ba.");
}

static void a_disarmed_timer_is_silent_and_a_sooner_one_wins(void **state)
{
	struct bench *bench = *state;

	loop_add_timer(bench->loop, on_stop, bench, &bench->timers[0]);
	loop_add_timer(bench->loop, on_a, bench, &bench->timers[1]);
	loop_arm(bench->timers[1], 0);
	loop_disarm(bench->timers[1]);
	loop_arm(bench->timers[0], 1 * NSEC_PER_MSEC);
	loop_arm_sooner(bench->timers[0], 3600 * NSEC_PER_SEC); /* not later */
	assert_int_equal(loop_run(bench->loop), 0);
	assert_string_equal(bench->trace, ".");
}

static void on_readable(void *ctx, uint32_t events)
{
	struct bench *bench = ctx;

	assert_true(events & EPOLLIN);
	note(bench, 'r');
	loop_remove_fd(bench->loop, bench->watch); /* still readable: must not come again */
	loop_remove_fd(bench->loop, bench->watch);
}

static void a_watch_may_remove_itself(void **state)
{
	struct bench *bench = *state;

	assert_int_equal(loop_add_fd(bench->loop, bench->pipe[0], EPOLLIN, on_readable, bench,
				     &bench->watch),
			 0);
	loop_add_timer(bench->loop, on_stop, bench, &bench->timers[0]);
	loop_arm(bench->timers[0], 5 * NSEC_PER_MSEC);
	assert_int_equal(write(bench->pipe[1], "x", 1), 1);
	assert_int_equal(loop_run(bench->loop), 0);
	assert_string_equal(bench->trace, "r.");
}

static void on_signal(void *ctx, int signal)
{
	struct bench *bench = ctx;

	note(bench, signal == SIGUSR1 ? '1' : '?');
	loop_stop(bench->loop);
}

static void a_signal_ends_the_wait(void **state)
{
	static const int signals[] = { SIGUSR1 };
	struct bench *bench = *state;

	assert_int_equal(loop_add_signals(bench->loop, signals, 1, on_signal, bench), 0);
	assert_int_equal(raise(SIGUSR1), 0);
	assert_int_equal(loop_run(bench->loop), 0);
	assert_string_equal(bench->trace, "1");
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(timers_fire_once_and_in_their_order, setup,
						teardown),
		cmocka_unit_test_setup_teardown(a_disarmed_timer_is_silent_and_a_sooner_one_wins,
						setup, teardown),
		cmocka_unit_test_setup_teardown(a_watch_may_remove_itself, setup, teardown),
		cmocka_unit_test_setup_teardown(a_signal_ends_the_wait, setup, teardown),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
