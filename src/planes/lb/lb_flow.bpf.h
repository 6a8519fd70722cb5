/* lb_flow.bpf.h - connection entries: finding, pairing, ageing, TCP states.
 *
 * A connection under NAT has two entries, one per direction, and each holds enough to rebuild the
 * other: what the one arrives as is what the other becomes, turned round.  Everything here works on
 * the IPv6 form of keys and narrows it at the map; only the path of established flows (lb.bpf.c)
 * knows both families. */
#ifndef LB_FLOW_BPF_H
#define LB_FLOW_BPF_H

#include "lb_count.bpf.h"
#include "lb_rewrite.bpf.h"

#define AF_INET	 2
#define AF_INET6 10

#define TCP_FIN 0x01
#define TCP_SYN 0x02
#define TCP_RST 0x04
#define TCP_ACK 0x10

/* What the slow paths work on.  It lies in a map because they are global functions: the verifier
 * judges each of them once, not once per path that leads there, and on Linux 5.10 such functions
 * take no pointers. */
struct slow_path {
	struct packet p;
	struct lb_key6
		key; /* of the entry being written: the backend's direction of a new flow ... */
	struct lb_conn6 conn;  /* ... and what it becomes */
	struct lb_conn4 conn4; /* conn, narrowed */
	__u32 mtu;	       /* FLOW_TOO_BIG: what would fit */
	bool revised;	       /* the entry was compared with what the control plane has */
	bool touched;	       /* the entry's use was noted */
	/* Of a packet that may answer a SYN cookie: */
	__u32 cookie;	  /* enum cookie */
	__u32 cookie_seq; /* host order */
	__u32 client_seq; /* of the client's SYN */
	/* Of a new flow: */
	struct lb_service service;
	struct lb_backend backend;
	__u32 row; /* of backend */
	__u64 hash;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct slow_path);
} lb_slow_path SEC(".maps");

enum cookie {
	COOKIE_NONE,  /* none was sent of late */
	COOKIE_WRONG, /* cookies are out, but this is none */
	COOKIE_RIGHT,
};

/* Internal verdicts, beside XDP's. */
enum flow_verdict {
	FLOW_GO = 100, /* forward by the entry */
	FLOW_READY,    /* forward by slow_path()->conn4 or conn: just written, or never will be */
	FLOW_NEW,      /* there is no entry (any more): select a backend */
	FLOW_STRANGER, /* it is for no service */
	FLOW_NAT,      /* give it the two entries of NAT */
	FLOW_DIRECT,   /* give it the one of DSR */
	FLOW_FORGET,   /* the same, unrecorded */
	FLOW_EXCESS,   /* its new flow exceeds a limit */
	FLOW_COOKIE,   /* answer it with a SYN cookie */
	FLOW_PROXY,    /* a cookie opened it, and the backend's handshake is not complete */
	FLOW_SYN,      /* make it the SYN that the backend gets */
	FLOW_REVISE,   /* the control plane has changed something */
	FLOW_CUT,      /* its backend was cut off: reset the client */
	FLOW_TOO_BIG,  /* slow_path()->mtu is exceeded: tell the sender */
};

/* The last reading of the clock: when, in jiffies, and what it said, in ticks.  One word, so that
 * CPUs see both or neither. */
__u64 lb_clock;

#define CLOCK_KEPT_SHIFT 4 /* kept for 16 jiffies: 160 ms at most, and a tick is a second */

/* Reading jiffies is one load where a clock is a call.  But they drift from CLOCK_MONOTONIC, by
 * which user space tells an entry's age; so they say no more than how long a reading is good. */
static __always_inline __u32 clock_ticks(void)
{
	__u32 when = bpf_jiffies64() >> CLOCK_KEPT_SHIFT;
	__u64 last = lb_clock;
	__u64 ns;

	if (last >> 32 == when)
		return last;
	ns = lb_const_coarse_clock ? bpf_ktime_get_coarse_ns() : bpf_ktime_get_ns();
	ns >>= LB_TICK_SHIFT;
	lb_clock = (__u64)when << 32 | (__u32)ns;
	return ns;
}

/* May packets to this port be ours: a service's, or answers to NAT? */
static __always_inline bool port_is_ours(__u8 proto, __be16 port)
{
	const struct lb_ports *ports;
	__u16 bit = bpf_ntohs(port);
	__u32 zero = 0;

	ports = bpf_map_lookup_elem(&lb_ports, &zero);
	return ports &&
	       ports->to[proto == IPPROTO_TCP ? LB_TCP : LB_UDP][bit / 64] >> (bit % 64) & 1;
}

/* Could this be ours?  One bit says no for most of what is not. */
static __always_inline bool ports_match(const struct packet *p)
{
	__u32 proto = p->proto == IPPROTO_TCP ? LB_TCP : LB_UDP;
	__u16 dport = bpf_ntohs(p->dport);
	__u16 sport = bpf_ntohs(p->sport);
	const struct lb_ports *ports;
	__u32 zero = 0;

	ports = bpf_map_lookup_elem(&lb_ports, &zero);
	if (!ports)
		return false;
	if (ports->to[proto][dport / 64] >> (dport % 64) & 1)
		return true;
	return lb_const_nat_destination && ports->from[proto][sport / 64] >> (sport % 64) & 1;
}

/* Asked of the constants first: what is switched off must not be in the program. */
static __always_inline bool any_nat(void)
{
	return lb_const_nat_full || lb_const_nat_destination;
}

static __always_inline bool any_tunnel(void)
{
	return lb_const_ipip || lb_const_gue;
}

/* Do answers come back another way? */
static __always_inline bool is_direct(__u8 mode)
{
	return (any_tunnel() || lb_const_l2) && (!any_nat() || mode >= LB_MODE_IPIP);
}

static __always_inline bool is_l2(__u8 mode)
{
	return lb_const_l2 && ((!any_nat() && !any_tunnel()) || mode == LB_MODE_L2);
}

static __always_inline bool is_gue(__u8 mode)
{
	return lb_const_gue &&
	       ((!any_nat() && !lb_const_ipip && !lb_const_l2) || mode == LB_MODE_GUE);
}

static __always_inline struct slow_path *slow_path(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&lb_slow_path, &zero);
}

static __always_inline void addr_copy(__be32 *to, const __be32 *from)
{
	to[0] = from[0];
	to[1] = from[1];
	to[2] = from[2];
	to[3] = from[3];
}

static __always_inline bool addr_same(const __be32 *a, const __be32 *b)
{
	return !((a[0] ^ b[0]) | (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]));
}

static __always_inline void addr_map_v4(__be32 *addr)
{
	addr[0] = 0;
	addr[1] = 0;
	addr[2] = bpf_htonl(0xffff);
}

static __always_inline void key_of_packet(struct lb_key6 *key, const struct packet *p)
{
	addr_copy(key->saddr, p->saddr);
	addr_copy(key->daddr, p->daddr);
	key->sport = p->sport;
	key->dport = p->dport;
	key->proto = p->proto;
	__builtin_memset(key->zero, 0, sizeof(key->zero));
}

static __always_inline void key_narrow(struct lb_key4 *narrow, const struct lb_key6 *key)
{
	narrow->saddr = key->saddr[3];
	narrow->daddr = key->daddr[3];
	narrow->sport = key->sport;
	narrow->dport = key->dport;
	narrow->proto = key->proto;
	__builtin_memset(narrow->zero, 0, sizeof(narrow->zero));
}

static __always_inline struct lb_flow *conns_find(bool ipv6, const struct lb_key6 *key)
{
	struct lb_key4 narrow;

	if (ipv6)
		return bpf_map_lookup_elem(&lb_conns6, key);
	key_narrow(&narrow, key);
	return bpf_map_lookup_elem(&lb_conns4, &narrow);
}

static __always_inline void conns_delete(bool ipv6, const struct lb_key6 *key)
{
	struct lb_key4 narrow;

	if (ipv6) {
		bpf_map_delete_elem(&lb_conns6, key);
		return;
	}
	key_narrow(&narrow, key);
	bpf_map_delete_elem(&lb_conns4, &narrow);
}

/* Sums of an entry's rewriting, from what the packet is (key) and becomes. */
static __always_inline __u32 delta_of_ports(const struct lb_key6 *key, const struct lb_flow *flow)
{
	return csum_diff16(key->sport, flow->sport) + csum_diff16(key->dport, flow->dport);
}

/* Puts the entry that turns key into slow->conn, which holds addresses, ports and the flow. Returns
 * the map's error. */
static __always_inline long conns_put(bool ipv6, struct slow_path *slow, const struct lb_key6 *key,
				      __u64 map_flags)
{
	struct lb_conn6 *conn = &slow->conn;
	struct lb_conn4 *conn4 = &slow->conn4;
	__u32 sum = 0;

	if (ipv6) {
		for (int i = 0; i < 4; i++) {
			sum += csum_diff32(key->saddr[i], conn->saddr[i]);
			sum += csum_diff32(key->daddr[i], conn->daddr[i]);
		}
		conn->zero = 0;
		conn->l4_delta = csum_fold(sum + delta_of_ports(key, &conn->flow));
		return bpf_map_update_elem(&lb_conns6, key, conn, map_flags);
	} else {
		struct lb_key4 narrow;

		sum = csum_diff32(key->saddr[3], conn->saddr[3]) +
		      csum_diff32(key->daddr[3], conn->daddr[3]);
		conn4->flow = conn->flow;
		conn4->saddr = conn->saddr[3];
		conn4->daddr = conn->daddr[3];
		conn4->ip_delta = csum_fold(sum + CSUM_TTL_DELTA);
		conn4->l4_delta = csum_fold(sum + delta_of_ports(key, &conn->flow));
		conn4->created = conn->created;
		key_narrow(&narrow, key);
		return bpf_map_update_elem(&lb_conns4, &narrow, conn4, map_flags);
	}
}

/* The addresses that an entry writes. */
static __always_inline void flow_addresses(bool ipv6, const struct lb_flow *flow, __be32 *saddr,
					   __be32 *daddr)
{
	if (ipv6) {
		const struct lb_conn6 *conn = (const void *)flow;

		addr_copy(saddr, conn->saddr);
		addr_copy(daddr, conn->daddr);
	} else {
		const struct lb_conn4 *conn = (const void *)flow;

		addr_map_v4(saddr);
		addr_map_v4(daddr);
		saddr[3] = conn->saddr;
		daddr[3] = conn->daddr;
	}
}

/* The key under which the other half is found: this half's outcome, turned round. */
static __always_inline void key_of_partner(bool ipv6, struct lb_key6 *key,
					   const struct lb_flow *flow, __u8 proto)
{
	flow_addresses(ipv6, flow, key->daddr, key->saddr);
	key->sport = flow->dport;
	key->dport = flow->sport;
	key->proto = proto;
	__builtin_memset(key->zero, 0, sizeof(key->zero));
}

/* Deletes both halves of p's connection; flow is p's own. */
static __always_inline void flow_forget(bool ipv6, const struct packet *p,
					const struct lb_flow *flow)
{
	struct lb_key6 key;

	if (!is_direct(flow->mode)) {
		key_of_partner(ipv6, &key, flow, p->proto);
		conns_delete(ipv6, &key);
	}
	conns_delete(ipv6, packet_key(p));
}

/* Where this packet came from, as the hop back. */
static __always_inline void hop_back(struct xdp_md *ctx, const struct packet *p,
				     struct lb_flow *flow)
{
	struct ethhdr *eth = frame_start(ctx);
	const struct lb_link_info *link;
	__u32 ifindex = ctx->ingress_ifindex;

	link = bpf_map_lookup_elem(&lb_links, &ifindex);
	flow->mtu = link ? link->mtu : LB_MTU_ANY;
	flow->tags = p->tags;
	flow->hop.tci[0] = p->tags ? p->tci[0] : 0;
	flow->hop.tci[1] = (p->tags & LB_TAGS_MASK) == 2 ? p->tci[1] : 0;
	flow->hop.ifindex = ifindex;
	if ((void *)(eth + 1) > frame_end(ctx))
		return;
	__builtin_memcpy(flow->hop.dmac, eth->h_source, 6);
	__builtin_memcpy(flow->hop.smac, eth->h_dest, 6);
}

static __always_inline __u32 seq_delta_of(bool ipv6, const struct lb_flow *flow)
{
	return ipv6 ? ((const struct lb_conn6 *)flow)->seq_delta
		    : ((const struct lb_conn4 *)flow)->seq_delta;
}

/* Writes the lost other half of flow, under key, anew.  Its next hop is found at its first packet
 * (generation 0), but for the client's direction, where this packet knows it. */
static __always_inline void rebuild_partner(struct xdp_md *ctx, bool ipv6, struct slow_path *slow,
					    const struct lb_flow *flow, const struct lb_key6 *key)
{
	const struct packet *p = &slow->p;
	struct lb_conn6 *conn = &slow->conn;

	conn->flow = *flow;
	conn->flow.flags = flow->flags ^ LB_FLOW_REPLY;
	conn->flow.seen = p->now;
	conn->flow.touched = p->now;
	conn->flow.generation = 0;
	conn->flow.mtu = LB_MTU_ANY;
	conn->flow.sport = p->dport;
	conn->flow.dport = p->sport;
	addr_copy(conn->saddr, p->daddr);
	addr_copy(conn->daddr, p->saddr);
	conn->created = p->now;
	if (lb_const_cookies && flow->flags & LB_FLOW_PROXIED)
		conn->seq_delta = seq_delta_of(ipv6, flow);
	if (!(flow->flags & LB_FLOW_REPLY))
		hop_back(ctx, p, &conn->flow);
	if (conns_put(ipv6, slow, key, BPF_NOEXIST) == 0)
		count_event(LB_REBUILT);
}

/* Now and then: note the use, keep the other half as young as this one, and follow the
 * client's path. */
static __always_inline void flow_touch(struct xdp_md *ctx, bool ipv6, struct slow_path *slow,
				       struct lb_flow *flow)
{
	struct lb_flow *partner;
	struct lb_key6 key;

	flow->seen = slow->p.now;
	flow->touched = slow->p.now;
	if (is_direct(flow->mode))
		return;
	key_of_partner(ipv6, &key, flow, slow->p.proto);
	partner = conns_find(ipv6, &key);
	if (!partner) {
		rebuild_partner(ctx, ipv6, slow, flow, &key);
		return;
	}
	partner->seen = slow->p.now;
	partner->touched = slow->p.now;
	if (!(flow->flags & LB_FLOW_REPLY))
		hop_back(ctx, &slow->p, partner);
}

/* The state after a packet with these flags; *flags collects who closed. */
static __always_inline __u8 tcp_next_state(__u8 state, __u8 tcp, bool reply, bool direct,
					   __u8 *flags)
{
	__u8 fin = reply ? LB_FLOW_FIN_BACKEND : LB_FLOW_FIN_CLIENT;
	const __u8 both = LB_FLOW_FIN_CLIENT | LB_FLOW_FIN_BACKEND;

	if (tcp & TCP_RST)
		return LB_STATE_CLOSED;
	if (tcp & TCP_FIN) {
		if (!(*flags & both) && !reply)
			*flags |= LB_FLOW_CLIENT_FIRST;
		*flags |= fin;
		return LB_STATE_FIN_WAIT;
	}
	if (tcp & TCP_SYN)
		return state == LB_STATE_SYN_SENT && reply && tcp & TCP_ACK ? LB_STATE_SYN_RECV
									    : state;
	if (!(tcp & TCP_ACK))
		return state;
	if (state == LB_STATE_SYN_RECV && !reply)
		return LB_STATE_ESTABLISHED;
	if (state == LB_STATE_SYN_SENT && direct) /* the backend's part is not seen */
		return LB_STATE_ESTABLISHED;
	if (state == LB_STATE_FIN_WAIT && (*flags & both) == both)
		return LB_STATE_TIME_WAIT;
	return state;
}

/* Does the client begin a connection with this packet of a flow? */
static __always_inline bool client_begins(const struct packet *p, const struct lb_flow *flow)
{
	return (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN &&
	       !(flow->flags & LB_FLOW_REPLY);
}

/* Both sides may close at once, each on a CPU of its own, which writes both halves: one flag must
 * not take away the other.  Bytes cannot be or'ed atomically, the word that has them can. */
static __always_inline void flags_add(struct lb_flow *flow, __u8 flags)
{
	_Static_assert(__builtin_offsetof(struct lb_flow, state) % sizeof(__u32) == 0 &&
			       __builtin_offsetof(struct lb_flow, flags) ==
				       __builtin_offsetof(struct lb_flow, state) + 1,
		       "flags are the second byte of an aligned word");
	__sync_fetch_and_or((__u32 *)&flow->state, bpf_htonl((__u32)flags << 16));
}

/* A packet that may change the state; both halves learn of it.  Returns FLOW_GO, or FLOW_NEW for a
 * client that uses its port again: both halves are gone then. */
static __always_inline int flow_transition(bool ipv6, const struct packet *p, struct lb_flow *flow)
{
	bool reply = flow->flags & LB_FLOW_REPLY;
	struct lb_flow *partner;
	struct lb_key6 key;
	bool direct = is_direct(flow->mode);
	__u8 ended = direct ? LB_STATE_FIN_WAIT : LB_STATE_TIME_WAIT;
	__u8 flags = flow->flags;
	__u8 state;

	if (client_begins(p, flow) && flow->state >= ended) {
		flow_forget(ipv6, p, flow);
		return FLOW_NEW;
	}
	state = tcp_next_state(flow->state, p->tcp_flags, reply, direct, &flags);
	if (state == flow->state && flags == flow->flags)
		return FLOW_GO;
	flow->state = state;
	flags_add(flow, flags);
	flow->seen = p->now;
	if (direct)
		return FLOW_GO;
	key_of_partner(ipv6, &key, flow, p->proto);
	partner = conns_find(ipv6, &key);
	if (partner) {
		partner->state = state;
		flags_add(partner, flags & ~LB_FLOW_REPLY);
		partner->seen = p->now;
	}
	return FLOW_GO;
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

#endif
