#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health/dns_wire.h"

#define ID 0xbeef

static void queries_have_the_wire_form(void **state)
{
	static const uint8_t expected[] =
		"\xbe\xef\1\0\0\1\0\0\0\0\0\0\3www\4loom\4test\0\0\x1c\0\1";
	uint8_t query[DNS_QUERY_MAX];

	assert_int_equal(dns_query(query, ID, "www.loom.test", "AAAA"), sizeof(expected) - 1);
	assert_memory_equal(query, expected, sizeof(expected) - 1);
	assert_int_equal(dns_query(query, ID, "www.loom.test.", "aaaa"), sizeof(expected) - 1);
	assert_memory_equal(query, expected, sizeof(expected) - 1);
	assert_int_equal(dns_query(query, ID, ".", "NS"), 17);
	assert_memory_equal(query + 12, "\0\0\2\0\1", 5);
}

static void names_that_no_name_server_takes_are_refused(void **state)
{
	static const char *const bad[] = {
		"..", ".a", "a..b",
		"a234567890123456789012345678901234567890123456789012345678901234.b"
	};
	uint8_t query[DNS_QUERY_MAX];
	char longest[260];

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(dns_query(query, ID, bad[i], "A"), -EINVAL);
	assert_int_equal(dns_query(query, ID, "a", "MX"), -EINVAL);
	for (size_t i = 0; i < sizeof(longest); i++)
		longest[i] = i % 2 ? '.' : 'a';
	longest[253] = '\0'; /* 127 labels of one letter: 255 bytes */
	assert_int_equal(dns_query(query, ID, longest, "A"), DNS_QUERY_MAX);
	longest[253] = '.';
	longest[254] = 'a';
	longest[255] = '\0';
	assert_int_equal(dns_query(query, ID, longest, "A"), -EINVAL);
}

/* What becomes of the answer to "www.loom.test A" when bytes of a good one are changed. */
static const struct {
	const char *what;
	size_t at;
	uint8_t byte;
	size_t len; /* 0: all */
	int r;
	const char *fault; /* NULL: a good answer */
} cases[] = {
	{ "NOERROR", 3, 0x80, 0, 0, NULL },
	{ "NXDOMAIN", 3, 0x83, 0, 0, NULL },
	{ "truncated (TC)", 2, 0x83, 0, 0, NULL },
	{ "another case of letters", 13, 'W', 0, 0, NULL },
	{ "SERVFAIL", 3, 0x82, 0, -EPROTO, "SERVFAIL" },
	{ "REFUSED", 3, 0x85, 0, -EPROTO, "REFUSED" },
	{ "REFUSED, header alone", 3, 0x85, 12, -EPROTO, "REFUSED" },
	{ "an unknown rcode", 3, 0x8b, 0, -EPROTO, "rcode 11" },
	{ "another id", 0, 0, 0, -EAGAIN, "it has another id" },
	{ "a query", 2, 0x01, 0, -EAGAIN, "it is a query" },
	{ "another opcode", 2, 0xa1, 0, -EPROTO, "it has another opcode" },
	{ "no question", 5, 0, 0, -EPROTO, "it does not repeat the question" },
	{ "two questions", 5, 2, 0, -EPROTO, "it does not repeat the question" },
	{ "257 questions", 4, 1, 0, -EPROTO, "it does not repeat the question" },
	{ "another name", 13, 'x', 0, -EAGAIN, "it answers another question" },
	{ "another type", 28, 2, 0, -EAGAIN, "it answers another question" },
	{ "cut within the question", 3, 0x80, 20, -EAGAIN, "it answers another question" },
	{ "cut within the header", 3, 0x80, 11, -EAGAIN, "it is shorter than a DNS header" },
	{ "empty", 3, 0x80, SIZE_MAX, -EAGAIN, "it is shorter than a DNS header" },
};

static void answers_are_judged(void **state)
{
	uint8_t query[DNS_QUERY_MAX];
	size_t len = (size_t)dns_query(query, ID, "www.loom.test", "A");

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint8_t answer[DNS_QUERY_MAX];
		size_t answer_len = cases[i].len == SIZE_MAX ? 0
				    : cases[i].len	     ? cases[i].len
							     : len;
		const char *fault;
		int r;

		memcpy(answer, query, len);
		answer[2] = 0x81;
		answer[3] = 0x80;
		answer[cases[i].at] = cases[i].byte;
		fault = dns_answer_fault(query, len, answer, answer_len, &r);
		if (r != cases[i].r ||
		    (fault ? !cases[i].fault || strcmp(fault, cases[i].fault) != 0
			   : cases[i].fault != NULL))
			fail_msg("%s: %d, %s", cases[i].what, r, fault ? fault : "good");
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(queries_have_the_wire_form),
		cmocka_unit_test(names_that_no_name_server_takes_are_refused),
		cmocka_unit_test(answers_are_judged),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
