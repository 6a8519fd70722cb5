#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"
#include "sys/ports.h"

static const struct row {
	uint32_t low, high; /* the kernel's own */
	int error;
	uint16_t first, last;
} rows[] = {
	{ 32768, 60999, 0, 1024, 32767 },  /* the kernel's default: more room below */
	{ 10000, 20000, 0, 20001, 65535 }, /* more above */
	{ 2048, 65535, 0, 1024, 2047 },	   /* just enough below */
	{ 1024, 64511, 0, 64512, 65535 },  /* just enough above */
	{ 2047, 64512, -EINVAL },	   /* one short on either side */
	{ 1, 65535, -EINVAL },		   /* nothing */
	{ 1, 1023, 0, 1024, 65535 },	   /* all of it */
	{ 33279, 33280, 0, 1024, 33278 },  /* as much below as above */
};

static void nat_takes_the_larger_room_beside_the_kernels_ports(void **state)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		uint16_t first = 0, last = 0;

		assert_int_equal(ports_beside(rows[i].low, rows[i].high, &first, &last),
				 rows[i].error);
		assert_int_equal(first, rows[i].first);
		assert_int_equal(last, rows[i].last);
	}
}

static void what_is_configured_is_taken_as_it_is(void **state)
{
	uint16_t first, last;

	assert_int_equal(ports_for_nat(40000, 40001, &first, &last, NULL), 0);
	assert_int_equal(first, 40000);
	assert_int_equal(last, 40001);
}

static void the_range_of_this_namespace_counts(void **state)
{
	struct err err = { 0 };
	uint16_t first, last;

	if (geteuid() != 0)
		skip();
	lab_open();
	lab_here("echo 10000 20000 >/proc/sys/net/ipv4/ip_local_port_range");
	assert_int_equal(ports_for_nat(0, 0, &first, &last, NULL), 0);
	assert_int_equal(first, 20001);
	assert_int_equal(last, 65535);
	lab_here("echo 1100 65000 >/proc/sys/net/ipv4/ip_local_port_range");
	assert_int_equal(ports_for_nat(0, 0, &first, &last, &err), -EINVAL);
	assert_non_null(strstr(err.text, "1100-65000"));
	assert_non_null(strstr(err.text, "ebpf.xdp.snat.ports"));
	lab_close();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nat_takes_the_larger_room_beside_the_kernels_ports),
		cmocka_unit_test(what_is_configured_is_taken_as_it_is),
		cmocka_unit_test(the_range_of_this_namespace_counts),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
