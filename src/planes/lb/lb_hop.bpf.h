/* lb_hop.bpf.h - the next hop where user space has not said it. */
#ifndef LB_HOP_BPF_H
#define LB_HOP_BPF_H

#include "lb_tunnel.bpf.h"

/* Where the frame is going: what the entry writes, but for L2, where the packet keeps the address
 * of the service, and IPv4 in IPv6. */
static __always_inline bool hop_addresses(bool ipv6, const struct packet *p,
					  const struct lb_flow *flow, __be32 *saddr, __be32 *daddr,
					  bool *ret_ipv6)
{
	const struct lb_backend *backend;
	__u32 row = flow->backend;

	flow_addresses(ipv6, flow, saddr, daddr);
	if (!is_direct(flow->mode))
		return true;
	backend = bpf_map_lookup_elem(&lb_backends, &row);
	if (!backend)
		return false;
	addr_copy(daddr, backend->addr);
	if (lb_const_outer6 && flow->flags & LB_FLOW_OUTER6) {
		saddr[0] = lb_const_outer_net6[0];
		saddr[1] = lb_const_outer_net6[1];
		saddr[2] = lb_const_outer_net6[2];
		*ret_ipv6 = true;
	}
	if (is_l2(flow->mode))
		addr_copy(saddr, p->saddr);
	return true;
}

/* Asks the FIB for flow's next hop and keeps the answer in the entry.  Returns FLOW_GO or a
 * verdict. */
static __always_inline int hop_from_fib(struct xdp_md *ctx, bool ipv6, const struct packet *p,
					struct lb_flow *flow)
{
	struct bpf_fib_lookup fib = {};
	__be32 saddr[4];
	__be32 daddr[4];
	long r;

	if (!hop_addresses(ipv6, p, flow, saddr, daddr, &ipv6))
		return drop(ctx, LB_NO_ROUTE);
	fib.ifindex = ctx->ingress_ifindex;
	fib.l4_protocol = p->proto;
	if (ipv6) {
		fib.family = AF_INET6;
		addr_copy(fib.ipv6_src, saddr);
		addr_copy(fib.ipv6_dst, daddr);
	} else {
		fib.family = AF_INET;
		fib.ipv4_src = saddr[3];
		fib.ipv4_dst = daddr[3];
	}
	/* As if forwarding.  Where that is switched off the kernel answers nothing, not even with
	 * BPF_FIB_LOOKUP_OUTPUT: it asks for forwarding first (net/core/filter.c). */
	r = bpf_fib_lookup(ctx, &fib, sizeof(fib), 0);
	if (r == BPF_FIB_LKUP_RET_NO_NEIGH)
		return drop(ctx, LB_NO_NEIGHBOUR);
	if (r != BPF_FIB_LKUP_RET_SUCCESS)
		return drop(ctx, LB_NO_ROUTE);
	__builtin_memcpy(flow->hop.dmac, fib.dmac, 6);
	__builtin_memcpy(flow->hop.smac, fib.smac, 6);
	flow->hop.ifindex = fib.ifindex;
	flow->tags = 0;
	/* Since Linux 5.12 the answer has the MTU where the question had a length. */
	flow->mtu = tunnel_mtu(fib.tot_len, flow->mode, flow->flags & LB_FLOW_OUTER6 || ipv6);
	return FLOW_GO;
}

#endif
