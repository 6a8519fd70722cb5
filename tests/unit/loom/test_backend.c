#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "loom/backend.h"

static void a_target_is_an_address_and_a_port(void **state)
{
	static const struct {
		const char *text;
		const char *address; /* NULL: refused */
		uint16_t port;
	} rows[] = {
		{ "10.0.1.10:8080", "10.0.1.10", 8080 },
		{ "10.0.1.10:0", "10.0.1.10", 0 },
		{ "[2001:db8::1]:65535", "2001:db8::1", 65535 },
		{ "[::ffff:10.0.0.1]:1", "::ffff:10.0.0.1", 1 },
		{ "", NULL },
		{ ":", NULL },
		{ ":80", NULL },
		{ "10.0.1.10", NULL },
		{ "10.0.1.10:", NULL },
		{ "10.0.1.10:65536", NULL },
		{ "10.0.1.10:-1", NULL },
		{ "10.0.1.10:http", NULL },
		{ "10.0.1:80", NULL },
		{ "2001:db8::1:80", NULL },
		{ "[10.0.1.10]:80", NULL },
		{ "[]:80", NULL },
		{ "[:80", NULL },
		{ "]:80", NULL },
		{ "[2001:db8::1]80", NULL },
		{ "example.org:80", NULL },
		{ "[0000:0000:0000:0000:0000:0000:0000:0000:0000:0000:0000]:80", NULL },
	};
	char address[46];
	uint16_t port;
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct err err = { 0 };
		int r = backend_parse_target(rows[i].text, address, &port, &err);

		print_message("  '%s'\n", rows[i].text);
		assert_int_equal(r, rows[i].address ? 0 : -EINVAL);
		if (r < 0) {
			assert_int_equal(strncmp(err.text, "cannot use '", 12), 0);
			continue;
		}
		assert_string_equal(address, rows[i].address);
		assert_int_equal(port, rows[i].port);
	}
}

static void a_mismatch_names_the_member_and_the_first_one_stays(void **state)
{
	json_t *json = json_pack("{s:i, s:s, s:{s:n}}", "n", -1, "t", "x", "o", "m");
	struct err err = { 0 };
	struct reply reply = { "GET /x", &err };

	assert_string_equal(reply_text(&reply, json, "t"), "x");
	assert_string_equal(reply_text_or(&reply, json, "o.m", "none"), "none");
	assert_int_equal(reply_result(&reply), 0);
	assert_string_equal(reply_text(&reply, json, "o.m"), "");
	assert_int_equal(reply_count(&reply, json, "n"), 0);
	assert_int_equal(reply_count(&reply, json, "t.n"), 0);
	assert_null(reply_array(&reply, json, "gone"));
	assert_int_equal(reply_result(&reply), -EBADMSG);
	assert_non_null(strstr(err.text, "GET /x: 'o.m' should be text"));
	json_decref(json);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_target_is_an_address_and_a_port),
		cmocka_unit_test(a_mismatch_names_the_member_and_the_first_one_stays),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
