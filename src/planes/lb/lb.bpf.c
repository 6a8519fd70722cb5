/* lb.bpf.c - the load balancer's XDP program: cheapest rejection first (ARCHITECTURE.md, "The load
 * balancer"). */
#include "lb_flow.bpf.h"
#include "lb_hop.bpf.h"
#include "lb_cookie.bpf.h"
#include "lb_icmp.bpf.h"
#include "lb_mss.bpf.h"
#include "lb_new.bpf.h"
#include "lb_reset.bpf.h"
#include "lb_spread.bpf.h"
#include "lb_stateless.bpf.h"
#include "lb_trace.bpf.h"

/* Lets the packet's entry notice what the control plane changed: is its backend still there, and
 * where?  Returns a flow_verdict (FLOW_NEW: both halves are gone), or the packet's verdict. */
static __always_inline int flow_revise(struct xdp_md *ctx, bool ipv6, const struct packet *p,
				       struct lb_flow *flow, __u32 generation)
{
	const struct lb_backend *backend;
	const struct lb_link_info *link;
	__u32 row = flow->backend;
	bool same;

	backend = bpf_map_lookup_elem(&lb_backends, &row);
	same = backend && backend->incarnation == flow->incarnation;
	if (same &&
	    (backend->state == LB_BACKEND_ACTIVE || backend->state == LB_BACKEND_DRAINING)) {
		if (!(flow->flags & LB_FLOW_REPLY)) {
			flow->hop = backend->hop;
			flow->tags = backend->tags;
			flow->mtu = tunnel_mtu(backend->mtu, flow->mode,
					       ipv6 || flow->flags & LB_FLOW_OUTER6);
		} else {
			row = flow->hop.ifindex;
			link = bpf_map_lookup_elem(&lb_links, &row);
			flow->mtu = link ? link->mtu : LB_MTU_ANY;
		}
		flow->generation = generation;
		if (flow->hop.ifindex)
			return FLOW_GO;
		flow->generation = 0; /* asked again until user space knows better */
		return hop_from_fib(ctx, ipv6, p, flow);
	}
	if (same && backend->state == LB_BACKEND_CUT && p->proto == IPPROTO_TCP &&
	    !client_begins(p, flow))
		return FLOW_CUT;
	if (flow->flags & LB_FLOW_REPLY)
		return drop(ctx, LB_FLOW_ENDED);
	flow_forget(ipv6, p, flow);
	count_event(LB_RESELECTED);
	return FLOW_NEW;
}

/* Not within lb_check_flow: the stack of a chain of calls is 512 bytes, and the FIB's question
 * alone takes a hundred. */
static __always_inline int revise_flow(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	const struct lb_control *control;
	struct lb_flow *flow;
	__u32 zero = 0;

	control = bpf_map_lookup_elem(&lb_control, &zero);
	if (!slow || !control)
		return XDP_PASS;
	flow = conns_find(ipv6, packet_key(&slow->p));
	return flow ? flow_revise(ctx, ipv6, &slow->p, flow, control->generation) : FLOW_NEW;
}

__noinline int lb_revise_flow4(struct xdp_md *ctx)
{
	return revise_flow(ctx, false);
}

__noinline int lb_revise_flow6(struct xdp_md *ctx)
{
	return revise_flow(ctx, true);
}

/* Everything about an established packet's entry that is not the common case.  Returns FLOW_REVISE
 * where the control plane has changed something, unless slow_path()->revised. */
static __always_inline int check_flow(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	const struct lb_control *control;
	struct lb_flow *flow;
	__u32 zero = 0;
	int r;

	control = bpf_map_lookup_elem(&lb_control, &zero);
	if (!slow || !control)
		return XDP_PASS;
	flow = conns_find(ipv6, packet_key(&slow->p));
	if (!flow)
		return FLOW_NEW;
	if (!slow->revised && flow->generation != control->generation)
		return FLOW_REVISE;
	if (lb_const_cookies && flow->flags & LB_FLOW_PROXIED &&
	    (flow->state == LB_STATE_SYN_SENT || flow->state == LB_STATE_SYN_RECV))
		return FLOW_PROXY;
	if (slow->p.proto == IPPROTO_TCP) {
		r = flow_transition(ipv6, &slow->p, flow);
		if (r != FLOW_GO)
			return r;
	}
	if (slow->p.now - flow->touched >= lb_const_touch_ticks) {
		flow_touch(ctx, ipv6, slow, flow);
		slow->touched = true;
	}
	if (slow->p.length > flow->mtu) {
		slow->mtu = flow->mtu;
		return FLOW_TOO_BIG;
	}
	return FLOW_GO;
}

__noinline int lb_check_flow4(struct xdp_md *ctx)
{
	return check_flow(ctx, false);
}

__noinline int lb_check_flow6(struct xdp_md *ctx)
{
	return check_flow(ctx, true);
}

static __always_inline int check(struct xdp_md *ctx, bool ipv6, struct slow_path *slow)
{
	int r;

	slow->revised = false;
	r = ipv6 ? lb_check_flow6(ctx) : lb_check_flow4(ctx);
	if (r != FLOW_REVISE)
		return r;
	r = ipv6 ? lb_revise_flow6(ctx) : lb_revise_flow4(ctx);
	if (r != FLOW_GO)
		return r;
	slow->revised = true;
	return ipv6 ? lb_check_flow6(ctx) : lb_check_flow4(ctx);
}

/* Is this a packet of an established flow with nothing to decide? */
static __always_inline bool flow_is_plain(const struct packet *p, struct lb_flow *flow)
{
	const struct lb_control *control;
	__u32 zero = 0;

	control = bpf_map_lookup_elem(&lb_control, &zero);
	if (!control || flow->generation != control->generation || p->length > flow->mtu)
		return false;
	if (p->proto == IPPROTO_TCP &&
	    (flow->state != LB_STATE_ESTABLISHED || p->tcp_flags & (TCP_SYN | TCP_FIN | TCP_RST)))
		return false;
	if (flow->seen == p->now)
		return true;
	flow->seen = p->now;
	return p->now - flow->touched < lb_const_touch_ticks;
}

/* A flow begins, or another backend takes it over. */
static __always_inline int begin(struct xdp_md *ctx, bool ipv6, struct slow_path *slow)
{
	struct lb_flow *flow = ipv6 ? &slow->conn.flow : &slow->conn4.flow;
	int r = ipv6 ? lb_new_flow6(ctx) : lb_new_flow4(ctx);

	if (any_nat() && r == FLOW_NAT) {
		if (lb_const_cookies)
			ipv6 ? lb_check_cookie6(ctx) : lb_check_cookie4(ctx);
		r = ipv6 ? lb_new_nat6(ctx) : lb_new_nat4(ctx);
	} else if ((any_tunnel() || lb_const_l2) && (r == FLOW_DIRECT || r == FLOW_FORGET))
		r = ipv6 ? lb_new_direct6(ctx, r == FLOW_DIRECT)
			 : lb_new_direct4(ctx, r == FLOW_DIRECT);
	if (r == FLOW_STRANGER) {
		slow->backend.hop.ifindex = 0;
		r = ipv6 ? lb_stranger6(ctx) : lb_stranger4(ctx);
	}
	if (!lb_const_stateless && r == FLOW_GO) {
		/* User space does not know the way: this looks it up in the FIB. */
		r = check(ctx, ipv6, slow);
		return r == FLOW_NEW || r == FLOW_CUT ? drop(ctx, LB_FLOW_ENDED) : r;
	}
	if (r == FLOW_READY && slow->p.length > flow->mtu) {
		slow->mtu = flow->mtu;
		return FLOW_TOO_BIG;
	}
	return r;
}

/* Of connections that cookies open: the packet may have to become another one.  Returns what r says
 * of it. */
static __always_inline int proxy_handshake(struct xdp_md *ctx, bool ipv6, struct slow_path *slow,
					   int r)
{
	bool opened = slow->cookie == COOKIE_RIGHT && (r == FLOW_READY || r == FLOW_GO);

	slow->cookie = COOKIE_NONE;
	if (r == FLOW_PROXY)
		r = ipv6 ? lb_proxy6(ctx) : lb_proxy4(ctx);
	if (r != FLOW_SYN && !opened)
		return r;
	if (!(ipv6 ? lb_make_syn6(ctx, slow->client_seq) : lb_make_syn4(ctx, slow->client_seq)))
		return drop(ctx, LB_TX_ERROR);
	return opened ? r : FLOW_GO;
}

/* An entry was found, and the packet may change it, or there is none and it may begin a flow.
 * Returns FLOW_GO, FLOW_READY or a verdict. */
static __always_inline int slow_start(struct xdp_md *ctx, bool ipv6, struct packet *p, bool found)
{
	struct slow_path *slow = slow_path();
	int r = FLOW_NEW;

	if (!slow)
		return XDP_PASS;
	slow->p = *p;
	slow->touched = false;
	if (!lb_const_stateless && found)
		r = p->truncated ? drop(ctx, LB_MALFORMED) : check(ctx, ipv6, slow);
	/* Not where it is noticed: with that one's frame the stack would be too small. */
	if (lb_const_affinity && !lb_const_stateless && slow->touched)
		ipv6 ? lb_keep_client6(ctx) : lb_keep_client4(ctx);
	if (r == FLOW_CUT)
		return ipv6 ? lb_reset_client6(ctx) : lb_reset_client4(ctx);
	if (r == FLOW_NEW)
		r = begin(ctx, ipv6, slow);
	if (lb_const_cookies) {
		r = proxy_handshake(ctx, ipv6, slow, r);
		p->l4 = slow->p.l4; /* what was rewritten has no options */
	}
	if (r == FLOW_TOO_BIG)
		return ipv6 ? lb_too_big6(ctx) : lb_too_big4(ctx);
	if (lb_const_cookies && r == FLOW_COOKIE)
		return ipv6 ? lb_send_cookie6(ctx) : lb_send_cookie4(ctx);
	if (lb_const_mss_max && r >= FLOW_GO && slow->p.tcp_flags & TCP_SYN)
		ipv6 ? lb_clamp_syn6(ctx, r == FLOW_READY) : lb_clamp_syn4(ctx, r == FLOW_READY);
	return r;
}

/* Sends the rewritten frame and counts it. */
static __always_inline int forward(struct xdp_md *ctx, const struct packet *p,
				   const struct lb_flow *flow)
{
	__u64 length = frame_length(ctx);
	int verdict = send_to_hop(ctx, &flow->hop, flow->tags, p->tags);

	if (verdict < 0)
		return drop(ctx, LB_TX_ERROR);
	count_forward(flow->backend, flow->flags & LB_FLOW_REPLY, length);
	return verdict;
}

/* After the test of a looked-up pointer: clang may add to it first and test it then, which the
 * verifiers of Linux 6.1 and 6.12 refuse. */
#define forget_origin(pointer) asm volatile("" : "+r"(pointer))

/* The entry that a new flow has just got, or never gets. */
static __always_inline struct lb_conn4 *written4(void)
{
	struct slow_path *slow = slow_path();

	if (!slow)
		return NULL;
	forget_origin(slow);
	return &slow->conn4;
}

static __always_inline struct lb_conn6 *written6(void)
{
	struct slow_path *slow = slow_path();

	if (!slow)
		return NULL;
	forget_origin(slow);
	return &slow->conn;
}

/* A packet whose answer comes another way. */
static __always_inline int forward_direct(struct xdp_md *ctx, bool ipv6, const struct packet *p,
					  const struct lb_flow *flow)
{
	__u64 length = frame_length(ctx);
	int verdict = ipv6 ? direct_ipv6(ctx, p, (const void *)flow)
			   : direct_ipv4(ctx, p, (const void *)flow);

	if (verdict < 0)
		return drop(ctx, verdict == -1 ? LB_TX_ERROR : -1 - verdict);
	count_forward(flow->backend, false, length);
	return verdict;
}

static __always_inline int forward_ipv4(struct xdp_md *ctx, const struct packet *p,
					const struct lb_conn4 *conn)
{
	void *data = frame_start(ctx);
	void *end = frame_end(ctx);
	struct iphdr *ip = data + (p->l3 & 0x3f);
	void *l4 = data + (p->l4 & 0xfff);

	if (is_direct(conn->flow.mode))
		return forward_direct(ctx, false, p, &conn->flow);
	if (!any_nat())
		return drop(ctx, LB_TX_ERROR);
	if ((void *)(ip + 1) > end)
		return drop(ctx, LB_MALFORMED);
	if (ip->ttl <= 1)
		return drop(ctx, LB_TTL_EXPIRED);
	if (p->fragment != FRAGMENT_LATER &&
	    !rewrite_transport(l4, end, p->proto, &conn->flow, conn->l4_delta))
		return drop(ctx, LB_MALFORMED);
	if (lb_const_cookies && conn->flow.flags & LB_FLOW_PROXIED)
		shift_numbers(ctx, p, &conn->flow, conn->seq_delta);
	ip->ttl--;
	ip->saddr = conn->saddr;
	ip->daddr = conn->daddr;
	ip->check = csum_apply(ip->check, conn->ip_delta);
	return forward(ctx, p, &conn->flow);
}

static __always_inline int forward_ipv6(struct xdp_md *ctx, const struct packet *p,
					const struct lb_conn6 *conn)
{
	void *data = frame_start(ctx);
	void *end = frame_end(ctx);
	struct ipv6hdr *ip = data + (p->l3 & 0x3f);
	void *l4 = data + (p->l4 & 0xfff);

	if (is_direct(conn->flow.mode))
		return forward_direct(ctx, true, p, &conn->flow);
	if (!any_nat())
		return drop(ctx, LB_TX_ERROR);
	if ((void *)(ip + 1) > end)
		return drop(ctx, LB_MALFORMED);
	if (ip->hop_limit <= 1)
		return drop(ctx, LB_TTL_EXPIRED);
	if (p->fragment != FRAGMENT_LATER &&
	    !rewrite_transport(l4, end, p->proto, &conn->flow, conn->l4_delta))
		return drop(ctx, LB_MALFORMED);
	if (lb_const_cookies && conn->flow.flags & LB_FLOW_PROXIED)
		shift_numbers(ctx, p, &conn->flow, conn->seq_delta);
	ip->hop_limit--;
	__builtin_memcpy(&ip->saddr, conn->saddr, sizeof(conn->saddr));
	__builtin_memcpy(&ip->daddr, conn->daddr, sizeof(conn->daddr));
	return forward(ctx, p, &conn->flow);
}

/* An ICMP message.  An error about a flow whose answers come another way goes that flow's way. */
static __always_inline int balance_icmp(struct xdp_md *ctx, bool ipv6, struct packet *p)
{
	struct slow_path *slow = slow_path();
	struct lb_flow *flow;
	int r;

	if (!slow)
		return XDP_PASS;
	p->now = clock_ticks();
	if (!ipv6) {
		addr_map_v4(p->saddr);
		addr_map_v4(p->daddr);
	}
	slow->p = *p;
	r = ipv6 ? lb_icmp6(ctx) : lb_icmp4(ctx);
	if (r != FLOW_GO && r != FLOW_NEW)
		return r;
	addr_copy(slow->p.saddr, slow->key.saddr);
	addr_copy(slow->p.daddr, slow->key.daddr);
	slow->p.sport = slow->key.sport;
	slow->p.dport = slow->key.dport;
	slow->p.proto = slow->key.proto;
	slow->p.from_icmp = true;
	if (!lb_const_stateless && r == FLOW_GO) /* without TCP's flags: no state changes */
		r = check(ctx, ipv6, slow);
	slow->p.tcp_flags = TCP_ACK;
	if (r == FLOW_NEW)
		r = begin(ctx, ipv6, slow);
	if (r == FLOW_CUT || r == FLOW_TOO_BIG)
		return pass(ctx, LB_NOT_OURS);
	if (r < FLOW_GO)
		return r;
	flow = !lb_const_stateless && r == FLOW_GO ? conns_find(ipv6, packet_key(&slow->p))
	       : ipv6				   ? &slow->conn.flow
						   : &slow->conn4.flow;
	if (!flow)
		return pass(ctx, LB_NOT_OURS);
	return forward_direct(ctx, ipv6, p, flow);
}

static __always_inline int balance_ipv4(struct xdp_md *ctx, struct packet *p)
{
	struct lb_key4 key = {};
	struct lb_conn4 *conn;
	int r;

	r = parse_ipv4(frame_start(ctx), frame_end(ctx), p);
	if (r >= 0)
		return pass(ctx, r);
	if (r == PARSE_ICMP)
		return balance_icmp(ctx, false, p);
	if (p->fragment) {
		r = follow_fragment(ctx, false, p);
		if (r != FLOW_GO)
			return r;
	} else if (!ports_match(p)) {
		return pass(ctx, LB_NOT_OURS);
	}
	p->now = clock_ticks();
	key.saddr = p->saddr[3];
	key.daddr = p->daddr[3];
	key.sport = p->sport;
	key.dport = p->dport;
	key.proto = p->proto;
	if (lb_const_stateless)
		conn = stateless(false, p) ? written4() : NULL;
	else
		conn = bpf_map_lookup_elem(&lb_conns4, &key);
	if (!conn || (!lb_const_stateless && (p->truncated || !flow_is_plain(p, &conn->flow)))) {
		addr_map_v4(p->saddr);
		addr_map_v4(p->daddr);
		r = slow_start(ctx, false, p, conn);
		conn = r == FLOW_READY			     ? written4()
		       : !lb_const_stateless && r == FLOW_GO ? bpf_map_lookup_elem(&lb_conns4, &key)
							     : NULL;
		if (!conn)
			return r < FLOW_GO ? r : drop(ctx, LB_MAP_FULL);
	}
	return forward_ipv4(ctx, p, conn);
}

static __always_inline int balance_ipv6(struct xdp_md *ctx, struct packet *p)
{
	struct lb_conn6 *conn;
	int r;

	r = parse_ipv6(ctx, p);
	if (r >= 0)
		return pass(ctx, r);
	if (r == PARSE_ICMP)
		return balance_icmp(ctx, true, p);
	if (p->fragment) {
		r = follow_fragment(ctx, true, p);
		if (r != FLOW_GO)
			return r;
	} else if (!ports_match(p)) {
		return pass(ctx, LB_NOT_OURS);
	}
	p->now = clock_ticks();
	if (lb_const_stateless)
		conn = stateless(true, p) ? written6() : NULL;
	else
		conn = bpf_map_lookup_elem(&lb_conns6, packet_key(p));
	if (!conn || (!lb_const_stateless && (p->truncated || !flow_is_plain(p, &conn->flow)))) {
		r = slow_start(ctx, true, p, conn);
		conn = r == FLOW_READY ? written6()
		       : !lb_const_stateless && r == FLOW_GO
			       ? bpf_map_lookup_elem(&lb_conns6, packet_key(p))
			       : NULL;
		if (!conn)
			return r < FLOW_GO ? r : drop(ctx, LB_MAP_FULL);
	}
	return forward_ipv6(ctx, p, conn);
}

static __always_inline int balance(struct xdp_md *ctx)
{
	struct packet p = {}; /* copied whole by the slow path */
	__be16 type;

	type = parse_ethernet(frame_start(ctx), frame_end(ctx), &p);
	if (lb_const_ipv4 && type == bpf_htons(ETH_P_IP))
		return balance_ipv4(ctx, &p);
	if (lb_const_ipv6 && type == bpf_htons(ETH_P_IPV6))
		return balance_ipv6(ctx, &p);
	return pass(ctx, LB_NOT_IP);
}

SEC("xdp")
int lb_main(struct xdp_md *ctx)
{
	lb_trace_begin(ctx);
	return lb_trace_end(balance(ctx));
}

/* The same on the CPU that lb_spread chose.  Both are loaded where they are used. */
SEC("?xdp/cpumap")
int lb_main_cpu(struct xdp_md *ctx)
{
	lb_trace_begin(ctx);
	return lb_trace_end(balance(ctx));
}

char _license[] SEC("license") = "GPL";
