/* The kernel's switches for forwarding, by interface. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "doctor.h"

/* bpf_fib_lookup() finds no way where forwarding is off (net/core/filter.c, BPF_FIB_LKUP_RET_
 * FWD_DISABLED); Loom asks it while a next hop is unknown, and for answers that keep the client's
 * address. */
static void check_forwarding(struct doctor *doctor, const struct doctor_link *link, bool ipv6)
{
	const char *family = ipv6 ? "ipv6" : "ipv4";
	bool needed = doctor_has_nat(doctor->config, CONFIG_NAT_DESTINATION);
	long on;
	int r = doctor_read_conf(family, link->name, "forwarding", &on);

	if (r < 0) {
		doctor_find(doctor, DOCTOR_PROBLEM, link->name,
			    "cannot tell whether it forwards %s: %s", ipv6 ? "IPv6" : "IPv4",
			    strerror(-r));
		doctor_remedy(doctor,
			      ipv6 ? "enable IPv6, or configure no IPv6 addresses" : "mount /proc");
	} else if (on) {
		doctor_find(doctor, DOCTOR_OK, link->name, "%s forwarding is on",
			    ipv6 ? "IPv6" : "IPv4");
	} else {
		doctor_find(doctor, needed ? DOCTOR_PROBLEM : DOCTOR_WARNING, link->name,
			    "%s forwarding is off: %s", ipv6 ? "IPv6" : "IPv4",
			    needed ? "nat: destination cannot send answers to clients"
				   : "packets are dropped while a next hop is unknown");
		doctor_remedy(doctor, ipv6 ? "sysctl -w net.ipv6.conf.all.forwarding=1"
					   : "sysctl -w net.ipv4.ip_forward=1");
	}
}

static void check_ip_forward(struct doctor *doctor, const struct doctor_link *link)
{
	if (doctor_has_ipv4(doctor->config))
		check_forwarding(doctor, link, false);
	if (doctor_has_ipv6(doctor->config))
		check_forwarding(doctor, link, true);
}

/* The stricter of the two counts (Documentation/networking/ip-sysctl.rst). */
static void check_rp_filter(struct doctor *doctor, const struct doctor_link *link)
{
	long all;
	long own;

	if (!doctor_has_nat(doctor->config, CONFIG_NAT_DESTINATION) ||
	    doctor_read_conf("ipv4", "all", "rp_filter", &all) < 0 ||
	    doctor_read_conf("ipv4", link->name, "rp_filter", &own) < 0)
		return;
	if ((all > own ? all : own) != 1) {
		doctor_find(doctor, DOCTOR_OK, link->name, "reverse path filtering is not strict");
		return;
	}
	doctor_find(doctor, DOCTOR_WARNING, link->name,
		    "reverse path filtering is strict: with nat: destination, packets that come "
		    "and go by different interfaces are lost");
	/* all = 1 would win over 0, not over 2. */
	doctor_remedy(doctor, "sysctl -w net/ipv4/conf/%s/rp_filter=2", link->name);
}

const struct doctor_check doctor_sysctl_checks[] = {
	{ "ip_forward", true, NULL, check_ip_forward },
	{ "rp_filter", true, NULL, check_rp_filter },
	{ 0 },
};
