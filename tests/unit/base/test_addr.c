#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "base/addr.h"

#define COUNT(list) (sizeof(list) / sizeof((list)[0]))

static struct addr address(const char *text)
{
	struct addr addr;

	if (addr_parse(text, &addr) < 0)
		fail_msg("%s is no address", text);
	return addr;
}

static void addresses_are_read_and_written_in_their_usual_form(void **state)
{
	static const struct {
		const char *in;
		const char *out;
		bool v4;
	} cases[] = {
		{ "10.0.1.10", "10.0.1.10", true },
		{ "0.0.0.0", "0.0.0.0", true },
		{ "255.255.255.255", "255.255.255.255", true },
		{ "::ffff:192.0.2.1", "192.0.2.1", true },
		{ "::", "::", false },
		{ "::1", "::1", false },
		{ "2001:DB8:0:0:0::1", "2001:db8::1", false },
		{ "fe80::1:2:3:4", "fe80::1:2:3:4", false },
		{ "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
		  "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", false },
	};
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct addr addr = address(cases[i].in);

		assert_string_equal(addr_format(&addr, text), cases[i].out);
		assert_int_equal(addr_is_v4(&addr), cases[i].v4);
	}
}

static void what_is_not_wholly_an_address_is_refused(void **state)
{
	static const char *const cases[] = {
		"",	     " ",	  "10.0.0",	"10.0.0.256", "10.0.0.01",
		"10.0.0.1 ", " 10.0.0.1", "10.0.0.1/8", "1.2.3.4.5",  "0x0a.0.0.1",
		"167772161", "::g",	  ":::",	"1::2::3",    "fe80::1%eth0",
		"[::1]",     "12345::",	  "localhost",	"::1.2.3",
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct addr addr;
		struct addr untouched;

		memset(&addr, 0xa5, sizeof(addr));
		untouched = addr;
		if (addr_parse(cases[i], &addr) != -EINVAL)
			fail_msg("'%s' was taken for an address", cases[i]);
		assert_true(addr_equal(&addr, &untouched));
	}
}

static void ipv4_is_held_in_mapped_form(void **state)
{
	struct addr addr = addr_from_v4(htonl(0x0a000001));
	static const uint8_t bytes[16] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 0, 0, 1 };

	assert_memory_equal(&addr, bytes, 16);
	assert_int_equal(addr_v4(&addr), htonl(0x0a000001));
}

static void a_port_follows_a_colon_and_ipv6_is_bracketed(void **state)
{
	char text[ADDR_PORT_TEXT_LEN];
	struct addr v4 = address("255.255.255.255");
	struct addr v6 = address("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff");

	assert_string_equal(addr_port_format(&v4, 80, text), "255.255.255.255:80");
	assert_string_equal(addr_port_format(&v6, 65535, text),
			    "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535");
}

static void ipv4_sorts_before_ipv6_and_both_by_value(void **state)
{
	static const char *const sorted[] = { "0.0.0.0",   "9.255.0.0",	  "10.0.0.1",
					      "10.0.0.2",  "128.0.0.1",	  "255.255.255.255",
					      "::",	   "::1",	  "::fffe:10.0.0.1",
					      "::1:0:0:0", "2001:db8::1", "fe80::1" };

	for (size_t i = 0; i < COUNT(sorted); i++)
		for (size_t k = 0; k < COUNT(sorted); k++) {
			struct addr a = address(sorted[i]);
			struct addr b = address(sorted[k]);
			int order = addr_compare(&a, &b);

			if (order > 0 ? i <= k : order < 0 ? i >= k : i != k)
				fail_msg("%s against %s: %d", sorted[i], sorted[k], order);
			assert_int_equal(addr_equal(&a, &b), i == k);
		}
}

static void only_what_names_one_host_on_a_wire_is_unicast(void **state)
{
	static const struct {
		const char *text;
		bool any;
		bool unicast;
	} cases[] = {
		{ "0.0.0.0", true, false },
		{ "::", true, false },
		{ "0.0.0.1", false, false },
		{ "127.0.0.1", false, false },
		{ "127.255.255.255", false, false },
		{ "224.0.0.0", false, false },
		{ "239.255.255.255", false, false },
		{ "255.255.255.255", false, false },
		{ "::1", false, false },
		{ "ff00::", false, false },
		{ "ff02::1", false, false },
		{ "1.0.0.0", false, true },
		{ "126.255.255.255", false, true },
		{ "128.0.0.0", false, true },
		{ "223.255.255.255", false, true },
		{ "::2", false, false },
		{ "::192.0.2.1", false, false },
		{ "0:0:0:1::1", false, true },
		{ "fe80::1", false, true },
		{ "2001:db8::1", false, true },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct addr addr = address(cases[i].text);

		if (addr_is_any(&addr) != cases[i].any ||
		    addr_is_unicast(&addr) != cases[i].unicast)
			fail_msg("%s", cases[i].text);
	}
}

/* ---- networks ---- */

static void networks_are_read_with_their_length(void **state)
{
	static const struct {
		const char *text;
		int r;
		uint8_t length;
	} cases[] = {
		{ "10.0.0.0/8", 0, 8 },
		{ "10.0.0.1", 0, 32 },
		{ "10.0.0.1/32", 0, 32 },
		{ "0.0.0.0/0", 0, 0 },
		{ "::/0", 0, 0 },
		{ "2001:db8::/33", 0, 33 },
		{ "2001:db8::1", 0, 128 },
		{ "128.0.0.0/1", 0, 1 },
		{ "10.0.0.0/33", -ERANGE },
		{ "::/129", -ERANGE },
		{ "10.0.0.1/8", -EDOM },
		{ "2001:db8:8000::/32", -EDOM },
		{ "10.0.0.1/31", -EDOM },
		{ "0.0.0.1/0", -EDOM },
		{ "", -EINVAL },
		{ "/8", -EINVAL },
		{ "10.0.0.0/", -EINVAL },
		{ "10.0.0.0/-1", -EINVAL },
		{ "10.0.0.0/+8", -EINVAL },
		{ "10.0.0.0/ 8", -EINVAL },
		{ "10.0.0.0/8x", -EINVAL },
		{ "10.0.0.0/8/8", -EINVAL },
		{ "10.0.0.0/0x8", -EINVAL },
		{ "10.0.0/8", -EINVAL },
		{ "10.0.0.0/99999999999999999999999", -ERANGE },
		{ "1111111111111111111111111111111111111111111111111111/8", -EINVAL },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct addr_net net = { .length = 99 };

		if (addr_net_parse(cases[i].text, &net) != cases[i].r)
			fail_msg("'%s'", cases[i].text);
		assert_int_equal(net.length, cases[i].r ? 99 : cases[i].length);
	}
}

static void a_network_contains_what_shares_its_prefix(void **state)
{
	static const struct {
		const char *net;
		const char *address;
		bool contains;
	} cases[] = {
		{ "10.0.0.0/8", "10.255.255.255", true },
		{ "10.0.0.0/8", "11.0.0.0", false },
		{ "10.0.0.0/31", "10.0.0.1", true },
		{ "10.0.0.0/31", "10.0.0.2", false },
		{ "10.0.0.1", "10.0.0.1", true },
		{ "10.0.0.1", "10.0.0.0", false },
		{ "0.0.0.0/0", "255.255.255.255", true },
		{ "0.0.0.0/0", "2001:db8::1", false },
		{ "2001:db8::/33", "2001:db8:7fff::1", true },
		{ "2001:db8::/33", "2001:db8:8000::1", false },
		{ "2001:db8::/64", "2001:db8::ffff:0:0:1", true },
		{ "2001:db8::/64", "2001:db8:0:1::", false },
		{ "::/0", "fe80::1", true },
	};

	for (size_t i = 0; i < COUNT(cases); i++) {
		struct addr addr = address(cases[i].address);
		struct addr_net net;

		assert_int_equal(addr_net_parse(cases[i].net, &net), 0);
		if (addr_net_contains(&net, &addr) != cases[i].contains)
			fail_msg("%s in %s", cases[i].address, cases[i].net);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(addresses_are_read_and_written_in_their_usual_form),
		cmocka_unit_test(what_is_not_wholly_an_address_is_refused),
		cmocka_unit_test(ipv4_is_held_in_mapped_form),
		cmocka_unit_test(a_port_follows_a_colon_and_ipv6_is_bracketed),
		cmocka_unit_test(ipv4_sorts_before_ipv6_and_both_by_value),
		cmocka_unit_test(only_what_names_one_host_on_a_wire_is_unicast),
		cmocka_unit_test(networks_are_read_with_their_length),
		cmocka_unit_test(a_network_contains_what_shares_its_prefix),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
