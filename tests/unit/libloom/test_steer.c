/* libloom against loomd's own join server. */
#include <errno.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/clock.h"
#include "fake_loomd.h"
#include "libloom/loom_steer.h"

struct bench {
	struct fake_loomd fake;
	struct loom_steer_options options;
	int fd;
};

static void set_up(struct bench *bench)
{
	fake_open(&bench->fake);
	bench->options = (struct loom_steer_options){
		.size = sizeof(bench->options),
		.group = "dns",
		.label = "worker 1",
		.socket = bench->fake.path,
		.weight = 7,
		.generation = 3,
		.retry_ms = 1,
	};
	bench->fd = fake_socket();
}

static void tear_down(struct bench *bench)
{
	close(bench->fd);
	fake_close(&bench->fake);
}

static struct loom_steer *join_at(struct bench *bench)
{
	struct loom_steer *steer;

	assert_int_equal(loom_steer_join(&steer, &bench->options, bench->fd), 0);
	assert_non_null(steer);
	return steer;
}

/* As an application's loop does, until the state is reached. */
static void await_state(struct loom_steer *steer, enum loom_steer_state state)
{
	while (loom_steer_state(steer) != state) {
		struct pollfd wait = { .fd = loom_steer_fd(steer), .events = POLLIN };

		assert_int_equal(poll(&wait, 1, 10000), 1);
		assert_true(loom_steer_process(steer) >= 0);
	}
}

static void a_member_tells_who_it_is_and_learns_its_slot(void **state)
{
	struct bench bench;
	struct loom_steer *steer;
	uint64_t cookie;
	socklen_t length = sizeof(cookie);

	set_up(&bench);
	fake_start(&bench.fake);
	steer = join_at(&bench);
	assert_int_equal(loom_steer_state(steer), LOOM_STEER_STEERED);
	assert_string_equal(loom_steer_error(steer), "");
	assert_int_equal(loom_steer_slot(steer), 3);
	assert_int_equal(loom_steer_identity(steer), 99);
	assert_string_equal(bench.fake.request.group, "dns");
	assert_string_equal(bench.fake.request.label, "worker 1");
	assert_int_equal(bench.fake.request.weight, 7);
	assert_int_equal(bench.fake.request.generation, 3);
	assert_int_equal(bench.fake.request.flags, 0);
	assert_int_equal(getsockopt(bench.fd, SOL_SOCKET, SO_COOKIE, &cookie, &length), 0);
	assert_int_equal(bench.fake.socket_cookie, cookie);
	assert_int_equal(bench.fake.peer.pid, getpid());
	assert_int_equal(bench.fake.peer.uid, getuid());
	assert_int_equal(loom_steer_ready(steer), 0);
	assert_int_equal(bench.fake.readies, 1);
	loom_steer_close(steer);
	fake_await(&bench.fake, &bench.fake.leaves, 1);
	tear_down(&bench);
}

static void a_member_that_leaves_does_not_come_back(void **state)
{
	struct bench bench;
	struct loom_steer *steer;

	set_up(&bench);
	fake_start(&bench.fake);
	steer = join_at(&bench);
	assert_int_equal(loom_steer_leave(steer), 0);
	assert_int_equal(bench.fake.leaves, 1);
	usleep(2000);				      /* longer than retry_ms */
	assert_int_equal(loom_steer_ready(steer), 0); /* would wait for a join to end */
	assert_int_equal(loom_steer_state(steer), LOOM_STEER_PLAIN);
	assert_int_equal(loom_steer_slot(steer), -ENOTCONN);
	loom_steer_close(steer);
	assert_int_equal(bench.fake.joins, 1);
	tear_down(&bench);
}

static void events_wake_who_waits_and_tell_the_state(void **state)
{
	struct bench bench;
	struct loom_steer *steer;
	struct pollfd wait = { .events = POLLIN };

	set_up(&bench);
	fake_start(&bench.fake);
	steer = join_at(&bench);
	wait.fd = loom_steer_fd(steer);
	/* The first state follows JOIN's answer. */
	while (loom_steer_rollout(steer) != LOOM_STEER_SHADOW)
		assert_int_equal(poll(&wait, 1, 10000), 1);
	loom_steer_process(steer);
	assert_int_equal(poll(&wait, 1, 0), 0);
	fake_do(&bench.fake, FAKE_ENFORCED);
	assert_int_equal(poll(&wait, 1, 10000), 1);
	assert_int_equal(loom_steer_process(steer), 1);
	assert_int_equal(loom_steer_rollout(steer), LOOM_STEER_ENFORCED);
	assert_int_equal(loom_steer_member(steer), LOOM_STEER_ACTIVE);
	assert_int_equal(poll(&wait, 1, 0), 0);
	/* An event that comes with an answer wakes as well. */
	fake_do(&bench.fake, FAKE_ENFORCED);
	assert_int_equal(loom_steer_identity(steer), 99);
	assert_int_equal(poll(&wait, 1, 10000), 1);
	loom_steer_close(steer);
	tear_down(&bench);
}

static void a_drain_ends_when_loomd_says_so(void **state)
{
	static const struct {
		int command;
		enum loom_steer_drained drained;
	} cases[] = {
		{ FAKE_DRAINED, LOOM_STEER_DRAINED },
		{ FAKE_DEADLINE, LOOM_STEER_DRAINED_TIMEOUT },
	};
	size_t i;

	for (i = 0; i < 2; i++) {
		struct bench bench;
		struct loom_steer *steer;
		uint64_t before = clock_now_ns();

		set_up(&bench);
		fake_start(&bench.fake);
		steer = join_at(&bench);
		assert_int_equal(loom_steer_drained(steer), LOOM_STEER_NOT_DRAINED);
		assert_int_equal(loom_steer_drain(steer, 60000), 0);
		assert_in_range(bench.fake.drain_deadline_ns, before + 60 * NSEC_PER_SEC,
				clock_now_ns() + 60 * NSEC_PER_SEC);
		assert_int_equal(loom_steer_drained(steer), LOOM_STEER_NOT_DRAINED);
		fake_do(&bench.fake, cases[i].command);
		while (loom_steer_drained(steer) == LOOM_STEER_NOT_DRAINED)
			;
		assert_int_equal(loom_steer_drained(steer), cases[i].drained);
		loom_steer_close(steer);
		tear_down(&bench);
	}
}

static void a_drain_without_a_deadline_has_none(void **state)
{
	struct bench bench;
	struct loom_steer *steer;

	set_up(&bench);
	fake_start(&bench.fake);
	steer = join_at(&bench);
	assert_int_equal(loom_steer_drain(steer, 0), 0);
	assert_int_equal(bench.fake.drain_deadline_ns, 0);
	loom_steer_close(steer);
	tear_down(&bench);
}

static void a_drain_does_not_outlast_a_silent_loomd(void **state)
{
	struct bench bench;
	struct loom_steer *steer;

	set_up(&bench);
	fake_start(&bench.fake);
	steer = join_at(&bench);
	assert_int_equal(loom_steer_drain_wait(steer, 1), LOOM_STEER_DRAINED_TIMEOUT);
	loom_steer_close(steer);
	tear_down(&bench);
}

static void a_drain_ends_when_loomd_goes(void **state)
{
	struct bench bench;
	struct loom_steer *steer;

	set_up(&bench);
	fake_start(&bench.fake);
	steer = join_at(&bench);
	assert_int_equal(loom_steer_drain(steer, 60000), 0);
	fake_stop(&bench.fake);
	assert_int_equal(loom_steer_drained(steer), LOOM_STEER_DRAINED_PLAIN);
	loom_steer_close(steer);
	tear_down(&bench);
}

static void without_loomd_everything_succeeds(void **state)
{
	const uint32_t indices[] = { 1, 2 };
	struct bench bench;
	struct loom_steer *steer;

	set_up(&bench);
	steer = join_at(&bench);
	assert_int_equal(loom_steer_state(steer), LOOM_STEER_PLAIN);
	assert_non_null(strstr(loom_steer_error(steer), "cannot reach loomd at /tmp/loom-join-"));
	assert_int_equal(loom_steer_ready(steer), 0);
	assert_int_equal(loom_steer_publish(steer, indices, 2), 0);
	assert_int_equal(loom_steer_unpublish(steer, indices, 1), 0);
	assert_int_equal(loom_steer_slot(steer), -ENOTCONN);
	assert_int_equal(loom_steer_identity(steer), -ENOTCONN);
	assert_int_equal(loom_steer_process(steer), 0);
	assert_int_equal(loom_steer_drain_wait(steer, 0), LOOM_STEER_DRAINED_PLAIN);
	assert_int_equal(loom_steer_leave(steer), 0);
	loom_steer_close(steer);
	loom_steer_close(NULL);
	tear_down(&bench);
}

static void when_loomd_appears_the_member_joins_as_it_is_by_then(void **state)
{
	const uint32_t indices[] = { 1, 2, 40 };
	struct bench bench;
	struct loom_steer *steer;

	set_up(&bench);
	steer = join_at(&bench);
	assert_int_equal(loom_steer_ready(steer), 0);
	assert_int_equal(loom_steer_publish(steer, indices, 3), 0);
	assert_int_equal(loom_steer_unpublish(steer, indices, 1), 0);
	fake_start(&bench.fake);
	await_state(steer, LOOM_STEER_STEERED);
	assert_int_equal(bench.fake.joins, 1);
	assert_int_equal(bench.fake.readies, 1);
	assert_int_equal(bench.fake.request.flags, JOIN_FLAG_READY);
	assert_int_equal(bench.fake.indices, 42);
	assert_int_equal(bench.fake.index_count, 2);
	loom_steer_close(steer);
	tear_down(&bench);
}

/* 100,000 indices are 25 messages, each answered before the next. */
static void after_a_restart_of_loomd_the_same_member_comes_back(void **state)
{
	enum { MANY = 100000 };
	static uint32_t indices[MANY];
	struct bench bench;
	struct loom_steer *steer;
	uint64_t id, sum = 0;
	uint32_t i;

	for (i = 0; i < MANY; i++)
		sum += indices[i] = i * 40503u;
	set_up(&bench);
	fake_start(&bench.fake);
	steer = join_at(&bench);
	id = bench.fake.id;
	assert_int_equal(loom_steer_ready(steer), 0);
	assert_int_equal(loom_steer_publish(steer, indices, MANY), 0);
	assert_int_equal(bench.fake.indices, sum);
	fake_stop(&bench.fake);
	assert_int_equal(loom_steer_state(steer), LOOM_STEER_PLAIN);
	assert_int_equal(loom_steer_rollout(steer), LOOM_STEER_FALLBACK);
	fake_start(&bench.fake);
	await_state(steer, LOOM_STEER_STEERED);
	assert_int_equal(bench.fake.joins, 2);
	assert_int_equal(bench.fake.readies, 2);
	assert_int_equal(bench.fake.request.flags, JOIN_FLAG_READY | JOIN_FLAG_REJOIN);
	assert_int_equal(bench.fake.request.member, id);
	assert_int_equal(bench.fake.request.slot, 3);
	assert_int_equal(bench.fake.index_count, MANY);
	assert_int_equal(bench.fake.indices, sum);
	/* And once more. */
	fake_stop(&bench.fake);
	assert_int_equal(loom_steer_state(steer), LOOM_STEER_PLAIN);
	fake_start(&bench.fake);
	await_state(steer, LOOM_STEER_STEERED);
	assert_int_equal(bench.fake.index_count, MANY);
	assert_int_equal(loom_steer_unpublish(steer, indices, MANY), 0);
	assert_int_equal(bench.fake.index_count, 0);
	assert_int_equal(bench.fake.leaves, 0);
	loom_steer_close(steer);
	tear_down(&bench);
}

/* Any call rejoins, not only loom_steer_process. */
static void a_call_alone_rejoins_as_well(void **state)
{
	const uint32_t index = 5;
	struct bench bench;
	struct loom_steer *steer;

	set_up(&bench);
	steer = join_at(&bench);
	fake_start(&bench.fake);
	usleep(2000); /* retry_ms */
	assert_int_equal(loom_steer_publish(steer, &index, 1), 0);
	assert_int_equal(bench.fake.joins, 1);
	assert_int_equal(bench.fake.indices, 5);
	loom_steer_close(steer);
	tear_down(&bench);
}

static void what_loomd_refuses_is_told_in_its_words(void **state)
{
	const uint32_t index = 5;
	struct bench bench;
	struct loom_steer *steer;

	set_up(&bench);
	fake_start(&bench.fake);
	bench.fake.fail = -ENOENT;
	steer = join_at(&bench);
	assert_int_equal(loom_steer_state(steer), LOOM_STEER_PLAIN);
	assert_string_equal(loom_steer_error(steer),
			    "cannot do it: the test says so; ask the test");
	await_state(steer, LOOM_STEER_STEERED);
	assert_string_equal(loom_steer_error(steer), "");
	bench.fake.fail = -ENOSPC;
	assert_int_equal(loom_steer_publish(steer, &index, 1), -ENOSPC);
	bench.fake.fail = -EOPNOTSUPP;
	assert_int_equal(loom_steer_identity(steer), -EOPNOTSUPP);
	bench.fake.fail = -EBUSY;
	assert_int_equal(loom_steer_ready(steer), -EBUSY);
	bench.fake.fail = -EBUSY;
	assert_int_equal(loom_steer_drain(steer, 1), -EBUSY);
	assert_int_equal(loom_steer_state(steer), LOOM_STEER_STEERED);
	loom_steer_close(steer);
	tear_down(&bench);
}

static void a_socket_that_was_closed_is_not_handed_over(void **state)
{
	struct bench bench;
	struct loom_steer *steer;
	int other;

	set_up(&bench);
	steer = join_at(&bench);
	other = fake_socket();
	assert_int_equal(dup2(other, bench.fd), bench.fd); /* the number is another socket's */
	fake_start(&bench.fake);
	usleep(2000); /* retry_ms */
	loom_steer_process(steer);
	assert_non_null(strstr(loom_steer_error(steer), "the socket was closed meanwhile"));
	assert_int_equal(bench.fake.joins, 0);
	loom_steer_close(steer);
	close(other);
	tear_down(&bench);
}

static void what_cannot_join_is_refused_before_anybody_is_asked(void **state)
{
	struct loom_steer_options options = { .size = sizeof(options),
					      .group = "g",
					      .socket = "/nonexistent/steer" };
	const struct loom_steer_options good = options;
	struct loom_steer *steer;
	char path[109];
	int fd = fake_socket();
	int plain = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memset(path, 'x', sizeof(path));
	path[108] = '\0';
	assert_int_equal(loom_steer_join(&steer, NULL, fd), -EINVAL);
	assert_null(steer);
	assert_int_equal(loom_steer_join(&steer, &options, -1), -EBADF);
	assert_int_equal(loom_steer_join(&steer, &options, plain), -EINVAL);
	options.size = 8;
	assert_int_equal(loom_steer_join(&steer, &options, fd), -EINVAL);
	options = good;
	options.group = path;
	assert_int_equal(loom_steer_join(&steer, &options, fd), -EINVAL);
	options = good;
	options.label = "0123456789abcdef0123456789abcdef";
	assert_int_equal(loom_steer_join(&steer, &options, fd), -EINVAL);
	options = good;
	options.label = "two\nlines";
	assert_int_equal(loom_steer_join(&steer, &options, fd), -EINVAL);
	options = good;
	options.weight = 65536;
	assert_int_equal(loom_steer_join(&steer, &options, fd), -EINVAL);
	options = good;
	options.socket = path;
	assert_int_equal(loom_steer_join(&steer, &options, fd), -EINVAL);
	assert_null(steer);
	close(plain);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_member_tells_who_it_is_and_learns_its_slot),
		cmocka_unit_test(a_member_that_leaves_does_not_come_back),
		cmocka_unit_test(events_wake_who_waits_and_tell_the_state),
		cmocka_unit_test(a_drain_ends_when_loomd_says_so),
		cmocka_unit_test(a_drain_without_a_deadline_has_none),
		cmocka_unit_test(a_drain_does_not_outlast_a_silent_loomd),
		cmocka_unit_test(a_drain_ends_when_loomd_goes),
		cmocka_unit_test(without_loomd_everything_succeeds),
		cmocka_unit_test(when_loomd_appears_the_member_joins_as_it_is_by_then),
		cmocka_unit_test(after_a_restart_of_loomd_the_same_member_comes_back),
		cmocka_unit_test(a_call_alone_rejoins_as_well),
		cmocka_unit_test(what_loomd_refuses_is_told_in_its_words),
		cmocka_unit_test(a_socket_that_was_closed_is_not_handed_over),
		cmocka_unit_test(what_cannot_join_is_refused_before_anybody_is_asked),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
