/* lb_rewrite.bpf.h - checksums and headers on the way out. */
#ifndef LB_REWRITE_BPF_H
#define LB_REWRITE_BPF_H

#include "lb_csum.h"
#include "lb_parse.bpf.h"

/* New ports and checksum; delta covers addresses and ports.  Returns false, with nothing written,
 * if the header is not whole. */
static __always_inline bool rewrite_transport(void *l4, void *end, __u8 proto,
					      const struct lb_flow *flow, __u16 delta)
{
	struct ports *ports = l4;
	struct tcphdr *tcp = l4;
	struct udphdr *udp = l4;
	__u16 check;

	if (proto == IPPROTO_TCP) {
		if ((void *)(tcp + 1) > end)
			return false;
		tcp->check = csum_apply(tcp->check, delta);
	} else {
		if ((void *)(udp + 1) > end)
			return false;
		/* Zero says that there is none, and must not arise: RFC 768. */
		check = udp->check;
		if (check) {
			check = csum_apply(check, delta);
			udp->check = check ? check : 0xffff;
		}
	}
	ports->source = flow->sport;
	ports->dest = flow->dport;
	return true;
}

/* Link-layer header for hop and the verdict that sends the frame.  Changes the frame's start if the
 * numbers of VLAN tags differ: no pointer into the frame survives. */
static __always_inline int send_to_hop(struct xdp_md *ctx, const struct lb_hop *hop, __u8 hop_tags,
				       __u8 frame_tags)
{
	int have = frame_tags & LB_TAGS_MASK;
	int want = hop_tags & LB_TAGS_MASK;
	struct ethhdr *eth;
	void *end;

	if (have | want) {
		struct vlan_tag *tag;
		__be16 type;

		eth = frame_start(ctx);
		end = frame_end(ctx);
		/* The network header's type stands just before it, tags or not. */
		if ((void *)(eth + 1) + 8 > end)
			return -1;
		if (have == 0)
			type = eth->h_proto;
		else if (have == 1)
			type = *(__be16 *)((void *)eth + 16);
		else
			type = *(__be16 *)((void *)eth + 20);
		if (have != want && bpf_xdp_adjust_head(ctx, (have - want) * 4))
			return -1;
		eth = frame_start(ctx);
		end = frame_end(ctx);
		if ((void *)(eth + 1) + 8 > end)
			return -1;
		eth->h_proto = type;
		if (want) {
			eth->h_proto = hop_tags & LB_TAGS_OUTER_AD ? bpf_htons(ETH_P_8021AD)
								   : bpf_htons(ETH_P_8021Q);
			tag = (void *)(eth + 1);
			tag->tci = hop->tci[0];
			tag->proto = type;
			if (want == 2) {
				tag->proto = bpf_htons(ETH_P_8021Q);
				tag[1].tci = hop->tci[1];
				tag[1].proto = type;
			}
		}
	}
	eth = frame_start(ctx);
	end = frame_end(ctx);
	if ((void *)(eth + 1) > end)
		return -1;
	__builtin_memcpy(eth->h_dest, hop->dmac, 6);
	__builtin_memcpy(eth->h_source, hop->smac, 6);
	/* A CPU map's program has no XDP_TX. */
	if (hop->ifindex == ctx->ingress_ifindex && !lb_const_spread)
		return XDP_TX;
	return bpf_redirect(hop->ifindex, 0);
}

#endif
