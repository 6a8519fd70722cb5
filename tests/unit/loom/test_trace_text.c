#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "loom/trace_text.h"

static const char dropped[] =
	"{\"event\": \"packet\", \"time\": \"2026-01-02T03:04:05.000000007Z\", \"interface\": "
	"\"eth0\", \"length\": 60, \"protocol\": \"udp\", \"source\": \"10.9.0.2:4\", "
	"\"destination\": \"10.0.0.1:53\", \"tcp_flags\": null, \"action\": \"drop\", \"reason\": "
	"\"no_route\", \"meaning\": \"No route\", \"service\": \"d\\u001b[2Jns\", \"backend_id\": "
	"3, "
	"\"backend\": \"10.1.0.1:53\", \"direction\": null, \"mode\": null, \"state\": null, "
	"\"new\": false}";

static void times_are_read_strictly(void **state)
{
	static const char *const bad[] = { "",
					   "2026-01-02T03:04:05Z",
					   "2026-01-02T03:04:05.1Z",
					   "2026-01-02T03:04:05.0000000001Z",
					   "2026-01-02T03:04:05.000000001",
					   "2026-01-02 03:04:05.000000001Z" };
	uint64_t ns;

	assert_int_equal(trace_text_time("1970-01-01T00:00:00.000000001Z", &ns), 0);
	assert_int_equal(ns, 1);
	assert_int_equal(trace_text_time("2026-01-02T03:04:05.999999999Z", &ns), 0);
	assert_int_equal(ns, 1767323045999999999);
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++)
		assert_int_equal(trace_text_time(bad[i], &ns), -EINVAL);
}

static void base64_is_that_of_rfc_4648(void **state)
{
	static const char *const rows[][2] = {
		{ "", "" },	   { "Zg==", "f" },	   { "Zm8=", "fo" },
		{ "Zm9v", "foo" }, { "Zm9vYg==", "foob" }, { "/+8A", "\xff\xef" }
	};
	static const char *const bad[] = { "Z", "Zg=", "Zg", "====", "Zm9v!g==", "Z=9v" };
	struct buf buf;

	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		buf_init(&buf);
		assert_int_equal(trace_text_base64(rows[i][0], &buf), 0);
		assert_string_equal(buf.data ? buf.data : "", rows[i][1]);
		buf_done(&buf);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		buf_init(&buf);
		assert_int_equal(trace_text_base64(bad[i], &buf), -EINVAL);
		buf_done(&buf);
	}
}

static void a_comment_says_what_and_why_and_leaves_out_what_is_not(void **state)
{
	struct err err = { 0 };
	struct reply reply = { "GET /ebpf/trace", &err };
	json_t *packet = json_loads(dropped, 0, NULL);
	struct buf buf;

	assert_non_null(packet);
	buf_init(&buf);
	json_object_set_new(packet, "service", json_string("dns"));
	trace_text_comment(&buf, &reply, packet);
	assert_string_equal(buf.data,
			    "drop: no_route (No route); service=dns backend=3 (10.1.0.1:53)");
	buf_done(&buf);
	json_object_set_new(packet, "service", json_null());
	json_object_set_new(packet, "backend", json_null());
	trace_text_comment(&buf, &reply, packet);
	assert_string_equal(buf.data, "drop: no_route (No route)");
	assert_int_equal(err.code, 0);
	buf_done(&buf);
	json_decref(packet);
}

static void a_line_is_aligned_and_safe_for_a_terminal(void **state)
{
	struct err err = { 0 };
	struct reply reply = { "GET /ebpf/trace", &err };
	json_t *packet = json_loads(dropped, 0, NULL);
	struct trace_columns columns;
	char *text = NULL;
	size_t len = 0;
	FILE *out = open_memstream(&text, &len);
	const char *second;

	assert_true(packet && out);
	setenv("TZ", "UTC", 1);
	trace_text_head(&columns, out);
	trace_text_print(&columns, &reply, packet, out);
	fclose(out);
	second = strchr(text, '\n') + 1;
	assert_int_equal(strstr(text, "SOURCE") - text, strstr(second, "10.9.0.2:4 ") - second);
	assert_int_equal(strstr(text, "ACTION") - text, strstr(second, "drop ") - second);
	assert_ptr_equal(strstr(second, "03:04:05.000000  eth0"), second);
	assert_null(strchr(text, '\033'));
	assert_non_null(strstr(second, "d\\x1b[2Jns  3 (10.1.0.1:53)  -\n"));
	json_decref(packet);
	free(text);
}

static void a_line_of_another_shape_is_said(void **state)
{
	struct err err = { 0 };
	struct reply reply = { "GET /ebpf/trace", &err };
	json_t *packet = json_loads(dropped, 0, NULL);
	struct buf buf;

	buf_init(&buf);
	json_object_del(packet, "reason");
	trace_text_comment(&buf, &reply, packet);
	assert_int_equal(reply_result(&reply), -EBADMSG);
	assert_non_null(strstr(err.text, "'reason'"));
	buf_done(&buf);
	json_decref(packet);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(times_are_read_strictly),
		cmocka_unit_test(base64_is_that_of_rfc_4648),
		cmocka_unit_test(a_comment_says_what_and_why_and_leaves_out_what_is_not),
		cmocka_unit_test(a_line_is_aligned_and_safe_for_a_terminal),
		cmocka_unit_test(a_line_of_another_shape_is_said),
	};

	return cmocka_run_group_tests_name("trace text", tests, NULL, NULL);
}
