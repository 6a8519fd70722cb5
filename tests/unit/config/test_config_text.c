#include "config_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "config/config_text.h"

static void test_the_distance_counts_single_slips(void **state)
{
	static const struct {
		const char *a, *b;
		unsigned int distance;
	} rows[] = {
		{ "", "", 0 },
		{ "a", "", 1 },
		{ "interface", "interface", 0 },
		{ "interfce", "interface", 1 },
		{ "intreface", "interface", 1 },
		{ "kitten", "sitting", 3 },
		{ "ab", "ba", 1 },
		{ "an_endless_name_that_nobody_would_type", "x", 32 },
	};

	for (size_t i = 0; i < COUNT(rows); i++)
		assert_int_equal(text_distance(rows[i].a, rows[i].b), rows[i].distance);
}

static void test_characters_are_read_as_utf8_or_refused(void **state)
{
	static const struct {
		const char *text;
		size_t len;
		uint32_t rune;
	} rows[] = {
		{ "a", 1, 'a' },
		{ "\xc3\xa4", 2, 0xe4 },
		{ "\xe2\x82\xac", 3, 0x20ac },
		{ "\xf0\x9f\x98\x80", 4, 0x1f600 },
		{ "\xc0\x80", 0, 0xfffd },	   /* overlong */
		{ "\xe0\x80\x80", 0, 0xfffd },	   /* overlong */
		{ "\xed\xa0\x80", 0, 0xfffd },	   /* a surrogate */
		{ "\xf4\x90\x80\x80", 0, 0xfffd }, /* above U+10FFFF */
		{ "\x80", 0, 0xfffd },
		{ "\xff", 0, 0xfffd },
		{ "\xc3", 0, 0xfffd }, /* cut */
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		uint32_t rune;

		assert_int_equal(text_rune(rows[i].text, strlen(rows[i].text), &rune), rows[i].len);
		assert_int_equal(rune, rows[i].rune);
	}
}

static void test_secrets_are_hidden_in_text_that_is_no_yaml(void **state)
{
	static const struct {
		const char *text, *shown;
	} rows[] = {
		{ "port: 80\n", "port: 80\n" },
		{ "# auth: like this\nport: 80\n", "# auth: like this\nport: 80\n" },
		{ "bearer: abc # x\nport: 80\n", "bearer: *** * *\nport: 80\n" },
		{ "baerer: abc\n", "baerer: ***\n" },
		{ "\"password\" : abc\n", "\"password\" : ***\n" },
		{ "auth:\n  bearr: abc\nport: 80\n", "auth:\n  bearr: ***\nport: 80\n" },
		{ "auth:\n  other: abc\n\n  more\nport: 80\n",
		  "auth:\n  ****** ***\n\n  ****\nport: 80\n" },
		{ "bearer: >\n  abc\n  d: e\nport: 80\n", "bearer: *\n  ***\n  ** *\nport: 80\n" },
		{ "a: {token: \"x\ny: z\n", "a: {token: **\n** *\n" },
		{ "a: {token:\nxyz, b: c}\nport: 80\n", "a: {token:\n**** ** **\nport: 80\n" },
		{ "a: {auth: {b: c\nd: e}}", "a: {auth: *** *\n** ***" },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		char *text = strdup(rows[i].text);

		text_hide_secrets(text, strlen(text));
		assert_string_equal(text, rows[i].shown);
		free(text);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_the_distance_counts_single_slips),
		cmocka_unit_test(test_characters_are_read_as_utf8_or_refused),
		cmocka_unit_test(test_secrets_are_hidden_in_text_that_is_no_yaml),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
