/* Records over a model: what checks find is laid over it, and survives what it may survive. */
#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "base/log.h"
#include "health/health.h"
#include "health/health_internal.h"
#include "server.h"

#define MANY 2000

struct bench {
	struct loop *loop;
	struct health *health;
	struct loop_timer *guard;
	struct server server;
	struct config config;
	struct config_service service_config;
	struct config_upstream upstream;
	struct model model;
	struct service service;
	struct backend backends[MANY];
	int changes; /* how often changed was called ... */
	int wanted;  /* ... and when the loop is to stop */
};

static void lay(struct bench *bench, bool starting)
{
	assert_int_equal(
		health_overlay(bench->health, &bench->config, &bench->model, starting, NULL), 0);
	health_follow(bench->health, &bench->config, &bench->model);
}

static void on_changed(void *ctx)
{
	struct bench *bench = ctx;

	lay(bench, false);
	if (++bench->changes == bench->wanted)
		loop_stop(bench->loop);
}

static void on_guard(void *ctx)
{
	loop_stop(((struct bench *)ctx)->loop);
}

/* Serves until verdicts have changed once more, or for `most`. */
static bool await_change(struct bench *bench, uint64_t most_ns)
{
	int before = bench->changes;

	bench->wanted = before + 1;
	loop_arm(bench->guard, most_ns);
	assert_int_equal(loop_run(bench->loop), 0);
	loop_disarm(bench->guard);
	return bench->changes > before;
}

static void await_health(struct bench *bench, enum backend_health health)
{
	for (int i = 0; bench->backends[0].health != health; i++) {
		assert_true(i < 100);
		assert_true(await_change(bench, 5 * NSEC_PER_SEC));
	}
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	*state = bench;
	log_set_level(LOG_LEVEL_ERROR);
	bench->server.fd = -1;
	assert_int_equal(loop_new(&bench->loop), 0);
	assert_int_equal(loop_add_timer(bench->loop, on_guard, bench, &bench->guard), 0);
	assert_int_equal(health_open(&bench->health, bench->loop, on_changed, bench, NULL), 0);
	bench->upstream = (struct config_upstream){
		.name = "probe",
		.check = { .interval_ns = 10 * NSEC_PER_MSEC,
			   .timeout_ns = NSEC_PER_SEC,
			   .rise = 2,
			   .fall = 2 },
	};
	bench->service_config.name = "web";
	bench->service_config.health.upstream = "probe";
	bench->config.services = &bench->service_config;
	bench->config.service_count = 1;
	bench->config.upstreams = &bench->upstream;
	bench->config.upstream_count = 1;
	bench->service.name = "web";
	bench->service.backends = bench->backends;
	bench->service.backend_count = 1;
	bench->model.services = &bench->service;
	bench->model.service_count = 1;
	for (uint32_t i = 0; i < MANY; i++)
		bench->backends[i] = (struct backend){
			.id = i + 1,
			.address = addr_from_v4(htonl(0x7f000001 + i)),
			.port = 1,
			.weight = 100,
		};
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	health_close(bench->health);
	if (bench->server.fd >= 0)
		server_close(&bench->server);
	loop_free(bench->loop);
	free(bench);
	return 0;
}

static void serve(struct bench *bench)
{
	server_open_tcp(&bench->server, bench->loop, 0, NULL);
	bench->backends[0].port = bench->server.port;
}

static void a_dead_backend_becomes_unhealthy_and_says_why(void **state)
{
	struct bench *bench = *state;
	struct health_state its;
	struct health_totals totals;

	bench->backends[0].port = server_closed_port(SOCK_STREAM);
	lay(bench, true);
	assert_true(await_change(bench, 5 * NSEC_PER_SEC));
	assert_int_equal(bench->backends[0].health, BACKEND_UNHEALTHY);
	assert_true(health_find(bench->health, "web", &bench->backends[0], &its));
	assert_int_equal(its.state, BACKEND_UNHEALTHY);
	assert_int_equal(its.checks, 2);
	assert_int_equal(its.falls, 1);
	assert_string_equal(its.last_error, "cannot connect: Connection refused");
	assert_string_equal(its.upstream, "probe");
	health_totals(bench->health, &totals);
	assert_int_equal(totals.targets, 1);
	assert_int_equal(totals.failed, 2);
	assert_int_equal(totals.falls, 1);
}

static void a_backend_that_comes_back_becomes_healthy(void **state)
{
	struct bench *bench = *state;
	uint16_t port;

	serve(bench);
	port = bench->server.port;
	server_close(&bench->server);
	lay(bench, true);
	await_health(bench, BACKEND_UNHEALTHY);
	server_open_tcp(&bench->server, bench->loop, port, NULL);
	await_health(bench, BACKEND_HEALTHY);
}

static void a_healthy_backend_is_no_news(void **state)
{
	struct bench *bench = *state;
	struct health_state its;

	serve(bench);
	lay(bench, true);
	assert_false(await_change(bench, 100 * NSEC_PER_MSEC));
	assert_true(health_find(bench->health, "web", &bench->backends[0], &its));
	assert_int_equal(its.state, BACKEND_HEALTHY);
	assert_true(its.checks > 2);
}

static void verdicts_survive_a_reload_and_renumbering(void **state)
{
	struct bench *bench = *state;
	struct config config = bench->config;
	struct config_upstream upstream = bench->upstream;

	bench->backends[0].port = server_closed_port(SOCK_STREAM);
	lay(bench, true);
	await_health(bench, BACKEND_UNHEALTHY);
	config.upstreams = &upstream;
	upstream.check.interval_ns = 3600 * NSEC_PER_SEC;
	bench->config = config;
	bench->backends[0].id = 77;
	bench->backends[0].health = BACKEND_UNCHECKED;
	lay(bench, false);
	lay(bench, false); /* the checks have followed by now */
	assert_int_equal(bench->backends[0].health, BACKEND_UNHEALTHY);
}

static void without_health_in_the_configuration_verdicts_are_forgotten(void **state)
{
	struct bench *bench = *state;
	struct health_state its;

	bench->backends[0].port = server_closed_port(SOCK_STREAM);
	lay(bench, true);
	await_health(bench, BACKEND_UNHEALTHY);
	bench->service_config.health.upstream = NULL;
	lay(bench, false);
	assert_int_equal(bench->backends[0].health, BACKEND_UNCHECKED);
	assert_false(health_find(bench->health, "web", &bench->backends[0], &its));
	assert_false(await_change(bench, 50 * NSEC_PER_MSEC));
}

static void a_removed_backend_is_not_checked_and_stays_what_it_was(void **state)
{
	struct bench *bench = *state;

	bench->service.on_unhealthy = CONFIG_UNHEALTHY_RESET;
	bench->backends[0].port = server_closed_port(SOCK_STREAM);
	lay(bench, true);
	await_health(bench, BACKEND_UNHEALTHY);
	bench->backends[0].state = BACKEND_REMOVED;
	lay(bench, false);
	assert_int_equal(bench->backends[0].health, BACKEND_UNHEALTHY);
	assert_true(bench->backends[0].unhealthy_cut);
	assert_int_equal(bench->health->heap.count, 0);
}

static void what_comes_back_in_a_removed_backends_place_starts_afresh(void **state)
{
	struct bench *bench = *state;

	bench->service_config.health.slow_start_ns = 60 * NSEC_PER_SEC;
	bench->backends[0].port = server_closed_port(SOCK_STREAM);
	lay(bench, true);
	await_health(bench, BACKEND_UNHEALTHY);
	bench->backends[0].state = BACKEND_REMOVED;
	lay(bench, false);
	bench->backends[0].state = BACKEND_ACTIVE;
	lay(bench, false);
	assert_int_equal(bench->backends[0].health, BACKEND_UNCHECKED);
	assert_int_equal(bench->backends[0].withheld_permille, 990);
	await_health(bench, BACKEND_UNHEALTHY);
}

static void connections_are_kept_drained_or_reset(void **state)
{
	struct bench *bench = *state;

	bench->service_config.health.drain_timeout_ns = 100 * NSEC_PER_MSEC;
	bench->backends[0].port = server_closed_port(SOCK_STREAM);
	lay(bench, true);
	await_health(bench, BACKEND_UNHEALTHY);
	assert_false(bench->backends[0].unhealthy_cut);

	bench->service.on_unhealthy = CONFIG_UNHEALTHY_RESET;
	lay(bench, false);
	assert_true(bench->backends[0].unhealthy_cut);

	bench->service.on_unhealthy = CONFIG_UNHEALTHY_DRAIN;
	lay(bench, false);
	assert_false(bench->backends[0].unhealthy_cut);
	assert_true(await_change(bench, 5 * NSEC_PER_SEC));
	assert_true(bench->backends[0].unhealthy_cut);
	assert_false(await_change(bench, 50 * NSEC_PER_MSEC));
}

static void in_panic_nothing_is_cut(void **state)
{
	struct bench *bench = *state;

	bench->service.on_unhealthy = CONFIG_UNHEALTHY_RESET;
	bench->service.min_healthy_percent = 50;
	bench->backends[0].port = server_closed_port(SOCK_STREAM);
	lay(bench, true);
	await_health(bench, BACKEND_UNHEALTHY);
	assert_false(bench->backends[0].unhealthy_cut);
}

static void a_new_backend_starts_slowly_but_those_at_the_start_do_not(void **state)
{
	struct bench *bench = *state;
	int steps = 0;

	bench->service_config.health.slow_start_ns = 160 * NSEC_PER_MSEC;
	bench->service_config.health.upstream = NULL;
	lay(bench, true);
	assert_int_equal(bench->backends[0].withheld_permille, 0);
	bench->service.backend_count = 2;
	lay(bench, false);
	assert_int_equal(bench->backends[0].withheld_permille, 0);
	assert_int_equal(bench->backends[1].withheld_permille, 990);
	while (bench->backends[1].withheld_permille) {
		uint16_t before = bench->backends[1].withheld_permille;

		assert_true(await_change(bench, 5 * NSEC_PER_SEC));
		assert_true(bench->backends[1].withheld_permille <= before);
		steps++;
	}
	assert_in_range(steps, 3, 20);
	assert_false(await_change(bench, 30 * NSEC_PER_MSEC));
}

static void a_backend_that_has_risen_starts_slowly(void **state)
{
	struct bench *bench = *state;
	uint16_t port;

	bench->service_config.health.slow_start_ns = 60 * NSEC_PER_SEC;
	serve(bench);
	port = bench->server.port;
	server_close(&bench->server);
	lay(bench, true);
	await_health(bench, BACKEND_UNHEALTHY);
	assert_int_equal(bench->backends[0].withheld_permille, 0);
	server_open_tcp(&bench->server, bench->loop, port, NULL);
	await_health(bench, BACKEND_HEALTHY);
	assert_int_equal(bench->backends[0].withheld_permille, 990);
}

static void no_more_than_a_bounded_number_of_checks_runs_at_a_time(void **state)
{
	struct bench *bench = *state;
	struct health_totals totals;
	uint64_t most = 0;

	assert_int_equal(bench->health->in_flight_max, 512);
	/* Nobody answers, and nobody says that nobody is there. */
	server_open_udp(&bench->server, bench->loop, NULL);
	bench->upstream.check.type = CONFIG_CHECK_UDP;
	bench->upstream.check.send = "x";
	bench->upstream.check.fall = 1;
	bench->upstream.check.timeout_ns = 100 * NSEC_PER_MSEC;
	bench->service.backend_count = MANY;
	for (int i = 0; i < MANY; i++) {
		bench->backends[i].address = addr_from_v4(htonl(INADDR_LOOPBACK));
		bench->backends[i].port = (uint16_t)(i + 1);
	}
	bench->upstream.check.port = bench->server.port;
	lay(bench, true);
	for (int i = 0; i < 400; i++) {
		await_change(bench, 20 * NSEC_PER_MSEC);
		health_totals(bench->health, &totals);
		most = totals.in_flight > most ? totals.in_flight : most;
		assert_true(totals.in_flight <= 512);
		if (totals.falls == MANY)
			break;
	}
	assert_int_equal(totals.falls, MANY);
	assert_int_equal(most, 512);
	/* Verdicts that come together are told together. */
	assert_true(bench->changes < MANY / 4);
}

int main(void)
{
	const struct rlimit limit = { 1024, 1024 };
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_dead_backend_becomes_unhealthy_and_says_why),
		CASE(a_backend_that_comes_back_becomes_healthy),
		CASE(a_healthy_backend_is_no_news),
		CASE(verdicts_survive_a_reload_and_renumbering),
		CASE(without_health_in_the_configuration_verdicts_are_forgotten),
		CASE(a_removed_backend_is_not_checked_and_stays_what_it_was),
		CASE(what_comes_back_in_a_removed_backends_place_starts_afresh),
		CASE(connections_are_kept_drained_or_reset),
		CASE(in_panic_nothing_is_cut),
		CASE(a_new_backend_starts_slowly_but_those_at_the_start_do_not),
		CASE(a_backend_that_has_risen_starts_slowly),
		CASE(no_more_than_a_bounded_number_of_checks_runs_at_a_time),
	};

	setrlimit(RLIMIT_NOFILE, &limit);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
