/* lb_hop.bpf.h - the next hop where user space has not said it. */
#ifndef LB_HOP_BPF_H
#define LB_HOP_BPF_H

#include "lb_flow.bpf.h"

/* Asks the FIB for flow's next hop and keeps the answer in the entry.  Returns FLOW_GO or a
 * verdict. */
static __always_inline int hop_from_fib(struct xdp_md *ctx, bool ipv6, const struct packet *p,
					struct lb_flow *flow)
{
	struct bpf_fib_lookup fib = {};
	__be32 saddr[4];
	__be32 daddr[4];
	long r;

	flow_addresses(ipv6, flow, saddr, daddr);
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
	return FLOW_GO;
}

#endif
