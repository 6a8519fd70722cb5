#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/socket.h>

#include <cmocka.h>

#include "lab.h"
#include "sys/netlink.h"

#define PATIENCE_MS 5000

static struct netlink *netlink;

static bool readable(int patience_ms)
{
	struct pollfd monitor = { .fd = netlink_monitor_fd(netlink), .events = POLLIN };

	return poll(&monitor, 1, patience_ms) == 1;
}

/* What the lab's making left. */
static void settle(void)
{
	while (readable(100))
		netlink_monitor_drain(netlink);
}

static void nothing_changed_is_no_kind(void **state)
{
	settle();
	assert_int_equal(netlink_monitor_drain(netlink), 0);
}

static const struct row {
	const char *command;
	unsigned int kind;
} rows[] = {
	{ "ip link set near mtu 1400", NETLINK_CHANGED_LINK },
	{ "ip link add other type veth peer name another", NETLINK_CHANGED_LINK },
	{ "ip link del other", NETLINK_CHANGED_LINK },
	{ "ip addr add 192.0.2.7/32 dev near", NETLINK_CHANGED_ADDR },
	{ "ip addr del 192.0.2.7/32 dev near", NETLINK_CHANGED_ADDR },
	{ "ip addr add 2001:db8::7/128 dev near nodad", NETLINK_CHANGED_ADDR },
	{ "ip addr del 2001:db8::7/128 dev near", NETLINK_CHANGED_ADDR },
	{ "ip route add 10.0.0.0/8 via 192.0.2.2", NETLINK_CHANGED_ROUTE },
	{ "ip route del 10.0.0.0/8", NETLINK_CHANGED_ROUTE },
	{ "ip -6 route add 2001:db8:1::/48 via 2001:db8::2", NETLINK_CHANGED_ROUTE },
	{ "ip -6 route del 2001:db8:1::/48", NETLINK_CHANGED_ROUTE },
	{ "ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev near", NETLINK_CHANGED_NEIGH },
	{ "ip neigh del 192.0.2.9 dev near", NETLINK_CHANGED_NEIGH },
	{ "ip neigh add 2001:db8::9 lladdr 02:00:00:00:00:09 dev near", NETLINK_CHANGED_NEIGH },
	/* Forgets its neighbours. */
	{ "ip link set near down", NETLINK_CHANGED_NEIGH },
};

/* A command may change other things first: an IPv6 address, its route, for the kernel's worker
 * brings the address up. */
static unsigned int told_until(unsigned int kind)
{
	unsigned int kinds = 0;

	while (!(kinds & kind) && readable(PATIENCE_MS))
		kinds |= netlink_monitor_drain(netlink);
	return kinds;
}

static void each_change_is_told_as_its_kind(void **state)
{
	settle();
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		unsigned int kinds;

		lab_here("%s", rows[i].command);
		kinds = told_until(rows[i].kind);
		if (!(kinds & rows[i].kind))
			fail_msg("%s: told as %#x, not %#x", rows[i].command, kinds, rows[i].kind);
		settle();
	}
}

static void a_new_route_is_no_new_link(void **state)
{
	settle();
	lab_here("ip route add 10.0.0.0/8 via 192.0.2.2");
	assert_int_equal(netlink_monitor_drain(netlink), NETLINK_CHANGED_ROUTE);
}

static void what_was_lost_may_have_been_anything(void **state)
{
	int size = 0; /* the kernel's least */
	unsigned int kinds = 0;

	settle();
	assert_int_equal(
		setsockopt(netlink_monitor_fd(netlink), SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)),
		0);
	lab_here("seq 1 200 | sed 's|.*|route add 10.0.0.&/32 via 192.0.2.2|' | ip -batch -");
	while (readable(0))
		kinds |= netlink_monitor_drain(netlink);
	assert_int_equal(kinds, NETLINK_CHANGED_ALL);
	/* And what comes afterwards is told as before. */
	lab_here("ip route del 10.0.0.1");
	assert_int_equal(netlink_monitor_drain(netlink), NETLINK_CHANGED_ROUTE);
}

/* ---- */

static int open_all(void **state)
{
	lab_open();
	return netlink_open(&netlink, NULL);
}

static int close_all(void **state)
{
	netlink_close(netlink);
	lab_close();
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(nothing_changed_is_no_kind),
		CASE(each_change_is_told_as_its_kind),
		CASE(a_new_route_is_no_new_link),
		CASE(what_was_lost_may_have_been_anything),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
