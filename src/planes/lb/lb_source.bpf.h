/* lb_source.bpf.h - under which source address and port a flow reaches its backend; whether it had
 * one before. */
#ifndef LB_SOURCE_BPF_H
#define LB_SOURCE_BPF_H

#include "lb_host.bpf.h"
#include "lb_select.bpf.h"

/* Source ports tried for a flow.  They depend on the flow alone, so that a connection whose entries
 * were lost is found again where it was. */
#define LB_PORT_TRIES 16

enum claim {
	CLAIMED,  /* the port is ours: reply half written */
	ADOPTED,  /* it was ours before: reply half found */
	TAKEN,	  /* another flow's */
	ENDED,	  /* another flow's, which has ended, but the backend may remember it */
	REUSABLE, /* another flow's, which has ended everywhere */
	REFUSED,  /* the table took nothing */
};

/* Is this reply half the one of p's own connection, whose other half was lost? */
static __always_inline bool reply_is_of(bool ipv6, const struct packet *p,
					const struct lb_flow *reply)
{
	__be32 saddr[4];
	__be32 daddr[4];

	flow_addresses(ipv6, reply, saddr, daddr);
	return reply->sport == p->dport && reply->dport == p->sport && addr_same(saddr, p->daddr) &&
	       addr_same(daddr, p->saddr);
}

static __always_inline bool is_service_port(const struct packet *p, __u16 port)
{
	__u32 zero = 0;
	const struct lb_ports *ports = bpf_map_lookup_elem(&lb_ports, &zero);
	__u32 proto = p->proto == IPPROTO_TCP ? LB_TCP : LB_UDP;

	return ports && ports->service[proto][port / 64] >> (port % 64) & 1;
}

/* Does the backend see the client's address?  Asked of the constants first: what is switched off
 * must not be in the program, and the mode is not known when loading. */
static __always_inline bool keeps_client(const struct slow_path *nf)
{
	return !lb_const_nat_full ||
	       (lb_const_nat_destination && nf->service.mode == LB_MODE_NAT_DESTINATION);
}

/* Sets address and port that the flow tries at number i.  Returns false if that one is none. */
static __always_inline bool source_candidate(struct slow_path *nf, __u32 i)
{
	__u32 range = lb_const_port_last - lb_const_port_first + 1u;
	__u32 high = nf->hash >> 32;
	struct lb_addr *source;
	__u32 row;
	__u16 port;

	if (keeps_client(nf) && i == 0) {
		addr_copy(nf->key.daddr, nf->p.saddr);
		nf->key.dport = nf->p.sport;
		return true;
	}
	/* An odd stride: the tries of flows that met once part again. */
	port = lb_const_port_first + scale(high + i * ((__u32)nf->hash | 1), range);
	if (is_service_port(&nf->p, port))
		return false;
	nf->key.dport = bpf_htons(port);
	if (keeps_client(nf))
		return true;
	row = nf->backend.source_first +
	      scale((high ^ 0x9e3779b9u) * 0x85ebca6bu + (i << 28), nf->backend.source_count);
	source = bpf_map_lookup_elem(&lb_sources, &row);
	if (!source)
		return false;
	addr_copy(nf->key.daddr, source->word);
	return true;
}

/* The numbers of a flow that a cookie opened; if the backend has not answered, its SYN is due
 * again.
 */
static __always_inline void adopt_proxied(const bool ipv6, struct slow_path *nf,
					  const struct lb_flow *reply)
{
	nf->conn.seq_delta = seq_delta_of(ipv6, reply);
	if (reply->state != LB_STATE_SYN_SENT)
		return;
	nf->conn.flow.touched = reply->touched;
	nf->client_seq = reply->touched;
	nf->cookie = COOKIE_RIGHT;
}

/* The flow's own reply half was found: go on where it stands. */
static __always_inline void adopt_reply(const bool ipv6, struct slow_path *nf,
					struct lb_flow *reply)
{
	reply->seen = nf->p.now;
	nf->conn.flow.state = reply->state;
	nf->conn.flow.flags = reply->flags;
	if (lb_const_cookies) {
		nf->cookie = COOKIE_NONE;
		if (reply->flags & LB_FLOW_PROXIED)
			adopt_proxied(ipv6, nf, reply);
	}
	count_event(LB_REBUILT);
}

/* Is the flow's reply half still there, under port number i?  Returns 1 (adopted) or 0. */
static __always_inline int find_half(const bool ipv6, __u32 i)
{
	struct slow_path *nf = slow_path();
	struct lb_flow *reply;

	if (!nf || !source_candidate(nf, i))
		return 0;
	reply = conns_find(ipv6, &nf->key);
	if (!reply || !reply_is_of(ipv6, &nf->p, reply))
		return 0;
	adopt_reply(ipv6, nf, reply);
	return 1;
}

/* Takes port number i for the flow, by writing the reply half, or tells whose it is: enum claim. */
static __always_inline int claim_port(struct xdp_md *ctx, const bool ipv6, __u32 i)
{
	struct slow_path *nf = slow_path();
	struct lb_flow *other;

	if (!nf)
		return REFUSED;
	if (!source_candidate(nf, i))
		return TAKEN;
	/* Under destination NAT answers go to the client's address, where no socket of ours is. */
	if (!keeps_client(nf) && host_has_socket(ctx, &nf->key, ipv6))
		return TAKEN;
	if (conns_put(ipv6, nf, &nf->key, BPF_NOEXIST) == 0)
		return CLAIMED;
	other = conns_find(ipv6, &nf->key);
	if (!other)
		return REFUSED;
	if (reply_is_of(ipv6, &nf->p, other)) {
		/* What is left of an ended connection has no state for a new one. */
		if (other->state >= LB_STATE_TIME_WAIT)
			return conns_put(ipv6, nf, &nf->key, BPF_ANY) ? REFUSED : CLAIMED;
		adopt_reply(ipv6, nf, other);
		return ADOPTED;
	}
	/* The backend keeps no TIME_WAIT for it: a new SYN from this port is welcome there. */
	if (other->state >= LB_STATE_TIME_WAIT)
		return other->flags & LB_FLOW_CLIENT_FIRST ? REUSABLE : ENDED;
	return TAKEN;
}

/* Ends the connection that holds port number i and writes the flow's reply half in its place. */
static __always_inline int take_over_port(const bool ipv6, __u32 i)
{
	struct slow_path *nf = slow_path();
	struct lb_flow *other;
	struct lb_key6 key;

	if (!nf || !source_candidate(nf, i))
		return REFUSED;
	other = conns_find(ipv6, &nf->key);
	if (other) {
		key_of_partner(ipv6, &key, other, nf->p.proto);
		conns_delete(ipv6, &key);
	}
	return conns_put(ipv6, nf, &nf->key, BPF_ANY) ? REFUSED : CLAIMED;
}

/* One global function a family: what is known when compiling need not be proved when loading. */
__noinline int lb_find_half4(__u32 i)
{
	return find_half(false, i);
}

__noinline int lb_find_half6(__u32 i)
{
	return find_half(true, i);
}

__noinline int lb_claim_port4(struct xdp_md *ctx, __u32 i)
{
	return claim_port(ctx, false, i);
}

__noinline int lb_claim_port6(struct xdp_md *ctx, __u32 i)
{
	return claim_port(ctx, true, i);
}

__noinline int lb_take_over_port4(__u32 i)
{
	return take_over_port(false, i);
}

__noinline int lb_take_over_port6(__u32 i)
{
	return take_over_port(true, i);
}

/* Chooses source address and port and writes the reply half.  Returns CLAIMED, ADOPTED, TAKEN
 * (all of them) or REFUSED. */
static __always_inline enum claim allocate_source(struct xdp_md *ctx, const bool ipv6)
{
	__u32 best = TAKEN;
	__u32 at = 0;
	enum claim claim;

	for (__u32 i = 0; i < LB_PORT_TRIES; i++) {
		claim = ipv6 ? lb_claim_port6(ctx, i) : lb_claim_port4(ctx, i);
		if (claim < TAKEN || claim == REFUSED)
			return claim;
		count_event(LB_PORT_CLASH);
		if (claim > best) {
			best = claim;
			at = i;
		}
	}
	if (best == TAKEN)
		return TAKEN;
	return ipv6 ? lb_take_over_port6(at) : lb_take_over_port4(at);
}

static __always_inline bool find_lost_half(const bool ipv6)
{
	for (__u32 i = 0; i < LB_PORT_TRIES; i++)
		if (ipv6 ? lb_find_half6(i) : lb_find_half4(i))
			return true;
	return false;
}

#endif
