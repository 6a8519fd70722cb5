/* lb_mss.bpf.h - SYNs announce segments no longer than the way carries (RFC 9293 section 3.7.1). */
#ifndef LB_MSS_BPF_H
#define LB_MSS_BPF_H

#include "lb_flow.bpf.h"

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define MSS_BYTES      4
#define TCP_OPTIONS    40  /* bytes, at most */
#define MSS_LEAST      536 /* what every host takes: RFC 9293 section 3.7.1 */

/* Where the option's value lies, from the TCP header's start; 0: there is none.  Both offset and
 * rest are masked after each option, for then the verifier knows the same of them whatever option
 * that was, and walks through the loop once for all. */
static __always_inline __u32 find_mss(struct xdp_md *ctx, __u32 l4)
{
	__u8 *tcp = frame_start(ctx) + (l4 & 0xfff);
	__u32 at = sizeof(struct tcphdr);
	__u32 left;

	if ((void *)(tcp + sizeof(struct tcphdr)) > frame_end(ctx))
		return 0;
	left = ((tcp[12] >> 4) * 4 - sizeof(struct tcphdr)) & 0x3f;
	for (int i = 0; i < TCP_OPTIONS; i++) {
		__u8 *option = frame_start(ctx) + (l4 & 0xfff) + at;
		__u32 bytes = 1;

		if (left < MSS_BYTES || (void *)(option + MSS_BYTES) > frame_end(ctx) ||
		    option[0] == TCP_OPTION_END)
			return 0;
		if (option[0] == TCP_OPTION_MSS)
			return option[1] == MSS_BYTES ? at + 2 : 0;
		if (option[0] != TCP_OPTION_NOP) {
			bytes = option[1];
			if (bytes < 2 || bytes > left)
				return 0;
		}
		at = (at + bytes) & 0x3f;
		left = (left - bytes) & 0x3f;
	}
	return 0;
}

/* Lowers the option of the SYN whose TCP header is at l4 to limit.  Returns 1 if it did. */
__noinline int lb_clamp_mss(struct xdp_md *ctx, __u32 l4, __u32 limit)
{
	struct tcphdr *tcp;
	__u8 *option;
	__be16 old, lower;
	__u32 at;

	if (!lb_const_mss_max)
		return 0;
	at = find_mss(ctx, l4);
	tcp = frame_start(ctx) + (l4 & 0xfff);
	option = frame_start(ctx) + (l4 & 0xfff) + (at & 0x3f);
	if (!at || (void *)(tcp + 1) > frame_end(ctx) || (void *)(option + 2) > frame_end(ctx))
		return 0;
	old = option[0] << 8 | option[1];
	if (old <= limit)
		return 0;
	lower = limit;
	/* Behind odd NOPs the value straddles two words of the sum: then its bytes swap places. */
	tcp->check = csum_apply(tcp->check,
				at & 1 ? csum_fold(csum_diff16(__builtin_bswap16(bpf_htons(old)),
							       __builtin_bswap16(bpf_htons(lower))))
				       : csum_fold(csum_diff16(bpf_htons(old), bpf_htons(lower))));
	option[0] = limit >> 8;
	option[1] = limit;
	return 1;
}

/* The interface's MTU where the packet came in. */
static __always_inline __u32 link_mtu(struct xdp_md *ctx)
{
	__u32 ifindex = ctx->ingress_ifindex;
	const struct lb_link_info *link = bpf_map_lookup_elem(&lb_links, &ifindex);

	return link ? link->mtu : LB_MTU_ANY;
}

/* What fits into an IP packet of mtu bytes, and what the configuration allows. */
static __always_inline __u32 mss_limit(const bool ipv6, __u32 mtu)
{
	__u32 headers = sizeof(struct tcphdr) +
			(ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u32 limit = mtu > headers + MSS_LEAST ? mtu - headers : MSS_LEAST;

	return lb_const_mss_max && lb_const_mss_max < limit ? lb_const_mss_max : limit;
}

/* The shorter MTU of the flow's two ways: a SYN announces what may come back, but what leaves
 * before the other side's SYN is seen must fit, too. */
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

/* The packet in slow_path()->p is a SYN or SYN-ACK about to be forwarded: by the entry that was
 * just written, or by the one it has. */
static __always_inline int clamp_syn(struct xdp_md *ctx, const bool ipv6, bool written)
{
	struct slow_path *slow = slow_path();
	const struct lb_flow *flow;

	if (!slow)
		return 0;
	if (written)
		flow = ipv6 ? &slow->conn.flow : &slow->conn4.flow;
	else
		flow = lb_const_stateless ? NULL : conns_find(ipv6, packet_key(&slow->p));
	if (flow && lb_clamp_mss(ctx, slow->p.l4, mss_limit(ipv6, flow_mtu(ipv6, slow, flow))))
		count_event(LB_MSS_CLAMPED);
	return 0;
}

__noinline int lb_clamp_syn4(struct xdp_md *ctx, bool written)
{
	return lb_const_mss_max && lb_const_ipv4 ? clamp_syn(ctx, false, written) : 0;
}

__noinline int lb_clamp_syn6(struct xdp_md *ctx, bool written)
{
	return lb_const_mss_max && lb_const_ipv6 ? clamp_syn(ctx, true, written) : 0;
}

#endif
