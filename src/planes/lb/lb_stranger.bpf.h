/* lb_stranger.bpf.h - a packet for no service, which may answer a connection whose reply half is
 * lost. */
#ifndef LB_STRANGER_BPF_H
#define LB_STRANGER_BPF_H

#include "lb_host.bpf.h"

/* Is the packet in slow_path()->p a backend's answer to a client that asked under address number i
 * of table's service, and only its own half is lost?  Then that is written, and 1 returned. */
static __always_inline int match_vip(const bool ipv6, __u32 table, __u32 i)
{
	struct slow_path *nf = slow_path();
	const struct lb_vips *vips = bpf_map_lookup_elem(&lb_vips, &table);
	const struct lb_service_key *vip;
	const struct lb_flow *forward;
	__be32 saddr[4];
	__be32 daddr[4];

	if (!nf || !vips || i >= LB_MAX_VIPS)
		return 0;
	vip = &vips->vip[i];
	if (vip->proto != nf->p.proto)
		return 0;
	addr_copy(nf->key.saddr, nf->p.daddr);
	addr_copy(nf->key.daddr, vip->addr);
	nf->key.sport = nf->p.dport;
	nf->key.dport = vip->port;
	nf->key.proto = vip->proto;
	__builtin_memset(nf->key.zero, 0, sizeof(nf->key.zero));
	forward = conns_find(ipv6, &nf->key);
	if (!forward || forward->flags & LB_FLOW_REPLY || forward->dport != nf->p.sport)
		return 0;
	flow_addresses(ipv6, forward, saddr, daddr);
	if (!addr_same(daddr, nf->p.saddr) || !addr_same(saddr, nf->p.daddr))
		return 0;
	nf->conn.flow = *forward;
	nf->conn.flow.flags ^= LB_FLOW_REPLY;
	nf->conn.flow.seen = nf->p.now;
	nf->conn.flow.touched = nf->p.now;
	nf->conn.flow.generation = 0; /* the way to the client is asked of the FIB */
	nf->conn.flow.tags = 0;
	nf->conn.flow.mtu = LB_MTU_ANY;
	__builtin_memset(&nf->conn.flow.hop, 0, sizeof(nf->conn.flow.hop));
	nf->conn.flow.sport = vip->port;
	nf->conn.flow.dport = nf->p.dport;
	addr_copy(nf->conn.saddr, vip->addr);
	addr_copy(nf->conn.daddr, nf->p.daddr);
	nf->conn.created = nf->p.now;
	if (lb_const_cookies && forward->flags & LB_FLOW_PROXIED)
		nf->conn.seq_delta = seq_delta_of(ipv6, forward);
	key_of_packet(&nf->key, &nf->p);
	return conns_put(ipv6, nf, &nf->key, BPF_NOEXIST) == 0;
}

__noinline int lb_match_vip4(__u32 table, __u32 i)
{
	return match_vip(false, table, i);
}

__noinline int lb_match_vip6(__u32 table, __u32 i)
{
	return match_vip(true, table, i);
}

/* Of the addresses that full NAT sends from, these many are known for its own. */
#define LB_KNOWN_SOURCES 16

static __always_inline bool is_nat_source(const struct lb_backend *backend, const struct packet *p)
{
	__u16 port = bpf_ntohs(p->dport);

	if (!lb_const_nat_full || port < lb_const_port_first || port > lb_const_port_last)
		return false;
	for (__u32 i = 0; i < LB_KNOWN_SOURCES && i < backend->source_count; i++) {
		__u32 row = backend->source_first + i;
		const struct lb_addr *source = bpf_map_lookup_elem(&lb_sources, &row);

		if (source && addr_same(source->word, p->daddr))
			return true;
	}
	return false;
}

/* Tells user space, which can find the other half by looking at every entry. */
static __always_inline int report_lost(struct xdp_md *ctx, bool ipv6, const struct packet *p)
{
	struct lb_event *event;

	/* A connection's last word needs no repair. */
	if (p->tcp_flags & TCP_RST)
		return drop(ctx, LB_LOST_REPLY);
	event = bpf_ringbuf_reserve(&lb_events, sizeof(*event), 0);
	if (!event) {
		count_event(LB_EVENT_LOST);
		return drop(ctx, LB_LOST_REPLY);
	}
	event->kind = LB_EVENT_LOST_REPLY;
	event->family = ipv6 ? AF_INET6 : AF_INET;
	key_of_packet(&event->key, p);
	bpf_ringbuf_submit(event, 0);
	return drop(ctx, LB_LOST_REPLY);
}

/* A packet for no service.  It may answer a connection whose reply half is lost:
 * - to an address and port that only full NAT uses: the stack would reset the connection, so it is
 * dropped and reported;
 * - to a client that asked one of the service's addresses: the half is written anew;
 * - else it is not ours. */
static __always_inline int stranger(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	struct lb_service_key key = {};
	const struct packet *p;
	const struct lb_backend *backend;
	__u32 *row;

	if (!slow)
		return XDP_PASS;
	if (!any_nat()) /* answers do not come this way */
		return pass(ctx, LB_NO_SERVICE);
	p = &slow->p;
	key.port = p->sport;
	key.proto = p->proto;
	addr_copy(key.addr, p->saddr);
	row = bpf_map_lookup_elem(&lb_reals, &key);
	if (!row) {
		key.port = 0; /* a backend without a port of its own */
		row = bpf_map_lookup_elem(&lb_reals, &key);
	}
	backend = row ? bpf_map_lookup_elem(&lb_backends, row) : NULL;
	if (!backend)
		return pass(ctx, LB_NO_SERVICE);
	if (is_nat_source(backend, p)) {
		key_of_packet(&slow->key, p);
		if (host_has_socket(ctx, &slow->key, ipv6))
			return pass(ctx, LB_NO_SERVICE);
		return report_lost(ctx, ipv6, p);
	}
	for (__u32 i = 0; lb_const_nat_destination && i < LB_MAX_VIPS; i++) {
		if (!(ipv6 ? lb_match_vip6(backend->service, i)
			   : lb_match_vip4(backend->service, i)))
			continue;
		count_event(LB_REBUILT);
		return FLOW_GO;
	}
	return pass(ctx, LB_NO_SERVICE);
}

__noinline int lb_stranger4(struct xdp_md *ctx)
{
	return stranger(ctx, false);
}

__noinline int lb_stranger6(struct xdp_md *ctx)
{
	return stranger(ctx, true);
}

#endif
