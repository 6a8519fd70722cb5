#include "netlink.h"

#include <arpa/inet.h>
#include <errno.h>
#include <libmnl/libmnl.h>
#include <linux/if_addr.h>
#include <linux/if_ether.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "netlink_socket.h"

struct netlink {
	struct netlink_socket requests;
	struct mnl_socket *monitor; /* owned */
};

/* ---- sockets ---- */

static int join(struct mnl_socket *socket, int group)
{
	return mnl_socket_setsockopt(socket, NETLINK_ADD_MEMBERSHIP, &group, sizeof(group));
}

static int open_monitor(struct netlink *netlink)
{
	static const int groups[] = { RTNLGRP_LINK,	   RTNLGRP_NEIGH,      RTNLGRP_IPV4_IFADDR,
				      RTNLGRP_IPV6_IFADDR, RTNLGRP_IPV4_ROUTE, RTNLGRP_IPV6_ROUTE };

	netlink->monitor = mnl_socket_open2(NETLINK_ROUTE, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!netlink->monitor || mnl_socket_bind(netlink->monitor, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (join(netlink->monitor, groups[i]) < 0)
			return -errno;
	return 0;
}

static int open_requests(struct netlink *netlink)
{
	int one = 1;
	int r = netlink_socket_open(&netlink->requests, NETLINK_ROUTE);

	/* The kernel then checks the whole request and filters dumps: Linux 4.20. */
	if (r == 0)
		mnl_socket_setsockopt(netlink->requests.socket, NETLINK_GET_STRICT_CHK, &one,
				      sizeof(one));
	return r;
}

int netlink_open(struct netlink **ret, struct err *err)
{
	struct netlink *netlink = calloc(1, sizeof(*netlink));
	int r;

	*ret = NULL;
	if (!netlink)
		return err_set(err, -ENOMEM, "cannot open netlink: out of memory");
	r = open_requests(netlink);
	if (r == 0)
		r = open_monitor(netlink);
	if (r < 0) {
		netlink_close(netlink);
		return err_set(err, r, "cannot open netlink: %s", strerror(-r));
	}
	*ret = netlink;
	return 0;
}

void netlink_close(struct netlink *netlink)
{
	if (!netlink)
		return;
	netlink_socket_close(&netlink->requests);
	if (netlink->monitor)
		mnl_socket_close(netlink->monitor);
	free(netlink);
}

/* ---- attributes ---- */

static void put_addr(struct nlmsghdr *message, uint16_t type, const struct addr *addr)
{
	if (addr_is_v4(addr))
		mnl_attr_put_u32(message, type, addr_v4(addr));
	else
		mnl_attr_put(message, type, sizeof(*addr), addr);
}

static uint8_t family_of(const struct addr *addr)
{
	return addr_is_v4(addr) ? AF_INET : AF_INET6;
}

static bool get_addr(const struct nlattr *attr, struct addr *ret)
{
	uint16_t length = mnl_attr_get_payload_len(attr);

	if (length == 4) {
		*ret = addr_from_v4(mnl_attr_get_u32(attr));
		return true;
	}
	if (length != sizeof(*ret))
		return false;
	memcpy(ret, mnl_attr_get_payload(attr), sizeof(*ret));
	return true;
}

static bool get_mac(const struct nlattr *attr, uint8_t mac[6])
{
	if (mnl_attr_get_payload_len(attr) != 6)
		return false;
	memcpy(mac, mnl_attr_get_payload(attr), 6);
	return true;
}

/* A string attribute, cut to size, always terminated. */
static void get_text(const struct nlattr *attr, char *text, size_t size)
{
	size_t length = mnl_attr_get_payload_len(attr);

	if (length >= size)
		length = size - 1;
	memcpy(text, mnl_attr_get_payload(attr), length);
	text[length] = '\0';
}

static int attr_type(const struct nlattr *attr)
{
	return mnl_attr_get_type(attr) & NLA_TYPE_MASK;
}

/* ---- links ---- */

static void parse_vlan(const struct nlattr *data, struct netlink_link *link)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, data)
	{
		if (mnl_attr_get_payload_len(attr) < 2)
			continue;
		if (attr_type(attr) == IFLA_VLAN_ID)
			link->vlan_id = mnl_attr_get_u16(attr);
		else if (attr_type(attr) == IFLA_VLAN_PROTOCOL)
			link->vlan_ad = mnl_attr_get_u16(attr) == htons(ETH_P_8021AD);
	}
}

static void parse_link_info(const struct nlattr *info, struct netlink_link *link)
{
	const struct nlattr *data = NULL;
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, info)
	{
		if (attr_type(attr) == IFLA_INFO_KIND)
			get_text(attr, link->kind, sizeof(link->kind));
		else if (attr_type(attr) == IFLA_INFO_DATA)
			data = attr;
	}
	if (data && !strcmp(link->kind, "vlan"))
		parse_vlan(data, link);
}

static void parse_xdp(const struct nlattr *xdp, struct netlink_link *link)
{
	const struct nlattr *attr;

	mnl_attr_for_each_nested(attr, xdp)
	{
		if (attr_type(attr) == IFLA_XDP_ATTACHED && mnl_attr_get_payload_len(attr) == 1)
			link->xdp_attached = mnl_attr_get_u8(attr);
		else if (attr_type(attr) == IFLA_XDP_PROG_ID && mnl_attr_get_payload_len(attr) == 4)
			link->xdp_program = mnl_attr_get_u32(attr);
	}
}

/* A veth's IFLA_LINK is its peer, in another namespace if IFLA_LINK_NETNSID says so. */
static void set_lower(struct netlink_link *link, uint32_t lower)
{
	if (!strcmp(link->kind, "vlan"))
		link->parent = lower;
	else if (!strcmp(link->kind, "veth"))
		link->peer = lower;
}

static int parse_link(const struct nlmsghdr *message, void *data)
{
	const struct ifinfomsg *info = mnl_nlmsg_get_payload(message);
	struct netlink_link *link = data;
	const struct nlattr *attr;
	uint32_t lower = 0;

	if (message->nlmsg_type != RTM_NEWLINK)
		return MNL_CB_OK;
	memset(link, 0, sizeof(*link));
	link->peer_nsid = -1;
	link->ifindex = (uint32_t)info->ifi_index;
	link->up = (info->ifi_flags & (IFF_UP | IFF_RUNNING)) == (IFF_UP | IFF_RUNNING);
	link->admin_up = info->ifi_flags & IFF_UP;
	link->loopback = info->ifi_flags & IFF_LOOPBACK;
	mnl_attr_for_each(attr, message, sizeof(*info))
	{
		switch (attr_type(attr)) {
		case IFLA_IFNAME:
			get_text(attr, link->name, sizeof(link->name));
			break;
		case IFLA_ADDRESS:
			link->has_mac = get_mac(attr, link->mac);
			break;
		case IFLA_MTU:
			if (mnl_attr_get_payload_len(attr) == 4)
				link->mtu = mnl_attr_get_u32(attr);
			break;
		case IFLA_LINK:
			if (mnl_attr_get_payload_len(attr) == 4)
				lower = mnl_attr_get_u32(attr);
			break;
		case IFLA_LINK_NETNSID:
			if (mnl_attr_get_payload_len(attr) == 4)
				link->peer_nsid = (int32_t)mnl_attr_get_u32(attr);
			break;
		case IFLA_NUM_RX_QUEUES:
			if (mnl_attr_get_payload_len(attr) == 4)
				link->rx_queues = mnl_attr_get_u32(attr);
			break;
		case IFLA_XDP:
			parse_xdp(attr, link);
			break;
		case IFLA_LINKINFO:
			parse_link_info(attr, link);
			break;
		default:
			break;
		}
	}
	set_lower(link, lower);
	return MNL_CB_OK;
}

int netlink_link_get(struct netlink *netlink, uint32_t ifindex, struct netlink_link *ret)
{
	struct nlmsghdr *message = netlink_socket_begin(&netlink->requests, RTM_GETLINK, 0);
	struct ifinfomsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));

	info->ifi_index = (int)ifindex;
	memset(ret, 0, sizeof(*ret));
	return netlink_socket_transact(&netlink->requests, message, parse_link, ret);
}

int netlink_peer_get(struct netlink *netlink, const struct netlink_link *link,
		     struct netlink_link *ret)
{
	struct nlmsghdr *message;
	struct ifinfomsg *info;
	int r;

	memset(ret, 0, sizeof(*ret));
	if (!link->peer)
		return -ENODATA;
	message = netlink_socket_begin(&netlink->requests, RTM_GETLINK, 0);
	info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	info->ifi_index = (int)link->peer;
	if (link->peer_nsid >= 0)
		mnl_attr_put_u32(message, IFLA_TARGET_NETNSID, (uint32_t)link->peer_nsid);
	r = netlink_socket_transact(&netlink->requests, message, parse_link, ret);
	return r == -EPERM || r == -ENODEV || r == -EACCES || r == -EINVAL ? -ENODATA : r;
}

struct link_dump {
	netlink_link_fn fn;
	void *ctx;
};

static int parse_dumped_link(const struct nlmsghdr *message, void *data)
{
	const struct link_dump *dump = data;
	struct netlink_link link;

	if (message->nlmsg_type == RTM_NEWLINK) {
		parse_link(message, &link);
		dump->fn(dump->ctx, &link);
	}
	return MNL_CB_OK;
}

int netlink_links(struct netlink *netlink, netlink_link_fn fn, void *ctx)
{
	struct nlmsghdr *message = netlink_socket_begin(&netlink->requests, RTM_GETLINK,
							NLM_F_DUMP);
	struct link_dump dump = { fn, ctx };

	mnl_nlmsg_put_extra_header(message, sizeof(struct ifinfomsg));
	return netlink_socket_transact(&netlink->requests, message, parse_dumped_link, &dump);
}

/* ---- addresses ---- */

struct addr_dump {
	uint32_t ifindex;
	netlink_addr_fn fn;
	void *ctx;
};

static int parse_address(const struct nlmsghdr *message, void *data)
{
	const struct ifaddrmsg *info = mnl_nlmsg_get_payload(message);
	struct addr_dump *dump = data;
	struct netlink_addr address = { .ifindex = info->ifa_index,
					.prefix = info->ifa_prefixlen,
					.scope = info->ifa_scope,
					.flags = info->ifa_flags };
	const struct nlattr *attr;
	bool found = false;

	/* Kernels without strict checking dump every interface's. */
	if (message->nlmsg_type != RTM_NEWADDR ||
	    (dump->ifindex && info->ifa_index != dump->ifindex))
		return MNL_CB_OK;
	mnl_attr_for_each(attr, message, sizeof(*info))
	{
		/* On a point-to-point link IFA_ADDRESS is the other end's. */
		if (attr_type(attr) == IFA_LOCAL || (attr_type(attr) == IFA_ADDRESS && !found))
			found = get_addr(attr, &address.addr);
		else if (attr_type(attr) == IFA_FLAGS && mnl_attr_get_payload_len(attr) == 4)
			address.flags = mnl_attr_get_u32(attr);
	}
	if (found)
		dump->fn(dump->ctx, &address);
	return MNL_CB_OK;
}

int netlink_addrs(struct netlink *netlink, uint32_t ifindex, netlink_addr_fn fn, void *ctx)
{
	struct nlmsghdr *message = netlink_socket_begin(&netlink->requests, RTM_GETADDR,
							NLM_F_DUMP);
	struct ifaddrmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	struct addr_dump dump = { ifindex, fn, ctx };

	info->ifa_family = AF_UNSPEC;
	info->ifa_index = ifindex;
	return netlink_socket_transact(&netlink->requests, message, parse_address, &dump);
}

/* ---- routes ---- */

/* struct rtvia: a gateway of the other family. */
static bool get_via(const struct nlattr *attr, struct addr *ret)
{
	const struct rtvia *via = mnl_attr_get_payload(attr);
	size_t length = mnl_attr_get_payload_len(attr);

	if (length == sizeof(*via) + 4) {
		__be32 v4;

		memcpy(&v4, via->rtvia_addr, sizeof(v4));
		*ret = addr_from_v4(v4);
		return true;
	}
	if (length != sizeof(*via) + sizeof(*ret))
		return false;
	memcpy(ret, via->rtvia_addr, sizeof(*ret));
	return true;
}

static int parse_route(const struct nlmsghdr *message, void *data)
{
	const struct rtmsg *info = mnl_nlmsg_get_payload(message);
	struct netlink_route *route = data;
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWROUTE)
		return MNL_CB_OK;
	route->type = info->rtm_type;
	mnl_attr_for_each(attr, message, sizeof(*info))
	{
		switch (attr_type(attr)) {
		case RTA_OIF:
			if (mnl_attr_get_payload_len(attr) == 4)
				route->oif = mnl_attr_get_u32(attr);
			break;
		case RTA_GATEWAY:
			route->has_gateway = get_addr(attr, &route->gateway);
			break;
		case RTA_VIA:
			route->has_gateway = get_via(attr, &route->gateway);
			break;
		case RTA_PREFSRC:
			route->has_source = get_addr(attr, &route->source);
			break;
		default:
			break;
		}
	}
	return MNL_CB_OK;
}

int netlink_route_get(struct netlink *netlink, const struct addr *dst, struct netlink_route *ret)
{
	struct nlmsghdr *message = netlink_socket_begin(&netlink->requests, RTM_GETROUTE, 0);
	struct rtmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));

	info->rtm_family = family_of(dst);
	info->rtm_dst_len = addr_is_v4(dst) ? 32 : 128;
	put_addr(message, RTA_DST, dst);
	memset(ret, 0, sizeof(*ret));
	return netlink_socket_transact(&netlink->requests, message, parse_route, ret);
}

/* ---- neighbours ---- */

static int parse_neigh(const struct nlmsghdr *message, void *data)
{
	const struct ndmsg *info = mnl_nlmsg_get_payload(message);
	struct netlink_neigh *neigh = data;
	const struct nlattr *attr;

	if (message->nlmsg_type != RTM_NEWNEIGH)
		return MNL_CB_OK;
	neigh->state = info->ndm_state;
	mnl_attr_for_each(attr, message, sizeof(*info))
	{
		if (attr_type(attr) == NDA_LLADDR)
			neigh->has_mac = get_mac(attr, neigh->mac);
	}
	return MNL_CB_OK;
}

int netlink_neigh_get(struct netlink *netlink, uint32_t ifindex, const struct addr *addr,
		      struct netlink_neigh *ret)
{
	struct nlmsghdr *message = netlink_socket_begin(&netlink->requests, RTM_GETNEIGH, 0);
	struct ndmsg *info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	int r;

	info->ndm_family = family_of(addr);
	info->ndm_ifindex = (int)ifindex;
	put_addr(message, NDA_DST, addr);
	memset(ret, 0, sizeof(*ret));
	r = netlink_socket_transact(&netlink->requests, message, parse_neigh, ret);
	return r == -ENOENT ? -ENODATA : r;
}

int netlink_neigh_use(struct netlink *netlink, uint32_t ifindex, const struct addr *addr)
{
	struct netlink_neigh known;
	struct nlmsghdr *message;
	struct ndmsg *info;

	/* Since Linux 5.16 NTF_USE takes NUD_PERMANENT away (__neigh_update, net/core/neighbour.c).
	 */
	if (netlink_neigh_get(netlink, ifindex, addr, &known) == 0 && known.state & NUD_PERMANENT)
		return 0;
	message = netlink_socket_begin(&netlink->requests, RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_ACK);
	info = mnl_nlmsg_put_extra_header(message, sizeof(*info));
	info->ndm_family = family_of(addr);
	info->ndm_ifindex = (int)ifindex;
	info->ndm_state = NUD_NONE;
	info->ndm_flags = NTF_USE;
	put_addr(message, NDA_DST, addr);
	return netlink_socket_transact(&netlink->requests, message, NULL, NULL);
}

/* ---- monitor ---- */

int netlink_monitor_fd(const struct netlink *netlink)
{
	return mnl_socket_get_fd(netlink->monitor);
}

static int note_kind(const struct nlmsghdr *message, void *data)
{
	unsigned int *kinds = data;

	switch (message->nlmsg_type) {
	case RTM_NEWLINK:
	case RTM_DELLINK:
		*kinds |= NETLINK_CHANGED_LINK;
		break;
	case RTM_NEWADDR:
	case RTM_DELADDR:
		*kinds |= NETLINK_CHANGED_ADDR;
		break;
	case RTM_NEWROUTE:
	case RTM_DELROUTE:
		*kinds |= NETLINK_CHANGED_ROUTE;
		break;
	case RTM_NEWNEIGH:
	case RTM_DELNEIGH:
		*kinds |= NETLINK_CHANGED_NEIGH;
		break;
	default:
		break;
	}
	return MNL_CB_OK;
}

unsigned int netlink_monitor_drain(struct netlink *netlink)
{
	unsigned int kinds = 0;

	for (;;) {
		ssize_t n = netlink_socket_receive(netlink->monitor, netlink->requests.buffer,
						   sizeof(netlink->requests.buffer));

		if (n < 0)
			return n == -EAGAIN ? kinds : NETLINK_CHANGED_ALL;
		mnl_cb_run(netlink->requests.buffer, (size_t)n, 0, 0, note_kind, &kinds);
	}
}
