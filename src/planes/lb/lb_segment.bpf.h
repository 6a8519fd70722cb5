/* lb_segment.bpf.h - a bare TCP segment in the place of the packet that is there: resets, SYN
 * cookies. */
#ifndef LB_SEGMENT_BPF_H
#define LB_SEGMENT_BPF_H

#include "lb_flow.bpf.h"

#define SEGMENT_TTL 64

/* A bare TCP segment as it will stand in the frame; in wire order but where a number stays within.
 */
struct segment {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__be32 seq;
	__be32 ack;
	__u8 flags;
	__u16 window; /* host order */
	__u16 mss;    /* of its option; 0: none */
};

/* Addresses and ports of an answer to p. */
static __always_inline void segment_back(struct segment *segment, const struct packet *p)
{
	addr_copy(segment->saddr, p->daddr);
	addr_copy(segment->daddr, p->saddr);
	segment->sport = p->dport;
	segment->dport = p->sport;
}

static __always_inline __u32 csum_add32(__u32 sum, __be32 word)
{
	return sum + (word & 0xffff) + (word >> 16);
}

/* with_mss: a segment with a maximum segment size, its only option. */
static __always_inline void write_tcp(struct tcphdr *tcp, const struct segment *segment,
				      const bool with_mss)
{
	const __u32 bytes = sizeof(*tcp) + (with_mss ? 4 : 0);
	__u32 sum = bpf_htons(IPPROTO_TCP) + bpf_htons(bytes);

	__builtin_memset(tcp, 0, sizeof(*tcp));
	tcp->source = segment->sport;
	tcp->dest = segment->dport;
	tcp->seq = segment->seq;
	tcp->ack_seq = segment->ack;
	tcp->doff = bytes / 4;
	((__u8 *)tcp)[13] = segment->flags;
	tcp->window = bpf_htons(segment->window);
	if (with_mss) /* kind 2, length 4: RFC 9293 section 3.2 */
		*(__be32 *)(tcp + 1) = bpf_htonl(0x02040000 | segment->mss);
	/* The mapped form of IPv4 adds 0xffff twice, which is nothing to a one's complement sum. */
	for (int i = 0; i < 4; i++) {
		sum = csum_add32(sum, segment->saddr[i]);
		sum = csum_add32(sum, segment->daddr[i]);
	}
	for (__u32 i = 0; i < bytes / 4; i++)
		sum = csum_add32(sum, ((__be32 *)tcp)[i]);
	tcp->check = ~csum_fold(sum);
}

static __always_inline void write_ipv4(struct iphdr *ip, const struct segment *segment, __u32 bytes)
{
	__u32 sum = 0;

	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = bpf_htons(sizeof(*ip) + bytes);
	ip->frag_off = bpf_htons(LB_IP_DF);
	ip->ttl = SEGMENT_TTL;
	ip->protocol = IPPROTO_TCP;
	ip->saddr = segment->saddr[3];
	ip->daddr = segment->daddr[3];
	for (int i = 0; i < (int)sizeof(*ip) / 4; i++)
		sum = csum_add32(sum, ((__be32 *)ip)[i]);
	ip->check = ~csum_fold(sum);
}

static __always_inline void write_ipv6(struct ipv6hdr *ip, const struct segment *segment,
				       __u32 bytes)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(bytes);
	ip->nexthdr = IPPROTO_TCP;
	ip->hop_limit = SEGMENT_TTL;
	__builtin_memcpy(&ip->saddr, segment->saddr, sizeof(segment->saddr));
	__builtin_memcpy(&ip->daddr, segment->daddr, sizeof(segment->daddr));
}

/* Makes the frame as long as bare headers and writes the segment into it.  Returns false if the
 * frame cannot be changed. */
static __always_inline bool write_segment(struct xdp_md *ctx, bool ipv6, const struct packet *p,
					  const struct segment *segment, const bool with_mss)
{
	const __u32 bytes = sizeof(struct tcphdr) + (with_mss ? 4 : 0);
	__u32 l3 = p->l3 & 0x3f;
	__u32 l4 = l3 + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	struct tcphdr *tcp;
	void *data;
	void *end;

	if (bpf_xdp_adjust_tail(ctx, (int)(l4 + bytes) - (int)frame_length(ctx)))
		return false;
	data = frame_start(ctx);
	end = frame_end(ctx);
	if (ipv6) {
		struct ipv6hdr *ip = data + l3;

		tcp = (void *)(ip + 1);
		if ((void *)tcp + bytes > end)
			return false;
		write_ipv6(ip, segment, bytes);
	} else {
		struct iphdr *ip = data + l3;

		tcp = (void *)(ip + 1);
		if ((void *)tcp + bytes > end)
			return false;
		write_ipv4(ip, segment, bytes);
	}
	write_tcp(tcp, segment, with_mss);
	return true;
}

#endif
