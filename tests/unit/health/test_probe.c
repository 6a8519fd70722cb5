/* Each kind of check against sockets that answer well, badly, too much and not at all. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "base/clock.h"
#include "health/probe.h"
#include "server.h"

struct bench {
	struct probe_env env;
	struct probe probe;
	struct loop_timer *timeout;
	struct server server;
	struct config_check check;
	bool ended;
	bool ok;
};

static void on_done(struct probe *probe, bool ok)
{
	struct bench *bench = probe->ctx;

	assert_false(bench->ended);
	bench->ended = true;
	bench->ok = ok;
	loop_disarm(bench->timeout);
	loop_stop(bench->env.loop);
}

static void on_timeout(void *ctx)
{
	probe_expire(&((struct bench *)ctx)->probe);
}

static int set_up(void **state)
{
	struct bench *bench = calloc(1, sizeof(*bench));

	*state = bench;
	bench->server.fd = -1;
	assert_int_equal(loop_new(&bench->env.loop), 0);
	assert_int_equal(loop_add_timer(bench->env.loop, on_timeout, bench, &bench->timeout), 0);
	assert_int_equal(probe_http_open(&bench->env.http, bench->env.loop, NULL), 0);
	bench->probe.env = &bench->env;
	bench->probe.done = on_done;
	bench->probe.ctx = bench;
	bench->check.timeout_ns = 5 * NSEC_PER_SEC;
	return 0;
}

static int tear_down(void **state)
{
	struct bench *bench = *state;

	probe_stop(&bench->probe);
	if (bench->server.fd >= 0)
		server_close(&bench->server);
	probe_http_close(bench->env.http);
	loop_free(bench->env.loop);
	free(bench);
	return 0;
}

/* Runs the check to its end.  Returns NULL if it succeeded, or why not. */
static const char *run(struct bench *bench, enum config_check_type type, uint16_t port)
{
	struct addr address;

	assert_int_equal(addr_parse("127.0.0.1", &address), 0);
	bench->check.type = type;
	bench->ended = false;
	if (probe_start(&bench->probe, &bench->check, &address, port) < 0) {
		assert_null(bench->probe.kind);
		return bench->probe.error;
	}
	loop_arm(bench->timeout, bench->check.timeout_ns);
	assert_int_equal(loop_run(bench->env.loop), 0);
	assert_true(bench->ended);
	assert_null(bench->probe.kind);
	assert_int_equal(bench->probe.fd, -1);
	return bench->ok ? NULL : bench->probe.error;
}

#define assert_ok(error)                             \
	do {                                         \
		const char *why = error;             \
		if (why)                             \
			fail_msg("failed: %s", why); \
	} while (0)

#define assert_fails(error, part)                                                        \
	do {                                                                             \
		const char *why = error;                                                 \
		if (!why || !strstr(why, part))                                          \
			fail_msg("'%s' does not say '%s'", why ? why : "success", part); \
	} while (0)

/* ---- TCP ---- */

static void a_handshake_is_enough_for_tcp(void **state)
{
	struct bench *bench = *state;

	server_open_tcp(&bench->server, bench->env.loop, 0, NULL);
	assert_ok(run(bench, CONFIG_CHECK_TCP, bench->server.port));
}

static void a_closed_tcp_port_is_a_failure(void **state)
{
	assert_fails(run(*state, CONFIG_CHECK_TCP, server_closed_port(SOCK_STREAM)),
		     "Connection refused");
}

static void tcp_sends_and_finds_the_expected_text(void **state)
{
	struct bench *bench = *state;

	server_open_tcp(&bench->server, bench->env.loop, 0, "+PO");
	bench->server.flood = 3;
	bench->check.send = "PING\r\n";
	bench->check.expect = "O+P";
	assert_ok(run(bench, CONFIG_CHECK_TCP, bench->server.port));
	assert_string_equal(bench->server.heard, "PING\r\n");
}

static void the_expected_text_is_found_across_pieces(void **state)
{
	struct bench *bench = *state;
	struct probe *probe = &bench->probe;

	bench->check.expect = "O+P";
	probe->check = &bench->check;
	assert_int_equal(probe_gather(probe, "xO", 2), 0);
	assert_int_equal(probe_gather(probe, "+", 1), 0);
	assert_int_equal(probe_gather(probe, "Px", 2), 1);
	free(probe->got);
	probe->got = NULL;
}

static void tcp_says_that_the_expected_text_did_not_come(void **state)
{
	struct bench *bench = *state;

	server_open_tcp(&bench->server, bench->env.loop, 0, "no");
	bench->check.send = "x";
	bench->check.expect = "yes";
	bench->check.timeout_ns = 50 * NSEC_PER_MSEC;
	assert_fails(run(bench, CONFIG_CHECK_TCP, bench->server.port),
		     "does not contain the expected text");
}

static void a_talkative_tcp_server_is_cut_short(void **state)
{
	static char much[4001];
	struct bench *bench = *state;

	memset(much, 'x', sizeof(much) - 1);
	server_open_tcp(&bench->server, bench->env.loop, 0, much);
	bench->server.flood = 20;
	bench->check.send = "x";
	bench->check.expect = "yes";
	assert_fails(run(bench, CONFIG_CHECK_TCP, bench->server.port), "first 65536 bytes");
}

/* ---- UDP ---- */

static void a_closed_udp_port_is_a_failure(void **state)
{
	assert_fails(run(*state, CONFIG_CHECK_UDP, server_closed_port(SOCK_DGRAM)),
		     "Connection refused");
}

static void udp_with_nothing_to_expect_takes_silence_for_success(void **state)
{
	struct bench *bench = *state;

	server_open_udp(&bench->server, bench->env.loop, NULL);
	bench->check.timeout_ns = 30 * NSEC_PER_MSEC;
	assert_ok(run(bench, CONFIG_CHECK_UDP, bench->server.port));
	assert_int_equal(bench->server.connections, 1);
}

static void udp_that_sends_wants_an_answer(void **state)
{
	struct bench *bench = *state;

	server_open_udp(&bench->server, bench->env.loop, NULL);
	bench->check.send = "ping";
	bench->check.timeout_ns = 30 * NSEC_PER_MSEC;
	assert_fails(run(bench, CONFIG_CHECK_UDP, bench->server.port), "no answer within 0.03 s");
	bench->server.answer = "pong";
	bench->server.answer_len = 4;
	assert_ok(run(bench, CONFIG_CHECK_UDP, bench->server.port));
	bench->check.expect = "pang";
	assert_fails(run(bench, CONFIG_CHECK_UDP, bench->server.port), "expected text");
	bench->check.expect = "on";
	assert_ok(run(bench, CONFIG_CHECK_UDP, bench->server.port));
}

/* ---- DNS ---- */

static size_t good_dns(struct server *server, const uint8_t *query, size_t len, uint8_t *answer)
{
	memcpy(answer, query, len);
	answer[2] |= 0x80;
	answer[3] = 0x80;
	return len;
}

static size_t servfail(struct server *server, const uint8_t *query, size_t len, uint8_t *answer)
{
	good_dns(server, query, len, answer);
	answer[3] = 0x82;
	return len;
}

static size_t other_id(struct server *server, const uint8_t *query, size_t len, uint8_t *answer)
{
	good_dns(server, query, len, answer);
	answer[0] ^= 1;
	return len;
}

static void dns_takes_an_answer_to_its_query_alone(void **state)
{
	struct bench *bench = *state;

	server_open_udp(&bench->server, bench->env.loop, NULL);
	bench->server.make = good_dns;
	assert_ok(run(bench, CONFIG_CHECK_DNS, bench->server.port));
	bench->server.make = servfail;
	assert_fails(run(bench, CONFIG_CHECK_DNS, bench->server.port), "SERVFAIL");
	bench->server.make = other_id;
	bench->check.timeout_ns = 30 * NSEC_PER_MSEC;
	assert_fails(run(bench, CONFIG_CHECK_DNS, bench->server.port), "no answer within");
	bench->check.query = "..";
	assert_fails(run(bench, CONFIG_CHECK_DNS, bench->server.port), "cannot make a query");
}

/* ---- HTTP ---- */

static void http_by_status(void **state)
{
	static const struct {
		const char *answer;
		const char *fault;
	} cases[] = {
		{ "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", NULL },
		{ "HTTP/1.1 204 No Content\r\n\r\n", NULL },
		{ "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: "
		  "0\r\n\r\n",
		  NULL },
		{ "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n",
		  "status 404, not 200 to 399" },
		{ "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n", "status 503, not 200 to 399" },
		{ "SSH-2.0-OpenSSH\r\n", "" },
	};
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		server_open_tcp(&bench->server, bench->env.loop, 0, cases[i].answer);
		if (cases[i].fault)
			assert_fails(run(bench, CONFIG_CHECK_HTTP, bench->server.port),
				     cases[i].fault);
		else
			assert_ok(run(bench, CONFIG_CHECK_HTTP, bench->server.port));
		server_close(&bench->server);
	}
}

static void http_asks_for_host_and_path_at_the_backends_address(void **state)
{
	struct bench *bench = *state;

	setenv("http_proxy", "http://127.0.0.1:1/", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1/", 1);
	server_open_tcp(&bench->server, bench->env.loop, 0,
			"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
	bench->check.host = "www.example.org";
	bench->check.path = "/health?deep=1";
	bench->check.method = "OPTIONS";
	assert_ok(run(bench, CONFIG_CHECK_HTTP, bench->server.port));
	unsetenv("http_proxy");
	unsetenv("ALL_PROXY");
	assert_non_null(strstr(bench->server.heard, "OPTIONS /health?deep=1 HTTP/1.1\r\n"));
	assert_non_null(strstr(bench->server.heard, "\r\nHost: www.example.org\r\n"));
	assert_int_equal(bench->server.connections, 1);
}

static void http_finds_the_expected_text_or_says_so(void **state)
{
	struct bench *bench = *state;

	server_open_tcp(&bench->server, bench->env.loop, 0,
			"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nall right");
	bench->check.expect = "l r";
	assert_ok(run(bench, CONFIG_CHECK_HTTP, bench->server.port));
	bench->check.expect = "wrong";
	assert_fails(run(bench, CONFIG_CHECK_HTTP, bench->server.port),
		     "status 200, but the answer does not contain");
}

static void http_headers_without_end_are_cut_short(void **state)
{
	static char answer[90000] = "HTTP/1.1 200 OK\r\n";
	struct bench *bench = *state;

	while (strlen(answer) < sizeof(answer) - 100)
		strcat(answer,
		       "X-Many: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n");
	server_open_tcp(&bench->server, bench->env.loop, 0, answer);
	assert_fails(run(bench, CONFIG_CHECK_HTTP, bench->server.port),
		     "headers are longer than 65536 bytes");
}

static void an_http_body_without_end_is_cut_short(void **state)
{
	static char body[4100] = "HTTP/1.1 200 OK\r\n\r\n";
	struct bench *bench = *state;

	memset(body + strlen(body), 'x', 4000);
	server_open_tcp(&bench->server, bench->env.loop, 0, body);
	bench->server.flood = 30;
	bench->check.expect = "yes";
	assert_fails(run(bench, CONFIG_CHECK_HTTP, bench->server.port), "first 65536 bytes");
	bench->check.expect = NULL;
	assert_ok(run(bench, CONFIG_CHECK_HTTP, bench->server.port));
}

static void a_closed_http_port_is_a_failure(void **state)
{
	assert_fails(run(*state, CONFIG_CHECK_HTTP, server_closed_port(SOCK_STREAM)), "connect");
}

static void a_silent_http_server_is_given_up_at_the_timeout(void **state)
{
	struct bench *bench = *state;

	server_open_tcp(&bench->server, bench->env.loop, 0, NULL);
	bench->check.timeout_ns = 50 * NSEC_PER_MSEC;
	assert_fails(run(bench, CONFIG_CHECK_HTTP, bench->server.port), "no answer within 0.05 s");
}

static void https_to_a_plain_server_is_a_failure(void **state)
{
	struct bench *bench = *state;

	server_open_tcp(&bench->server, bench->env.loop, 0,
			"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
	assert_fails(run(bench, CONFIG_CHECK_HTTPS, bench->server.port), "");
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		CASE(a_handshake_is_enough_for_tcp),
		CASE(a_closed_tcp_port_is_a_failure),
		CASE(tcp_sends_and_finds_the_expected_text),
		CASE(the_expected_text_is_found_across_pieces),
		CASE(tcp_says_that_the_expected_text_did_not_come),
		CASE(a_talkative_tcp_server_is_cut_short),
		CASE(a_closed_udp_port_is_a_failure),
		CASE(udp_with_nothing_to_expect_takes_silence_for_success),
		CASE(udp_that_sends_wants_an_answer),
		CASE(dns_takes_an_answer_to_its_query_alone),
		CASE(http_by_status),
		CASE(http_asks_for_host_and_path_at_the_backends_address),
		CASE(http_finds_the_expected_text_or_says_so),
		CASE(http_headers_without_end_are_cut_short),
		CASE(an_http_body_without_end_is_cut_short),
		CASE(a_closed_http_port_is_a_failure),
		CASE(a_silent_http_server_is_given_up_at_the_timeout),
		CASE(https_to_a_plain_server_is_a_failure),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
