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

/* The verdict that sends the frame out of an interface.  A CPU map's program has no XDP_TX. */
static __always_inline int send_frame(struct xdp_md *ctx, __u32 ifindex)
{
	if (ifindex == ctx->ingress_ifindex && !lb_const_spread)
		return XDP_TX;
	return bpf_redirect(ifindex, 0);
}

/* Both addresses of the link-layer header, which stand side by side in hop, too.  In words: struct
 * ethhdr is packed, and clang would copy bytes. */
static __always_inline void write_macs(struct ethhdr *eth, const struct lb_hop *hop)
{
	const __u32 *from = (const void *)hop->dmac;
	__u32 *to = (void *)eth;

	_Static_assert(offsetof(struct lb_hop, smac) == 6 && sizeof(hop->smac) == 6,
		       "the addresses stand side by side");
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
}

/* Link-layer header with the hop's addresses and tags, before a network header of type. */
static __always_inline bool write_link(struct xdp_md *ctx, const struct lb_hop *hop, __u8 tags,
				       __be16 type)
{
	struct ethhdr *eth = frame_start(ctx);
	struct vlan_tag *tag = (void *)(eth + 1);
	int want = tags & LB_TAGS_MASK;

	if ((void *)(eth + 1) > frame_end(ctx))
		return false;
	write_macs(eth, hop);
	set_ether_type(eth, type);
	if (!want)
		return true;
	/* Not before: Linux 6.1 does not remember that it was tested where want is not 0. */
	if ((void *)(tag + 2) > frame_end(ctx))
		return false;
	set_ether_type(eth,
		       tags & LB_TAGS_OUTER_AD ? bpf_htons(ETH_P_8021AD) : bpf_htons(ETH_P_8021Q));
	tag->tci = hop->tci[0];
	tag->proto = type;
	if (want == 2) {
		tag->proto = bpf_htons(ETH_P_8021Q);
		tag[1].tci = hop->tci[1];
		tag[1].proto = type;
	}
	return true;
}

/* The network header's type, which stands just before it; 0: the frame is cut short. */
static __always_inline __be16 network_type(struct xdp_md *ctx, __u8 tags)
{
	struct ethhdr *eth = frame_start(ctx);
	int have = tags & LB_TAGS_MASK;

	if ((void *)(eth + 1) + 8 > frame_end(ctx))
		return 0;
	if (have == 0)
		return ether_type(eth);
	return have == 1 ? *(__be16 *)((void *)eth + 16) : *(__be16 *)((void *)eth + 20);
}

/* Link-layer header for hop and the verdict that sends the frame.  Changes the frame's start if the
 * numbers of VLAN tags differ: no pointer into the frame survives. */
static __always_inline int send_to_hop(struct xdp_md *ctx, const struct lb_hop *hop, __u8 hop_tags,
				       __u8 frame_tags)
{
	int have = frame_tags & LB_TAGS_MASK;
	int want = hop_tags & LB_TAGS_MASK;
	struct ethhdr *eth;

	if (have | want) {
		__be16 type = network_type(ctx, frame_tags);

		if (!type || (have != want && bpf_xdp_adjust_head(ctx, (have - want) * 4)) ||
		    !write_link(ctx, hop, hop_tags, type))
			return -1;
		return send_frame(ctx, hop->ifindex);
	}
	eth = frame_start(ctx);
	if ((void *)(eth + 1) > frame_end(ctx))
		return -1;
	write_macs(eth, hop);
	return send_frame(ctx, hop->ifindex);
}

/* Makes room for so many bytes before the network header, and writes the link-layer header for hop
 * before them.  Returns where the room begins, or NULL. */
static __always_inline void *make_room(struct xdp_md *ctx, int bytes, const struct lb_hop *hop,
				       __u8 hop_tags, __u8 frame_tags, __be16 type)
{
	int have = frame_tags & LB_TAGS_MASK;
	int want = hop_tags & LB_TAGS_MASK;

	if (bpf_xdp_adjust_head(ctx, (have - want) * 4 - bytes) ||
	    !write_link(ctx, hop, hop_tags, type))
		return NULL;
	return frame_start(ctx) + sizeof(struct ethhdr) + want * 4;
}

#endif
