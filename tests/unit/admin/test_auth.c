#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "client.h"

static char bearer[] = "t0ken";
static char user[] = "ann";
static char password[] = "pass:word";

struct row {
	const char *name;
	const char *method;
	const char *target;
	const char *headers;
	int status;
};

/* Asks over TCP; DELETE of backend 7 stands for any change. */
static void assert_rows(struct bench *bench, const struct row *rows, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		struct answer answer = client_ask(bench, client_tcp(bench), rows[i].method,
						  rows[i].target, rows[i].headers, NULL);

		if (answer.status != rows[i].status)
			fail_msg("%s: expected %d, got %s", rows[i].name, rows[i].status,
				 answer.text.data);
		answer_done(&answer);
	}
}

#define ROWS(rows) (rows), sizeof(rows) / sizeof((rows)[0])

static void tcp_needs_the_credentials_that_are_configured(void **state)
{
	/* YW5uOnBhc3M6d29yZA== is ann:pass:word. */
	static const struct row rows[] = {
		{ "none", "GET", "/services", "", 401 },
		{ "none for an unknown route", "GET", "/nothing", "", 401 },
		{ "health is for all", "GET", "/health", "", 200 },
		{ "health with wrong ones", "GET", "/health", "Authorization: Bearer x\r\n", 200 },
		{ "bearer", "GET", "/services", "Authorization: Bearer t0ken\r\n", 200 },
		{ "scheme in lower case", "GET", "/services", "Authorization: bearer t0ken\r\n",
		  200 },
		{ "prefix", "GET", "/services", "Authorization: Bearer t0ke\r\n", 401 },
		{ "longer", "GET", "/services", "Authorization: Bearer t0kent0ken\r\n", 401 },
		{ "empty", "GET", "/services", "Authorization: Bearer \r\n", 401 },
		{ "no scheme", "GET", "/services", "Authorization: t0ken\r\n", 401 },
		{ "basic", "GET", "/services", "Authorization: Basic YW5uOnBhc3M6d29yZA==\r\n",
		  200 },
		{ "basic, wrong", "GET", "/services",
		  "Authorization: Basic YW5uOnBhc3M6d29yZB==\r\n", 401 },
		{ "basic, unpadded", "GET", "/services",
		  "Authorization: Basic YW5uOnBhc3M6d29yZA\r\n", 401 },
		{ "token as basic", "GET", "/services", "Authorization: Basic t0ken\r\n", 401 },
		{ "change without", "DELETE", "/ebpf/backends/7", "", 401 },
	};
	struct bench *bench = *state;
	struct config_admin *admin = &bench->daemon.config.admin;
	struct answer answer;

	admin->bearer = bearer;
	admin->basic_user = user;
	admin->basic_password = password;
	assert_rows(bench, ROWS(rows));
	assert_int_equal(bench->daemon.changes, 0);
	answer = client_ask(bench, client_tcp(bench), "GET", "/services", "", NULL);
	assert_true(answer_has_line(&answer, "WWW-Authenticate: Bearer realm=\"loom\", Basic "
					     "realm=\"loom\", charset=\"UTF-8\""));
	answer_done(&answer);
}

static void the_unix_socket_needs_no_credentials(void **state)
{
	struct bench *bench = *state;
	struct answer answer;

	bench->daemon.config.admin.bearer = bearer;
	answer = client_ask(bench, client_unix(bench), "GET", "/services", "", NULL);
	assert_int_equal(answer.status, 200);
	answer_done(&answer);
}

static void credentials_follow_a_reload(void **state)
{
	static const struct row open[] = { { "open", "GET", "/services", "", 200 } };
	static const struct row closed[] = { { "closed", "GET", "/services", "", 401 } };
	struct bench *bench = *state;

	assert_rows(bench, ROWS(open));
	bench->daemon.config.admin.bearer = bearer;
	assert_rows(bench, ROWS(closed));
}

static void a_loopback_listener_answers_for_loopback_names_only(void **state)
{
	static const struct row rows[] = {
		{ "localhost", "GET", "/services", "Host: localhost:9091\r\n", 200 },
		{ "case", "GET", "/services", "Host: LocalHost\r\n", 200 },
		{ "127/8", "GET", "/services", "Host: 127.1.2.3:80\r\n", 200 },
		{ "::1", "GET", "/services", "Host: [::1]:9091\r\n", 200 },
		{ "rebound name", "GET", "/services", "Host: evil.example:9091\r\n", 421 },
		{ "name that begins alike", "GET", "/services", "Host: localhost.evil.example\r\n",
		  421 },
		{ "name that begins alike", "GET", "/services", "Host: 127.0.0.1.evil.example\r\n",
		  421 },
		{ "other address", "GET", "/services", "Host: 10.0.0.1\r\n", 421 },
		{ "junk", "GET", "/services", "Host: localhost:80@evil\r\n", 421 },
		{ "open bracket", "GET", "/services", "Host: [::1\r\n", 421 },
		{ "change", "DELETE", "/ebpf/backends/7", "Host: evil.example\r\n", 421 },
	};
	struct bench *bench = *state;

	assert_rows(bench, ROWS(rows));
	assert_int_equal(bench->daemon.changes, 0);
}

static void a_web_page_changes_nothing_but_with_a_bearer_token(void **state)
{
	static const struct row refused[] = {
		{ "no credentials", "DELETE", "/ebpf/backends/7", "Origin: http://a.example\r\n",
		  403 },
		{ "its own origin", "POST", "/config/reload", "Origin: http://localhost:9091\r\n",
		  403 },
		{ "reading is free", "GET", "/services", "Origin: http://a.example\r\n", 200 },
	};
	static const struct row basic[] = {
		{ "a browser adds basic credentials by itself", "DELETE", "/ebpf/backends/7",
		  "Origin: null\r\nAuthorization: Basic YW5uOnBhc3M6d29yZA==\r\n", 403 },
	};
	static const struct row token[] = {
		{ "token", "DELETE", "/ebpf/backends/7",
		  "Origin: null\r\nAuthorization: Bearer t0ken\r\n", 200 },
	};
	struct bench *bench = *state;
	struct config_admin *admin = &bench->daemon.config.admin;

	assert_rows(bench, ROWS(refused));
	admin->basic_user = user;
	admin->basic_password = password;
	assert_rows(bench, ROWS(basic));
	assert_int_equal(bench->daemon.changes, 0);
	admin->bearer = bearer;
	assert_rows(bench, ROWS(token));
	assert_int_equal(bench->daemon.changes, 1);
}

static int open_bench(void **state)
{
	static struct bench bench;

	bench_open(&bench, 0);
	*state = &bench;
	return 0;
}

static int close_bench(void **state)
{
	bench_close(*state);
	return 0;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(tcp_needs_the_credentials_that_are_configured),
		TEST(the_unix_socket_needs_no_credentials),
		TEST(credentials_follow_a_reload),
		TEST(a_loopback_listener_answers_for_loopback_names_only),
		TEST(a_web_page_changes_nothing_but_with_a_bearer_token),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
