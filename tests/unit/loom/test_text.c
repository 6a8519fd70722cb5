#include <locale.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <cmocka.h>

#include "loom/table.h"
#include "loom/text.h"

static void check(const char *text, bool lines, const char *want)
{
	struct buf buf;

	buf_init(&buf);
	text_append(&buf, text, lines);
	assert_string_equal(buf.data ? buf.data : "", want);
	buf_done(&buf);
}

static void what_a_terminal_acts_upon_is_spelled_out(void **state)
{
	check("", false, "");
	check("plain \\x1b", false, "plain \\x1b");
	check("\033[2J", false, "\\x1b[2J");
	check("a\nb\tc\rd\177", false, "a\\x0ab\\x09c\\x0dd\\x7f");
	check("a\nb\tc\rd", true, "a\nb\tc\\x0dd");
}

static void utf8_stays_unless_it_misleads(void **state)
{
	if (!setlocale(LC_CTYPE, "C.UTF-8"))
		skip();
	check("caf\303\251", false, "caf\303\251");
	check("\302\233"
	      "2J",
	      false, "\\xc2\\x9b2J");			     /* CSI as one C1 character */
	check("a\342\200\256b", false, "a\\xe2\\x80\\xaeb"); /* U+202E turns the line around */
	check("\377\303", false, "\\xff\\xc3");
	setlocale(LC_CTYPE, "C");
}

static void beyond_ascii_is_spelled_out_where_the_locale_knows_no_more(void **state)
{
	check("caf\303\251", false, "caf\\xc3\\xa9");
}

static const struct table_column columns[] = { { "NAME" }, { "N", true } };

/* What a table of two columns prints; the caller's. */
static char *printed(bool colours, size_t pages)
{
	struct table *table = table_new(columns, 2, colours);
	size_t len;
	size_t i;
	char *text;
	FILE *out = open_memstream(&text, &len);

	assert_non_null(out);
	for (i = 0; i < pages; i++) {
		table_row(table);
		table_cell(table, TERM_BAD, i ? "d" : "a\033b");
		table_cell(table, TERM_PLAIN, "%d", i ? 6 : 12345);
		table_row(table);
		table_cell(table, TERM_PLAIN, "c");
		assert_int_equal(table_print(table, out), 0);
	}
	assert_int_equal(table_print(table, out), 0);
	table_free(table);
	fclose(out);
	return text;
}

static void check_printed(bool colours, size_t pages, const char *want)
{
	char *text = printed(colours, pages);

	assert_string_equal(text, want);
	free(text);
}

static void a_table_lines_up_and_escapes_its_cells(void **state)
{
	check_printed(false, 1, "NAME        N\na\\x1bb  12345\nc       \n");
}

static void a_table_goes_on_under_the_same_headings(void **state)
{
	check_printed(false, 2,
		      "NAME        N\na\\x1bb  12345\nc       \nd           6\nc       \n");
}

static void a_table_has_colours_only_when_asked(void **state)
{
	check_printed(true, 1, "NAME        N\n\033[31ma\\x1bb\033[0m  12345\nc       \n");
}

static void an_empty_table_prints_nothing(void **state)
{
	check_printed(true, 0, "");
}

static void a_table_that_could_not_be_made_says_so_when_printed(void **state)
{
	table_row(NULL);
	table_cell(NULL, TERM_PLAIN, "a");
	assert_true(table_print(NULL, stdout) < 0);
	table_free(NULL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_a_terminal_acts_upon_is_spelled_out),
		cmocka_unit_test(utf8_stays_unless_it_misleads),
		cmocka_unit_test(beyond_ascii_is_spelled_out_where_the_locale_knows_no_more),
		cmocka_unit_test(a_table_lines_up_and_escapes_its_cells),
		cmocka_unit_test(a_table_goes_on_under_the_same_headings),
		cmocka_unit_test(a_table_has_colours_only_when_asked),
		cmocka_unit_test(an_empty_table_prints_nothing),
		cmocka_unit_test(a_table_that_could_not_be_made_says_so_when_printed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
