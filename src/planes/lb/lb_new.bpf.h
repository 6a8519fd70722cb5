/* lb_new.bpf.h - the first packet of a flow: service, slot, backend, source port, two entries. */
#ifndef LB_NEW_BPF_H
#define LB_NEW_BPF_H

#include "lb_hop.bpf.h"
#include "lb_limit.bpf.h"
#include "lb_select.bpf.h"
#include "lb_tunnel.bpf.h"

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

static __always_inline void tuple_of(struct bpf_sock_tuple *tuple, const struct lb_key6 *key,
				     bool ipv6)
{
	if (ipv6) {
		addr_copy(tuple->ipv6.saddr, key->saddr);
		addr_copy(tuple->ipv6.daddr, key->daddr);
		tuple->ipv6.sport = key->sport;
		tuple->ipv6.dport = key->dport;
	} else {
		tuple->ipv4.saddr = key->saddr[3];
		tuple->ipv4.daddr = key->daddr[3];
		tuple->ipv4.sport = key->sport;
		tuple->ipv4.dport = key->dport;
	}
}

/* Does some socket of this host stand where the backend's answers would arrive? */
static __always_inline bool host_has_socket(struct xdp_md *ctx, const struct lb_key6 *reply,
					    bool ipv6)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size = ipv6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4);

	tuple_of(&tuple, reply, ipv6);
	if (!lb_const_udp || reply->proto == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* Has this host a connection, not just a listener, for what arrives as key? */
static __always_inline bool host_has_connection(struct xdp_md *ctx, const struct lb_key6 *key,
						bool ipv6)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	bool connection;

	tuple_of(&tuple, key, ipv6);
	sk = bpf_skc_lookup_tcp(ctx, &tuple, ipv6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4),
				BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	connection = sk->state != BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return connection;
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
	reply->backend = nf->row; /* the same server, which may have gone and come back */
	reply->incarnation = nf->backend.incarnation;
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

/* What every entry begins with. */
static __always_inline void begin_flow(const struct slow_path *nf, struct lb_flow *flow)
{
	const struct packet *p = &nf->p;

	flow->seen = p->now;
	flow->touched = p->now;
	flow->generation = 0;
	flow->backend = nf->row;
	flow->incarnation = nf->backend.incarnation;
	flow->state = first_state(p);
	flow->flags = flow->state >= LB_STATE_ESTABLISHED ? LB_FLOW_PICKED_UP : 0;
	if (flow->state == LB_STATE_FIN_WAIT)
		flow->flags |= LB_FLOW_FIN_CLIENT;
	flow->mode = nf->service.mode;
}

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

/* The connection table took nothing. */
static __always_inline int full(struct xdp_md *ctx, const struct slow_path *nf)
{
	if (nf->service.flags & LB_SERVICE_LIMIT_PASS)
		return pass(ctx, LB_LIMITED_PASS);
	return drop(ctx, LB_MAP_FULL);
}

static __always_inline bool backend_is_v4(const struct lb_backend *backend)
{
	return !(backend->addr[0] | backend->addr[1]) && backend->addr[2] == bpf_htonl(0xffff);
}

/* ---- direct server return ---- */

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

/* ---- the first packet ---- */

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
