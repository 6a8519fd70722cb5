/* steer_packet.bpf.h - what is read in the packet.  Never by data and data_end: of a sender's
 * segments (UDP_SEGMENT) only the headers lie there. */
#ifndef STEER_PACKET_BPF_H
#define STEER_PACKET_BPF_H

#include <stddef.h>

#include <bpf/bpf_endian.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>

#include "steer_maps.bpf.h"

#define PACKET_UDP_HEADER 8

/* The source as IPv6 has it, IPv4 as ::ffff:a.b.c.d.  False: it cannot be read. */
static __always_inline bool packet_source(const struct sk_reuseport_md *ctx, __be32 addr[4])
{
	if (ctx->eth_protocol == bpf_htons(ETH_P_IP)) {
		addr[0] = addr[1] = 0;
		addr[2] = bpf_htonl(0xffff);
		return bpf_skb_load_bytes_relative(ctx, offsetof(struct iphdr, saddr), &addr[3], 4,
						   BPF_HDR_START_NET) == 0;
	}
	return bpf_skb_load_bytes_relative(ctx, offsetof(struct ipv6hdr, saddr), addr, 16,
					   BPF_HDR_START_NET) == 0;
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
