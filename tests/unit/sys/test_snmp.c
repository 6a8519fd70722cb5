#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdlib.h>

#include "sys/snmp.h"

static const char text[] = "Ip: Forwarding DefaultTTL\nIp: 1 64\n"
			   "TcpMore: OutRsts\nTcpMore: 3\n"
			   "Tcp: RtoAlgorithm MaxConn OutSegs OutRsts InCsumErrors\n"
			   "Tcp: 1 -1 18446744073709551615 77 0\n"
			   "Udp: InDatagrams OutRsts\nUdp: 5 6\n"
			   "Icmp: InMsgs\n";

static void a_value_is_found_below_its_name(void **state)
{
	uint64_t value = 0;

	assert_int_equal(snmp_parse(text, "Tcp", "OutRsts", &value), 0);
	assert_int_equal(value, 77);
	assert_int_equal(snmp_parse(text, "Udp", "OutRsts", &value), 0);
	assert_int_equal(value, 6);
	assert_int_equal(snmp_parse(text, "Tcp", "OutSegs", &value), 0);
	assert_true(value == UINT64_MAX);
	assert_int_equal(snmp_parse(text, "Udp", "InDatagrams", &value), 0);
	assert_int_equal(value, 5);
}

static void what_is_not_there_is_not_found(void **state)
{
	uint64_t value = 9;

	assert_int_equal(snmp_parse(text, "Tcp", "OutRst", &value), -ENOENT);
	assert_int_equal(snmp_parse(text, "Tcp", "OutRstsMore", &value), -ENOENT);
	assert_int_equal(snmp_parse(text, "Tcp", "InDatagrams", &value), -ENOENT);
	assert_int_equal(snmp_parse(text, "Sctp", "OutRsts", &value), -ENOENT);
	assert_int_equal(snmp_parse(text, "Icmp", "InMsgs", &value), -ENOENT);
	assert_int_equal(snmp_parse("", "Tcp", "OutRsts", &value), -ENOENT);
	assert_int_equal(snmp_parse("Tcp: OutRsts", "Tcp", "OutRsts", &value), -ENOENT);
	assert_int_equal(value, 9);
}

static void the_kernel_has_it(void **state)
{
	char *file = malloc(SNMP_TEXT_SIZE);
	uint64_t value;

	assert_non_null(file);
	assert_int_equal(snmp_read("snmp", file), 0);
	assert_int_equal(snmp_parse(file, "Tcp", "OutRsts", &value), 0);
	assert_int_equal(snmp_read("netstat", file), 0);
	assert_int_equal(snmp_parse(file, "TcpExt", "TCPAbortOnClose", &value), 0);
	assert_int_equal(snmp_read("no such file", file), -ENOENT);
	free(file);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_value_is_found_below_its_name),
		cmocka_unit_test(what_is_not_there_is_not_found),
		cmocka_unit_test(the_kernel_has_it),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
