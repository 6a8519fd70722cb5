/* lb_parse.bpf.h - from frame to tuple; reads nothing past the frame's end. */
#ifndef LB_PARSE_BPF_H
#define LB_PARSE_BPF_H

#include <stddef.h>

#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>

#include "lb_frame.bpf.h"
#include "lb_maps.bpf.h"

#define LB_MAX_EXT_HEADERS 6
#define LB_MAX_EXT_OFFSET  2048
#define LB_IP_MF	   0x2000 /* RFC 791 section 3.1 */
#define LB_IP_DF	   0x4000
#define LB_IP_OFFSET	   0x1fff

struct vlan_tag {
	__be16 tci;
	__be16 proto;
};

/* Third and fourth byte of any IPv6 extension header's start: RFC 8200 section 4. */
struct ext_header {
	__u8 next;
	__u8 length;	/* in units of 8 bytes, less the first */
	__u8 type;	/* routing: type */
	__u8 remaining; /* routing: segments left */
	__be32 rest;
};

struct ports {
	__be16 source;
	__be16 dest;
};

enum fragment {
	FRAGMENT_NONE,
	FRAGMENT_FIRST,
	FRAGMENT_LATER, /* without ports of its own */
};

/* What parsing may end in, beside counters. */
enum parse_end {
	PARSE_DONE = -1,
	PARSE_ICMP = -2, /* l4 is where its header lies */
};

/* What was learned of a frame.  Up to zero it is the flow's struct lb_key6: the stack has no room
 * for another one. */
struct packet {
	__be32 saddr[4]; /* IPv4 in mapped form; the fast path fills only word 3 */
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 zero[3];
	__u8 tcp_flags; /* byte 13 of the TCP header */
	__u8 tags;	/* LB_TAGS_* */
	bool truncated; /* the transport header is not whole, or lengths contradict */
	bool expired;	/* no hop is left */
	__be16 tci[2];
	__u16 l3; /* offsets from the frame's start */
	__u16 l4;
	__u32 now;	/* in LB_TICKs */
	__be32 id;	/* of a fragment */
	__u16 length;	/* of the IP packet */
	__u8 fragment;	/* enum fragment */
	bool from_icmp; /* an ICMP error about a packet of the flow */
};
_Static_assert(__builtin_offsetof(struct packet, proto) ==
			       __builtin_offsetof(struct lb_key6, proto) &&
		       __builtin_offsetof(struct packet, tcp_flags) == sizeof(struct lb_key6),
	       "a packet begins with its key");

static __always_inline const struct lb_key6 *packet_key(const struct packet *p)
{
	return (const void *)p;
}

/* Does the packet reach to there, whatever pads the frame? */
static __always_inline bool packet_has(const struct packet *p, __u32 at, __u32 bytes)
{
	return at + bytes <= (__u32)p->l3 + p->length;
}

/* In one piece: struct ethhdr is packed, and clang would handle bytes. */
static __always_inline __be16 ether_type(const struct ethhdr *eth)
{
	return *(const __be16 *)((const void *)eth + offsetof(struct ethhdr, h_proto));
}

static __always_inline void set_ether_type(struct ethhdr *eth, __be16 type)
{
	*(__be16 *)((void *)eth + offsetof(struct ethhdr, h_proto)) = type;
}

/* Ethernet and up to two VLAN tags.  Returns the ether type in wire order, 0 if the frame is cut
 * short or not sent to one host. */
static __always_inline __be16 parse_ethernet(void *data, void *end, struct packet *p)
{
	struct ethhdr *eth = data;
	struct vlan_tag *tag;
	__be16 type;

	if ((void *)(eth + 1) > end || eth->h_dest[0] & 1)
		return 0;
	type = ether_type(eth);
	p->l3 = sizeof(*eth);
	p->tags = 0;
	if (type != bpf_htons(ETH_P_8021Q) && type != bpf_htons(ETH_P_8021AD))
		return type;
	tag = (void *)(eth + 1);
	if ((void *)(tag + 1) > end)
		return 0;
	p->tags = 1 | (type == bpf_htons(ETH_P_8021AD) ? LB_TAGS_OUTER_AD : 0);
	p->tci[0] = tag->tci;
	p->l3 += sizeof(*tag);
	type = tag->proto;
	if (type != bpf_htons(ETH_P_8021Q))
		return type;
	tag++;
	if ((void *)(tag + 1) > end)
		return 0;
	p->tags++;
	p->tci[1] = tag->tci;
	p->l3 += sizeof(*tag);
	return tag->proto;
}

/* Ports, flags and lengths.  length: of the transport header and payload, by the IP header's
 * account. Returns false if not even the ports are there. */
static __always_inline bool parse_transport(void *l4, void *end, __u32 length, struct packet *p)
{
	struct ports *ports = l4;

	if ((void *)(ports + 1) > end || length < sizeof(*ports))
		return false;
	p->sport = ports->source;
	p->dport = ports->dest;
	p->tcp_flags = 0;
	p->truncated = true;
	if (p->proto == IPPROTO_TCP) {
		struct tcphdr *tcp = l4;

		if ((void *)(tcp + 1) > end || length < sizeof(*tcp))
			return true;
		p->tcp_flags = ((__u8 *)tcp)[13];
		p->truncated = tcp->doff < 5 || tcp->doff * 4u > length;
	} else {
		struct udphdr *udp = l4;

		if ((void *)(udp + 1) > end || length < sizeof(*udp))
			return true;
		p->truncated = bpf_ntohs(udp->len) < sizeof(*udp) ||
			       (bpf_ntohs(udp->len) > length && !p->fragment);
	}
	return true;
}

/* Returns the counter of a packet that is not for us to judge, or enum parse_end with *p filled. */
static __always_inline int parse_ipv4(void *data, void *end, struct packet *p)
{
	struct iphdr *ip = data + p->l3;
	__u32 header;
	__u32 total;

	if ((void *)(ip + 1) > end)
		return LB_NOT_IP;
	header = ip->ihl * 4u;
	total = bpf_ntohs(ip->tot_len);
	if (ip->version != 4 || header < sizeof(*ip) || total < header)
		return LB_NOT_IP;
	p->proto = ip->protocol;
	p->expired = ip->ttl <= 1;
	p->saddr[3] = ip->saddr;
	p->daddr[3] = ip->daddr;
	p->l4 = p->l3 + header;
	p->length = total;
	if (ip->protocol != IPPROTO_TCP && !(lb_const_udp && ip->protocol == IPPROTO_UDP)) {
		if (ip->protocol != IPPROTO_ICMP ||
		    ip->frag_off & bpf_htons(LB_IP_MF | LB_IP_OFFSET) || (void *)ip + total > end)
			return LB_NOT_OURS;
		return PARSE_ICMP;
	}
	if (ip->frag_off & bpf_htons(LB_IP_MF | LB_IP_OFFSET)) {
		p->id = ip->id;
		p->fragment = FRAGMENT_FIRST;
		if (ip->frag_off & bpf_htons(LB_IP_OFFSET)) {
			p->fragment = FRAGMENT_LATER;
			p->truncated = (void *)ip + total > end;
			return PARSE_DONE;
		}
	}
	if (!parse_transport(data + p->l4, end, total - header, p))
		return LB_NOT_IP;
	if ((void *)ip + total > end)
		p->truncated = true;
	return PARSE_DONE;
}

#define WALK_FRAGMENT_SHIFT 20 /* enum fragment, above offset << 8 | protocol */

/* What follows an IPv6 header that is neither TCP nor UDP at once: walks extension headers. Returns
 * the transport header's offset and protocol as offset << 8 | protocol, or the counter as -1 -
 * counter.  Global, so that its many paths are proved once. */
__noinline int lb_walk_extensions(struct xdp_md *ctx, __u32 offset, __u32 next)
{
	void *data = frame_start(ctx);
	void *end = frame_end(ctx);
	__u32 fragment = FRAGMENT_NONE;

	for (int i = 0; i <= LB_MAX_EXT_HEADERS; i++) {
		struct ext_header *ext;

		if (next == IPPROTO_TCP || (lb_const_udp && next == IPPROTO_UDP) ||
		    (next == IPPROTO_ICMPV6 && !fragment))
			return fragment << WALK_FRAGMENT_SHIFT | offset << 8 | next;
		/* The first fragment's further headers are not in the later ones. */
		if (fragment)
			return -1 - LB_FRAGMENT;
		/* Not AH: it seals the addresses that NAT would change (RFC 3715 section 2.1). */
		if (next != IPPROTO_HOPOPTS && next != IPPROTO_ROUTING && next != IPPROTO_DSTOPTS &&
		    next != IPPROTO_FRAGMENT)
			return -1 - LB_NOT_OURS;
		if (offset > LB_MAX_EXT_OFFSET)
			break;
		ext = data + offset;
		if ((void *)(ext + 1) > end)
			break;
		/* Offset or "more": RFC 8200 section 4.5; neither is an atomic fragment, RFC 6946.
		 */
		if (next == IPPROTO_FRAGMENT && *(__be16 *)&ext->type & bpf_htons(0xfff9))
			fragment = *(__be16 *)&ext->type & bpf_htons(0xfff8) ? FRAGMENT_LATER
									     : FRAGMENT_FIRST;
		/* Not at its destination yet. */
		if (next == IPPROTO_ROUTING && ext->remaining)
			return -1 - LB_NOT_OURS;
		offset += next == IPPROTO_FRAGMENT ? 8 : (ext->length + 1u) * 8;
		next = ext->next;
	}
	return -1 - LB_NOT_IP;
}

static __always_inline int parse_ipv6(struct xdp_md *ctx, struct packet *p)
{
	void *data = frame_start(ctx);
	void *end = frame_end(ctx);
	struct ipv6hdr *ip = data + p->l3;
	__u32 payload;
	__u32 l4 = p->l3 + sizeof(*ip);

	if ((void *)(ip + 1) > end || ip->version != 6)
		return LB_NOT_IP;
	p->proto = ip->nexthdr;
	if (p->proto != IPPROTO_TCP && !(lb_const_udp && p->proto == IPPROTO_UDP)) {
		int walked = lb_walk_extensions(ctx, l4, p->proto);

		if (walked < 0)
			return -1 - walked;
		p->proto = walked;
		p->fragment = walked >> WALK_FRAGMENT_SHIFT & 3;
		l4 = walked >> 8 & 0xfff;
		data = frame_start(ctx);
		end = frame_end(ctx);
		ip = data + p->l3;
		if ((void *)(ip + 1) > end)
			return LB_NOT_IP;
	}
	__builtin_memcpy(p->saddr, &ip->saddr, sizeof(p->saddr));
	__builtin_memcpy(p->daddr, &ip->daddr, sizeof(p->daddr));
	/* Loopback, and what stands for IPv4 in our tables, are nobody's on a wire: RFC 4291
	 * section 2.5, RFC 6890. */
	if (!(p->saddr[0] | p->saddr[1]) || !(p->daddr[0] | p->daddr[1]))
		return LB_NOT_OURS;
	p->expired = ip->hop_limit <= 1;
	payload = bpf_ntohs(ip->payload_len) + p->l3 + sizeof(*ip);
	if (payload < l4)
		return LB_NOT_IP;
	p->l4 = l4;
	p->length = payload - p->l3;
	if (p->proto == IPPROTO_ICMPV6)
		return data + payload > end ? LB_NOT_OURS : PARSE_ICMP;
	if (p->fragment) {
		/* The fragment header is the last one before the transport's. */
		struct ext_header *ext = data + ((l4 - sizeof(*ext)) & 0xfff);

		if ((void *)(ext + 1) > end)
			return LB_NOT_IP;
		p->id = ext->rest;
	}
	p->truncated = false;
	if (p->fragment != FRAGMENT_LATER && !parse_transport(data + l4, end, payload - l4, p))
		return LB_NOT_IP;
	if (data + payload > end)
		p->truncated = true;
	return PARSE_DONE;
}

#endif
