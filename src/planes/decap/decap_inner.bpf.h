/* decap_inner.bpf.h - the inner packet: for whom it is, whether it fits, and its ECN bits. */
#ifndef DECAP_INNER_BPF_H
#define DECAP_INNER_BPF_H

#include "decap_outer.bpf.h"

#define ECN_MASK    3
#define ECN_NOT_ECT 0
#define ECN_ECT1    1
#define ECN_CE	    3

static __always_inline bool is_vip(const struct decap_addr *addr)
{
	return bpf_map_lookup_elem(&decap_vips, addr);
}

/* Returns DECAP_NO_VIP, DECAP_MALFORMED, or the counter of what is unwrapped.
 * room	what the outer headers leave for the inner packet, in bytes */
static __always_inline int inner_ipv4(void *data, void *end, const struct inner *inner, __s32 room)
{
	struct iphdr *ip = data + inner->at;
	struct decap_addr daddr = { { 0, 0, bpf_htonl(0xffff) } };
	__s32 header;
	__s32 total;

	if ((void *)(ip + 1) > end || ip->version != 4)
		return DECAP_NO_VIP;
	daddr.word[3] = ip->daddr;
	if (!is_vip(&daddr))
		return DECAP_NO_VIP;
	header = ip->ihl * 4;
	total = bpf_ntohs(ip->tot_len);
	if (header < (__s32)sizeof(*ip) || total < header || total > room)
		return DECAP_MALFORMED;
	return inner->counter;
}

static __always_inline int inner_ipv6(void *data, void *end, const struct inner *inner, __s32 room)
{
	struct ipv6hdr *ip = data + inner->at;
	struct decap_addr daddr;

	if ((void *)(ip + 1) > end || ip->version != 6)
		return DECAP_NO_VIP;
	__builtin_memcpy(&daddr, &ip->daddr, sizeof(daddr));
	if (!is_vip(&daddr))
		return DECAP_NO_VIP;
	if ((__s32)sizeof(*ip) + bpf_ntohs(ip->payload_len) > room)
		return DECAP_MALFORMED;
	return inner->counter;
}

/* RFC 6040 section 4.2: what the inner packet's bits become; -1: it must be dropped. */
static __always_inline int ecn_of(__u8 inner, __u8 outer)
{
	if (inner == ECN_NOT_ECT)
		return outer == ECN_CE ? -1 : ECN_NOT_ECT;
	if (inner == ECN_CE || outer == ECN_CE)
		return ECN_CE;
	return outer == ECN_ECT1 ? ECN_ECT1 : inner;
}

/* RFC 1624, equation 3, over the header's first word. */
static __always_inline void set_tos(struct iphdr *ip, __u8 tos)
{
	__u16 old = *(__u16 *)ip;
	__u32 sum;

	ip->tos = tos;
	sum = (__u16)~ip->check + (__u16)~old + *(__u16 *)ip;
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = ~((sum & 0xffff) + (sum >> 16));
}

/* Carries a congestion mark over.  Returns false if the inner packet cannot bear it. */
static __always_inline bool inner_set_ecn(void *data, void *end, const struct inner *inner,
					  __u8 outer)
{
	struct iphdr *ip4 = data + inner->at;
	struct ipv6hdr *ip6 = data + inner->at;
	__u8 old;
	int new;

	if ((void *)(ip4 + 1) > end)
		return false;
	old = inner->version == 4 ? ip4->tos & ECN_MASK : ip6->flow_lbl[0] >> 4 & ECN_MASK;
	new = ecn_of(old, outer);
	if (new < 0)
		return false;
	if (new == old)
		return true;
	if (inner->version == 4)
		set_tos(ip4, (ip4->tos & ~ECN_MASK) | new);
	else
		ip6->flow_lbl[0] = (ip6->flow_lbl[0] & ~(ECN_MASK << 4)) | new << 4;
	return true;
}

#endif
