/* decap_outer.bpf.h - from the frame to where the inner packet begins.
 *
 * Offsets are bytes from the frame's start and fit into 8 bits: at most 22 of Ethernet, 60 of IP
 * (56 with what is taken of IPv6's extension headers), 8 of UDP, 128 of GUE. */
#ifndef DECAP_OUTER_BPF_H
#define DECAP_OUTER_BPF_H

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include "decap_maps.bpf.h"

#define IP_MORE_FRAGMENTS  0x2000 /* RFC 791 section 3.1 */
#define IP_FRAGMENT_OFFSET 0x1fff
#define IP6_OFFSET	   0xfff8 /* RFC 8200 section 4.5 */
#define IP6_MORE	   0x0001

enum fragment {
	FRAGMENT_NONE,
	FRAGMENT_FIRST, /* a UDP header is in it */
	FRAGMENT_LATER,
};

struct vlan_tag {
	__be16 proto;
	__be16 tci;
};

/* The 8 bytes that are common to the extension headers taken here. */
struct ext_header {
	__u8 next;
	__u8 length; /* in units of 8 bytes, less the first */
	__be16 offset;
	__be32 rest;
};

struct gue_header {
	__u8 bits;  /* variant: 2, control: 1, length of the options in words: 5 */
	__u8 proto; /* variant 0: of the payload */
	__be16 flags;
};

struct outer {
	struct decap_addr daddr;
	__u32 end; /* where the packet ends by its own account; 0: accounts contradict */
	__u8 l3;
	__u8 l4;
	__u8 proto;
	__u8 fragment; /* enum fragment */
	__u8 ecn;
	__u8 tags;
	bool ipv6;
};

struct inner {
	__u8 at;
	__u8 version; /* 4 or 6, by the outer headers' account */
	__u8 counter; /* enum decap_counter, if it is unwrapped */
};

/* Ethernet and up to two VLAN tags.  Returns the ether type in wire order, 0 if the frame is cut
 * short or not sent to one host. */
static __always_inline __be16 outer_ethernet(void *data, void *end, struct outer *o)
{
	struct ethhdr *eth = data;
	struct vlan_tag *tag = data + __builtin_offsetof(struct ethhdr, h_proto);
	__be16 type;

	if ((void *)(eth + 1) > end || eth->h_dest[0] & 1)
		return 0;
	type = eth->h_proto;
	o->l3 = sizeof(*eth);
	o->tags = 0;
	if (type == bpf_htons(ETH_P_8021Q) || type == bpf_htons(ETH_P_8021AD)) {
		if ((void *)(tag + 1) + sizeof(type) > end)
			return 0;
		type = tag[1].proto;
		o->l3 += sizeof(*tag);
		o->tags = 1;
		if (type == bpf_htons(ETH_P_8021Q)) {
			if ((void *)(tag + 2) + sizeof(type) > end)
				return 0;
			type = tag[2].proto;
			o->l3 += sizeof(*tag);
			o->tags = 2;
		}
	}
	return type;
}

static __always_inline bool outer_ipv4(void *data, void *end, struct outer *o)
{
	struct iphdr *ip = data + o->l3;
	__u16 total;

	if ((void *)(ip + 1) > end || ip->version != 4 || ip->ihl < 5)
		return false;
	total = bpf_ntohs(ip->tot_len);
	if (total < ip->ihl * 4u)
		return false;
	o->ipv6 = false;
	o->proto = ip->protocol;
	o->l4 = o->l3 + ip->ihl * 4u;
	o->end = o->l3 + total;
	o->ecn = ip->tos & 3;
	o->daddr.word[0] = 0;
	o->daddr.word[1] = 0;
	o->daddr.word[2] = bpf_htonl(0xffff);
	o->daddr.word[3] = ip->daddr;
	if (ip->frag_off & bpf_htons(IP_FRAGMENT_OFFSET))
		o->fragment = FRAGMENT_LATER;
	else if (ip->frag_off & bpf_htons(IP_MORE_FRAGMENTS))
		o->fragment = FRAGMENT_FIRST;
	else
		o->fragment = FRAGMENT_NONE;
	return true;
}

/* A fragment header, and the destination options that Linux's ip6tnl puts before what it
 * encapsulates (RFC 2473 section 4.1.1): of 8 bytes each, in this order. */
static __always_inline void outer_extensions(void *data, void *end, struct outer *o)
{
	struct ext_header *ext = data + o->l4;

	o->fragment = FRAGMENT_NONE;
	if (o->proto == IPPROTO_FRAGMENT && (void *)(ext + 1) <= end) {
		if (ext->offset & bpf_htons(IP6_OFFSET))
			o->fragment = FRAGMENT_LATER;
		else if (ext->offset & bpf_htons(IP6_MORE))
			o->fragment = FRAGMENT_FIRST;
		o->proto = ext->next;
		o->l4 += sizeof(*ext);
	}
	ext = data + o->l4;
	if (o->proto == IPPROTO_DSTOPTS && (void *)(ext + 1) <= end && !ext->length) {
		o->proto = ext->next;
		o->l4 += sizeof(*ext);
	}
}

static __always_inline bool outer_ipv6(void *data, void *end, struct outer *o)
{
	struct ipv6hdr *ip = data + o->l3;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return false;
	o->ipv6 = true;
	o->proto = ip->nexthdr;
	o->l4 = o->l3 + sizeof(*ip);
	o->end = o->l4 + bpf_ntohs(ip->payload_len);
	o->ecn = ip->flow_lbl[0] >> 4 & 3;
	__builtin_memcpy(&o->daddr, &ip->daddr, sizeof(o->daddr));
	outer_extensions(data, end, o);
	return true;
}

/* Whether the packet is of a kind that is unwrapped here, wherever it goes. */
static __always_inline bool outer_is_tunnel(void *data, void *end, const struct outer *o)
{
	struct udphdr *udp = data + o->l4;

	if (o->proto == IPPROTO_IPIP)
		return true;
	/* IPv6 in IPv4 is left to the kernel: no VIP is reached like that. */
	if (o->proto == IPPROTO_IPV6)
		return o->ipv6;
	return o->proto == IPPROTO_UDP && o->fragment != FRAGMENT_LATER &&
	       (void *)(udp + 1) <= end && udp->dest == bpf_htons(decap_const_gue_port);
}

/* Returns false if the frame is not of a kind that is unwrapped here. */
static __always_inline bool outer_parse(void *data, void *end, struct outer *o)
{
	__be16 type = outer_ethernet(data, end, o);

	if (type == bpf_htons(ETH_P_IP)) {
		if (!outer_ipv4(data, end, o))
			return false;
	} else if (type != bpf_htons(ETH_P_IPV6) || !outer_ipv6(data, end, o)) {
		return false;
	}
	return outer_is_tunnel(data, end, o);
}

/* Variants 0 and 1 of draft-ietf-intarea-gue; UDP's checksum is not looked at, the inner packet has
 * its own. */
static __always_inline bool outer_gue(void *data, void *end, struct outer *o, struct inner *inner)
{
	struct udphdr *udp = data + o->l4;
	struct gue_header *gue = (void *)(udp + 1);
	__u32 udp_end;

	if ((void *)(gue + 1) > end)
		return false;
	udp_end = o->l4 + bpf_ntohs(udp->len);
	o->end = udp_end <= o->end ? udp_end : 0;
	inner->counter = DECAP_GUE;
	inner->at = o->l4 + sizeof(*udp);
	inner->version = gue->bits >> 4;
	if (inner->version == 4 || inner->version == 6) /* variant 1: the packet itself */
		return true;
	if (gue->bits & 0xe0) /* another variant, or a control message */
		return false;
	inner->at += sizeof(*gue) + (gue->bits & 0x1f) * 4;
	inner->version = gue->proto == IPPROTO_IPIP ? 4 : 6;
	return gue->proto == IPPROTO_IPIP || gue->proto == IPPROTO_IPV6;
}

/* Where the inner packet begins.  Returns false if there is none. */
static __always_inline bool outer_unwrap(void *data, void *end, struct outer *o,
					 struct inner *inner)
{
	if (o->proto == IPPROTO_UDP)
		return outer_gue(data, end, o, inner);
	inner->at = o->l4;
	inner->version = o->proto == IPPROTO_IPIP ? 4 : 6;
	if (inner->version == 6)
		inner->counter = DECAP_IP6IP6;
	else
		inner->counter = o->ipv6 ? DECAP_IP4IN6 : DECAP_IPIP;
	return true;
}

#endif
