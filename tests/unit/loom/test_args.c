#include <errno.h>
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <cmocka.h>

#include "loom/args.h"
#include "loom/verb.h"

struct sample {
	bool flag;
	const char *text;
	struct args_texts texts;
	struct args_number number;
	struct args_seconds seconds;
};

static const struct args_option options[] = {
	{ "flag", 'f', ARGS_FLAG, offsetof(struct sample, flag), NULL, "a flag" },
	{ "text", 't', ARGS_TEXT, offsetof(struct sample, text), "TEXT", "a text" },
	{ "each", 'e', ARGS_TEXTS, offsetof(struct sample, texts), "TEXT", "texts" },
	{ "number", 0, ARGS_NUMBER, offsetof(struct sample, number), "N", "a number", 1, 65535 },
	{ "seconds", 's', ARGS_SECONDS, offsetof(struct sample, seconds), "S", "seconds" },
	{ 0 },
};

#define WORDS_MAX 6

struct row {
	const char *name;
	const char *words[WORDS_MAX];
	bool stop;
	struct sample want;
	const char *operands[WORDS_MAX];
	const char *complaint; /* part of it; NULL: none */
};

static const struct row rows[] = {
	{ "nothing is nothing", { NULL } },
	{ "a flag by name", { "--flag" }, .want = { .flag = true } },
	{ "a flag by letter", { "-f" }, .want = { .flag = true } },
	{ "a value in the next word", { "--text", "a" }, .want = { .text = "a" } },
	{ "a value after the equals sign", { "--text=a=b" }, .want = { .text = "a=b" } },
	{ "an empty value after the equals sign", { "--text=" }, .want = { .text = "" } },
	{ "a letter's value in the next word", { "-t", "-f" }, .want = { .text = "-f" } },
	{ "the last of two wins", { "--text=a", "--text=b" }, .want = { .text = "b" } },
	{ "one of a repeated option", { "--each=a" }, .want = { .texts = { 1, { "a" } } } },
	{ "a repeated option keeps all, in their order",
	  { "--each", "b", "c", "-e", "a" },
	  .want = { .texts = { 2, { "b", "a" } } },
	  .operands = { "c" } },
	{ "a missing value of a repeated option", { "-e" }, .complaint = "TEXT is missing" },
	{ "a number", { "--number", "65535" }, .want = { .number = { true, 65535 } } },
	{ "optional seconds left out",
	  { "--seconds", "3" },
	  .want = { .seconds = { true, 0 } },
	  .operands = { "3" } },
	{ "seconds", { "--seconds=0.5" }, .want = { .seconds = { true, 0.5 } } },
	{ "options after operands",
	  { "a", "--flag", "b" },
	  .want = { .flag = true },
	  .operands = { "a", "b" } },
	{ "two dashes end the options", { "--", "--flag", "--" }, .operands = { "--flag", "--" } },
	{ "one dash is an operand", { "-" }, .operands = { "-" } },
	{ "the first operand stops it",
	  { "-f", "a", "--bogus", "--" },
	  true,
	  .want = { .flag = true },
	  .operands = { "a", "--bogus", "--" } },
	{ "an unknown name", { "--bogus" }, .complaint = "'--bogus': there is no such option" },
	{ "a name's beginning", { "--fla" }, .complaint = "no such option" },
	{ "a name and more", { "--flagged" }, .complaint = "no such option" },
	{ "an unknown letter", { "-x" }, .complaint = "'-x': there is no such option" },
	{ "letters in one word", { "-ft" }, .complaint = "no such option" },
	{ "a value for a flag", { "--flag=1" }, .complaint = "--flag takes no value" },
	{ "a missing value", { "--text" }, .complaint = "TEXT is missing" },
	{ "a number below", { "--number=0" }, .complaint = "from 1 to 65535" },
	{ "a number above", { "--number=65536" }, .complaint = "from 1 to 65535" },
	{ "a number beyond 64 bits",
	  { "--number=18446744073709551617" },
	  .complaint = "from 1 to 65535" },
	{ "a number with a sign", { "--number=+1" }, .complaint = "no whole number" },
	{ "a number with a blank", { "--number= 1" }, .complaint = "no whole number" },
	{ "a number that is none", { "--number=" }, .complaint = "no whole number" },
	{ "seconds too short", { "--seconds=0.01" }, .complaint = "number of seconds" },
	{ "seconds too long", { "--seconds=1e9" }, .complaint = "number of seconds" },
	{ "seconds that are no number", { "--seconds=nan" }, .complaint = "number of seconds" },
	{ "seconds with a unit", { "--seconds=1s" }, .complaint = "number of seconds" },
};

static void check_row(const struct row *row)
{
	char *argv[WORDS_MAX] = { 0 };
	struct sample got = { 0 };
	struct err err = { 0 };
	const struct args_table table = { options, &got };
	size_t count = 0;
	size_t i;

	for (; count < WORDS_MAX && row->words[count]; count++)
		argv[count] = (char *)row->words[count];
	if (row->complaint) {
		assert_int_equal(args_parse(&table, 1, argv, &count, row->stop, &err), -EINVAL);
		assert_non_null(strstr(err.text, row->complaint));
		return;
	}
	assert_int_equal(args_parse(&table, 1, argv, &count, row->stop, &err), 0);
	assert_int_equal(got.flag, row->want.flag);
	assert_int_equal(!!got.text, !!row->want.text);
	if (got.text)
		assert_string_equal(got.text, row->want.text);
	assert_int_equal(got.texts.count, row->want.texts.count);
	for (i = 0; i < got.texts.count; i++)
		assert_string_equal(got.texts.text[i], row->want.texts.text[i]);
	assert_int_equal(got.number.given, row->want.number.given);
	assert_int_equal(got.number.value, row->want.number.value);
	assert_int_equal(got.seconds.given, row->want.seconds.given);
	assert_true(got.seconds.value == row->want.seconds.value);
	for (i = 0; i < count; i++) {
		assert_non_null(row->operands[i]);
		assert_string_equal(argv[i], row->operands[i]);
	}
	assert_true(count == WORDS_MAX || !row->operands[count]);
}

static void every_row_of_the_table_holds(void **state)
{
	size_t i;

	for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		print_message("  %s\n", rows[i].name);
		check_row(&rows[i]);
	}
}

static void a_repeated_option_has_an_end(void **state)
{
	char *argv[ARGS_TEXTS_MAX + 1];
	struct sample got = { 0 };
	struct err err = { 0 };
	const struct args_table table = { options, &got };
	size_t count = ARGS_TEXTS_MAX;
	size_t i;

	for (i = 0; i <= ARGS_TEXTS_MAX; i++)
		argv[i] = (char *)"--each=x";
	assert_int_equal(args_parse(&table, 1, argv, &count, false, &err), 0);
	assert_int_equal(got.texts.count, ARGS_TEXTS_MAX);
	got.texts.count = 0;
	count = ARGS_TEXTS_MAX + 1;
	assert_int_equal(args_parse(&table, 1, argv, &count, false, &err), -EINVAL);
	assert_non_null(strstr(err.text, "another --each"));
}

static void the_longest_name_is_the_verb(void **state)
{
	char *one[] = { (char *)"backends", (char *)"bogus" };
	char *two[] = { (char *)"backends", (char *)"rm", (char *)"3" };
	char *none[] = { (char *)"backend" };
	size_t taken;

	assert_ptr_equal(verb_find(one, 2, &taken), &cmd_backends);
	assert_int_equal(taken, 1);
	assert_ptr_equal(verb_find(two, 3, &taken), &cmd_backends_rm);
	assert_int_equal(taken, 2);
	assert_null(verb_find(none, 1, &taken));
	assert_null(verb_find(none, 0, &taken));
}

static void no_option_of_a_verb_hides_a_common_one(void **state)
{
	const struct args_option *option;
	const struct args_option *common;
	size_t i;

	for (i = 0; verb_all[i]; i++) {
		for (option = verb_all[i]->options; option && option->name; option++) {
			for (common = verb_common_options; common->name; common++) {
				assert_string_not_equal(option->name, common->name);
				/* "trace -w FILE": what captures are written with everywhere; a
				 * trace is not watched. */
				assert_true(!option->letter || option->letter != common->letter ||
					    !strcmp(option->name, "write"));
			}
		}
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_row_of_the_table_holds),
		cmocka_unit_test(a_repeated_option_has_an_end),
		cmocka_unit_test(the_longest_name_is_the_verb),
		cmocka_unit_test(no_option_of_a_verb_hides_a_common_one),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
