/* lb_cookie.bpf.h - SYNs beyond a limit are answered with a SYN cookie, and only who answers that
 * gets a connection (RFC 4987 section 3.6; the kernel's own cookies, net/ipv4/syncookies.c).
 *
 * The client's handshake is with us; its window is 0, so that it sends nothing yet.  Its ACK proves
 * that it exists: it becomes the SYN for the backend.  The backend's SYN-ACK becomes the ACK that
 * opens the client's window, and the client's next segment completes the backend's handshake.  If
 * none comes, for who speaks first is the server, the backend's repeated SYN-ACK is answered here.
 *
 * The backend counts from another number than the cookie: from then on its numbers are shifted. */
#ifndef LB_COOKIE_BPF_H
#define LB_COOKIE_BPF_H

#include "lb_mss.bpf.h"
#include "lb_new.bpf.h"
#include "lb_segment.bpf.h"

/* How long after the last cookie ACKs are taken for answers to one, in ticks. */
#define COOKIE_TICKS 60
/* Cookies remember neither window scale nor options but the segment size: these fit any path. */
#define COOKIE_MSS4 1360
#define COOKIE_MSS6 1220

/* When the last cookie was sent, in ticks, by row of lb_tables. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LB_MAX_SERVICES);
	__type(key, __u32);
	__type(value, __u32);
} lb_cookies_sent SEC(".maps");

/* What the other side may send: it comes in by the one way and goes out by the other. */
static __always_inline __u16 cookie_mss(const bool ipv6, __u16 mtu_in, __u16 mtu_out)
{
	__u32 mss = ipv6 ? COOKIE_MSS6 : COOKIE_MSS4;
	__u32 limit = mss_limit(ipv6, mtu_out && mtu_out < mtu_in ? mtu_out : mtu_in);

	return limit < mss ? limit : mss;
}

/* Headers as the kernel's helpers want them: in one piece, wherever the frame's ends. */
#define COOKIE_TCP_WORDS 6
struct cookie_headers {
	union {
		struct iphdr ip4;
		struct ipv6hdr ip6;
	};
	__be32 tcp[COOKIE_TCP_WORDS];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct cookie_headers);
} lb_cookie_headers SEC(".maps");

/* Copies the packet's headers, but for the segment size that it asks for: always the largest.  A
 * cookie tells only the sum of the client's first number and of the place that the size has in the
 * kernel's list. */
static __always_inline bool copy_headers(struct xdp_md *ctx, const bool ipv6,
					 const struct packet *p, struct cookie_headers *to)
{
	__be32 *from = frame_start(ctx) + (p->l4 & 0xfff);
	void *l3 = frame_start(ctx) + (p->l3 & 0x3f);

	if (l3 + (ipv6 ? sizeof(to->ip6) : sizeof(to->ip4)) > frame_end(ctx) ||
	    (void *)from + sizeof(struct tcphdr) > frame_end(ctx))
		return false;
	if (ipv6)
		__builtin_memcpy(&to->ip6, l3, sizeof(to->ip6));
	else
		__builtin_memcpy(&to->ip4, l3, sizeof(to->ip4));
	__builtin_memcpy(to->tcp, from, sizeof(struct tcphdr));
	((struct tcphdr *)to->tcp)->doff = COOKIE_TCP_WORDS;
	to->tcp[5] = bpf_htonl(0x0204ffff);
	return true;
}

static __always_inline struct cookie_headers *cookie_headers(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&lb_cookie_headers, &zero);
}

/* Answers the SYN in slow_path()->p in the service's name. */
static __always_inline int send_cookie(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	struct cookie_headers *headers = cookie_headers();
	struct segment segment;
	__u64 length;
	__u32 *sent;
	__s64 cookie;
	int verdict;

	if (!slow || !headers)
		return XDP_DROP;
	length = frame_length(ctx);
	barrier_var(length);
	if (!copy_headers(ctx, ipv6, &slow->p, headers))
		return drop(ctx, LB_MALFORMED);
	cookie = ipv6 ? bpf_tcp_raw_gen_syncookie_ipv6(&headers->ip6, (void *)headers->tcp,
						       sizeof(headers->tcp))
		      : bpf_tcp_raw_gen_syncookie_ipv4(&headers->ip4, (void *)headers->tcp,
						       sizeof(headers->tcp));
	if (cookie < 0)
		return drop(ctx, LB_LIMITED);
	segment_back(&segment, &slow->p);
	segment.seq = bpf_htonl((__u32)cookie);
	segment.ack = bpf_htonl(bpf_ntohl(headers->tcp[1]) + 1);
	segment.flags = TCP_SYN | TCP_ACK;
	segment.window = 0;
	hop_back(ctx, &slow->p, &slow->conn.flow);
	segment.mss = cookie_mss(ipv6, slow->conn.flow.mtu, slow->backend.mtu);
	if (!write_segment(ctx, ipv6, &slow->p, &segment, true))
		return drop(ctx, LB_LIMITED);
	sent = bpf_map_lookup_elem(&lb_cookies_sent, &slow->service.table);
	if (sent && *sent != slow->p.now) /* every CPU reads it */
		*sent = slow->p.now;
	verdict = send_to_hop(ctx, &slow->conn.flow.hop, slow->conn.flow.tags, slow->p.tags);
	if (verdict < 0)
		return drop(ctx, LB_TX_ERROR);
	count_packet(LB_COOKIE_SENT, length);
	return verdict;
}

__noinline int lb_send_cookie4(struct xdp_md *ctx)
{
	return lb_const_cookies && any_nat() && lb_const_ipv4 ? send_cookie(ctx, false) : XDP_DROP;
}

__noinline int lb_send_cookie6(struct xdp_md *ctx)
{
	return lb_const_cookies && any_nat() && lb_const_ipv6 ? send_cookie(ctx, true) : XDP_DROP;
}

/* May this packet without an entry answer a cookie? */
static __always_inline bool may_answer_cookie(const struct slow_path *slow)
{
	__u32 table = slow->service.table;
	const __u32 *sent;

	if (!lb_const_cookies || !(slow->service.flags & LB_SERVICE_COOKIES) ||
	    slow->p.proto != IPPROTO_TCP || slow->p.from_icmp ||
	    (slow->p.tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) != TCP_ACK)
		return false;
	sent = bpf_map_lookup_elem(&lb_cookies_sent, &table);
	return sent && *sent && slow->p.now - *sent <= COOKIE_TICKS;
}

/* Would the kernel take it for a cookie if the client's next number were seq? */
static __always_inline bool fits_cookie(const bool ipv6, struct cookie_headers *headers, __u32 seq)
{
	headers->tcp[1] = bpf_htonl(seq);
	return (ipv6 ? bpf_tcp_raw_check_syncookie_ipv6(&headers->ip6, (void *)headers->tcp)
		     : bpf_tcp_raw_check_syncookie_ipv4(&headers->ip4, (void *)headers->tcp)) == 0;
}

/* Is the client's next number one of seq and seq + 1?  Returns it in *ret.  The kernel takes
 * numbers beyond it, too, for those of smaller segments; but none before it. */
static __always_inline bool find_number(const bool ipv6, struct cookie_headers *headers, __u32 seq,
					__u32 *ret)
{
	bool fits = fits_cookie(ipv6, headers, seq);

	*ret = seq;
	if (fits)
		return !fits_cookie(ipv6, headers, seq - 1);
	*ret = seq + 1;
	return fits_cookie(ipv6, headers, seq + 1);
}

/* Does it?  slow->cookie says so.  seq + 1 is the next number if its ACK was lost, and this probes
 * our window of 0: RFC 9293 section 3.8.6.1. */
static __always_inline int check_cookie(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	struct cookie_headers *headers = cookie_headers();
	__u32 next;

	if (!slow || !headers)
		return 0;
	slow->cookie = COOKIE_NONE;
	if (!may_answer_cookie(slow) || !copy_headers(ctx, ipv6, &slow->p, headers))
		return 0;
	if (!find_number(ipv6, headers, bpf_ntohl(headers->tcp[1]), &next)) {
		/* Without pressure there is time to take up the middle of a connection. */
		slow->cookie = is_pressed(slow) ? COOKIE_WRONG : COOKIE_NONE;
		return 0;
	}
	slow->cookie = COOKIE_RIGHT;
	slow->cookie_seq = bpf_ntohl(headers->tcp[2]) - 1;
	slow->client_seq = next - 1;
	return 1;
}

__noinline int lb_check_cookie4(struct xdp_md *ctx)
{
	return lb_const_cookies && any_nat() && lb_const_ipv4 ? check_cookie(ctx, false) : 0;
}

__noinline int lb_check_cookie6(struct xdp_md *ctx)
{
	return lb_const_cookies && any_nat() && lb_const_ipv6 ? check_cookie(ctx, true) : 0;
}

/* The client's packet becomes the SYN that it would have sent the backend. */
static __always_inline int make_syn(struct xdp_md *ctx, const bool ipv6, __u32 client_seq)
{
	struct slow_path *slow = slow_path();
	struct segment segment;
	struct packet *p;

	if (!slow)
		return 0;
	p = &slow->p;
	addr_copy(segment.saddr, p->saddr);
	addr_copy(segment.daddr, p->daddr);
	segment.sport = p->sport;
	segment.dport = p->dport;
	segment.seq = bpf_htonl(client_seq);
	segment.ack = 0;
	segment.flags = TCP_SYN;
	segment.window = 65535;
	segment.mss = cookie_mss(ipv6, link_mtu(ctx), LB_MTU_ANY);
	if (!write_segment(ctx, ipv6, p, &segment, true))
		return 0;
	p->l4 = p->l3 + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	return 1;
}

__noinline int lb_make_syn4(struct xdp_md *ctx, __u32 client_seq)
{
	return lb_const_cookies && any_nat() && lb_const_ipv4 ? make_syn(ctx, false, client_seq)
							      : 0;
}

__noinline int lb_make_syn6(struct xdp_md *ctx, __u32 client_seq)
{
	return lb_const_cookies && any_nat() && lb_const_ipv6 ? make_syn(ctx, true, client_seq) : 0;
}

/* ---- the backend's part of the handshake ---- */

static __always_inline void set_seq_delta(bool ipv6, struct lb_flow *flow, __u32 delta)
{
	if (ipv6)
		((struct lb_conn6 *)flow)->seq_delta = delta;
	else
		((struct lb_conn4 *)flow)->seq_delta = delta;
}

/* Both halves go on to state, and shift by delta. */
static __always_inline void set_halves(const bool ipv6, const struct packet *p,
				       struct lb_flow *flow, __u8 state, __u32 delta)
{
	struct lb_flow *partner;
	struct lb_key6 key;

	key_of_partner(ipv6, &key, flow, p->proto);
	partner = conns_find(ipv6, &key);
	set_seq_delta(ipv6, flow, delta);
	flow->touched = p->now;
	flow->state = state;
	if (!partner)
		return;
	set_seq_delta(ipv6, partner, delta);
	partner->touched = p->now;
	partner->state = state;
}

/* Word 3 of a TCP header has the flags: replaces them and the sequence number. */
static __always_inline bool rewrite_numbers(struct xdp_md *ctx, const struct packet *p, __u32 seq,
					    __u8 flags)
{
	struct tcphdr *tcp = frame_start(ctx) + (p->l4 & 0xfff);
	__be16 *word;
	__be16 old;
	__be32 new_seq = bpf_htonl(seq);
	__u32 sum;

	if ((void *)(tcp + 1) > frame_end(ctx))
		return false;
	word = (__be16 *)tcp + 6;
	old = *word;
	sum = csum_diff32(tcp->seq, new_seq);
	tcp->seq = new_seq;
	((__u8 *)tcp)[13] = flags;
	sum += csum_diff16(old, *word);
	tcp->check = csum_apply(tcp->check, csum_fold(sum));
	return true;
}

/* The backend repeats its SYN-ACK: nobody but us has answered it. */
static __always_inline int answer_backend(struct xdp_md *ctx, const bool ipv6,
					  struct slow_path *slow, __u32 backend, __u32 seq,
					  __be32 ack)
{
	__u64 length = frame_length(ctx);
	struct segment segment;
	int verdict;

	barrier_var(length);
	segment_back(&segment, &slow->p);
	segment.seq = ack;
	segment.ack = bpf_htonl(seq + 1);
	segment.flags = TCP_ACK;
	segment.window = 65535;
	segment.mss = 0;
	hop_back(ctx, &slow->p, &slow->conn.flow);
	if (!write_segment(ctx, ipv6, &slow->p, &segment, false))
		return drop(ctx, LB_TX_ERROR);
	verdict = send_to_hop(ctx, &slow->conn.flow.hop, slow->conn.flow.tags, slow->p.tags);
	if (verdict < 0)
		return drop(ctx, LB_TX_ERROR);
	count_forward(backend, true, length);
	return verdict;
}

/* A packet of the backend before the handshake with it is complete. */
static __always_inline int proxy_reply(struct xdp_md *ctx, const bool ipv6, struct slow_path *slow,
				       struct lb_flow *flow)
{
	struct tcphdr *tcp = frame_start(ctx) + (slow->p.l4 & 0xfff);
	__u8 flags = slow->p.tcp_flags;
	__u32 cookie = seq_delta_of(ipv6, flow);
	__be32 ack;
	__u32 seq;

	if ((void *)(tcp + 1) > frame_end(ctx))
		return drop(ctx, LB_MALFORMED);
	seq = bpf_ntohl(tcp->seq);
	ack = tcp->ack_seq;
	if (flow->state == LB_STATE_SYN_SENT) {
		if (flags & TCP_RST) {
			/* To the client the next number is the cookie's. */
			set_halves(ipv6, &slow->p, flow, LB_STATE_CLOSED, 0);
			return rewrite_numbers(ctx, &slow->p, cookie + 1, flags) ? FLOW_GO
										 : XDP_DROP;
		}
		if ((flags & (TCP_SYN | TCP_ACK)) != (TCP_SYN | TCP_ACK))
			return drop(ctx, LB_COOKIE_WAIT);
		set_halves(ipv6, &slow->p, flow, LB_STATE_SYN_RECV, cookie - seq);
	} else if (flow->state == LB_STATE_SYN_RECV && flags & TCP_SYN) {
		return answer_backend(ctx, ipv6, slow, flow->backend, seq, ack);
	}
	if (flags & TCP_RST)
		set_halves(ipv6, &slow->p, flow, LB_STATE_CLOSED, cookie);
	if (!(flags & TCP_SYN))
		return FLOW_GO;
	return rewrite_numbers(ctx, &slow->p, seq + 1, TCP_ACK) ? FLOW_GO : XDP_DROP;
}

/* The same of the client. */
static __always_inline int proxy_client(struct xdp_md *ctx, const bool ipv6, struct slow_path *slow,
					struct lb_flow *flow)
{
	if (slow->p.tcp_flags & TCP_RST) {
		set_halves(ipv6, &slow->p, flow, LB_STATE_CLOSED, seq_delta_of(ipv6, flow));
		return FLOW_GO;
	}
	if (flow->state == LB_STATE_SYN_SENT) {
		/* The SYN may have been lost: touched has the client's number until it is answered.
		 */
		slow->client_seq = flow->touched;
		return FLOW_SYN;
	}
	if (slow->p.tcp_flags & TCP_ACK)
		set_halves(ipv6, &slow->p, flow, LB_STATE_ESTABLISHED, seq_delta_of(ipv6, flow));
	/* All that the client has to say may be in its first packet. */
	return slow->p.tcp_flags & TCP_FIN ? flow_transition(ipv6, &slow->p, flow) : FLOW_GO;
}

/* A packet of a connection that a cookie opened, before it is established on both sides.  Returns
 * FLOW_GO, FLOW_SYN (make it the SYN of slow_path()->client_seq) or a verdict. */
static __always_inline int proxy(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	struct lb_flow *flow;

	if (!slow)
		return XDP_DROP;
	key_of_packet(&slow->key, &slow->p);
	flow = conns_find(ipv6, &slow->key);
	if (!flow)
		return drop(ctx, LB_FLOW_ENDED);
	flow->seen = slow->p.now;
	return flow->flags & LB_FLOW_REPLY ? proxy_reply(ctx, ipv6, slow, flow)
					   : proxy_client(ctx, ipv6, slow, flow);
}

__noinline int lb_proxy4(struct xdp_md *ctx)
{
	return lb_const_cookies && any_nat() && lb_const_ipv4 ? proxy(ctx, false) : XDP_DROP;
}

__noinline int lb_proxy6(struct xdp_md *ctx)
{
	return lb_const_cookies && any_nat() && lb_const_ipv6 ? proxy(ctx, true) : XDP_DROP;
}

/* The numbers of an established proxied flow's packet, as the other side counts. */
static __always_inline void shift_numbers(struct xdp_md *ctx, const struct packet *p,
					  const struct lb_flow *flow, __u32 delta)
{
	struct tcphdr *tcp = frame_start(ctx) + (p->l4 & 0xfff);
	__be32 *number = flow->flags & LB_FLOW_REPLY ? &tcp->seq : &tcp->ack_seq;
	__be32 shifted;

	if (flow->state == LB_STATE_SYN_SENT || p->fragment == FRAGMENT_LATER ||
	    (void *)(tcp + 1) > frame_end(ctx))
		return;
	if (!(flow->flags & LB_FLOW_REPLY))
		delta = -delta;
	shifted = bpf_htonl(bpf_ntohl(*number) + delta);
	tcp->check = csum_apply(tcp->check, csum_fold(csum_diff32(*number, shifted)));
	*number = shifted;
}

#endif
