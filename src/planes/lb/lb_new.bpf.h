/* lb_new.bpf.h - the first packet of a flow: service, slot, backend, source port, two entries. */
#ifndef LB_NEW_BPF_H
#define LB_NEW_BPF_H

#include "lb_flow.bpf.h"

/* Source ports tried for a flow.  They depend on the flow alone, so that a connection whose entries
 * were lost is found again where it was. */
#define LB_PORT_TRIES 16

static __always_inline __u64 mix64(__u64 x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	return x;
}

/* The same on every node, so that any of them picks the same backend for a flow. */
static __always_inline __u64 hash_of_packet(bool ipv6, const struct packet *p)
{
	__u64 h = mix64((__u64)p->sport << 32 | (__u64)p->dport << 16 | p->proto);

	if (ipv6) {
		h = mix64(h ^ ((__u64)p->saddr[0] << 32 | p->saddr[1]));
		h = mix64(h ^ ((__u64)p->daddr[0] << 32 | p->daddr[1]));
		h = mix64(h ^ ((__u64)p->daddr[2] << 32 | p->saddr[2]));
	}
	return mix64(h ^ ((__u64)p->saddr[3] << 32 | p->daddr[3]));
}

/* hash scaled to 0 .. n-1, without a division. */
static __always_inline __u32 scale(__u32 hash, __u32 n)
{
	return (__u64)hash * n >> 32;
}

enum claim {
	CLAIMED,  /* the port is ours: reply half written */
	ADOPTED,  /* it was ours before: reply half found */
	TAKEN,	  /* another flow's */
	ENDED,	  /* another flow's, which has ended, but the backend may remember it */
	REUSABLE, /* another flow's, which has ended everywhere */
	REFUSED,  /* the table took nothing */
};

/* Does some socket of this host stand where the backend's answers would arrive? */
static __always_inline bool host_has_socket(struct xdp_md *ctx, const struct lb_key6 *reply,
					    bool ipv6)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size;

	if (ipv6) {
		addr_copy(tuple.ipv6.saddr, reply->saddr);
		addr_copy(tuple.ipv6.daddr, reply->daddr);
		tuple.ipv6.sport = reply->sport;
		tuple.ipv6.dport = reply->dport;
		size = sizeof(tuple.ipv6);
	} else {
		tuple.ipv4.saddr = reply->saddr[3];
		tuple.ipv4.daddr = reply->daddr[3];
		tuple.ipv4.sport = reply->sport;
		tuple.ipv4.dport = reply->dport;
		size = sizeof(tuple.ipv4);
	}
	if (!lb_const_udp || reply->proto == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

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
 * must not be in the program, and nf->mode is not known when loading. */
static __always_inline bool keeps_client(const struct slow_path *nf)
{
	return !lb_const_nat_full || (lb_const_nat_destination && nf->mode == LB_MODE_NAT_DESTINATION);
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

/* The flow's own reply half was found: go on where it stands. */
static __always_inline void adopt_reply(struct slow_path *nf, struct lb_flow *reply)
{
	reply->seen = nf->p.now;
	nf->conn.flow.state = reply->state;
	nf->conn.flow.flags = reply->flags;
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
	adopt_reply(nf, reply);
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
		adopt_reply(nf, other);
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

/* Linux 6.1's verifier would multiply what the tries may find by what led here. */
__noinline int lb_allocate_source4(struct xdp_md *ctx)
{
	return allocate_source(ctx, false);
}

__noinline int lb_allocate_source6(struct xdp_md *ctx)
{
	return allocate_source(ctx, true);
}

static __always_inline bool find_lost_half(const bool ipv6)
{
	for (__u32 i = 0; i < LB_PORT_TRIES; i++)
		if (ipv6 ? lb_find_half6(i) : lb_find_half4(i))
			return true;
	return false;
}

/* May a flow begin with these flags?  A SYN alone does; an ACK without SYN is the middle of one
 * (mid-stream pickup); a RST is worth a search for a lost half only.  Anything else no TCP sends.
 */
static __always_inline bool flags_can_begin(__u8 flags)
{
	flags &= TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK;
	if (flags & TCP_SYN)
		return flags == TCP_SYN;
	if (flags & TCP_RST)
		return !(flags & TCP_FIN);
	return flags & TCP_ACK;
}

static __always_inline __u8 first_state(const struct packet *p)
{
	if (p->proto != IPPROTO_TCP)
		return LB_STATE_NONE;
	if (p->tcp_flags & TCP_SYN)
		return LB_STATE_SYN_SENT;
	return p->tcp_flags & TCP_FIN ? LB_STATE_FIN_WAIT : LB_STATE_ESTABLISHED;
}

/* Fills what both halves share, as the reply half. */
static __always_inline void prepare_reply(struct xdp_md *ctx, struct slow_path *nf)
{
	struct lb_flow *flow = &nf->conn.flow;
	const struct packet *p = &nf->p;

	flow->seen = p->now;
	flow->touched = p->now;
	flow->generation = 0;
	flow->backend = nf->row;
	flow->incarnation = nf->backend.incarnation;
	flow->state = first_state(p);
	flow->flags = LB_FLOW_REPLY;
	if (flow->state >= LB_STATE_ESTABLISHED)
		flow->flags |= LB_FLOW_PICKED_UP;
	if (flow->state == LB_STATE_FIN_WAIT)
		flow->flags |= LB_FLOW_FIN_CLIENT;
	flow->mode = nf->mode;
	flow->mtu = 0;
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
	struct lb_key6 key;

	key_of_packet(&key, &nf->p);
	flow->flags &= ~LB_FLOW_REPLY;
	flow->hop = nf->backend.hop;
	flow->tags = nf->backend.tags;
	flow->sport = nf->key.dport;
	flow->dport = nf->key.sport;
	addr_copy(nf->conn.saddr, nf->key.daddr);
	addr_copy(nf->conn.daddr, nf->key.saddr);
	return conns_put(ipv6, nf, &key, BPF_ANY);
}

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
	__builtin_memset(&nf->conn.flow.hop, 0, sizeof(nf->conn.flow.hop));
	nf->conn.flow.sport = vip->port;
	nf->conn.flow.dport = nf->p.dport;
	addr_copy(nf->conn.saddr, vip->addr);
	addr_copy(nf->conn.daddr, nf->p.daddr);
	nf->conn.created = nf->p.now;
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

/* Fills nf->backend and nf->row by the service's slot table. */
static __always_inline bool select_backend(struct slow_path *nf, const struct lb_service *service)
{
	const struct lb_backend *backend;
	__u32 table_row = service->table;
	__u32 slot = scale(nf->hash, service->table_size);
	void *table;
	__u32 *row;

	table = bpf_map_lookup_elem(&lb_tables, &table_row);
	if (!table)
		return false;
	row = bpf_map_lookup_elem(table, &slot);
	if (!row || *row == LB_SLOT_EMPTY)
		return false;
	nf->row = *row;
	backend = bpf_map_lookup_elem(&lb_backends, row);
	if (!backend || backend->state != LB_BACKEND_ACTIVE)
		return false;
	nf->backend = *backend;
	return true;
}

/* The flow in slow_path()->p gets its two entries.  Returns FLOW_GO, or the packet's verdict. */
static __always_inline int new_flow(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *nf = slow_path();
	const struct lb_service *service;
	struct lb_service_key key = {};
	enum claim claim;
	bool middle;

	if (!nf)
		return XDP_PASS;
	key.port = nf->p.dport;
	key.proto = nf->p.proto;
	addr_copy(key.addr, nf->p.daddr);
	service = bpf_map_lookup_elem(&lb_services, &key);
	if (!service)
		return FLOW_STRANGER;
	if (nf->p.truncated || (nf->p.proto == IPPROTO_TCP && !flags_can_begin(nf->p.tcp_flags)))
		return drop(ctx, LB_MALFORMED);
	if (nf->p.expired)
		return drop(ctx, LB_TTL_EXPIRED);
	nf->hash = hash_of_packet(ipv6, &nf->p);
	if (!select_backend(nf, service))
		return pass(ctx, LB_NO_BACKEND);
	nf->mode = service->mode;
	if (!keeps_client(nf) && !nf->backend.source_count)
		return drop(ctx, LB_NO_ROUTE);
	prepare_reply(ctx, nf);
	middle = nf->p.proto == IPPROTO_TCP && !(nf->p.tcp_flags & TCP_SYN);
	if (!middle || !find_lost_half(ipv6)) {
		if (middle && nf->p.tcp_flags & TCP_RST)
			return pass(ctx, LB_NO_FLOW);
		claim = ipv6 ? lb_allocate_source6(ctx) : lb_allocate_source4(ctx);
		if (claim == TAKEN)
			return drop(ctx, LB_NO_PORT);
		if (claim == REFUSED)
			return drop(ctx, LB_MAP_FULL);
		if (claim == CLAIMED)
			count_connection(nf->row);
		if (middle)
			count_event(LB_PICKED_UP);
	}
	return put_forward(ipv6, nf) ? drop(ctx, LB_MAP_FULL) : FLOW_GO;
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
