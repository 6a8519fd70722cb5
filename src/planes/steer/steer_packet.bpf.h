/* steer_packet.bpf.h - what is read in the packet.  Never by data and data_end alone: of a sender's
 * segments (UDP_SEGMENT) only the headers lie there. */
#ifndef STEER_PACKET_BPF_H
#define STEER_PACKET_BPF_H

#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "steer_struct.bpf.h"

#define PACKET_UDP_HEADER 8

/* The IP header, which is never in fragments of a buffer. */
static __always_inline const void *packet_header(struct sk_reuseport_md *ctx)
{
	const struct sk_reuseport_kern *kern = bpf_cast_to_kern_ctx(ctx);
	const struct sk_buff *skb = kern->skb;

	return skb->head + skb->network_header;
}

static __always_inline void packet_source_of_ipv4(__be32 addr[4], __be32 source)
{
	addr[0] = addr[1] = 0;
	addr[2] = bpf_htonl(0xffff);
	addr[3] = source;
}

static __always_inline void packet_source_there(struct sk_reuseport_md *ctx, __be32 addr[4])
{
	const void *header = packet_header(ctx);
	const struct iphdr *ip = bpf_rdonly_cast(header, bpf_core_type_id_kernel(struct iphdr));
	const struct ipv6hdr *ip6 = bpf_rdonly_cast(header,
						    bpf_core_type_id_kernel(struct ipv6hdr));

	if (ip->version == 4)
		packet_source_of_ipv4(addr, ip->saddr);
	else
		__builtin_memcpy(addr, &ip6->saddr, sizeof(ip6->saddr));
}

/* The source as IPv6 has it, IPv4 as ::ffff:a.b.c.d.  False: it cannot be read. */
static __always_inline bool packet_source(struct sk_reuseport_md *ctx, __be32 addr[4])
{
	__be32 source;

	if (reads_group) {
		packet_source_there(ctx, addr);
		return true;
	}
	if (ctx->eth_protocol != bpf_htons(ETH_P_IP))
		return bpf_skb_load_bytes_relative(ctx, offsetof(struct ipv6hdr, saddr), addr, 16,
						   BPF_HDR_START_NET) == 0;
	if (bpf_skb_load_bytes_relative(ctx, offsetof(struct iphdr, saddr), &source, sizeof(source),
					BPF_HDR_START_NET))
		return false;
	packet_source_of_ipv4(addr, source);
	return true;
}

/* Source, then destination. */
static __always_inline bool packet_addresses(const struct sk_reuseport_md *ctx, __be32 addr[8])
{
	if (ctx->eth_protocol == bpf_htons(ETH_P_IP)) {
		__be32 both[2];

		if (bpf_skb_load_bytes_relative(ctx, offsetof(struct iphdr, saddr), both,
						sizeof(both), BPF_HDR_START_NET))
			return false;
		addr[0] = addr[1] = addr[4] = addr[5] = 0;
		addr[2] = addr[6] = bpf_htonl(0xffff);
		addr[3] = both[0];
		addr[7] = both[1];
		return true;
	}
	return bpf_skb_load_bytes_relative(ctx, offsetof(struct ipv6hdr, saddr), addr, 32,
					   BPF_HDR_START_NET) == 0;
}

/* The first words of UDP's payload.  False: there are not as many. */
static __always_inline bool packet_words(struct sk_reuseport_md *ctx, __u32 *words, __u32 count)
{
	const char *payload = (const char *)(long)ctx->data + PACKET_UDP_HEADER;
	__u32 i;

	if (payload + count * sizeof(*words) > (const char *)(long)ctx->data_end)
		return bpf_skb_load_bytes(ctx, PACKET_UDP_HEADER, words, count * sizeof(*words)) ==
		       0;
	for (i = 0; i < count; i++)
		words[i] = ((const __u32 *)payload)[i];
	return true;
}

/* steer_const.length bytes of UDP's payload, read big endian. */
static __always_inline bool packet_number(const struct sk_reuseport_md *ctx, __u32 offset,
					  __u32 *ret)
{
	__u8 bytes[4] = { 0 };
	__u32 length = steer_const.length;
	__u32 number = 0;
	__u32 i;

	if (length < 1 || length > sizeof(bytes))
		return false;
	if (bpf_skb_load_bytes(ctx, PACKET_UDP_HEADER + offset, bytes, length))
		return false;
	for (i = 0; i < sizeof(bytes); i++)
		if (i < length)
			number = number << 8 | bytes[i];
	*ret = number;
	return true;
}

#endif
