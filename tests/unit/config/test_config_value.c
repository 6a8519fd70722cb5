#include "config_fixture.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "config/config_value.h"

static const struct key duration = { .type = KEY_DURATION,
				     .min = 100 * NSEC_PER_MSEC,
				     .max = 86400 * NSEC_PER_SEC };
static const struct key from_none = { .type = KEY_DURATION, .max = NSEC_PER_SEC };
static const struct key number = { .type = KEY_NUMBER, .min = 0, .max = UINT32_MAX };
static const struct key decimal = { .type = KEY_DECIMAL,
				    .min = KEY_DECIMAL_ONE / 2,
				    .max = 100 * KEY_DECIMAL_ONE };
static const struct key hex = { .type = KEY_NUMBER, .max = UINT32_MAX, .flags = KEY_HEX };
static const struct key prime = {
	.type = KEY_NUMBER, .min = 3, .max = 1048573, .flags = KEY_PRIME
};
static const struct key bytes = {
	.type = KEY_BYTES, .min = 4096, .max = 1 << 30, .flags = KEY_POWER_OF_2
};
static const struct key port = { .type = KEY_PORT };
static const struct key range = { .type = KEY_PORT_RANGE };
static const struct key address = { .type = KEY_ADDRESS };
static const struct key local = { .type = KEY_ADDRESS, .flags = KEY_LOCAL };
static const struct key bound = { .type = KEY_ADDRESS, .flags = KEY_LOCAL | KEY_BOUND };
static const struct key netns = { .type = KEY_NETNS };
static const struct key net = { .type = KEY_NET };
static const struct key clients = { .type = KEY_NET, .flags = KEY_CLIENTS };
static const struct key listen = { .type = KEY_LISTEN };
static const struct key interface = { .type = KEY_INTERFACE };
static const struct key path = { .type = KEY_PATH, .min = 2, .max = 10 };

static const struct key name = { .type = KEY_NAME, .min = 1, .max = 8 };

static void test_numbers_of_every_kind(void **state)
{
	static const struct {
		const struct key *key;
		const char *text;
		int r;
		uint64_t value;
	} rows[] = {
		{ &duration, "100ms", 0, 100 * NSEC_PER_MSEC },
		{ &duration, "1s", 0, NSEC_PER_SEC },
		{ &duration, "5m", 0, 300 * NSEC_PER_SEC },
		{ &duration, "1h", 0, 3600 * NSEC_PER_SEC },
		{ &duration, "1d", 0, 86400 * NSEC_PER_SEC },
		{ &duration, "99ms", -EINVAL, 0 },
		{ &duration, "0", -EINVAL, 0 },
		{ &from_none, "0", 0, 0 },
		{ &from_none, "0s", 0, 0 },
		{ &from_none, "1", -EINVAL, 0 },
		{ &duration, "2d", -EINVAL, 0 },
		{ &duration, "5", -EINVAL, 0 },
		{ &duration, "5 m", -EINVAL, 0 },
		{ &duration, "m", -EINVAL, 0 },
		{ &duration, "-5m", -EINVAL, 0 },
		{ &duration, "1.5h", -EINVAL, 0 },
		{ &duration, "18446744073709551615d", -EINVAL, 0 },
		{ &number, "0", 0, 0 },
		{ &number, "4294967295", 0, UINT32_MAX },
		{ &number, "4294967296", -EINVAL, 0 },
		{ &number, "99999999999999999999999", -EINVAL, 0 },
		{ &number, "010", -EINVAL, 0 },
		{ &number, "+1", -EINVAL, 0 },
		{ &number, "1e3", -EINVAL, 0 },
		{ &number, "0x10", -EINVAL, 0 },
		{ &number, "", -EINVAL, 0 },
		{ &decimal, "0.5", 0, 500000 },
		{ &decimal, "1", 0, 1000000 },
		{ &decimal, "1.0", 0, 1000000 },
		{ &decimal, "2.000001", 0, 2000001 },
		{ &decimal, "100.000000", 0, 100000000 },
		{ &decimal, "100.000001", -EINVAL, 0 },
		{ &decimal, "0.499999", -EINVAL, 0 },
		{ &decimal, "1.0000001", -EINVAL, 0 },
		{ &decimal, "1.", -EINVAL, 0 },
		{ &decimal, ".5", -EINVAL, 0 },
		{ &decimal, "01.5", -EINVAL, 0 },
		{ &decimal, "1.5.", -EINVAL, 0 },
		{ &decimal, "1,5", -EINVAL, 0 },
		{ &decimal, "-1", -EINVAL, 0 },
		{ &decimal, "1e1", -EINVAL, 0 },
		{ &decimal, "18446744073710", -EINVAL, 0 },
		{ &decimal, "18446744073709.999999", -EINVAL, 0 },
		{ &hex, "0xff", 0, 255 },
		{ &hex, "0xFFffFFff", 0, UINT32_MAX },
		{ &hex, "255", 0, 255 },
		{ &hex, "0x100000000", -EINVAL, 0 },
		{ &hex, "0x10000000000000001", -EINVAL, 0 },
		{ &hex, "0x", -EINVAL, 0 },
		{ &hex, "0xfg", -EINVAL, 0 },
		{ &hex, "ff", -EINVAL, 0 },
		{ &prime, "3", 0, 3 },
		{ &prime, "1048573", 0, 1048573 },
		{ &prime, "9", -EINVAL, 0 },
		{ &prime, "2", -EINVAL, 0 },
		{ &bytes, "4096", 0, 4096 },
		{ &bytes, "64KiB", 0, 65536 },
		{ &bytes, "1MiB", 0, 1 << 20 },
		{ &bytes, "1GiB", 0, 1 << 30 },
		{ &bytes, "2GiB", -EINVAL, 0 },
		{ &bytes, "2048", -EINVAL, 0 },
		{ &bytes, "12288", -EINVAL, 0 },
		{ &bytes, "64K", -EINVAL, 0 },
		{ &port, "1", 0, 1 },
		{ &port, "65535", 0, 65535 },
		{ &port, "0", -EINVAL, 0 },
		{ &port, "65536", -EINVAL, 0 },
		{ &port, "http", -EINVAL, 0 },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct value value;

		if (value_parse(rows[i].key, rows[i].text, &value, NULL) != rows[i].r)
			fail_msg("row %zu: '%s'", i, rows[i].text);
		if (rows[i].r == 0)
			assert_int_equal(value.number, rows[i].value);
	}
}

static void test_text_of_every_kind(void **state)
{
	static const struct {
		const struct key *key;
		const char *text;
		int r;
	} rows[] = {
		{ &range, "1024-32767", 0 },
		{ &range, "80-80", 0 },
		{ &range, "81-80", -EINVAL },
		{ &range, "0-80", -EINVAL },
		{ &range, "80", -EINVAL },
		{ &range, "80-", -EINVAL },
		{ &range, "1-65536", -EINVAL },
		{ &address, "10.0.0.1", 0 },
		{ &address, "2001:db8::1", 0 },
		{ &address, "0.0.0.0", -EINVAL },
		{ &address, "::", -EINVAL },
		{ &address, "::1", -EINVAL },
		{ &address, "127.8.8.8", -EINVAL },
		{ &address, "224.0.0.1", -EINVAL },
		{ &address, "255.255.255.255", -EINVAL },
		{ &address, "ff02::1", -EINVAL },
		{ &address, "10.0.0.1/24", -EINVAL },
		{ &address, "10.0.0.1:80", -EINVAL },
		{ &address, "fe80::1%eth0", -EINVAL },
		{ &address, "localhost", -EINVAL },
		{ &address, "*", -EINVAL },
		{ &local, "::1", 0 },
		{ &local, "127.8.8.8", 0 },
		{ &local, "::", -EINVAL },
		{ &local, "224.0.0.1", -EINVAL },
		{ &bound, "*", 0 },
		{ &bound, "0.0.0.0", 0 },
		{ &bound, "::", 0 },
		{ &bound, "127.0.0.1", 0 },
		{ &bound, "10.0.0.1", 0 },
		{ &bound, "ff02::1", -EINVAL },
		{ &bound, "**", -EINVAL },
		{ &netns, "blue", 0 },
		{ &netns, "/proc/1/ns/net", 0 },
		{ &netns, "pid:1", 0 },
		{ &netns, "pid:4194304", 0 },
		{ &netns, "pid:4194305", -EINVAL },
		{ &netns, "pid:0", -EINVAL },
		{ &netns, "pid:", -EINVAL },
		{ &netns, "pid:1x", -EINVAL },
		{ &netns, "a/b", -EINVAL },
		{ &netns, "/", -EINVAL },
		{ &netns, ".", -EINVAL },
		{ &netns, "..", -EINVAL },
		{ &netns, "", -EINVAL },
		{ &clients, "0.0.0.0/0", 0 },
		{ &clients, "::/0", 0 },
		{ &clients, "127.0.0.0/8", 0 },
		{ &clients, "10.0.0.1/8", -EINVAL },
		{ &net, "0.0.0.0/0", -EINVAL },
		{ &net, "10.0.0.0/8", 0 },
		{ &net, "10.0.0.1", 0 },
		{ &net, "10.0.0.1/8", -EINVAL },
		{ &net, "10.0.0.0/33", -EINVAL },
		{ &net, "10.0.0.0/", -EINVAL },
		{ &listen, "127.0.0.1:9091", 0 },
		{ &listen, "[::1]:9091", 0 },
		{ &listen, "off", 0 },
		{ &listen, "::1:9091", -EINVAL },
		{ &listen, "[127.0.0.1]:9091", -EINVAL },
		{ &listen, "127.0.0.1", -EINVAL },
		{ &listen, "127.0.0.1:", -EINVAL },
		{ &listen, "127.0.0.1:0", -EINVAL },
		{ &listen, ":9091", -EINVAL },
		{ &listen, "localhost:9091", -EINVAL },
		{ &interface, "eth0", 0 },
		{ &interface, "enp3s0f1np1.100", 0 },
		{ &interface, "sixteen-letters-", -EINVAL },
		{ &interface, "a/b", -EINVAL },
		{ &interface, "a b", -EINVAL },
		{ &interface, "..", -EINVAL },
		{ &interface, "", -EINVAL },
		{ &name, "edge-1_a", 0 },
		{ &name, "Edge", -EINVAL },
		{ &name, "a/b", -EINVAL },
		{ &name, "a.b", -EINVAL },
		{ &name, "", -EINVAL },
		{ &name, "ninechars", -EINVAL },
		{ &path, "/a", 0 },
		{ &path, "a", -EINVAL },
		{ &path, "off", -EINVAL },
		{ &path, "/0123456789", -EINVAL },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct value value;

		if (value_parse(rows[i].key, rows[i].text, &value, NULL) != rows[i].r)
			fail_msg("row %zu: '%s'", i, rows[i].text);
	}
}

static void check_defaults(const struct key *map)
{
	for (const struct key *key = map->keys; key->name; key++) {
		struct value value;
		const struct key *kind = key->type == KEY_LIST ? key->keys : key;
		bool all = key->flags & KEY_OR_ALL && key->fallback;

		assert_non_null(key->help);
		if (key->fallback && !all && value_parse(kind, key->fallback, &value, NULL) != 0)
			fail_msg("%s: the default '%s' is no value of it", key->name,
				 key->fallback);
		if (key->type == KEY_MAP)
			check_defaults(key);
		if (key->type == KEY_LIST && key->keys->type == KEY_MAP)
			check_defaults(key->keys);
	}
}

static void test_every_default_is_a_value_of_its_key(void **state)
{
	check_defaults(&schema_root);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_numbers_of_every_kind),
		cmocka_unit_test(test_text_of_every_kind),
		cmocka_unit_test(test_every_default_is_a_value_of_its_key),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
