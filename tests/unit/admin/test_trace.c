/* /ebpf/trace: what is asked for, answers that go on for long, and the lines they are made of. */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "admin/trace_json.h"
#include "base/clock.h"
#include "client.h"

static struct answer ask(struct bench *bench, const char *query)
{
	char target[256];

	snprintf(target, sizeof(target), "/ebpf/trace%s", query);
	return client_ask(bench, client_unix(bench), "GET", target, "", NULL);
}

/* ---- what is asked for ---- */

static const struct bad {
	const char *query;
	const char *field;
} bads[] = {
	{ "?duration=0s", "duration" },
	{ "?duration=3601s", "duration" },
	{ "?duration=2h", "duration" },
	{ "?duration=", "duration" },
	{ "?address=10.0.0.1/8", "address" },
	{ "?address=fe80::/129", "address" },
	{ "?address=", "address" },
	{ "?port=0", "port" },
	{ "?port=65536", "port" },
	{ "?proto=TCP", "proto" },
	{ "?proto=", "proto" },
	{ "?backend=0", "backend" },
	{ "?only=drop", "only" },
	{ "?sample=0", "sample" },
	{ "?sample=4294967296", "sample" },
	{ "?limit=0", "limit" },
	{ "?frames=yes", "frames" },
	{ "?client=10.0.0.1", "client" },
	{ "?port=1&port=1", "port" },
};

static void what_makes_no_sense_is_refused_before_anything_is_traced(void **state)
{
	struct bench *bench = *state;

	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		struct answer answer = ask(bench, bads[i].query);

		if (answer.status != 400 || strcmp(answer_error(&answer, "field"), bads[i].field))
			fail_msg("%s: %d %s", bads[i].query, answer.status, answer.text.data);
		answer_done(&answer);
	}
	assert_int_equal(bench->daemon.traces, 0);
}

/* Starts a trace; the answer's head has come. */
static int begin(struct bench *bench, const char *query)
{
	char request[512];
	char head[1024];
	int fd = client_unix(bench);
	ssize_t n = 0;

	snprintf(request, sizeof(request),
		 "GET /ebpf/trace%s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
		 query);
	assert_int_equal(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
	while (n <= 0) {
		assert_true(client_wait(bench, fd, POLLIN));
		n = recv(fd, head, sizeof(head) - 1, MSG_DONTWAIT);
	}
	head[n] = '\0';
	assert_ptr_equal(strstr(head, "HTTP/1.1 200 "), head);
	assert_non_null(strstr(head, "Content-Type: application/x-ndjson\r\n"));
	assert_non_null(strstr(head, "Transfer-Encoding: chunked\r\n"));
	assert_non_null(bench->daemon.stream);
	return fd;
}

/* Runs the server until needle has come. */
static void read_until(struct bench *bench, int fd, struct buf *got, const char *needle)
{
	char bytes[65536];

	while (!got->data || !memmem(got->data, got->len, needle, strlen(needle))) {
		ssize_t n = recv(fd, bytes, sizeof(bytes), MSG_DONTWAIT);

		assert_int_not_equal(n, 0);
		if (n > 0)
			buf_append(got, bytes, (size_t)n);
		else
			admin_run(bench->admin);
	}
}

static void run(struct bench *bench)
{
	for (int i = 0; i < 8; i++)
		admin_run(bench->admin);
}

static void end(struct bench *bench, int fd)
{
	stream_end(bench->daemon.stream);
	bench->daemon.stream = NULL;
	run(bench);
	close(fd);
	run(bench);
}

static void every_parameter_reaches_the_filter(void **state)
{
	struct bench *bench = *state;
	const struct trace_request *got = &bench->daemon.trace;
	int fd = begin(bench, "?duration=5m&address=10.9.0.0/20&port=80&proto=icmp&backend=7&"
			      "only=drops&sample=9&limit=3&frames=true");

	assert_int_equal(got->duration_ns, 300 * NSEC_PER_SEC);
	assert_int_equal(got->filter.addr[3], htonl(0x0a090000));
	assert_int_equal(got->filter.addr[2], htonl(0xffff));
	assert_int_equal(got->filter.mask[0] & got->filter.mask[1] & got->filter.mask[2],
			 UINT32_MAX);
	assert_int_equal(got->filter.mask[3], htonl(0xfffff000));
	assert_int_equal(got->filter.port, htons(80));
	assert_int_equal(got->filter.proto, IPPROTO_ICMP);
	assert_int_equal(got->filter.backend, 7);
	assert_int_equal(got->filter.only_drops, 1);
	assert_int_equal(got->filter.sample, 9);
	assert_int_equal(got->limit, 3);
	assert_true(got->frames);
	end(bench, fd);
	fd = begin(bench, "?address=2001:db8::/33&proto=udp");
	assert_int_equal(got->duration_ns, 10 * NSEC_PER_SEC);
	assert_int_equal(got->filter.mask[0], UINT32_MAX);
	assert_int_equal(got->filter.mask[1], htonl(0x80000000));
	assert_int_equal(got->filter.mask[2] | got->filter.mask[3], 0);
	assert_int_equal(got->filter.proto, IPPROTO_UDP);
	assert_int_equal(got->limit | got->filter.port | got->filter.sample, 0);
	assert_false(got->frames);
	end(bench, fd);
}

static void a_second_trace_is_a_conflict(void **state)
{
	struct bench *bench = *state;
	struct answer answer;

	bench->daemon.fail = -EBUSY;
	answer = ask(bench, "");
	assert_int_equal(answer.status, 409);
	assert_string_equal(answer_error(&answer, "code"), "conflict");
	answer_done(&answer);
}

static void head_traces_nothing(void **state)
{
	struct bench *bench = *state;
	struct answer answer = client_ask(bench, client_unix(bench), "HEAD", "/ebpf/trace", "",
					  NULL);

	assert_int_equal(answer.status, 200);
	assert_int_equal(bench->daemon.traces, 0);
	answer_done(&answer);
}

/* ---- answers that go on ---- */

static void lines_come_as_they_are_written(void **state)
{
	struct bench *bench = *state;
	int fd = begin(bench, "");
	struct stream *stream = bench->daemon.stream;
	struct buf got;

	buf_init(&got);
	run(bench); /* nothing to send: the connection waits */
	stream_write(stream, "one\n", 4);
	read_until(bench, fd, &got, "one\n");
	assert_int_equal(stream_pending(stream), 0);
	assert_false(stream_broken(stream));
	run(bench);
	stream_write(stream, "two\n", 4);
	stream_write(stream, "three\n", 6);
	read_until(bench, fd, &got, "two\nthree\n");
	stream_end(stream);
	read_until(bench, fd, &got, "\r\n0\r\n\r\n");
	buf_done(&got);
	close(fd);
	run(bench);
}

static void others_are_answered_meanwhile(void **state)
{
	struct bench *bench = *state;
	int fd = begin(bench, "");
	struct answer answer = client_ask(bench, client_unix(bench), "GET", "/health", "", NULL);

	assert_int_equal(answer.status, 200);
	answer_done(&answer);
	end(bench, fd);
}

static void a_client_that_goes_is_noticed_though_nothing_is_written(void **state)
{
	struct bench *bench = *state;
	int fd = begin(bench, "");

	run(bench);
	assert_false(stream_broken(bench->daemon.stream));
	close(fd);
	assert_true(stream_broken(bench->daemon.stream));
	stream_write(bench->daemon.stream, "lost\n", 5);
	stream_end(bench->daemon.stream);
	run(bench);
}

static void what_a_client_does_not_read_waits_here(void **state)
{
	static char block[1 << 20];
	struct bench *bench = *state;
	int fd = begin(bench, "");
	struct stream *stream = bench->daemon.stream;
	struct buf got;

	memset(block, 'x', sizeof(block));
	stream_write(stream, block, sizeof(block));
	run(bench);
	assert_in_range(stream_pending(stream), sizeof(block) / 4, sizeof(block));
	stream_write(stream, "last\n", 5);
	stream_end(stream);
	buf_init(&got);
	read_until(bench, fd, &got, "last\n\r\n0\r\n\r\n");
	assert_true(got.len > sizeof(block));
	buf_done(&got);
	close(fd);
	run(bench);
}

static void a_server_that_closes_lets_go_of_a_trace_that_ended(void **state)
{
	struct bench *bench = *state;
	int fd = begin(bench, "");

	run(bench);
	stream_end(bench->daemon.stream); /* and no run before the end */
	close(fd);
}

/* ---- lines ---- */

static struct lb_trace_event event_of(uint8_t proto)
{
	struct lb_trace_event event = {
		.length = 74,
		.backend = 7,
		.captured = 5,
		.verdict = XDP_REDIRECT,
		.counter = LB_COUNTER_COUNT,
		.state = LB_STATE_SYN_SENT,
		.flags = LB_TRACE_NEW,
		.family = 2,
		.proto = proto,
		.saddr = { 0, 0, htonl(0xffff), htonl(0x0a090002) },
		.daddr = { 0, 0, htonl(0xffff), htonl(0x0a000001) },
		.sport = htons(40000),
		.dport = htons(80),
		.mode = LB_MODE_L2,
		.tcp_flags = 0x12,
		.frame = "hello",
	};

	return event;
}

static void expect_line(const struct lb_trace_packet *packet, bool frame, const char *want)
{
	struct buf buf;

	buf_init(&buf);
	trace_json_packet(&buf, packet, frame);
	assert_false(buf_failed(&buf));
	assert_string_equal(buf.data, want);
	buf_done(&buf);
}

static void a_packet_is_a_line(void **state)
{
	struct lb_trace_event event = event_of(IPPROTO_TCP);
	struct lb_trace_packet packet = { .event = &event,
					  .time_ns = 1767323045000000007,
					  .interface = "eth0",
					  .service = "we\"b",
					  .has_backend = true,
					  .backend = { { 0, 0, htonl(0xffff), htonl(0x0a010001) } },
					  .backend_port = 8080 };

	expect_line(&packet, true,
		    "{\"event\":\"packet\",\"time\":\"2026-01-02T03:04:05.000000007Z\","
		    "\"interface\":\"eth0\",\"length\":74,\"protocol\":\"tcp\",\"source\":"
		    "\"10.9.0.2:40000\",\"destination\":\"10.0.0.1:80\",\"tcp_flags\":\"SYN,ACK\","
		    "\"action\":\"forward\",\"reason\":\"forwarded\",\"meaning\":\"Sent to the "
		    "backend\",\"service\":\"we\\\"b\",\"backend_id\":7,\"backend\":"
		    "\"10.1.0.1:8080\",\"direction\":\"to_backend\",\"mode\":\"l2\",\"state\":"
		    "\"syn_sent\",\"new\":true,\"frame\":\"aGVsbG8=\"}\n");
}

static void what_a_packet_has_not_is_null(void **state)
{
	struct lb_trace_event event = event_of(IPPROTO_ICMP);
	struct lb_trace_packet packet = { .event = &event, .interface = "" };

	event.counter = LB_NOT_OURS;
	event.verdict = XDP_PASS;
	event.state = LB_STATES;
	event.flags = 0;
	expect_line(&packet, false,
		    "{\"event\":\"packet\",\"time\":\"1970-01-01T00:00:00.000000000Z\","
		    "\"interface\":\"\",\"length\":74,\"protocol\":\"icmp\",\"source\":"
		    "\"10.9.0.2\",\"destination\":\"10.0.0.1\",\"tcp_flags\":null,\"action\":"
		    "\"pass\",\"reason\":\"not_ours\",\"meaning\":\"No service on this port\","
		    "\"service\":null,\"backend_id\":null,\"backend\":null,\"direction\":null,"
		    "\"mode\":null,\"state\":null,\"new\":false}\n");
}

static const struct action {
	uint8_t verdict;
	uint8_t counter;
	const char *action;
} actions[] = {
	{ XDP_TX, LB_COUNTER_COUNT, "forward" }, { XDP_REDIRECT, LB_COUNTER_COUNT, "forward" },
	{ XDP_TX, LB_ICMP_ERROR, "forward" },	 { XDP_TX, LB_RESET, "answer" },
	{ XDP_TX, LB_ECHO, "answer" },		 { XDP_PASS, LB_NO_BACKEND, "pass" },
	{ XDP_DROP, LB_NO_ROUTE, "drop" },	 { XDP_ABORTED, LB_COUNTER_COUNT, "drop" },
};

static void actions_follow_verdict_and_counter(void **state)
{
	for (size_t i = 0; i < sizeof(actions) / sizeof(*actions); i++) {
		struct lb_trace_event event = { .verdict = actions[i].verdict,
						.counter = actions[i].counter };

		assert_string_equal(lb_trace_action(&event), actions[i].action);
	}
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
		TEST(what_makes_no_sense_is_refused_before_anything_is_traced),
		TEST(every_parameter_reaches_the_filter),
		TEST(a_second_trace_is_a_conflict),
		TEST(head_traces_nothing),
		TEST(lines_come_as_they_are_written),
		TEST(others_are_answered_meanwhile),
		TEST(a_client_that_goes_is_noticed_though_nothing_is_written),
		TEST(what_a_client_does_not_read_waits_here),
		TEST(a_server_that_closes_lets_go_of_a_trace_that_ended),
		cmocka_unit_test(a_packet_is_a_line),
		cmocka_unit_test(what_a_packet_has_not_is_null),
		cmocka_unit_test(actions_follow_verdict_and_counter),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
