#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "base/err.h"

static void an_error_has_a_code_and_a_sentence(void **state)
{
	struct err err = { 0 };

	assert_int_equal(err_set(&err, -ENOENT, "cannot open %s: %d", "x", 7), -ENOENT);
	assert_int_equal(err.code, -ENOENT);
	assert_string_equal(err.text, "cannot open x: 7");
	assert_int_equal(err_set(&err, -EINVAL, "else"), -EINVAL);
	assert_string_equal(err.text, "else");
}

static void a_prefix_stands_before_the_sentence_and_keeps_the_code(void **state)
{
	struct err err = { 0 };

	err_set(&err, -EPERM, "inner");
	assert_int_equal(err_prefix(&err, "line %d", 3), -EPERM);
	assert_string_equal(err.text, "line 3: inner");
	assert_int_equal(err_prefix(&err, "file"), -EPERM);
	assert_string_equal(err.text, "file: line 3: inner");
}

static void nobody_has_to_listen(void **state)
{
	assert_int_equal(err_set(NULL, -EIO, "lost"), -EIO);
	assert_int_equal(err_prefix(NULL, "lost"), 0);
}

static void what_does_not_fit_is_cut(void **state)
{
	struct err err = { 0 };

	assert_int_equal(err_set(&err, -E2BIG, "%1000d", 1), -E2BIG);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	err_set(&err, -EIO, "%500s", "end");
	assert_int_equal(err_prefix(&err, "%s", "0123456789"), -EIO);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_memory_equal(err.text, "0123456789: ", 12);
	err_set(&err, -EIO, "gone");
	err_prefix(&err, "%600s", "p");
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(an_error_has_a_code_and_a_sentence),
		cmocka_unit_test(a_prefix_stands_before_the_sentence_and_keeps_the_code),
		cmocka_unit_test(nobody_has_to_listen),
		cmocka_unit_test(what_does_not_fit_is_cut),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
