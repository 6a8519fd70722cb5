/* lb_mss.bpf.h - SYNs announce segments no longer than the way carries (RFC 9293 section 3.7.1). */
#ifndef LB_MSS_BPF_H
#define LB_MSS_BPF_H

#include "lb_flow.bpf.h"

#define TCP_OPTION_END 0
#define TCP_OPTION_NOP 1
#define TCP_OPTION_MSS 2
#define TCP_OPTIONS    40 /* bytes, at most */

/* Where the option's value lies, from the TCP header's start; 0: there is none. */
static __always_inline __u32 find_mss(struct xdp_md *ctx, __u32 l4)
{
	__u8 *tcp = frame_start(ctx) + (l4 & 0xfff);
	__u32 end;
	__u32 at = sizeof(struct tcphdr);

	if ((void *)(tcp + sizeof(struct tcphdr)) > frame_end(ctx))
		return 0;
	end = (tcp[12] >> 4) * 4;
	for (int i = 0; i < TCP_OPTIONS; i++) {
		__u8 *option = frame_start(ctx) + (l4 & 0xfff) + (at & 0x3f);

		if (at + 2 > end || (void *)(option + 2) > frame_end(ctx) ||
		    option[0] == TCP_OPTION_END)
			return 0;
		if (option[0] == TCP_OPTION_MSS)
			return option[1] == 4 && at + 4 <= end ? at + 2 : 0;
		if (option[0] == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		if (option[1] < 2)
			return 0;
		at += option[1];
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

/* What a SYN of the flow may announce: the way there and back, less headers. */
static __always_inline void clamp_syn(struct xdp_md *ctx, bool ipv6, const struct packet *p,
				      const struct lb_flow *flow)
{
	const struct lb_link_info *link;
	__u32 ifindex = ctx->ingress_ifindex;
	__u32 headers = sizeof(struct tcphdr) +
			(ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u32 limit = flow->mtu;

	if (p->proto != IPPROTO_TCP || !(p->tcp_flags & TCP_SYN) || p->fragment)
		return;
	link = bpf_map_lookup_elem(&lb_links, &ifindex);
	if (link && link->mtu < limit)
		limit = link->mtu;
	limit = limit > headers + 536 ? limit - headers : 536;
	if (limit > lb_const_mss_max)
		limit = lb_const_mss_max;
	if (lb_clamp_mss(ctx, p->l4, limit))
		count_event(LB_MSS_CLAMPED);
}

#endif
