#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "loomd/audit_tail.h"

static int file_of(const char *text, size_t times)
{
	int fd = memfd_create("audit", MFD_CLOEXEC);

	assert_true(fd >= 0);
	for (size_t i = 0; i < times; i++)
		assert_int_equal(write(fd, text, strlen(text)), strlen(text));
	return fd;
}

static int number(const json_t *list, size_t i)
{
	return (int)json_integer_value(json_object_get(json_array_get(list, i), "n"));
}

static json_t *tail(int fd, const char *group, size_t max)
{
	json_t *list = audit_tail(fd, group, max);

	assert_non_null(list);
	close(fd);
	return list;
}

static void the_last_lines_of_the_group_come_oldest_first(void **state)
{
	json_t *list = tail(file_of("{\"group\":\"a\",\"n\":1}\n{\"group\":\"b\",\"n\":2}\n"
				    "{\"group\":\"a\",\"n\":3}\n{\"group\":\"a\",\"n\":4}\n",
				    1),
			    "a", 2);

	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(number(list, 0), 3);
	assert_int_equal(number(list, 1), 4);
	json_decref(list);
}

static void the_first_line_of_the_file_counts(void **state)
{
	json_t *list = tail(file_of("{\"group\":\"a\",\"n\":1}\n", 1), "a", 200);

	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(number(list, 0), 1);
	json_decref(list);
}

static void an_empty_file_has_none(void **state)
{
	json_t *list = tail(file_of("", 1), "a", 200);

	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
}

static void what_is_no_line_of_the_log_is_left_out(void **state)
{
	json_t *list = tail(file_of("\n\n{\"group\":\"a\",\"n\":1}\na\n[\"a\"]\n"
				    "{\"group\":[\"a\"]}\n{\"group\":\"aa\",\"n\":2}\n"
				    "{\"other\":\"a\"}\n{\"group\":\"a\",\"n\":",
				    1),
			    "a", 200);

	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(number(list, 0), 1);
	json_decref(list);
}

static void a_last_line_without_an_end_counts_if_it_is_whole(void **state)
{
	json_t *list = tail(file_of("{\"group\":\"a\",\"n\":1}\n{\"group\":\"a\",\"n\":2}", 1), "a",
			    200);

	assert_int_equal(json_array_size(list), 2);
	assert_int_equal(number(list, 1), 2);
	json_decref(list);
}

static void no_more_is_read_than_the_end_of_a_large_file(void **state)
{
	char line[1001];
	int fd;
	json_t *list;

	/* The only line of the group is further back than is looked. */
	memset(line, 'x', sizeof(line) - 2);
	line[sizeof(line) - 2] = '\n';
	line[sizeof(line) - 1] = '\0';
	fd = file_of("{\"group\":\"a\",\"n\":1}\n", 1);
	for (size_t i = 0; i < AUDIT_TAIL_BYTES / 1000 + 1; i++)
		assert_int_equal(write(fd, line, strlen(line)), strlen(line));
	list = audit_tail(fd, "a", 200);
	assert_int_equal(json_array_size(list), 0);
	json_decref(list);
	assert_int_equal(dprintf(fd, "{\"group\":\"a\",\"n\":7}\n"), 20);
	list = tail(fd, "a", 200);
	assert_int_equal(json_array_size(list), 1);
	assert_int_equal(number(list, 0), 7);
	json_decref(list);
}

static void a_transition_has_its_numbers_apart(void **state)
{
	json_t *line = json_pack("{s:s,s:s,s:s,s:s,s:s,s:i}", "at", "2023-11-14T22:13:20.125Z",
				 "group", "a", "from", "shadow", "to", "canary", "reason", "why",
				 "jain_permille", 999);
	json_t *told = audit_transition(line);
	json_t *numbers = json_object_get(told, "numbers");

	assert_int_equal(json_integer_value(json_object_get(told, "at")), 1700000000);
	assert_string_equal(json_string_value(json_object_get(told, "to")), "canary");
	assert_true(json_is_null(json_object_get(told, "actor")));
	assert_int_equal(json_object_size(numbers), 1);
	assert_int_equal(json_integer_value(json_object_get(numbers, "jain_permille")), 999);
	json_decref(told);
	json_decref(line);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_last_lines_of_the_group_come_oldest_first),
		cmocka_unit_test(the_first_line_of_the_file_counts),
		cmocka_unit_test(an_empty_file_has_none),
		cmocka_unit_test(what_is_no_line_of_the_log_is_left_out),
		cmocka_unit_test(a_last_line_without_an_end_counts_if_it_is_whole),
		cmocka_unit_test(no_more_is_read_than_the_end_of_a_large_file),
		cmocka_unit_test(a_transition_has_its_numbers_apart),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
