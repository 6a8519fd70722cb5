#include "lb_resolve.h"

#include <errno.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "lb_internal.h"

#define NUD_USABLE (NUD_PERMANENT | NUD_NOARP | NUD_REACHABLE | NUD_PROBE | NUD_STALE | NUD_DELAY)
/* The kernel has no reason of its own to ask again: nobody sends through it. */
#define NUD_ASK (NUD_NONE | NUD_STALE | NUD_FAILED)

#define STEP_NS	  (2 * NSEC_PER_MSEC)
#define STEP_ROWS 16 /* between two looks at the clock */
#define MEMOS	  8

/* What netlink told within one step: thousands of backends share a few links and gateways. */
struct asked {
	struct netlink *netlink;
	struct {
		uint32_t ifindex; /* 0: free */
		int error;
		struct netlink_link link;
	} links[MEMOS];
	struct {
		uint32_t ifindex; /* 0: free */
		struct addr next;
		int error;
		struct netlink_neigh neigh;
	} neighs[MEMOS];
	size_t next_neigh;
};

static int link_get(struct asked *asked, uint32_t ifindex, struct netlink_link *ret)
{
	size_t at = ifindex % MEMOS;

	if (asked->links[at].ifindex != ifindex) {
		asked->links[at].ifindex = ifindex;
		asked->links[at].error = netlink_link_get(asked->netlink, ifindex,
							  &asked->links[at].link);
	}
	*ret = asked->links[at].link;
	return asked->links[at].error;
}

/* The interface whose driver sends, and the tags it needs: VLAN interfaces have no XDP transmit of
 * their own. */
static int resolve_link(struct asked *asked, uint32_t ifindex, struct lb_next_hop *hop)
{
	struct netlink_link link;
	__be16 tci[2];
	int tags = 0;

	for (;;) {
		int r = link_get(asked, ifindex, &link);

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

/* The neighbour, which is asked again where nobody else would. */
static int neigh_get(struct asked *asked, uint32_t ifindex, const struct addr *next,
		     struct netlink_neigh *ret)
{
	size_t at = asked->next_neigh;
	int r;

	for (size_t i = 0; i < MEMOS; i++) {
		if (asked->neighs[i].ifindex != ifindex ||
		    !addr_equal(&asked->neighs[i].next, next))
			continue;
		*ret = asked->neighs[i].neigh;
		return asked->neighs[i].error;
	}
	r = netlink_neigh_get(asked->netlink, ifindex, next, ret);
	if (r == -ENODATA) {
		ret->state = NUD_NONE;
		r = 0;
	}
	if (r == 0 && (ret->state == NUD_NONE || ret->state & NUD_ASK))
		netlink_neigh_use(asked->netlink, ifindex, next);
	asked->next_neigh = (at + 1) % MEMOS;
	asked->neighs[at].ifindex = ifindex;
	asked->neighs[at].next = *next;
	asked->neighs[at].error = r;
	asked->neighs[at].neigh = *ret;
	return r;
}

static int resolve_neigh(struct asked *asked, uint32_t ifindex, const struct addr *next,
			 struct lb_next_hop *hop)
{
	struct netlink_neigh neigh = { 0 };
	int r = neigh_get(asked, ifindex, next, &neigh);

	if (r < 0)
		return r;
	if (neigh.state & NUD_USABLE && neigh.has_mac) {
		memcpy(hop->hop.dmac, neigh.mac, 6);
		hop->resolved = true;
		return 0;
	}
	hop->unreachable = neigh.state & NUD_FAILED;
	return 0;
}

/* Everything about the way to address.  On error hop->unreachable is set. */
static int resolve(struct asked *asked, const struct addr *address, struct lb_next_hop *hop)
{
	struct netlink_route route;
	int r;

	memset(hop, 0, sizeof(*hop));
	r = netlink_route_get(asked->netlink, address, &route);
	if (r == 0 && route.type != RTN_UNICAST)
		r = route.type == RTN_LOCAL ? -EADDRINUSE : -ENETUNREACH;
	if (r == 0) {
		if (route.has_source)
			hop->source = route.source;
		r = resolve_link(asked, route.oif, hop);
	}
	if (r == 0)
		r = resolve_neigh(asked, route.oif, route.has_gateway ? &route.gateway : address,
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
	struct err err = { 0 };

	for (size_t i = 0; i < count; i++)
		if (netlink_link_get(netlink, ifindexes[i], &link) == 0 &&
		    lb_set_link(lb, ifindexes[i], link.mtu, &err) < 0)
			log_error("%s", err.text);
}

static void resolve_row(struct lb *lb, struct asked *asked, uint32_t row)
{
	struct lb_next_hop hop;
	struct addr address;
	struct err err = { 0 };
	int r;

	lb->unresolved -= lb->rows[row].unresolved;
	lb->rows[row].unresolved = false;
	if (!lb->rows[row].used)
		return;
	memcpy(&address, lb->rows[row].kernel.addr, sizeof(address));
	r = resolve(asked, &address, &hop);
	log_transition(&lb->rows[row], &hop, r);
	if (lb_set_next_hop(lb, row, &hop, &err) < 0)
		log_error("%s", err.text);
}

/* Resolves rows from first on, of all or of those that are new, until end_ns.  Returns the row to
 * go on with; row_count at the end. */
static uint32_t resolve_from(struct lb *lb, struct netlink *netlink, uint32_t first, bool all,
			     uint64_t end_ns)
{
	struct asked asked = { .netlink = netlink };
	uint32_t done = 0;

	for (uint32_t row = first; row < lb->row_count; row++) {
		if (!(all ? lb->rows[row].used : lb->rows[row].unresolved))
			continue;
		if (done && done % STEP_ROWS == 0 && clock_now_ns() >= end_ns)
			return row;
		resolve_row(lb, &asked, row);
		done++;
	}
	return lb->row_count;
}

void lb_resolve_all(struct lb *lb, struct netlink *netlink)
{
	note_links(lb, netlink);
	lb->resolve_next = 0;
	resolve_from(lb, netlink, 1, true, UINT64_MAX);
}

bool lb_resolve_step(struct lb *lb, struct netlink *netlink)
{
	if (!lb->resolve_next) {
		note_links(lb, netlink);
		lb->resolve_next = 1;
	}
	lb->resolve_next = resolve_from(lb, netlink, lb->resolve_next, true,
					clock_now_ns() + STEP_NS);
	if (lb->resolve_next < lb->row_count)
		return false;
	lb->resolve_next = 0;
	return true;
}

bool lb_resolve_new(struct lb *lb, struct netlink *netlink)
{
	note_links(lb, netlink);
	return !lb->unresolved ||
	       resolve_from(lb, netlink, 1, false, clock_now_ns() + STEP_NS) == lb->row_count;
}
