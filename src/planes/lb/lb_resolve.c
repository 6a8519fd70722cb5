#include "lb_resolve.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "lb_internal.h"

#define NUD_USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)
/* The kernel has no reason of its own to ask again: nobody sends through it. */
#define NUD_ASK (NUD_NONE | NUD_STALE | NUD_FAILED)

/* The interface whose driver sends, and the tags it needs: VLAN interfaces have no XDP transmit of
 * their own. */
static int resolve_link(struct netlink *netlink, uint32_t ifindex, struct lb_next_hop *hop)
{
	struct netlink_link link;
	__be16 tci[2];
	int tags = 0;

	for (;;) {
		int r = netlink_link_get(netlink, ifindex, &link);

		if (r < 0)
			return r;
		if (!hop->interface[0]) {
			snprintf(hop->interface, sizeof(hop->interface), "%s", link.name);
			if (!link.has_mac)
				return -EOPNOTSUPP;
			memcpy(hop->hop.smac, link.mac, 6);
		}
		/* A VLAN interface may have less than what carries it. */
		if (link.mtu < LB_MTU_ANY && (!hop->mtu || link.mtu < hop->mtu))
			hop->mtu = (uint16_t)link.mtu;
		if (!link.parent)
			break;
		if (tags == 2)
			return -EOPNOTSUPP;
		tci[tags++] = __builtin_bswap16(link.vlan_id);
		if (link.vlan_ad)
			hop->tags |= LB_TAGS_OUTER_AD;
		ifindex = link.parent;
	}
	if (!link.up)
		return -ENETDOWN;
	/* The walk went from the inner tag outwards. */
	for (int i = 0; i < tags; i++)
		hop->hop.tci[i] = tci[tags - 1 - i];
	hop->tags |= (uint8_t)tags;
	hop->hop.ifindex = ifindex;
	return 0;
}

static int resolve_neigh(struct netlink *netlink, uint32_t ifindex, const struct addr *next,
			 struct lb_next_hop *hop)
{
	struct netlink_neigh neigh;
	int r = netlink_neigh_get(netlink, ifindex, next, &neigh);

	if (r < 0 && r != -ENODATA)
		return r;
	if (r == -ENODATA)
		neigh.state = NUD_NONE;
	if (neigh.state == NUD_NONE || neigh.state & NUD_ASK)
		netlink_neigh_use(netlink, ifindex, next);
	if (neigh.state & NUD_USABLE && neigh.has_mac) {
		memcpy(hop->hop.dmac, neigh.mac, 6);
		hop->resolved = true;
		return 0;
	}
	hop->unreachable = neigh.state & NUD_FAILED;
	return 0;
}

/* Everything about the way to address.  On error hop->unreachable is set. */
static int resolve(struct netlink *netlink, const struct addr *address, struct lb_next_hop *hop)
{
	struct netlink_route route;
	int r;

	memset(hop, 0, sizeof(*hop));
	r = netlink_route_get(netlink, address, &route);
	if (r == 0 && route.type != RTN_UNICAST)
		r = route.type == RTN_LOCAL ? -EADDRINUSE : -ENETUNREACH;
	if (r == 0) {
		if (route.has_source)
			hop->source = route.source;
		r = resolve_link(netlink, route.oif, hop);
	}
	if (r == 0)
		r = resolve_neigh(netlink, route.oif, route.has_gateway ? &route.gateway : address,
				  hop);
	if (r < 0) {
		hop->resolved = false;
		hop->unreachable = true;
	}
	return r;
}

static void log_transition(const struct lb_row *row, const struct lb_next_hop *hop, int error)
{
	char text[ADDR_TEXT_LEN];
	struct addr address;

	memcpy(&address, row->kernel.addr, sizeof(address));
	addr_format(&address, text);
	if (hop->resolved && !row->hop.resolved)
		log_info("backend %u %s is reached by %s", row->kernel.id, text, hop->interface);
	else if (hop->unreachable && !row->hop.unreachable)
		log_warning("cannot reach backend %u %s: %s; see 'ip route get %s' and 'ip neigh'",
			    row->kernel.id, text,
			    error == -EADDRINUSE ? "it is an address of this host"
			    : error		 ? strerror(-error)
						 : "its neighbour does not answer",
			    text);
}

/* How long a packet may be that goes back where it came from. */
static void note_links(struct lb *lb, struct netlink *netlink)
{
	uint32_t ifindexes[LB_MAX_INTERFACES];
	size_t count = lb_attached(lb, ifindexes);
	struct netlink_link link;

	for (size_t i = 0; i < count; i++)
		if (netlink_link_get(netlink, ifindexes[i], &link) == 0)
			lb_set_link(lb, ifindexes[i], link.mtu);
}

void lb_resolve_all(struct lb *lb, struct netlink *netlink)
{
	note_links(lb, netlink);
	for (uint32_t row = 1; row < lb->row_count; row++) {
		struct lb_next_hop hop;
		struct addr address;
		struct err err = { 0 };
		int r;

		if (!lb->rows[row].used)
			continue;
		memcpy(&address, lb->rows[row].kernel.addr, sizeof(address));
		r = resolve(netlink, &address, &hop);
		log_transition(&lb->rows[row], &hop, r);
		if (lb_set_next_hop(lb, row, &hop, &err) < 0)
			log_error("%s", err.text);
	}
}
