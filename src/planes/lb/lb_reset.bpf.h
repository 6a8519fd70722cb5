/* lb_reset.bpf.h - ending a client's TCP connection on behalf of a backend that was cut off. */
#ifndef LB_RESET_BPF_H
#define LB_RESET_BPF_H

#include "lb_segment.bpf.h"

/* What the client will accept: RFC 9293 section 3.10.7.1 towards a client's packet; the next
 * in-order byte after a backend's. */
static __always_inline bool reset_numbers(struct xdp_md *ctx, const struct packet *p, bool reply,
					  struct segment *reset)
{
	void *data = frame_start(ctx);
	struct tcphdr *tcp = data + (p->l4 & 0xfff);
	__u32 ack_flag = p->tcp_flags & TCP_ACK;

	if ((void *)(tcp + 1) > frame_end(ctx))
		return false;
	if (reply) {
		reset->seq = tcp->seq;
		reset->ack = tcp->ack_seq;
		reset->flags = TCP_RST | ack_flag;
		return true;
	}
	reset->flags = TCP_RST | (ack_flag ? 0 : TCP_ACK);
	reset->seq = ack_flag ? tcp->ack_seq : 0;
	/* Without ACK this is a FIN (a SYN finds another backend): one number to acknowledge. */
	reset->ack = ack_flag ? 0 : bpf_htonl(bpf_ntohl(tcp->seq) + 1);
	return true;
}

/* Turns the packet of a cut connection, from either side, into a RST for the client and forgets the
 * connection. */
static __always_inline int reset_client(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	struct lb_flow *back;
	struct lb_flow *flow;
	struct segment reset;
	struct packet *p;
	__u64 length;
	bool reply;
	int verdict;

	if (!slow)
		return XDP_DROP;
	length = frame_length(ctx);
	barrier_var(length); /* or the compiler keeps the halves of a pointer */
	p = &slow->p;
	back = &slow->conn.flow;
	flow = conns_find(ipv6, packet_key(p));
	if (!flow || p->tcp_flags & TCP_RST || p->fragment == FRAGMENT_LATER)
		return drop(ctx, LB_FLOW_ENDED);
	reply = flow->flags & LB_FLOW_REPLY;
	if (!reset_numbers(ctx, p, reply, &reset))
		return drop(ctx, LB_MALFORMED);
	reset.window = 0;
	reset.mss = 0;
	*back = *flow;
	if (lb_const_cookies && reply && flow->flags & LB_FLOW_PROXIED)
		reset.seq = bpf_htonl(bpf_ntohl(reset.seq) + seq_delta_of(ipv6, flow));
	if (reply) {
		flow_addresses(ipv6, flow, reset.saddr, reset.daddr);
		reset.sport = flow->sport;
		reset.dport = flow->dport;
	} else {
		addr_copy(reset.saddr, p->daddr);
		addr_copy(reset.daddr, p->saddr);
		reset.sport = p->dport;
		reset.dport = p->sport;
		hop_back(ctx, p, back);
	}
	flow_forget(ipv6, p, flow);
	if (!write_segment(ctx, ipv6, p, &reset, false))
		return drop(ctx, LB_FLOW_ENDED);
	verdict = send_to_hop(ctx, &back->hop, back->tags, p->tags);
	if (verdict < 0)
		return drop(ctx, LB_TX_ERROR);
	count_packet(LB_RESET, length);
	return verdict;
}

__noinline int lb_reset_client4(struct xdp_md *ctx)
{
	return reset_client(ctx, false);
}

__noinline int lb_reset_client6(struct xdp_md *ctx)
{
	return reset_client(ctx, true);
}

#endif
