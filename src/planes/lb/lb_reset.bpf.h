/* lb_reset.bpf.h - ending a client's TCP connection on behalf of a backend that was cut off. */
#ifndef LB_RESET_BPF_H
#define LB_RESET_BPF_H

#include "lb_flow.bpf.h"

#define LB_RESET_TTL 64

/* A RST as it will stand in the frame; 32-bit words in wire order. */
struct reset {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__be32 seq;
	__be32 ack;
	bool with_ack;
};

static __always_inline __u32 csum_add32(__u32 sum, __be32 word)
{
	return sum + (word & 0xffff) + (word >> 16);
}

/* What the client will accept: RFC 9293 section 3.10.7.1 towards a client's packet; the next
 * in-order byte after a backend's. */
static __always_inline bool reset_numbers(struct xdp_md *ctx, const struct packet *p, bool reply,
					  struct reset *reset)
{
	void *data = frame_start(ctx);
	struct tcphdr *tcp = data + (p->l4 & 0xfff);
	__u32 ack_flag = p->tcp_flags & TCP_ACK;

	if ((void *)(tcp + 1) > frame_end(ctx))
		return false;
	if (reply) {
		reset->seq = tcp->seq;
		reset->ack = tcp->ack_seq;
		reset->with_ack = ack_flag;
		return true;
	}
	reset->with_ack = !ack_flag;
	reset->seq = ack_flag ? tcp->ack_seq : 0;
	/* Without ACK this is a FIN (a SYN finds another backend): one number to acknowledge. */
	reset->ack = ack_flag ? 0 : bpf_htonl(bpf_ntohl(tcp->seq) + 1);
	return true;
}

static __always_inline void write_tcp(struct tcphdr *tcp, const struct reset *reset)
{
	__u32 sum = bpf_htons(IPPROTO_TCP) + bpf_htons(sizeof(*tcp));

	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = reset->sport;
	tcp->dest = reset->dport;
	tcp->seq = reset->seq;
	tcp->ack_seq = reset->ack;
	tcp->doff = sizeof(*tcp) / 4;
	tcp->rst = 1;
	tcp->ack = reset->with_ack;
	/* The mapped form of IPv4 adds 0xffff twice, which is nothing to a one's complement sum. */
	for (int i = 0; i < 4; i++) {
		sum = csum_add32(sum, reset->saddr[i]);
		sum = csum_add32(sum, reset->daddr[i]);
	}
	for (int i = 0; i < (int)sizeof(*tcp) / 4; i++)
		sum = csum_add32(sum, ((__be32 *)tcp)[i]);
	tcp->check = ~csum_fold(sum);
}

static __always_inline void write_ipv4(struct iphdr *ip, const struct reset *reset)
{
	__u32 sum = 0;

	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = bpf_htons(sizeof(*ip) + sizeof(struct tcphdr));
	ip->frag_off = bpf_htons(0x4000); /* don't fragment */
	ip->ttl = LB_RESET_TTL;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = reset->saddr[3];
	ip->daddr = reset->daddr[3];
	for (int i = 0; i < (int)sizeof(*ip) / 4; i++)
		sum = csum_add32(sum, ((__be32 *)ip)[i]);
	ip->check = ~csum_fold(sum);
}

static __always_inline void write_ipv6(struct ipv6hdr *ip, const struct reset *reset)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(sizeof(struct tcphdr));
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = LB_RESET_TTL;
	__builtin_memcpy(&ip->saddr, reset->saddr, sizeof(reset->saddr));
	__builtin_memcpy(&ip->daddr, reset->daddr, sizeof(reset->daddr));
}

/* Cuts the frame to bare headers and writes the RST into it.  Returns false if the frame cannot be
 * changed. */
static __always_inline bool write_reset(struct xdp_md *ctx, bool ipv6, const struct packet *p,
					const struct reset *reset)
{
	__u32 l3 = p->l3 & 0x3f;
	__u32 l4 = l3 + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	__u32 length = l4 + sizeof(struct tcphdr);
	struct tcphdr *tcp;
	void *data;
	void *end;

	if (bpf_xdp_adjust_tail(ctx, (int)length - (int)frame_length(ctx)))
		return false;
	data = frame_start(ctx);
	end = frame_end(ctx);
	if (ipv6) {
		struct ipv6hdr *ip = data + l3;

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) > end)
			return false;
		write_ipv6(ip, reset);
	} else {
		struct iphdr *ip = data + l3;

		tcp = (void *)(ip + 1);
		if ((void *)(tcp + 1) > end)
			return false;
		write_ipv4(ip, reset);
	}
	write_tcp(tcp, reset);
	return true;
}

/* Turns the packet of a cut connection, from either side, into a RST for the client and forgets the
 * connection. */
static __always_inline int reset_client(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	struct lb_flow *back;
	struct lb_flow *flow;
	struct reset reset;
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
	*back = *flow;
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
	if (!write_reset(ctx, ipv6, p, &reset))
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
