#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "client.h"

#define CLOSE "Host: localhost\r\nConnection: close\r\n"

/* How often needle stands in text. */
static unsigned int occurrences(const char *text, const char *needle)
{
	unsigned int count = 0;

	for (; text && (text = strstr(text, needle)); text += strlen(needle))
		count++;
	return count;
}

static int exchange(struct bench *bench, const char *text, struct buf *answer)
{
	buf_init(answer);
	return client_exchange(bench, client_unix(bench), text, strlen(text), false, answer);
}

static void pipelined_requests_are_answered_in_order(void **state)
{
	struct bench *bench = *state;
	struct buf answer;
	const char *first, *second, *third;

	assert_int_equal(exchange(bench,
				  "GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
				  "PATCH /ebpf/backends/1 HTTP/1.1\r\nHost: localhost\r\n"
				  "Content-Length: 12\r\n\r\n{\"weight\":7}"
				  "GET /nothing HTTP/1.1\r\n" CLOSE "\r\n",
				  &answer),
			 200);
	assert_int_equal(occurrences(answer.data, "HTTP/1.1 "), 3);
	first = strstr(answer.data, "{\"status\":\"ok\"}");
	second = strstr(answer.data, "\"weight\":7");
	third = strstr(answer.data, "\"not_found\"");
	assert_true(first && second && third && first < second && second < third);
	assert_int_equal(bench->daemon.changes, 1);
	buf_done(&answer);
}

static void a_request_may_come_byte_by_byte(void **state)
{
	static const char request[] = "PATCH /ebpf/backends/1 HTTP/1.1\r\n" CLOSE
				      "Content-Length: 12\r\n\r\n{\"weight\":7}";
	struct bench *bench = *state;
	int fd = client_unix(bench);
	struct buf answer;

	buf_init(&answer);
	for (size_t i = 0; i + 2 < sizeof(request); i++) {
		assert_int_equal(send(fd, request + i, 1, MSG_NOSIGNAL), 1);
		assert_true(client_wait(bench, fd, 0));
		assert_int_equal(bench->daemon.changes, 0);
	}
	assert_int_equal(
		client_exchange(bench, fd, request + sizeof(request) - 2, 1, false, &answer), 200);
	assert_int_equal(bench->daemon.changes, 1);
	buf_done(&answer);
}

static void a_chunked_body_is_read(void **state)
{
	struct bench *bench = *state;
	struct buf answer;

	assert_int_equal(exchange(bench,
				  "PATCH /ebpf/backends/1 HTTP/1.1\r\n" CLOSE
				  "Transfer-Encoding: chunked\r\n\r\n"
				  "4\r\n{\"we\r\n8\r\night\":7}\r\n0\r\n\r\n",
				  &answer),
			 200);
	assert_int_equal(bench->daemon.changes, 1);
	buf_done(&answer);
}

/* POSTs a body of len bytes: JSON behind as many spaces as it takes. */
static int post_sized(struct bench *bench, size_t len, struct buf *answer)
{
	static const char json[] = "{\"weight\":7}";
	struct buf request;
	char *spaces = malloc(len);
	int status;

	assert_non_null(spaces);
	memset(spaces, ' ', len);
	buf_init(answer);
	buf_init(&request);
	buf_printf(&request,
		   "PATCH /ebpf/backends/1 HTTP/1.1\r\n" CLOSE "Content-Length: %zu\r\n\r\n", len);
	buf_append(&request, spaces, len - strlen(json));
	buf_append(&request, json, strlen(json));
	status = client_exchange(bench, client_unix(bench), request.data, request.len, false,
				 answer);
	buf_done(&request);
	free(spaces);
	return status;
}

static void a_body_of_64_kib_is_read_and_one_more_byte_is_too_large(void **state)
{
	static const struct {
		size_t len;
		int status;
	} rows[] = {
		{ 65536, 200 },
		{ 65537, 413 },
		{ 1024 * 1024, 413 },
		{ 8 * 1024 * 1024, 413 }, /* answered before it is sent */
	};
	struct bench *bench = *state;
	struct buf answer;

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		assert_int_equal(post_sized(bench, rows[i].len, &answer), rows[i].status);
		if (rows[i].status == 413)
			assert_non_null(strstr(answer.data, "\"too_large\""));
		buf_done(&answer);
	}
	assert_int_equal(bench->daemon.changes, 1);
}

static void endless_chunks_are_cut_off(void **state)
{
	struct bench *bench = *state;
	int fd = client_unix(bench);
	char chunk[4096 + 8];
	struct buf request;
	struct buf answer;

	buf_init(&request);
	buf_init(&answer);
	buf_printf(&request, "PATCH /ebpf/backends/1 HTTP/1.1\r\n" CLOSE
			     "Transfer-Encoding: chunked\r\n\r\n");
	memset(chunk, ' ', sizeof(chunk));
	memcpy(chunk, "1000\r\n", 6);
	memcpy(chunk + 6 + 4096, "\r\n", 2);
	for (int i = 0; i < 512; i++)
		buf_append(&request, chunk, sizeof(chunk));
	client_exchange(bench, fd, request.data, request.len, false, &answer);
	assert_int_equal(bench->daemon.changes, 0);
	buf_done(&request);
	buf_done(&answer);
}

static void headers_that_do_not_fit_are_refused(void **state)
{
	struct bench *bench = *state;
	struct buf request;
	struct buf answer;
	int status;

	buf_init(&request);
	buf_init(&answer);
	buf_printf(&request, "GET /health HTTP/1.1\r\n" CLOSE);
	for (int i = 0; i < 2000; i++)
		buf_printf(&request, "X-Header-%d: some value that takes room\r\n", i);
	buf_printf(&request, "\r\n");
	status = client_exchange(bench, client_unix(bench), request.data, request.len, false,
				 &answer);
	assert_true(status == 0 || status == 431 || status == 413);
	buf_done(&request);
	buf_done(&answer);
}

static void a_client_that_says_nothing_is_let_go(void **state)
{
	struct bench bench;
	struct buf answer;

	(void)state;
	bench_open(&bench, 1);
	buf_init(&answer);
	assert_int_equal(
		client_exchange(&bench, client_unix(&bench), "GET /hea", 8, false, &answer), 0);
	buf_done(&answer);
	bench_close(&bench);
}

static void the_connections_a_listener_takes_are_bounded_and_free_again_when_closed(void **state)
{
	struct bench *bench = *state;
	int fds[65];
	struct buf answer;

	buf_init(&answer);
	for (size_t i = 0; i < 64; i++) {
		fds[i] = client_unix(bench);
		assert_true(client_wait(bench, fds[i], 0));
	}
	/* The other listener has its own. */
	assert_int_equal(
		client_exchange(bench, client_tcp(bench), "GET /health HTTP/1.1\r\n" CLOSE "\r\n",
				strlen("GET /health HTTP/1.1\r\n" CLOSE "\r\n"), false, &answer),
		200);
	buf_done(&answer);
	for (size_t i = 0; i < 64; i++)
		close(fds[i]);
	assert_int_equal(exchange(bench, "GET /health HTTP/1.1\r\n" CLOSE "\r\n", &answer), 200);
	buf_done(&answer);
}

static int open_unix(struct bench *bench, struct admin **ret, struct err *err)
{
	struct admin_options options = { .socket = bench->path };

	return admin_open(ret, &options, &bench->daemon.control, err);
}

static void the_unix_socket_has_mode_0660_whatever_the_umask(void **state)
{
	static const mode_t masks[] = { 0, 0022, 0777 };
	struct bench *bench = *state;
	struct stat st;

	for (size_t i = 0; i < 3; i++) {
		mode_t old;

		admin_close(bench->admin);
		old = umask(masks[i]);
		assert_int_equal(open_unix(bench, &bench->admin, NULL), 0);
		umask(old);
		assert_int_equal(lstat(bench->path, &st), 0);
		assert_int_equal(st.st_mode, S_IFSOCK | 0660);
	}
}

static void closing_removes_the_socket_but_not_a_successors(void **state)
{
	struct bench *bench = *state;
	struct admin *successor;
	struct stat st;

	assert_int_equal(unlink(bench->path), 0);
	assert_int_equal(open_unix(bench, &successor, NULL), 0);
	admin_close(bench->admin);
	assert_int_equal(lstat(bench->path, &st), 0);
	admin_close(successor);
	assert_int_equal(lstat(bench->path, &st), -1);
	bench->admin = NULL;
}

static void a_socket_somebody_answers_on_is_left_alone(void **state)
{
	struct bench *bench = *state;
	struct admin *other = NULL;
	struct err err = { 0 };
	struct buf answer;

	assert_int_equal(open_unix(bench, &other, &err), -EADDRINUSE);
	assert_null(other);
	assert_non_null(strstr(err.text, bench->path));
	assert_int_equal(exchange(bench, "GET /health HTTP/1.1\r\n" CLOSE "\r\n", &answer), 200);
	buf_done(&answer);
}

static void a_stale_socket_is_replaced(void **state)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct bench *bench = *state;
	struct buf answer;
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	admin_close(bench->admin);
	strcpy(address.sun_path, bench->path);
	assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	assert_int_equal(open_unix(bench, &bench->admin, NULL), 0);
	assert_int_equal(exchange(bench, "GET /health HTTP/1.1\r\n" CLOSE "\r\n", &answer), 200);
	buf_done(&answer);
}

static void what_is_no_socket_is_left_alone(void **state)
{
	struct bench *bench = *state;
	struct err err = { 0 };
	int fd;

	admin_close(bench->admin);
	bench->admin = NULL;
	fd = open(bench->path, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	close(fd);
	assert_int_equal(open_unix(bench, &bench->admin, &err), -EEXIST);
	assert_null(bench->admin);
	assert_int_equal(unlink(bench->path), 0);
}

static void a_taken_port_is_named_and_nothing_stays_behind(void **state)
{
	struct bench *bench = *state;
	char path[sizeof(bench->path) + 8];
	struct admin_options options = { .tcp = true,
					 .listen = bench->daemon.config.admin.listen,
					 .port = admin_port(bench->admin),
					 .socket = path };
	struct admin *other = NULL;
	struct err err = { 0 };
	struct stat st;

	snprintf(path, sizeof(path), "%s.other", bench->path);
	assert_int_equal(admin_open(&other, &options, &bench->daemon.control, &err), -EADDRINUSE);
	assert_null(other);
	assert_non_null(strstr(err.text, "cannot listen on 127.0.0.1:"));
	assert_int_equal(lstat(path, &st), -1);
}

static void a_path_that_is_too_long_is_refused(void **state)
{
	struct bench *bench = *state;
	char path[200];
	struct admin_options options = { .socket = path };
	struct admin *other = NULL;

	memset(path, 'a', sizeof(path) - 1);
	path[sizeof(path) - 1] = '\0';
	assert_int_equal(admin_open(&other, &options, &bench->daemon.control, NULL), -ENAMETOOLONG);
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
		TEST(pipelined_requests_are_answered_in_order),
		TEST(a_request_may_come_byte_by_byte),
		TEST(a_chunked_body_is_read),
		TEST(a_body_of_64_kib_is_read_and_one_more_byte_is_too_large),
		TEST(endless_chunks_are_cut_off),
		TEST(headers_that_do_not_fit_are_refused),
		cmocka_unit_test(a_client_that_says_nothing_is_let_go),
		TEST(the_connections_a_listener_takes_are_bounded_and_free_again_when_closed),
		TEST(the_unix_socket_has_mode_0660_whatever_the_umask),
		TEST(closing_removes_the_socket_but_not_a_successors),
		TEST(a_socket_somebody_answers_on_is_left_alone),
		TEST(a_stale_socket_is_replaced),
		TEST(what_is_no_socket_is_left_alone),
		TEST(a_taken_port_is_named_and_nothing_stays_behind),
		TEST(a_path_that_is_too_long_is_refused),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
