/* lb_direct.bpf.h - the first packet of a flow under direct server return: outer header, one entry.
 */
#ifndef LB_DIRECT_BPF_H
#define LB_DIRECT_BPF_H

#include "lb_hop.bpf.h"
#include "lb_tunnel.bpf.h"

static __always_inline bool backend_is_v4(const struct lb_backend *backend)
{
	return !(backend->addr[0] | backend->addr[1]) && backend->addr[2] == bpf_htonl(0xffff);
}

/* What the outer header says of where a packet comes from varies with its flow's hash. */
static __always_inline __be32 outer_source4(__u64 hash)
{
	return lb_const_outer4 | bpf_htonl(hash >> 32 & lb_const_outer4_hosts);
}

static __always_inline __be32 outer_last6(__u64 hash)
{
	return lb_const_outer_net6[3] | bpf_htonl(hash >> 32 & lb_const_outer6_hosts);
}

static __always_inline void outer_source6(__be32 *saddr, __u64 hash)
{
	saddr[0] = lb_const_outer_net6[0];
	saddr[1] = lb_const_outer_net6[1];
	saddr[2] = lb_const_outer_net6[2];
	saddr[3] = outer_last6(hash);
}

/* Of those that no service of a host would use as its own. */
static __always_inline __be16 outer_port(__u64 hash)
{
	return bpf_htons(0xc000 | (__u16)(hash >> 16));
}

/* Outer addresses, into slow->conn. */
static __always_inline void choose_outer(struct slow_path *nf, bool outer6)
{
	if (outer6) {
		outer_source6(nf->conn.saddr, nf->hash);
	} else {
		addr_map_v4(nf->conn.saddr);
		nf->conn.saddr[3] = outer_source4(nf->hash);
	}
	addr_copy(nf->conn.daddr, nf->backend.addr);
}

/* Fills the flow's only entry, the client's. */
static __always_inline void prepare_direct(const bool ipv6, struct slow_path *nf)
{
	bool outer6 = ipv6 || (lb_const_outer6 && !backend_is_v4(&nf->backend));
	struct lb_flow *flow = &nf->conn.flow;

	begin_flow(nf, flow);
	if (!ipv6 && outer6)
		flow->flags |= LB_FLOW_OUTER6;
	flow->hop = nf->backend.hop;
	flow->tags = nf->backend.tags;
	flow->mtu = tunnel_mtu(nf->backend.mtu, flow->mode, outer6);
	flow->sport = outer_port(nf->hash);
	flow->dport = lb_const_gue_port;
	nf->conn.created = nf->p.now;
	choose_outer(nf, outer6);
}

static __always_inline long put_direct(const bool ipv6, struct slow_path *nf, bool keep)
{
	struct lb_conn6 *conn = &nf->conn;
	struct lb_conn4 *conn4 = &nf->conn4;

	key_of_packet(&nf->key, &nf->p);
	if (ipv6) {
		conn->zero = 0;
		conn->l4_delta = 0;
		return !lb_const_stateless && keep
			       ? bpf_map_update_elem(&lb_conns6, &nf->key, conn, BPF_ANY)
			       : 0;
	} else {
		struct lb_key4 narrow;

		conn4->flow = conn->flow;
		conn4->saddr = conn->saddr[3];
		conn4->daddr = conn->daddr[3];
		conn4->ip_delta = CSUM_TTL_DELTA;
		conn4->l4_delta = 0;
		conn4->created = conn->created;
		key_narrow(&narrow, &nf->key);
		return !lb_const_stateless && keep
			       ? bpf_map_update_elem(&lb_conns4, &narrow, conn4, BPF_ANY)
			       : 0;
	}
}

/* keep: with an entry.  A reset begins nothing, but the backend may know what it ends. */
static __always_inline int new_direct(struct xdp_md *ctx, const bool ipv6, bool keep)
{
	struct slow_path *nf = slow_path();

	if (!nf)
		return XDP_PASS;
	if (lb_const_stateless || nf->p.from_icmp ||
	    (nf->p.proto == IPPROTO_TCP && nf->p.tcp_flags & TCP_RST))
		keep = false;
	prepare_direct(ipv6, nf);
	if (put_direct(ipv6, nf, keep))
		return drop(ctx, LB_MAP_FULL);
	if (!keep)
		count_event(LB_STATELESS);
	else
		count_connection(nf->row);
	if (keep && nf->conn.flow.flags & LB_FLOW_PICKED_UP)
		count_event(LB_PICKED_UP);
	if (!nf->backend.hop.ifindex) {
		int r = hop_from_fib(ctx, ipv6, &nf->p, ipv6 ? &nf->conn.flow : &nf->conn4.flow);

		if (r != FLOW_GO)
			return r;
	}
	return FLOW_READY;
}

__noinline int lb_new_direct4(struct xdp_md *ctx, bool keep)
{
	return new_direct(ctx, false, keep);
}

__noinline int lb_new_direct6(struct xdp_md *ctx, bool keep)
{
	return new_direct(ctx, true, keep);
}

#endif
