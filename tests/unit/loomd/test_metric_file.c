#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "loomd/metric_file.h"

static void numbers_are_told_in_thousandths(void **state)
{
	static const struct {
		const char *text;
		uint64_t value;
	} cases[] = {
		{ "0", 0 },
		{ "12", 12000 },
		{ "12.5\n", 12500 },
		{ " 12.5 ", 12500 },
		{ "0.001", 1 },
		{ "0.0019", 1 },
		{ ".25", 250 },
		{ "7.", 7000 },
		{ "1.234567", 1234 },
		{ "000012", 12000 },
		{ "1000000000000000", 1000000000000000000 },
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t value = 0;

		if (metric_parse(cases[i].text, &value) != 0 || value != cases[i].value)
			fail_msg("\"%s\": %llu", cases[i].text, (unsigned long long)value);
	}
}

static void anything_else_is_no_number(void **state)
{
	static const char *const cases[] = { "",
					     " ",
					     ".",
					     "-1",
					     "+1",
					     "1 2",
					     "1e3",
					     "0x10",
					     "nan",
					     "1,5",
					     "1.2.3",
					     "12ms",
					     "1000000000000001",
					     "99999999999999999999999" };

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		uint64_t value = 9;

		if (metric_parse(cases[i], &value) != -EINVAL || value != 9)
			fail_msg("\"%s\" is taken for a number", cases[i]);
	}
}

static void only_a_regular_file_is_read(void **state)
{
	char dir[] = "/tmp/loom-metric-XXXXXX", path[64];
	struct err err = { 0 };
	uint64_t value;
	FILE *file;

	assert_non_null(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/m", dir);
	assert_int_equal(metric_read(path, &value, &err), -ENOENT);
	file = fopen(path, "w");
	assert_non_null(file);
	fputs("3.5\n", file);
	fclose(file);
	assert_int_equal(metric_read(path, &value, &err), 0);
	assert_int_equal(value, 3500);
	unlink(path);
	assert_int_equal(mkfifo(path, 0600), 0);
	assert_int_equal(metric_read(path, &value, &err), -EINVAL);
	unlink(path);
	assert_int_equal(metric_read(dir, &value, &err), -EINVAL);
	rmdir(dir);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_are_told_in_thousandths),
		cmocka_unit_test(anything_else_is_no_number),
		cmocka_unit_test(only_a_regular_file_is_read),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
