#include "decap_check.h"

#include <errno.h>
#include <linux/rtnetlink.h>
#include <string.h>

#include "base/buf.h"

#define MAX_NAMED 8u
/* RFC 5737: no client has it, so that the default route is what leads there. */
#define SOMEWHERE "198.51.100.1"

struct check {
	struct doctor *doctor;
	const struct decap_setup *setup;
	const struct addr *vip; /* that is looked at */
	char text[ADDR_TEXT_LEN];
	struct netlink_addr found;
	bool is_found;
	struct buf ports;
	unsigned int listeners;
};

static bool has_ipv4(const struct decap_setup *setup)
{
	for (size_t i = 0; i < setup->vip_count; i++)
		if (addr_is_v4(&setup->vips[i]))
			return true;
	return false;
}

/* ---- interfaces ---- */

/* The kernel takes the larger of the two (Documentation/networking/ip-sysctl.rst). */
static int read_ipv4(const char *interface, const char *key, long *ret)
{
	long all;
	int r = doctor_read_conf("ipv4", interface, key, ret);

	if (r == 0)
		r = doctor_read_conf("ipv4", "all", key, &all);
	if (r == 0 && all > *ret)
		*ret = all;
	return r;
}

static void cannot_read(struct doctor *doctor, const char *interface, const char *key, int error)
{
	doctor_find(doctor, DOCTOR_PROBLEM, interface, "cannot read net.ipv4.conf.%s.%s: %s",
		    interface, key, strerror(-error));
	doctor_remedy(doctor, "mount /proc");
}

/* Unwrapped, a packet has the client's address and comes from where the balancer is. */
static void check_rp_filter(struct doctor *doctor, const char *interface, uint32_t ifindex)
{
	struct netlink_route route;
	char name[IFNAMSIZ];
	struct addr somewhere;
	long value;
	int r = read_ipv4(interface, "rp_filter", &value);

	doctor->check = "rp_filter";
	if (r < 0) {
		cannot_read(doctor, interface, "rp_filter", r);
		return;
	}
	if (value != 1) {
		doctor_find(doctor, DOCTOR_OK, interface, "reverse path filtering is %s",
			    value ? "loose" : "off");
		return;
	}
	addr_parse(SOMEWHERE, &somewhere);
	r = netlink_route_get(doctor->netlink, &somewhere, &route);
	if (r == 0 && route.oif == ifindex) {
		doctor_find(doctor, DOCTOR_OK, interface,
			    "reverse path filtering is strict, and the default route leaves by "
			    "this interface");
		return;
	}
	if (r < 0 || !if_indextoname(route.oif, name))
		snprintf(name, sizeof(name), "none");
	doctor_find(doctor, DOCTOR_PROBLEM, interface,
		    "reverse path filtering is strict: the kernel drops what is unwrapped from "
		    "clients whose route does not leave by this interface, and the default route's "
		    "interface is %s",
		    name);
	/* all = 1 would win over 0, not over 2. */
	doctor_remedy(doctor, "sysctl -w net/ipv4/conf/%s/rp_filter=2", interface);
}

static void check_arp(struct doctor *doctor, const char *interface)
{
	long ignore = 0;
	long announce = 0;
	int r = read_ipv4(interface, "arp_ignore", &ignore);

	doctor->check = "arp";
	if (r == 0)
		r = read_ipv4(interface, "arp_announce", &announce);
	if (r < 0) {
		cannot_read(doctor, interface, "arp_ignore", r);
		return;
	}
	if (ignore)
		doctor_find(doctor, DOCTOR_OK, interface,
			    "ARP requests for addresses of other interfaces are not answered");
	else {
		doctor_find(doctor, DOCTOR_WARNING, interface,
			    "ARP requests for a VIP on lo are answered: if the VIP's clients or "
			    "router are on this segment, they send to this host and not to the "
			    "balancer");
		doctor_remedy(doctor, "sysctl -w net/ipv4/conf/%s/arp_ignore=1", interface);
	}
	if (announce >= 2)
		doctor_find(doctor, DOCTOR_OK, interface, "ARP requests do not name a VIP on lo");
	else {
		doctor_find(doctor, DOCTOR_WARNING, interface,
			    "ARP requests may name a VIP as this host's address: who hears them "
			    "sends to this host and not to the balancer");
		doctor_remedy(doctor, "sysctl -w net/ipv4/conf/%s/arp_announce=2", interface);
	}
}

static void check_interface(struct doctor *doctor, const struct decap_setup *setup,
			    const char *interface)
{
	uint32_t ifindex = if_nametoindex(interface);
	struct netlink_link link;

	doctor->check = "interface";
	if (!ifindex || netlink_link_get(doctor->netlink, ifindex, &link) < 0) {
		doctor_find(doctor, DOCTOR_PROBLEM, interface, "there is no such interface");
		doctor_remedy(doctor, "see 'ip link' for its name");
		return;
	}
	if (link.up)
		doctor_find(doctor, DOCTOR_OK, interface, "the interface is up");
	else {
		doctor_find(doctor, DOCTOR_WARNING, interface,
			    link.admin_up ? "the interface has no carrier"
					  : "the interface is down");
		doctor_remedy(doctor,
			      link.admin_up ? "look at its cable, or its other end"
					    : "ip link set dev %s up",
			      interface);
	}
	if (!has_ipv4(setup))
		return;
	check_rp_filter(doctor, interface, ifindex);
	check_arp(doctor, interface);
}

/* ---- VIPs ---- */

static void note_address(void *ctx, const struct netlink_addr *address)
{
	struct check *check = ctx;

	if (!addr_equal(&address->addr, check->vip))
		return;
	check->found = *address;
	check->is_found = true;
}

static void report_address(const struct check *check)
{
	struct doctor *doctor = check->doctor;
	const int whole = addr_is_v4(check->vip) ? 32 : 128;
	struct netlink_link link;

	if (netlink_link_get(doctor->netlink, check->found.ifindex, &link) < 0)
		memset(&link, 0, sizeof(link));
	if (link.loopback && check->found.prefix == whole) {
		doctor_find(doctor, DOCTOR_OK, check->text, "the address is on %s", link.name);
	} else if (link.loopback) {
		doctor_find(doctor, DOCTOR_WARNING, check->text,
			    "the address is on %s as /%d: this host takes the whole network for "
			    "its own, and cannot reach clients in it",
			    link.name, check->found.prefix);
		doctor_remedy(
			doctor, "ip address add %s/%d dev %s && ip address delete %s/%d dev %s",
			check->text, whole, link.name, check->text, check->found.prefix, link.name);
	} else {
		doctor_find(
			doctor, DOCTOR_WARNING, check->text,
			"the address is on %s, which answers %s for it: if the VIP's clients or "
			"router are on that segment, they send to this host and not to the "
			"balancer",
			link.name, whole == 32 ? "ARP" : "neighbour solicitations");
		doctor_remedy(doctor,
			      "ip address delete %s/%d dev %s && ip address add %s/%d dev lo",
			      check->text, check->found.prefix, link.name, check->text, whole);
	}
}

static void check_address(struct check *check)
{
	struct doctor *doctor = check->doctor;
	struct netlink_route route;
	int r;

	doctor->check = "address";
	check->is_found = false;
	r = netlink_addrs(doctor->netlink, 0, note_address, check);
	if (r == 0 && check->is_found) {
		report_address(check);
		return;
	}
	if (netlink_route_get(doctor->netlink, check->vip, &route) == 0 &&
	    route.type == RTN_LOCAL) {
		doctor_find(doctor, DOCTOR_OK, check->text, "a local route leads to this host");
		return;
	}
	doctor_find(doctor, DOCTOR_PROBLEM, check->text,
		    "this host does not have the address: the kernel drops what is unwrapped, or "
		    "sends it on");
	doctor_remedy(doctor, "ip address add %s/%d dev lo", check->text,
		      addr_is_v4(check->vip) ? 32 : 128);
}

static void note_listener(void *ctx, const struct doctor_listener *listener)
{
	struct check *check = ctx;

	/* Most that listen on "::" take IPv4, too. */
	if (!addr_equal(&listener->address, check->vip) &&
	    !(addr_is_any(&listener->address) &&
	      (!addr_is_v4(&listener->address) || addr_is_v4(check->vip))))
		return;
	if (++check->listeners <= MAX_NAMED)
		buf_printf(&check->ports, "%s%s %u", check->ports.len ? ", " : "",
			   listener->udp ? "udp" : "tcp", listener->port);
}

static void check_service(struct check *check)
{
	struct doctor *doctor = check->doctor;

	doctor->check = "service";
	check->listeners = 0;
	buf_init(&check->ports);
	doctor_each_listener(note_listener, check);
	if (check->listeners) {
		doctor_find(doctor, DOCTOR_OK, check->text, "there listens: %s%s",
			    check->ports.data ? check->ports.data : "",
			    check->listeners > MAX_NAMED ? ", and more" : "");
	} else {
		doctor_find(doctor, DOCTOR_WARNING, check->text,
			    "nothing listens on the address: connections are refused");
		doctor_remedy(doctor, "start the service, on this address or on all");
	}
	buf_done(&check->ports);
}

int decap_check(struct doctor *doctor, const struct decap_setup *setup, struct err *err)
{
	struct check check = { .doctor = doctor, .setup = setup };

	for (size_t i = 0; i < setup->interface_count; i++)
		check_interface(doctor, setup, setup->interfaces[i]);
	for (size_t i = 0; i < setup->vip_count; i++) {
		check.vip = &setup->vips[i];
		addr_format(check.vip, check.text);
		check_address(&check);
		check_service(&check);
	}
	return doctor->failed ? err_set(err, -ENOMEM, "cannot look at this machine: out of memory")
			      : 0;
}
