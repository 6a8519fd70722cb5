/* lb_mss.bpf.h - the maximum segment size that SYNs ask for, lowered to what fits the way: RFC 9293
 * section 3.7.1.  For networks where ICMP errors about longer packets get lost. */
#ifndef LB_MSS_BPF_H
#define LB_MSS_BPF_H

#include "lb_flow.bpf.h"

#define TCP_OPTION_END	 0
#define TCP_OPTION_NOP	 1
#define TCP_OPTION_MSS	 2
#define TCP_OPTION_BYTES 40 /* of all options together */
#define MSS_BYTES	 4

/* The interface's MTU where the packet came in. */
static __always_inline __u16 link_mtu(struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex;
	const struct lb_link_info *link = bpf_map_lookup_elem(&lb_links, &ifindex);

	return link ? link->mtu : LB_MTU_ANY;
}

/* The longest segment's payload, without options: RFC 6691. */
static __always_inline __u32 mss_limit(const bool ipv6, __u32 mtu)
{
	__u32 headers = sizeof(struct tcphdr) +
			(ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u32 limit = mtu > 2 * headers ? mtu - headers : headers;

	return lb_const_mss_max && lb_const_mss_max < limit ? lb_const_mss_max : limit;
}

/* Offset of the MSS option from the frame's start, 0: there is none.  at: of the first option;
 * left: bytes of options.  Both are masked so that the verifier knows no more of them after one
 * option than after another. */
static __always_inline __u32 find_mss(struct xdp_md *ctx, __u32 at, __u32 left)
{
	for (int i = 0; i < TCP_OPTION_BYTES; i++) {
		__u8 *option = frame_start(ctx) + (at & 0xfff);
		__u32 bytes;

		if (left < MSS_BYTES || (void *)(option + MSS_BYTES) > frame_end(ctx) ||
		    *option == TCP_OPTION_END)
			return 0;
		if (*option == TCP_OPTION_MSS)
			return option[1] == MSS_BYTES ? at : 0;
		bytes = *option == TCP_OPTION_NOP ? 1 : option[1];
		if (!bytes || bytes > left || (bytes == 1 && *option != TCP_OPTION_NOP))
			return 0;
		at = (at + bytes) & 0xfff;
		left = (left - bytes) & 0x3f;
	}
	return 0;
}

/* The shorter MTU of the flow's two ways. */
static __always_inline __u32 flow_mtu(const bool ipv6, struct slow_path *slow,
				      const struct lb_flow *flow)
{
	const struct lb_flow *partner;

	if (is_direct(flow->mode))
		return flow->mtu;
	key_of_partner(ipv6, &slow->key, flow, slow->p.proto);
	partner = conns_find(ipv6, &slow->key);
	return partner && partner->mtu < flow->mtu ? partner->mtu : flow->mtu;
}

/* Replaces the option's value; what lies at an odd offset is in the checksum the other way round.
 */
static __always_inline void lower_mss(struct xdp_md *ctx, __u32 l4, __u32 at, __u32 limit)
{
	struct tcphdr *tcp = frame_start(ctx) + (l4 & 0xfff);
	__u8 *value = frame_start(ctx) + (at & 0xfff) + 2;
	__u16 old;
	__u32 sum;

	if ((void *)(tcp + 1) > frame_end(ctx) || (void *)(value + 2) > frame_end(ctx))
		return;
	old = value[0] << 8 | value[1];
	if (old <= limit)
		return;
	value[0] = limit >> 8;
	value[1] = limit;
	sum = (at - l4) & 1 ? csum_diff16(bpf_htons(__builtin_bswap16(old)),
					  bpf_htons(__builtin_bswap16(limit)))
			    : csum_diff16(bpf_htons(old), bpf_htons(limit));
	tcp->check = csum_apply(tcp->check, csum_fold(sum));
	count_event(LB_MSS_CLAMPED);
}

/* The packet in slow_path()->p is a SYN or SYN-ACK about to be forwarded, by its entry or by the
 * one just written. */
static __always_inline int clamp_mss(struct xdp_md *ctx, const bool ipv6, bool written)
{
	struct slow_path *slow = slow_path();
	const struct lb_flow *flow;
	struct tcphdr *tcp;
	__u32 at, l4;

	if (!slow)
		return 0;
	if (written)
		flow = ipv6 ? &slow->conn.flow : &slow->conn4.flow;
	else
		flow = lb_const_stateless ? NULL : conns_find(ipv6, packet_key(&slow->p));
	l4 = slow->p.l4 & 0xfff;
	tcp = frame_start(ctx) + l4;
	if (!flow || (void *)(tcp + 1) > frame_end(ctx))
		return 0;
	at = find_mss(ctx, l4 + sizeof(*tcp), (tcp->doff * 4u - sizeof(*tcp)) & 0x3f);
	if (at)
		lower_mss(ctx, l4, at, mss_limit(ipv6, flow_mtu(ipv6, slow, flow)));
	return 0;
}

__noinline int lb_clamp_mss4(struct xdp_md *ctx, bool written)
{
	return lb_const_mss_max && lb_const_ipv4 ? clamp_mss(ctx, false, written) : 0;
}

__noinline int lb_clamp_mss6(struct xdp_md *ctx, bool written)
{
	return lb_const_mss_max && lb_const_ipv6 ? clamp_mss(ctx, true, written) : 0;
}

#endif
