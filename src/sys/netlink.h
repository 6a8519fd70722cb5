/* netlink.h - what the kernel knows of links, addresses, routes and neighbours (rtnetlink(7)).
 * Layer: sys.  Threads: control thread only.  Blocks: a request waits for the kernel's answer, one
 * second at most.
 *
 * Functions return 0 or -errno; -ENODATA: the kernel knows nothing of it. */
#ifndef LOOM_NETLINK_H
#define LOOM_NETLINK_H

#include <net/if.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct netlink;

int netlink_open(struct netlink **ret, struct err *err);
void netlink_close(struct netlink *netlink); /* NULL is fine */

struct netlink_link {
	uint32_t ifindex;
	char name[IFNAMSIZ];
	uint8_t mac[6];
	bool has_mac;
	bool up;       /* administratively and with carrier */
	bool admin_up; /* administratively */
	uint32_t mtu;
	uint32_t parent;  /* of a VLAN interface; 0 otherwise */
	uint16_t vlan_id; /* of a VLAN interface */
	bool vlan_ad;	  /* 802.1ad */
	char kind[16];	  /* "veth", "vlan", ...; "" for hardware */
	bool loopback;
	uint32_t peer;	   /* of a veth: its other end; 0: unknown */
	int32_t peer_nsid; /* the namespace peer is in, as this one calls it; -1: this one */
	uint32_t rx_queues;
	uint8_t xdp_attached; /* XDP_ATTACHED_* */
	uint32_t xdp_program; /* id; 0: none, or several */
};

int netlink_link_get(struct netlink *netlink, uint32_t ifindex, struct netlink_link *ret);
/* A veth's other end, in whichever namespace.  -ENODATA: link has none, or not one we may see. */
int netlink_peer_get(struct netlink *netlink, const struct netlink_link *link,
		     struct netlink_link *ret);
typedef void (*netlink_link_fn)(void *ctx, const struct netlink_link *link);
int netlink_links(struct netlink *netlink, netlink_link_fn fn, void *ctx);

struct netlink_addr {
	struct addr addr;
	uint32_t ifindex;
	uint8_t prefix;
	uint8_t scope;	/* RT_SCOPE_* */
	uint32_t flags; /* IFA_F_* */
};

typedef void (*netlink_addr_fn)(void *ctx, const struct netlink_addr *address);
/* ifindex 0: of every interface. */
int netlink_addrs(struct netlink *netlink, uint32_t ifindex, netlink_addr_fn fn, void *ctx);

struct netlink_route {
	uint8_t type; /* RTN_UNICAST, RTN_LOCAL, ... */
	uint32_t oif;
	bool has_gateway;
	struct addr gateway;
	bool has_source;
	struct addr source; /* preferred source address */
};

/* -ENETUNREACH, -EHOSTUNREACH, -EACCES, -EINVAL: what the route says. */
int netlink_route_get(struct netlink *netlink, const struct addr *dst, struct netlink_route *ret);

struct netlink_neigh {
	uint16_t state; /* NUD_* */
	uint8_t mac[6];
	bool has_mac;
};

int netlink_neigh_get(struct netlink *netlink, uint32_t ifindex, const struct addr *addr,
		      struct netlink_neigh *ret);
/* Has the kernel resolve or probe a neighbour as if traffic had gone to it.  One that is permanent
 * stays as it is. */
int netlink_neigh_use(struct netlink *netlink, uint32_t ifindex, const struct addr *addr);

/* Readable when links, addresses, routes or neighbours change.  netlink_monitor_drain reads all
 * that is there and tells which kinds there were; lost messages count as all kinds. */
#define NETLINK_CHANGED_LINK  0x1u
#define NETLINK_CHANGED_ADDR  0x2u
#define NETLINK_CHANGED_ROUTE 0x4u
#define NETLINK_CHANGED_NEIGH 0x8u
#define NETLINK_CHANGED_ALL   0xfu
int netlink_monitor_fd(const struct netlink *netlink);
unsigned int netlink_monitor_drain(struct netlink *netlink);

#endif
