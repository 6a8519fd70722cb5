/* lb_tunnel.bpf.h - packets wrapped for a backend that unwraps them and answers the client itself:
 * IPv4 and IPv6 in IP (RFC 2003, RFC 2473) and in UDP (GUE variant 1: draft-ietf-intarea-gue).
 *
 * The outer source varies with the flow, so that the backend's receive queues share the load: the
 * address for IP in IP, the UDP port for GUE. */
#ifndef LB_TUNNEL_BPF_H
#define LB_TUNNEL_BPF_H

#include "lb_flow.bpf.h"

#define TUNNEL_TTL 64

#define OUTER4_BYTES sizeof(struct iphdr)
#define OUTER6_BYTES sizeof(struct ipv6hdr)
#define GUE_BYTES    sizeof(struct udphdr)

/* What the outer header takes over from the inner one: DSCP and ECN (RFC 6040), "don't fragment"
 * and identification (RFC 2003 section 3.1). */
struct inner {
	__u8 proto; /* IPPROTO_IPIP, IPPROTO_IPV6 */
	__u8 dscp;
	__be16 id;
	__be16 frag;
};

/* What a tunnel adds to a packet. */
static __always_inline __u32 tunnel_bytes(__u8 mode, bool outer6)
{
	if (!any_tunnel() || !is_direct(mode) || is_l2(mode))
		return 0;
	return (outer6 ? OUTER6_BYTES : OUTER4_BYTES) + (is_gue(mode) ? GUE_BYTES : 0);
}

/* The longest packet that fits through the tunnel. */
static __always_inline __u16 tunnel_mtu(__u16 mtu, __u8 mode, bool outer6)
{
	__u32 bytes = tunnel_bytes(mode, outer6);

	return mtu && mtu != LB_MTU_ANY ? mtu - bytes : LB_MTU_ANY - bytes;
}

static __always_inline void write_gue(struct udphdr *udp, const struct lb_flow *flow, __u32 length)
{
	udp->source = flow->sport;
	udp->dest = flow->dport;
	udp->len = bpf_htons(length + sizeof(*udp));
	udp->check = 0; /* the inner packet has its own: RFC 6935 */
}

static __always_inline __u64 word_of(__be16 first, __be16 second)
{
	return (__u64)first | (__u64)second << 16;
}

static __always_inline void write_outer4(struct iphdr *ip, const struct inner *inner, __u8 proto,
					 __u32 total, __be32 saddr, __be32 daddr)
{
	__be16 head = bpf_htons(0x4500 | inner->dscp);
	__be16 ttl_proto = bpf_htons(TUNNEL_TTL << 8 | proto);
	__u64 sum;

	*(__be16 *)ip = head;
	ip->tot_len = bpf_htons(total);
	ip->id = inner->id;
	ip->frag_off = inner->frag;
	ip->ttl = TUNNEL_TTL;
	ip->protocol = proto;
	ip->saddr = saddr;
	ip->daddr = daddr;
	sum = (__u64)head + ip->tot_len + inner->id + inner->frag + ttl_proto + saddr + daddr;
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16 & 0xffff) + (sum >> 32);
	ip->check = ~csum_fold(sum);
}

/* bytes: of the wrapped packet. */
static __always_inline int tunnel_ipv4(struct xdp_md *ctx, const struct lb_flow *flow,
				       const struct inner *inner, __u8 frame_tags, __u32 bytes,
				       __be32 saddr, __be32 daddr)
{
	bool gue = is_gue(flow->mode);
	struct iphdr *ip;

	ip = make_room(ctx, OUTER4_BYTES + (gue ? GUE_BYTES : 0), &flow->hop, flow->tags,
		       frame_tags, bpf_htons(ETH_P_IP));
	if (!ip || (void *)(ip + 1) + (gue ? GUE_BYTES : 0) > frame_end(ctx))
		return -1;
	write_outer4(ip, inner, gue ? IPPROTO_UDP : inner->proto,
		     bytes + OUTER4_BYTES + (gue ? GUE_BYTES : 0), saddr, daddr);
	if (gue)
		write_gue((void *)(ip + 1), flow, bytes);
	return send_frame(ctx, flow->hop.ifindex);
}

/* The flow label spreads where addresses alone are not looked at: RFC 6438. */
static __always_inline int tunnel_ipv6(struct xdp_md *ctx, const struct lb_flow *flow,
				       const struct inner *inner, __u8 frame_tags, __u32 bytes,
				       const __be32 *saddr, const __be32 *daddr)
{
	bool gue = is_gue(flow->mode);
	struct ipv6hdr *ip;

	ip = make_room(ctx, OUTER6_BYTES + (gue ? GUE_BYTES : 0), &flow->hop, flow->tags,
		       frame_tags, bpf_htons(ETH_P_IPV6));
	if (!ip || (void *)(ip + 1) + (gue ? GUE_BYTES : 0) > frame_end(ctx))
		return -1;
	*(__be32 *)ip = bpf_htonl(6u << 28 | (__u32)inner->dscp << 20 |
				  (bpf_ntohl(saddr[3]) & 0xfffff));
	ip->payload_len = bpf_htons(bytes + (gue ? GUE_BYTES : 0));
	ip->nexthdr = gue ? IPPROTO_UDP : inner->proto;
	ip->hop_limit = TUNNEL_TTL;
	addr_copy((__be32 *)&ip->saddr, saddr);
	addr_copy((__be32 *)&ip->daddr, daddr);
	if (gue)
		write_gue((void *)(ip + 1), flow, bytes);
	return send_frame(ctx, flow->hop.ifindex);
}

/* IPv4 in IPv6: the entry has no room for the addresses. */
static __always_inline int tunnel_4in6(struct xdp_md *ctx, const struct lb_conn4 *conn,
				       const struct inner *inner, __u8 frame_tags, __u32 bytes)
{
	const struct lb_backend *backend;
	__u32 row = conn->flow.backend;
	__be32 saddr[4];
	__be32 daddr[4];

	backend = bpf_map_lookup_elem(&lb_backends, &row);
	if (!backend)
		return -1;
	saddr[0] = lb_const_outer_net6[0];
	saddr[1] = lb_const_outer_net6[1];
	saddr[2] = lb_const_outer_net6[2];
	saddr[3] = conn->saddr;
	addr_copy(daddr, backend->addr);
	return tunnel_ipv6(ctx, &conn->flow, inner, frame_tags, bytes, saddr, daddr);
}

/* Sends an IPv4 packet of a DSR flow on its way.  Returns a verdict, or -1: the frame could not be
 * prepared, or its counter as -1 - counter. */
static __always_inline int direct_ipv4(struct xdp_md *ctx, const struct packet *p,
				       const struct lb_conn4 *conn)
{
	struct inner inner = { .proto = IPPROTO_IPIP };
	struct iphdr *ip = frame_start(ctx) + (p->l3 & 0x3f);

	if (is_l2(conn->flow.mode))
		return send_to_hop(ctx, &conn->flow.hop, conn->flow.tags, p->tags);
	if (!any_tunnel() || (void *)(ip + 1) > frame_end(ctx))
		return -1;
	if (ip->ttl <= 1)
		return -1 - LB_TTL_EXPIRED;
	ip->ttl--;
	ip->check = csum_apply(ip->check, CSUM_TTL_DELTA);
	inner.dscp = ip->tos;
	inner.id = ip->id;
	inner.frag = ip->frag_off & bpf_htons(LB_IP_DF);
	if (lb_const_outer6 && conn->flow.flags & LB_FLOW_OUTER6)
		return tunnel_4in6(ctx, conn, &inner, p->tags, p->length);
	return tunnel_ipv4(ctx, &conn->flow, &inner, p->tags, p->length, conn->saddr, conn->daddr);
}

static __always_inline int direct_ipv6(struct xdp_md *ctx, const struct packet *p,
				       const struct lb_conn6 *conn)
{
	struct inner inner = { .proto = IPPROTO_IPV6 };
	struct ipv6hdr *ip = frame_start(ctx) + (p->l3 & 0x3f);

	if (is_l2(conn->flow.mode))
		return send_to_hop(ctx, &conn->flow.hop, conn->flow.tags, p->tags);
	if (!any_tunnel() || (void *)(ip + 1) > frame_end(ctx))
		return -1;
	if (ip->hop_limit <= 1)
		return -1 - LB_TTL_EXPIRED;
	ip->hop_limit--;
	inner.dscp = bpf_ntohl(*(__be32 *)ip) >> 20;
	return tunnel_ipv6(ctx, &conn->flow, &inner, p->tags, p->length, conn->saddr, conn->daddr);
}

#endif
