#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "sys/cpus.h"

static const struct row {
	const char *list;
	const char *list_again; /* NULL: refused with r */
	const char *mask;
	uint32_t count;
	int r;
} rows[] = {
	{ "", "", "0", 0, 0 },
	{ "\n", "", "0", 0, 0 },
	{ "0", "0", "1", 1, 0 },
	{ "0-3,8\n", "0-3,8", "10f", 5, 0 },
	{ "3,1,2", "1-3", "e", 3, 0 },
	{ "31-32", "31-32", "1,80000000", 2, 0 },
	{ "64", "64", "1,00000000,00000000", 1, 0 },
	{ "8191", "8191", NULL, 1, 0 },
	{ "8192", NULL, NULL, 0, -ERANGE },
	{ "99999999999999999999", NULL, NULL, 0, -ERANGE },
	{ "3-1", NULL, NULL, 0, -EINVAL },
	{ "1,", NULL, NULL, 0, -EINVAL },
	{ ",1", NULL, NULL, 0, -EINVAL },
	{ "1-", NULL, NULL, 0, -EINVAL },
	{ "-1", NULL, NULL, 0, -EINVAL },
	{ "1 2", NULL, NULL, 0, -EINVAL },
	{ "0x1", NULL, NULL, 0, -EINVAL },
};

static void a_list_is_read_and_written_as_the_kernel_does(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		const struct row *row = &rows[i];
		struct cpus set;
		struct cpus again;
		struct buf text;

		assert_int_equal(cpus_parse_list(&set, row->list), row->r);
		if (row->r < 0)
			continue;
		assert_int_equal(cpus_count(&set), row->count);
		buf_init(&text);
		cpus_print_list(&set, &text);
		assert_string_equal(text.data, row->list_again);
		buf_done(&text);
		cpus_print_mask(&set, &text);
		if (row->mask)
			assert_string_equal(text.data, row->mask);
		assert_int_equal(cpus_parse_mask(&again, text.data), 0);
		assert_true(cpus_equal(&set, &again));
		buf_done(&text);
	}
}

static void a_mask_may_be_wider_than_its_cpus_and_must_be_one(void **state)
{
	char wide[CPUS_MAX / 4 + 8];
	struct cpus set;

	assert_int_equal(cpus_parse_mask(&set, "00000000,0000000A\n"), 0);
	assert_true(cpus_has(&set, 1) && cpus_has(&set, 3) && cpus_count(&set) == 2);
	assert_int_equal(cpus_parse_mask(&set, ""), -EINVAL);
	assert_int_equal(cpus_parse_mask(&set, "g"), -EINVAL);
	assert_int_equal(cpus_parse_mask(&set, "1 1"), -EINVAL);
	memset(wide, '0', sizeof(wide));
	wide[sizeof(wide) - 1] = '\0';
	assert_int_equal(cpus_parse_mask(&set, wide), 0);
	assert_int_equal(cpus_count(&set), 0);
	wide[0] = '1';
	assert_int_equal(cpus_parse_mask(&set, wide), -ERANGE);
}

static void who_is_not_online_is_named(void **state)
{
	struct cpus wanted;
	struct cpus online;
	struct err err = { 0 };

	assert_int_equal(cpus_parse_list(&wanted, "1,5,7"), 0);
	assert_int_equal(cpus_parse_list(&online, "0-5"), 0);
	assert_int_equal(cpus_check_online(&wanted, &online, &err), -ENXIO);
	assert_string_equal(err.text,
			    "cannot use CPU 7: it is not online; name some of 0-5, or 'all'");
	assert_int_equal(cpus_parse_list(&online, "0-7"), 0);
	assert_int_equal(cpus_check_online(&wanted, &online, &err), 0);
}

static void the_machine_has_cpus_and_a_place_without_sys_says_so(void **state)
{
	struct cpus online;
	struct err err = { 0 };

	assert_int_equal(cpus_online(&online, "", &err), 0);
	assert_true(cpus_count(&online) > 0);
	assert_int_equal(cpus_online(&online, "/nowhere", &err), -ENOENT);
	assert_non_null(strstr(err.text, "/nowhere/sys/devices/system/cpu/online"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_list_is_read_and_written_as_the_kernel_does),
		cmocka_unit_test(a_mask_may_be_wider_than_its_cpus_and_must_be_one),
		cmocka_unit_test(who_is_not_online_is_named),
		cmocka_unit_test(the_machine_has_cpus_and_a_place_without_sys_says_so),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
