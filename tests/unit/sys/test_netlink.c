#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/if_addr.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <net/if.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "lab.h"
#include "sys/netlink.h"

#define PATIENCE_MS 5000

static struct netlink *netlink;

static struct addr address(const char *text)
{
	struct addr ret;

	assert_int_equal(addr_parse(text, &ret), 0);
	return ret;
}

static struct netlink_link link_named(const char *name)
{
	struct netlink_link ret;

	assert_int_equal(netlink_link_get(netlink, if_nametoindex(name), &ret), 0);
	assert_string_equal(ret.name, name);
	assert_int_equal(ret.ifindex, if_nametoindex(name));
	return ret;
}

/* ---- links ---- */

static void a_link_tells_its_address_mtu_and_kind(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 1 };
	struct netlink_link link;

	lab_here("ip link set near mtu 1400");
	link = link_named("near");
	assert_true(link.has_mac);
	assert_memory_equal(link.mac, mac, sizeof(mac));
	assert_int_equal(link.mtu, 1400);
	assert_string_equal(link.kind, "veth");
	assert_true(link.up);
	assert_string_equal(link_named("lo").kind, "");
}

/* Its IFLA_LINK is an index in the other namespace. */
static void a_veth_has_no_parent(void **state)
{
	assert_int_equal(link_named("near").parent, 0);
}

static void a_veth_names_its_peer_in_the_other_namespace(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 2 };
	struct netlink_link near = link_named("near");
	struct netlink_link peer;

	assert_int_equal(netlink_peer_get(netlink, &near, &peer), 0);
	assert_string_equal(peer.name, "far");
	assert_memory_equal(peer.mac, mac, sizeof(mac));
	assert_true(near.peer_nsid >= 0);
}

static void a_veth_names_its_peer_in_this_namespace(void **state)
{
	struct netlink_link one;
	struct netlink_link peer;

	lab_here("ip link add one type veth peer name two");
	one = link_named("one");
	assert_int_equal(one.peer_nsid, -1);
	assert_int_equal(netlink_peer_get(netlink, &one, &peer), 0);
	assert_string_equal(peer.name, "two");
}

static void what_is_no_veth_has_no_peer(void **state)
{
	struct netlink_link lo = link_named("lo");
	struct netlink_link peer;

	assert_true(lo.loopback);
	assert_int_equal(netlink_peer_get(netlink, &lo, &peer), -ENODATA);
}

static void count_link(void *ctx, const struct netlink_link *link)
{
	int *times = ctx;

	times[0] += !strcmp(link->name, "near");
	times[1] += !strcmp(link->name, "lo");
	times[2] += !strcmp(link->name, "far");
}

static void the_links_of_this_namespace_are_told_once_each(void **state)
{
	int times[3] = { 0 };

	assert_int_equal(netlink_links(netlink, count_link, times), 0);
	assert_int_equal(times[0], 1);
	assert_int_equal(times[1], 1);
	assert_int_equal(times[2], 0);
}

static void a_link_tells_of_an_attached_program(void **state)
{
	static const struct {
		uint32_t flags;
		uint8_t told;
	} rows[] = { { XDP_FLAGS_SKB_MODE, XDP_ATTACHED_SKB },
		     { XDP_FLAGS_DRV_MODE, XDP_ATTACHED_DRV } };
	/* return XDP_PASS; */
	const struct bpf_insn pass[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = XDP_PASS },
					 { .code = BPF_JMP | BPF_EXIT } };
	int fd = bpf_prog_load(BPF_PROG_TYPE_XDP, "loom_sys", "GPL", pass, 2, NULL);
	int ifindex = (int)if_nametoindex("near");
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	assert_true(fd >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(fd, &info, &size), 0);
	assert_int_equal(link_named("near").xdp_attached, XDP_ATTACHED_NONE);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct netlink_link link;

		assert_int_equal(bpf_xdp_attach(ifindex, fd, rows[i].flags, NULL), 0);
		link = link_named("near");
		assert_int_equal(link.xdp_attached, rows[i].told);
		assert_int_equal(link.xdp_program, info.id);
		assert_int_equal(bpf_xdp_detach(ifindex, rows[i].flags, NULL), 0);
	}
	assert_int_equal(link_named("near").xdp_program, 0);
	close(fd);
}

static void a_vlan_tells_its_parent_tag_and_protocol(void **state)
{
	struct netlink_link outer, inner;

	if (!lab_can("ip link add link near name outer type vlan proto 802.1ad id 4094"))
		skip(); /* a kernel without 8021q */
	lab_here("ip link add link outer name inner type vlan id 1");
	outer = link_named("outer");
	inner = link_named("inner");
	assert_string_equal(outer.kind, "vlan");
	assert_int_equal(outer.parent, if_nametoindex("near"));
	assert_int_equal(outer.vlan_id, 4094);
	assert_true(outer.vlan_ad);
	assert_int_equal(inner.parent, outer.ifindex);
	assert_int_equal(inner.vlan_id, 1);
	assert_false(inner.vlan_ad);
}

static void a_link_is_up_only_with_a_carrier(void **state)
{
	lab_there("ip link set far down");
	assert_false(link_named("near").up);
	assert_true(link_named("near").admin_up);
	lab_there("ip link set far up");
	assert_true(link_named("near").up);
	lab_here("ip link set near down");
	assert_false(link_named("near").up);
	assert_false(link_named("near").admin_up);
}

static void a_link_that_is_not_there_is_an_error(void **state)
{
	struct netlink_link link;

	assert_int_equal(netlink_link_get(netlink, 4711, &link), -ENODEV);
}

/* ---- addresses ---- */

struct found {
	struct netlink_addr list[2048];
	size_t count;
};

static void note(void *ctx, const struct netlink_addr *found)
{
	struct found *all = ctx;

	assert_true(all->count < sizeof(all->list) / sizeof(all->list[0]));
	all->list[all->count++] = *found;
}

static const struct found *addresses_of(const char *name)
{
	static struct found found;

	found.count = 0;
	assert_int_equal(netlink_addrs(netlink, if_nametoindex(name), note, &found), 0);
	return &found;
}

/* The one entry for text; NULL if there is none, a failure if there are several. */
static const struct netlink_addr *entry(const struct found *found, const char *text)
{
	const struct netlink_addr *ret = NULL;
	struct addr wanted = address(text);

	for (size_t i = 0; i < found->count; i++) {
		if (!addr_equal(&found->list[i].addr, &wanted))
			continue;
		assert_null(ret);
		ret = &found->list[i];
	}
	return ret;
}

static void addresses_of_one_interface_are_told_with_what_marks_them(void **state)
{
	const struct netlink_addr *it;
	const struct found *found;

	lab_here("ip addr add 198.51.100.1/25 dev lo");
	lab_here("ip addr add 2001:db8::99/64 dev near nodad noprefixroute preferred_lft 0");
	found = addresses_of("near");
	assert_null(entry(found, "198.51.100.1"));
	it = entry(found, "192.0.2.1");
	assert_non_null(it);
	assert_int_equal(it->prefix, 24);
	assert_int_equal(it->scope, RT_SCOPE_UNIVERSE);
	assert_int_equal(it->flags & IFA_F_DEPRECATED, 0);
	it = entry(found, "2001:db8::99");
	assert_non_null(it);
	assert_int_equal(it->prefix, 64);
	assert_true(it->flags & IFA_F_DEPRECATED);
	assert_true(it->flags & IFA_F_NOPREFIXROUTE); /* not among the header's eight bits */
	it = entry(found, "fe80::ff:fe00:1");
	assert_non_null(it);
	assert_int_equal(it->scope, RT_SCOPE_LINK);
}

static void addresses_of_no_interface_in_particular_are_those_of_all(void **state)
{
	const struct netlink_addr *it;
	const struct found *found;

	lab_here("ip addr add 198.51.100.1/25 dev lo");
	found = addresses_of("");
	it = entry(found, "198.51.100.1");
	assert_non_null(it);
	assert_int_equal(it->ifindex, if_nametoindex("lo"));
	it = entry(found, "192.0.2.1");
	assert_non_null(it);
	assert_int_equal(it->ifindex, if_nametoindex("near"));
}

static void of_a_point_to_point_address_our_end_is_told(void **state)
{
	const struct found *found;

	lab_here("ip addr add 203.0.113.1 peer 203.0.113.2 dev near");
	found = addresses_of("near");
	assert_non_null(entry(found, "203.0.113.1"));
	assert_null(entry(found, "203.0.113.2"));
}

static void an_interface_without_addresses_has_none(void **state)
{
	lab_here("ip addr flush dev near");
	assert_int_equal(addresses_of("near")->count, 0);
}

/* Far more than a message of the kernel's holds. */
static void a_thousand_addresses_are_told_once_each(void **state)
{
	const struct found *found;
	char text[ADDR_TEXT_LEN];

	lab_here("seq 0 999 | awk '{print \"addr add 10.0.\" int($1/250) \".\" $1%%250+1 \"/32 dev "
		 "near\"}' | "
		 "ip -batch -");
	found = addresses_of("near");
	for (int i = 0; i < 1000; i++) {
		snprintf(text, sizeof(text), "10.0.%d.%d", i / 250, i % 250 + 1);
		assert_non_null(entry(found, text));
	}
}

/* ---- routes ---- */

static void make_routes(void)
{
	lab_here("ip route add 10.1.0.0/16 via 192.0.2.2");
	lab_here("ip route add 10.2.0.0/16 via inet6 2001:db8::2 dev near");
	lab_here("ip route add 10.3.0.0/16 via 10.99.0.1 dev near onlink");
	lab_here("ip route add 10.4.0.0/16 dev near src 192.0.2.1");
	lab_here("ip route add unreachable 10.5.0.0/16");
	lab_here("ip route add blackhole 10.6.0.0/16");
	lab_here("ip route add prohibit 10.7.0.0/16");
	lab_here("ip -6 route add 2001:db8:1::/48 via 2001:db8::2");
	lab_here("ip -6 route add unreachable 2001:db8:5::/48");
	lab_here("ip -6 route add blackhole 2001:db8:6::/48");
	lab_here("ip -6 route add prohibit 2001:db8:7::/48");
}

static const struct route_row {
	const char *dst;
	int error;
	uint8_t type;
	const char *oif, *gateway, *source;
} route_rows[] = {
	{ "192.0.2.2", 0, RTN_UNICAST, "near", NULL, "192.0.2.1" },
	{ "192.0.2.1", 0, RTN_LOCAL, "lo", NULL, "192.0.2.1" },
	{ "127.0.0.1", 0, RTN_LOCAL, "lo", NULL, "127.0.0.1" },
	{ "192.0.2.255", 0, RTN_BROADCAST, "near", NULL, "192.0.2.1" },
	{ "10.1.2.3", 0, RTN_UNICAST, "near", "192.0.2.2", "192.0.2.1" },
	{ "10.2.0.1", 0, RTN_UNICAST, "near", "2001:db8::2", "192.0.2.1" },
	{ "10.3.0.1", 0, RTN_UNICAST, "near", "10.99.0.1", "192.0.2.1" },
	{ "10.4.0.1", 0, RTN_UNICAST, "near", NULL, "192.0.2.1" },
	{ "10.5.0.1", -EHOSTUNREACH },
	{ "10.6.0.1", -EINVAL },
	{ "10.7.0.1", -EACCES },
	{ "198.18.0.1", -ENETUNREACH },
	{ "2001:db8::2", 0, RTN_UNICAST, "near", NULL, "2001:db8::1" },
	{ "2001:db8::1", 0, RTN_LOCAL, "lo", NULL, "2001:db8::1" },
	{ "2001:db8:1::1", 0, RTN_UNICAST, "near", "2001:db8::2", "2001:db8::1" },
	{ "2001:db8:5::1", -EHOSTUNREACH },
	{ "2001:db8:6::1", -EINVAL },
	{ "2001:db8:7::1", -EACCES },
	{ "2001:4860::1", -ENETUNREACH },
};

static void check_optional(const char *what, const struct route_row *row, bool has,
			   const struct addr *found, const char *wanted)
{
	char text[ADDR_TEXT_LEN] = "none";

	if (has)
		addr_format(found, text);
	if (strcmp(text, wanted ? wanted : "none") != 0)
		fail_msg("%s: %s is %s, not %s", row->dst, what, text, wanted ? wanted : "none");
}

static void check_route(const struct route_row *row)
{
	struct addr dst = address(row->dst);
	struct netlink_route route;
	int r = netlink_route_get(netlink, &dst, &route);

	if (r != row->error)
		fail_msg("%s: %d (type %d), not %d", row->dst, r, route.type, row->error);
	if (r < 0)
		return;
	if (route.type != row->type || route.oif != if_nametoindex(row->oif))
		fail_msg("%s: type %d by interface %u", row->dst, route.type, route.oif);
	check_optional("gateway", row, route.has_gateway, &route.gateway, row->gateway);
	check_optional("source", row, route.has_source, &route.source, row->source);
}

static void a_route_tells_the_way_or_why_there_is_none(void **state)
{
	make_routes();
	for (size_t i = 0; i < sizeof(route_rows) / sizeof(route_rows[0]); i++)
		check_route(&route_rows[i]);
}

/* ---- neighbours ---- */

static struct netlink_neigh neigh_of(const char *text)
{
	struct addr addr = address(text);
	struct netlink_neigh ret;

	assert_int_equal(netlink_neigh_get(netlink, if_nametoindex("near"), &addr, &ret), 0);
	return ret;
}

static void a_neighbour_tells_its_address_and_state(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 9 };
	static const char *const known[] = { "192.0.2.9", "2001:db8::9" };

	for (size_t i = 0; i < 2; i++) {
		struct netlink_neigh neigh;

		lab_here("ip neigh add %s lladdr 02:00:00:00:00:09 dev near nud permanent",
			 known[i]);
		neigh = neigh_of(known[i]);
		assert_int_equal(neigh.state, NUD_PERMANENT);
		assert_true(neigh.has_mac);
		assert_memory_equal(neigh.mac, mac, sizeof(mac));
	}
}

static void of_a_neighbour_nobody_asked_for_the_kernel_knows_nothing(void **state)
{
	static const char *const unknown[] = { "192.0.2.77", "2001:db8::77" };
	struct netlink_neigh neigh;

	for (size_t i = 0; i < 2; i++) {
		struct addr addr = address(unknown[i]);

		assert_int_equal(netlink_neigh_get(netlink, if_nametoindex("near"), &addr, &neigh),
				 -ENODATA);
		assert_int_equal(netlink_neigh_get(netlink, 4711, &addr, &neigh), -ENODEV);
		assert_int_equal(netlink_neigh_use(netlink, 4711, &addr), -ENODEV);
	}
}

/* Waits for the kernel to tell of neighbours until this one is in a state. */
static struct netlink_neigh await(const char *text, uint16_t wanted)
{
	struct pollfd monitor = { .fd = netlink_monitor_fd(netlink), .events = POLLIN };

	for (;;) {
		struct netlink_neigh neigh = neigh_of(text);

		if (neigh.state & wanted)
			return neigh;
		if (poll(&monitor, 1, PATIENCE_MS) <= 0)
			fail_msg("%s: state %#x, not %#x", text, neigh.state, wanted);
		netlink_monitor_drain(netlink);
	}
}

static void a_neighbour_in_use_is_resolved_without_traffic(void **state)
{
	static const uint8_t mac[6] = { 2, 0, 0, 0, 0, 2 };
	static const char *const there[] = { "192.0.2.2", "2001:db8::2" };

	for (size_t i = 0; i < 2; i++) {
		struct addr addr = address(there[i]);
		struct netlink_neigh neigh;

		assert_int_equal(netlink_neigh_use(netlink, if_nametoindex("near"), &addr), 0);
		neigh = await(there[i], NUD_REACHABLE);
		assert_true(neigh.has_mac);
		assert_memory_equal(neigh.mac, mac, sizeof(mac));
	}
}

static void a_neighbour_that_does_not_answer_fails(void **state)
{
	struct addr addr = address("192.0.2.77");

	lab_here("ip ntable change name arp_cache dev near retrans 10 mcast_probes 1 ucast_probes "
		 "0");
	assert_int_equal(netlink_neigh_use(netlink, if_nametoindex("near"), &addr), 0);
	assert_false(await("192.0.2.77", NUD_FAILED).has_mac);
}

/* NTF_USE alone makes it one that expires (net/core/neighbour.c since Linux 5.16). */
static void use_leaves_a_permanent_neighbour_alone(void **state)
{
	struct addr addr = address("192.0.2.9");

	lab_here("ip neigh add 192.0.2.9 lladdr 02:00:00:00:00:09 dev near nud permanent");
	assert_int_equal(netlink_neigh_use(netlink, if_nametoindex("near"), &addr), 0);
	assert_int_equal(neigh_of("192.0.2.9").state, NUD_PERMANENT);
}

/* ---- who answers ---- */

/* An answer that fits the next request in all but its sender, sent beforehand. */
static void forge_link(uint32_t port, uint32_t sequence)
{
	struct {
		struct nlmsghdr header;
		struct ifinfomsg info;
		struct rtattr attr;
		uint32_t mtu;
	} message = {
		.header = { sizeof(message), RTM_NEWLINK, 0, sequence, port },
		.attr = { RTA_LENGTH(4), IFLA_MTU },
		.mtu = 9999,
	};
	struct sockaddr_nl to = { .nl_family = AF_NETLINK, .nl_pid = port };
	int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	assert_true(fd >= 0);
	assert_int_equal(
		sendto(fd, &message, sizeof(message), 0, (struct sockaddr *)&to, sizeof(to)),
		sizeof(message));
	close(fd);
}

static void only_the_kernel_is_believed(void **state)
{
	/* The first netlink socket of a process has its id for a port. */
	for (uint32_t sequence = 1; sequence <= 3; sequence++)
		forge_link((uint32_t)getpid(), sequence);
	assert_int_equal(link_named("near").mtu, 1500);
	assert_int_equal(link_named("near").mtu, 1500);
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
	netlink_close(NULL);
	lab_close();
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_link_tells_its_address_mtu_and_kind),
		CASE(a_veth_has_no_parent),
		CASE(a_veth_names_its_peer_in_the_other_namespace),
		CASE(a_veth_names_its_peer_in_this_namespace),
		CASE(what_is_no_veth_has_no_peer),
		CASE(the_links_of_this_namespace_are_told_once_each),
		CASE(a_link_tells_of_an_attached_program),
		CASE(a_vlan_tells_its_parent_tag_and_protocol),
		CASE(a_link_is_up_only_with_a_carrier),
		CASE(a_link_that_is_not_there_is_an_error),
		CASE(addresses_of_one_interface_are_told_with_what_marks_them),
		CASE(addresses_of_no_interface_in_particular_are_those_of_all),
		CASE(of_a_point_to_point_address_our_end_is_told),
		CASE(an_interface_without_addresses_has_none),
		CASE(a_thousand_addresses_are_told_once_each),
		CASE(a_route_tells_the_way_or_why_there_is_none),
		CASE(a_neighbour_tells_its_address_and_state),
		CASE(of_a_neighbour_nobody_asked_for_the_kernel_knows_nothing),
		CASE(a_neighbour_in_use_is_resolved_without_traffic),
		CASE(a_neighbour_that_does_not_answer_fails),
		CASE(use_leaves_a_permanent_neighbour_alone),
		CASE(only_the_kernel_is_believed),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
