/* Against the kernel's own tables, in a namespace of the test's own. */
#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "sys/netlink.h"

static struct netlink *netlink;

static void ip(const char *arguments)
{
	char command[256];

	snprintf(command, sizeof(command), "ip %s", arguments);
	assert_int_equal(system(command), 0);
}

static struct addr addr_of(const char *text)
{
	struct addr addr;

	assert_int_equal(addr_parse(text, &addr), 0);
	return addr;
}

static int setup(void **state)
{
	(void)state;
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	ip("link set lo up");
	ip("link add near type veth peer name far");
	ip("link set near address 02:00:00:00:00:01 mtu 1400 up");
	ip("link set far up");
	ip("addr add 10.0.0.1/24 dev near");
	ip("addr add fd00::1/64 dev near nodad");
	ip("route add 10.9.0.0/16 via 10.0.0.254");
	ip("route add unreachable 10.8.0.0/16");
	ip("route add blackhole 10.7.0.0/16");
	ip("-6 route add fd09::/64 via fd00::fe");
	ip("neigh add 10.0.0.254 lladdr 02:00:00:00:00:fe dev near nud permanent");
	return netlink_open(&netlink, NULL);
}

static int teardown(void **state)
{
	(void)state;
	netlink_close(netlink);
	return 0;
}

static void a_link_tells_its_name_address_and_state(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
	struct netlink_link link;

	(void)state;
	assert_int_equal(netlink_link_get(netlink, if_nametoindex("near"), &link), 0);
	assert_string_equal(link.name, "near");
	assert_string_equal(link.kind, "veth");
	assert_true(link.has_mac && link.up);
	assert_memory_equal(link.mac, mac, 6);
	assert_int_equal(link.mtu, 1400);
	assert_int_equal(link.parent, 0);
	assert_int_equal(netlink_link_get(netlink, 9999, &link), -ENODEV);
}

static void count_addr(void *ctx, const struct netlink_addr *address)
{
	struct addr v4 = addr_of("10.0.0.1");
	struct addr v6 = addr_of("fd00::1");

	if (addr_equal(&address->addr, &v4) || addr_equal(&address->addr, &v6))
		++*(int *)ctx;
}

static void addresses_are_the_interfaces_own_alone(void **state)
{
	int found = 0;

	(void)state;
	assert_int_equal(netlink_addrs(netlink, if_nametoindex("near"), count_addr, &found), 0);
	assert_int_equal(found, 2);
	found = 0;
	assert_int_equal(netlink_addrs(netlink, if_nametoindex("far"), count_addr, &found), 0);
	assert_int_equal(found, 0);
}

static void a_route_tells_interface_gateway_and_source(void **state)
{
	static const struct {
		const char *to;
		int error;
		int type;
		const char *gateway;
		const char *source;
	} rows[] = {
		{ "10.0.0.7", 0, RTN_UNICAST, NULL, "10.0.0.1" },
		{ "10.9.1.1", 0, RTN_UNICAST, "10.0.0.254", "10.0.0.1" },
		{ "fd09::1", 0, RTN_UNICAST, "fd00::fe", "fd00::1" },
		{ "10.0.0.1", 0, RTN_LOCAL, NULL, NULL },
		{ "10.8.1.1", -EHOSTUNREACH, 0, NULL, NULL },
		{ "10.7.1.1", -EINVAL, 0, NULL, NULL },
		{ "192.0.2.1", -ENETUNREACH, 0, NULL, NULL },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct addr to = addr_of(rows[i].to);
		struct netlink_route route;
		char text[ADDR_TEXT_LEN];

		assert_int_equal(netlink_route_get(netlink, &to, &route), rows[i].error);
		if (rows[i].error)
			continue;
		assert_int_equal(route.type, rows[i].type);
		assert_int_equal(route.has_gateway, rows[i].gateway != NULL);
		if (rows[i].gateway)
			assert_string_equal(addr_format(&route.gateway, text), rows[i].gateway);
		if (!rows[i].source)
			continue;
		assert_int_equal(route.oif, if_nametoindex("near"));
		assert_string_equal(addr_format(&route.source, text), rows[i].source);
	}
}

static void a_neighbour_is_known_unknown_or_asked_for(void **state)
{
	struct addr known = addr_of("10.0.0.254");
	struct addr unknown = addr_of("10.0.0.77");
	uint32_t near = if_nametoindex("near");
	struct netlink_neigh neigh;

	(void)state;
	assert_int_equal(netlink_neigh_get(netlink, near, &known, &neigh), 0);
	assert_int_equal(neigh.state, NUD_PERMANENT);
	assert_true(neigh.has_mac && neigh.mac[5] == 0xfe);
	assert_int_equal(netlink_neigh_get(netlink, near, &unknown, &neigh), -ENODATA);
	assert_int_equal(netlink_neigh_use(netlink, near, &unknown), 0);
	assert_int_equal(netlink_neigh_get(netlink, near, &unknown, &neigh), 0);
	assert_int_equal(neigh.state, NUD_INCOMPLETE);
	assert_false(neigh.has_mac);
}

/* What the monitor says once it is readable. */
static unsigned int changed(void)
{
	struct pollfd fd = { .fd = netlink_monitor_fd(netlink), .events = POLLIN };

	assert_int_equal(poll(&fd, 1, 5000), 1);
	return netlink_monitor_drain(netlink);
}

static void changes_are_told_by_kind(void **state)
{
	(void)state;
	netlink_monitor_drain(netlink);
	ip("addr add 10.0.0.2/24 dev near");
	assert_true(changed() & NETLINK_CHANGED_ADDR);
	ip("neigh replace 10.0.0.9 lladdr 02:00:00:00:00:09 dev near nud permanent");
	assert_true(changed() & NETLINK_CHANGED_NEIGH);
	ip("link set near mtu 1300");
	assert_true(changed() & NETLINK_CHANGED_LINK);
	ip("route add 10.6.0.0/16 via 10.0.0.254");
	assert_true(changed() & NETLINK_CHANGED_ROUTE);
	assert_int_equal(netlink_monitor_drain(netlink), 0);
}

int main(void)
{
	static const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_link_tells_its_name_address_and_state),
		cmocka_unit_test(addresses_are_the_interfaces_own_alone),
		cmocka_unit_test(a_route_tells_interface_gateway_and_source),
		cmocka_unit_test(a_neighbour_is_known_unknown_or_asked_for),
		cmocka_unit_test(changes_are_told_by_kind),
	};

	if (geteuid() != 0)
		return 77;
	return cmocka_run_group_tests(tests, setup, teardown);
}
