#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/buf.h"

static bool no_memory;

void *__wrap_realloc(void *old, size_t size);
void *__real_realloc(void *old, size_t size);

void *__wrap_realloc(void *old, size_t size)
{
	return no_memory ? NULL : __real_realloc(old, size);
}

static void what_is_appended_stands_one_after_the_other(void **state)
{
	struct buf buf;

	buf_init(&buf);
	buf_append(&buf, "ab\0c", 4);
	buf_printf(&buf, "%d-%s", 42, "x");
	assert_int_equal(buf.len, 8);
	assert_memory_equal(buf.data, "ab\0c42-x", 9);
	assert_false(buf_failed(&buf));
	buf_done(&buf);
	assert_null(buf.data);
}

static void it_grows_past_every_size_and_stays_terminated(void **state)
{
	struct buf buf;

	for (size_t step = 1; step < 1000; step += 37) {
		buf_init(&buf);
		for (size_t i = 0; i < 3000; i++) {
			char text[1000];

			memset(text, 'a' + (int)(i % 26), step);
			buf_append(&buf, text, step);
			assert_int_equal(buf.len, (i + 1) * step);
			assert_int_equal(buf.data[buf.len], '\0');
			assert_true(buf.cap > buf.len);
		}
		assert_int_equal(buf.data[0], 'a');
		assert_int_equal(buf.data[step], 'b');
		buf_done(&buf);
	}
}

static void a_printed_text_may_be_longer_than_the_buffer(void **state)
{
	struct buf buf;

	buf_init(&buf);
	for (int width = 250; width < 260; width++)
		buf_printf(&buf, "%*d", width, 7);
	buf_printf(&buf, "%100000d", 7);
	assert_int_equal(buf.len, 2545 + 100000);
	assert_int_equal(strlen(buf.data), buf.len);
	buf_done(&buf);
}

static void taking_hands_the_text_over(void **state)
{
	struct buf buf;
	char *text;

	buf_init(&buf);
	buf_printf(&buf, "mine");
	text = buf_take(&buf);
	assert_string_equal(text, "mine");
	assert_null(buf.data);
	assert_int_equal(buf.len, 0);
	free(text);
	text = buf_take(&buf);
	assert_string_equal(text, "");
	free(text);
}

static void without_memory_nothing_more_is_appended_and_nothing_handed_over(void **state)
{
	struct buf buf;

	buf_init(&buf);
	buf_printf(&buf, "kept");
	no_memory = true;
	buf_printf(&buf, "%1000d", 1);
	no_memory = false;
	assert_true(buf_failed(&buf));
	buf_append(&buf, "x", 1);
	assert_int_equal(buf.len, 4);
	assert_string_equal(buf.data, "kept");
	assert_null(buf_take(&buf));
	assert_false(buf_failed(&buf));
	assert_null(buf.data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_is_appended_stands_one_after_the_other),
		cmocka_unit_test(it_grows_past_every_size_and_stays_terminated),
		cmocka_unit_test(a_printed_text_may_be_longer_than_the_buffer),
		cmocka_unit_test(taking_hands_the_text_over),
		cmocka_unit_test(without_memory_nothing_more_is_appended_and_nothing_handed_over),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
