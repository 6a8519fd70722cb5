/* What the card, or a veth that plays one, does to packets before XDP sees them, or after. */
#include <linux/if_link.h>
#include <stdio.h>
#include <string.h>

#include "doctor.h"

/* XDP wants packets as they were on the wire; drivers refuse it, or turn this off. */
static void check_coalescing(struct doctor *doctor, const struct doctor_link *link)
{
	static const struct {
		enum ethtool_feature feature;
		const char *name;
		const char *flag;
	} kinds[] = {
		{ ETHTOOL_LRO, "large receive offload", "lro" },
		{ ETHTOOL_GRO_HW, "hardware receive offload", "rx-gro-hw" },
	};

	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		if (!link->features[kinds[i].feature]) {
			doctor_find(doctor, DOCTOR_OK, link->name, "%s (%s) is off", kinds[i].name,
				    kinds[i].flag);
			continue;
		}
		doctor_find(doctor, DOCTOR_WARNING, link->name,
			    "%s (%s) is on: drivers refuse native XDP, or hand it packets that "
			    "were never sent",
			    kinds[i].name, kinds[i].flag);
		doctor_remedy(doctor, "ethtool -K %s %s off", link->name, kinds[i].flag);
	}
}

struct children {
	uint32_t parent;
	char name[IFNAMSIZ]; /* of one */
};

static void note_child(void *ctx, const struct netlink_link *link)
{
	struct children *children = ctx;

	if (link->parent == children->parent && !strcmp(link->kind, "vlan"))
		snprintf(children->name, sizeof(children->name), "%s", link->name);
}

static void check_vlan(struct doctor *doctor, const struct doctor_link *link)
{
	struct children children = { .parent = link->link.ifindex };

	if (!link->features[ETHTOOL_RX_VLAN]) {
		doctor_find(doctor, DOCTOR_OK, link->name, "VLAN tags reach XDP");
		return;
	}
	netlink_links(doctor->netlink, note_child, &children);
	if (!children.name[0]) {
		doctor_find(doctor, DOCTOR_OK, link->name,
			    "it hides VLAN tags from XDP, harmless while no frame has any");
		doctor_remedy(doctor,
			      "ethtool -K %s rxvlan off, if tagged frames are to be balanced",
			      link->name);
		return;
	}
	doctor_find(doctor, DOCTOR_WARNING, link->name,
		    "it hides VLAN tags from XDP, and %s uses them", children.name);
	doctor_remedy(doctor, "ethtool -K %s rxvlan off", link->name);
}

/* A stack that sends through veth leaves the sum to hardware that is not there.  Frames that Loom
 * sends on in native mode lose the note that it is missing. */
static void check_checksums(struct doctor *doctor, const struct doctor_link *link)
{
	bool features[ETHTOOL_FEATURES];

	if (!link->native || !link->peer_here || ethtool_features(link->peer.name, features) < 0)
		return;
	if (!features[ETHTOOL_TX_CHECKSUM]) {
		doctor_find(doctor, DOCTOR_OK, link->name, "its other end, %s, writes checksums",
			    link->peer.name);
		return;
	}
	doctor_find(doctor, DOCTOR_PROBLEM, link->name,
		    "its other end, %s, leaves checksums to hardware there is none of: what is "
		    "sent from there reaches backends broken",
		    link->peer.name);
	doctor_remedy(doctor, "ethtool -K %s tx off", link->peer.name);
}

/* Receives what XDP sends: with a native program, or GRO (drivers/net/veth.c, veth_xdp_xmit). */
static void check_peer(struct doctor *doctor, const struct doctor_link *link)
{
	bool features[ETHTOOL_FEATURES] = { 0 };

	if (!link->native || strcmp(link->link.kind, "veth") != 0)
		return;
	if (link->has_peer && link->peer.xdp_attached &&
	    link->peer.xdp_attached != XDP_ATTACHED_SKB) {
		doctor_find(doctor, DOCTOR_OK, link->name,
			    "its other end has an XDP program, and so receives what Loom sends");
		return;
	}
	if (link->peer_here)
		ethtool_features(link->peer.name, features);
	if (features[ETHTOOL_GRO]) {
		doctor_find(doctor, DOCTOR_WARNING, link->name,
			    "its other end, %s, has GRO but no XDP program: what Loom sends back "
			    "there may come late",
			    link->peer.name);
		doctor_remedy(doctor, "attach a native program that returns XDP_PASS to %s",
			      link->peer.name);
	} else if (link->peer_here) {
		doctor_find(doctor, DOCTOR_PROBLEM, link->name,
			    "its other end, %s, has neither an XDP program nor GRO: all that Loom "
			    "sends there is lost",
			    link->peer.name);
		doctor_remedy(doctor,
			      "attach a native program that returns XDP_PASS to %s, or set mode: "
			      "generic",
			      link->peer.name);
	} else {
		doctor_find(doctor, DOCTOR_WARNING, link->name,
			    "its other end, in another namespace, %s: without one, or GRO, all "
			    "that Loom sends there is lost",
			    link->has_peer ? "has no XDP program" : "may have no XDP program");
		doctor_remedy(doctor,
			      "attach a native program that returns XDP_PASS there, or set mode: "
			      "generic");
	}
}

const struct doctor_check doctor_offload_checks[] = {
	{ "coalescing", true, NULL, check_coalescing },
	{ "vlan", true, NULL, check_vlan },
	{ "checksums", true, NULL, check_checksums },
	{ "peer", true, NULL, check_peer },
	{ 0 },
};
