/* lb_new.bpf.h - the first packet of a flow: service, what it must pass, backend; under NAT its two
 * entries. */
#ifndef LB_NEW_BPF_H
#define LB_NEW_BPF_H

#include "lb_source.bpf.h"
#include "lb_stranger.bpf.h"
#include "lb_direct.bpf.h"
#include "lb_limit.bpf.h"
#include "lb_select.bpf.h"

/* Fills nf->service. */
static __always_inline bool find_service(struct slow_path *nf)
{
	struct lb_service_key key = {};
	const struct lb_service *service;

	key.port = nf->p.dport;
	key.proto = nf->p.proto;
	addr_copy(key.addr, nf->p.daddr);
	service = bpf_map_lookup_elem(&lb_services, &key);
	if (!service && lb_const_any_port) {
		key.port = 0;
		service = bpf_map_lookup_elem(&lb_services, &key);
	}
	if (!service)
		return false;
	nf->service = *service;
	note_service(service->table);
	return true;
}

/* The flow of the packet in slow_path()->p, which has an entry, is in use. */
static __always_inline int keep_client(const bool ipv6)
{
	struct slow_path *slow = slow_path();
	const struct lb_backend *backend;
	struct lb_flow *flow;
	__u32 row;

	if (!slow)
		return 0;
	key_of_packet(&slow->key, &slow->p);
	flow = conns_find(ipv6, &slow->key);
	if (!flow)
		return 0;
	row = flow->backend;
	backend = bpf_map_lookup_elem(&lb_backends, &row);
	if (flow->flags & LB_FLOW_REPLY && backend)
		renew_affinity(ipv6, slow, flow, backend->service);
	/* Not by the backend's row: that names one of two tables where IPv6 carries IPv4. */
	else if (find_service(slow))
		renew_affinity(ipv6, slow, flow, slow->service.table);
	return 0;
}

__noinline int lb_keep_client4(struct xdp_md *ctx)
{
	return ctx ? keep_client(false) : 0;
}

__noinline int lb_keep_client6(struct xdp_md *ctx)
{
	return ctx ? keep_client(true) : 0;
}

/* Is the packet one of a connection that the local stack has? */
static __always_inline bool stack_has(struct xdp_md *ctx, const bool ipv6, struct slow_path *nf)
{
	key_of_packet(&nf->key, &nf->p);
	return nf->p.proto == IPPROTO_TCP && !(nf->p.tcp_flags & TCP_SYN) &&
	       host_has_connection(ctx, &nf->key, ipv6);
}

/* What the flow's first packet must pass before it gets a backend.  Returns FLOW_GO, FLOW_EXCESS
 * or a verdict. */
static __always_inline int admit(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *nf = slow_path();
	bool begins;

	if (!nf)
		return XDP_PASS;
	if (lb_const_local && nf->service.flags & LB_SERVICE_SHARED && stack_has(ctx, ipv6, nf))
		return pass(ctx, LB_LOCAL);
	if (lb_const_local && nf->service.flags & LB_SERVICE_PASS)
		return pass(ctx, LB_LOCAL);
	if (nf->p.truncated || (nf->p.proto == IPPROTO_TCP && nf->p.fragment != FRAGMENT_LATER &&
				!flags_can_begin(nf->p.tcp_flags)))
		return drop(ctx, LB_MALFORMED);
	if (nf->p.expired && !is_l2(nf->service.mode))
		return drop(ctx, LB_TTL_EXPIRED);
	if (is_from_service(ipv6, &nf->p))
		return drop(ctx, LB_FROM_SERVICE);
	if (lb_const_filter && nf->service.flags & LB_SERVICE_FILTER && is_denied(nf))
		return drop(ctx, LB_DENIED);
	begins = (nf->p.proto != IPPROTO_TCP && !nf->p.from_icmp) || nf->p.tcp_flags & TCP_SYN;
	if (lb_const_limits && begins && is_limited(nf, ipv6))
		return FLOW_EXCESS;
	return FLOW_GO;
}

__noinline int lb_admit4(struct xdp_md *ctx)
{
	return admit(ctx, false);
}

__noinline int lb_admit6(struct xdp_md *ctx)
{
	return admit(ctx, true);
}

/* A new flow beyond a limit: DSR balances it without an entry, for TCP's backends can answer SYNs
 * with cookies themselves; else it is for whom the configuration says. */
static __always_inline int exceed(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *nf = slow_path();
	bool tcp;

	if (!nf)
		return XDP_PASS;
	tcp = nf->p.proto == IPPROTO_TCP;
	if (nf->service.flags & LB_SERVICE_LIMIT_PASS)
		return pass(ctx, LB_LIMITED_PASS);
	if (tcp && is_direct(nf->service.mode))
		return FLOW_FORGET;
	if (lb_const_cookies && tcp && nf->service.flags & LB_SERVICE_COOKIES)
		return FLOW_COOKIE;
	return tcp ? pass(ctx, LB_LIMITED_PASS) : drop(ctx, LB_LIMITED);
}

/* ---- the two entries of NAT ---- */

/* Fills what both halves share, as the reply half. */
static __always_inline void prepare_reply(struct xdp_md *ctx, struct slow_path *nf)
{
	struct lb_flow *flow = &nf->conn.flow;
	const struct packet *p = &nf->p;

	begin_flow(nf, flow);
	flow->flags |= LB_FLOW_REPLY;
	flow->sport = p->dport;
	flow->dport = p->sport;
	hop_back(ctx, p, flow);
	addr_copy(nf->conn.saddr, p->daddr);
	addr_copy(nf->conn.daddr, p->saddr);
	nf->conn.created = p->now;
	addr_copy(nf->key.saddr, nf->backend.addr);
	nf->key.sport = nf->backend.port ? nf->backend.port : p->dport;
	nf->key.proto = p->proto;
	__builtin_memset(nf->key.zero, 0, sizeof(nf->key.zero));
}

/* Writes the client's half: what the reply half undoes. */
static __always_inline long put_forward(bool ipv6, struct slow_path *nf)
{
	struct lb_flow *flow = &nf->conn.flow;

	flow->flags &= ~LB_FLOW_REPLY;
	flow->hop = nf->backend.hop;
	flow->tags = nf->backend.tags;
	flow->mtu = tunnel_mtu(nf->backend.mtu, LB_MODE_NAT_FULL, false);
	flow->sport = nf->key.dport;
	flow->dport = nf->key.sport;
	addr_copy(nf->conn.saddr, nf->key.daddr);
	addr_copy(nf->conn.daddr, nf->key.saddr);
	return conns_put(ipv6, nf, packet_key(&nf->p), BPF_ANY);
}

/* The connection table took nothing. */
static __always_inline int full(struct xdp_md *ctx, const struct slow_path *nf)
{
	if (nf->service.flags & LB_SERVICE_LIMIT_PASS)
		return pass(ctx, LB_LIMITED_PASS);
	return drop(ctx, LB_MAP_FULL);
}

/* The client's handshake was with us: the backend's begins, and the halves keep the numbers. */
static __always_inline void open_by_cookie(struct slow_path *nf)
{
	struct lb_flow *flow = &nf->conn.flow;

	flow->state = LB_STATE_SYN_SENT;
	flow->flags = LB_FLOW_REPLY | LB_FLOW_PROXIED;
	flow->touched = nf->client_seq;
	nf->conn.seq_delta = nf->cookie_seq;
}

/* The flow gets its two entries.  Returns FLOW_READY; FLOW_GO: user space does not know the way; or
 * a verdict. */
static __always_inline int new_nat(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *nf = slow_path();
	enum claim claim;
	bool middle;

	if (!nf)
		return XDP_PASS;
	if (!keeps_client(nf) && !nf->backend.source_count)
		return drop(ctx, LB_NO_ROUTE);
	prepare_reply(ctx, nf);
	if (lb_const_cookies && nf->cookie == COOKIE_RIGHT)
		open_by_cookie(nf);
	middle = nf->p.proto == IPPROTO_TCP && !(nf->p.tcp_flags & TCP_SYN);
	if (!middle || !find_lost_half(ipv6)) {
		if (middle && nf->p.tcp_flags & TCP_RST)
			return pass(ctx, LB_NO_FLOW);
		if (lb_const_cookies && nf->cookie == COOKIE_WRONG)
			return drop(ctx, LB_COOKIE_BAD);
		claim = allocate_source(ctx, ipv6);
		if (claim == TAKEN)
			return drop(ctx, LB_NO_PORT);
		if (claim == REFUSED)
			return full(ctx, nf);
		if (claim == CLAIMED)
			count_connection(nf->row);
		if (lb_const_cookies && nf->cookie == COOKIE_RIGHT)
			count_event(LB_COOKIE_OPEN);
		else if (middle)
			count_event(LB_PICKED_UP);
	}
	if (put_forward(ipv6, nf))
		return full(ctx, nf);
	return nf->backend.hop.ifindex ? FLOW_READY : FLOW_GO;
}

__noinline int lb_new_nat4(struct xdp_md *ctx)
{
	return new_nat(ctx, false);
}

__noinline int lb_new_nat6(struct xdp_md *ctx)
{
	return new_nat(ctx, true);
}

/* ---- which way it goes ---- */

/* The flow in slow_path()->p gets its backend.  Returns what is to be done next: FLOW_NAT,
 * FLOW_DIRECT, FLOW_FORGET, FLOW_STRANGER, FLOW_COOKIE or a verdict. */
static __always_inline int new_flow(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *nf = slow_path();
	int r;

	if (!nf)
		return XDP_PASS;
	if (!find_service(nf))
		return nf->p.from_icmp ? pass(ctx, LB_NOT_OURS) : FLOW_STRANGER;
	/* An error does not begin what has state to keep. */
	if (nf->p.from_icmp && !is_direct(nf->service.mode))
		return pass(ctx, LB_NOT_OURS);
	r = ipv6 ? lb_admit6(ctx) : lb_admit4(ctx);
	if (r != FLOW_GO && r != FLOW_EXCESS)
		return r;
	nf->hash = hash_of_packet(ipv6, &nf->p);
	if (!select_backend(ctx, ipv6, nf))
		return pass(ctx, LB_NO_BACKEND);
	if (r == FLOW_EXCESS)
		return exceed(ctx, ipv6);
	return is_direct(nf->service.mode) ? FLOW_DIRECT : FLOW_NAT;
}

__noinline int lb_new_flow4(struct xdp_md *ctx)
{
	return new_flow(ctx, false);
}

__noinline int lb_new_flow6(struct xdp_md *ctx)
{
	return new_flow(ctx, true);
}

#endif
