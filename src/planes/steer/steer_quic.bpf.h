/* steer_quic.bpf.h - who is named in the packet: in QUIC's connection id, or at a fixed place. */
#ifndef STEER_QUIC_BPF_H
#define STEER_QUIC_BPF_H

#include "steer_plan.bpf.h"

/* RFC 9000 section 17, RFC 9369 section 3.2. */
#define QUIC_LONG	  0x80
#define QUIC_TYPE	  0x30
#define QUIC_V1		  0x00000001
#define QUIC_V1_HANDSHAKE 0x20
#define QUIC_V2		  0x6b3343cf
#define QUIC_V2_HANDSHAKE 0x30
#define QUIC_LONG_BYTES	  6 /* up to the connection id */

/* The slot that the number at offset in the payload names. */
static __always_inline __u32 quic_identity(const struct sk_reuseport_md *ctx,
					   const volatile struct steer_table *table, __u32 offset,
					   struct steer_decision *is)
{
	__u32 number, slot;

	is->reason = STEER_COUNT_SHORT;
	if (!packet_number(ctx, offset, &number))
		return STEER_NOBODY;
	number = number >> (steer_const.shift & 31) & steer_const.mask;
	is->index = number;
	slot = number < STEER_MAX_SLOTS ? table->identity[index_below(number, STEER_MAX_SLOTS)]
					: STEER_NOBODY;
	is->reason = slot < STEER_MAX_SLOTS ? STEER_COUNT_INDEX : STEER_COUNT_INDEX_MISS;
	return slot;
}

static __always_inline bool quic_is_handshake(const __u8 *head)
{
	__u32 version = (__u32)head[1] << 24 | head[2] << 16 | head[3] << 8 | head[4];

	return (version == QUIC_V1 && (head[0] & QUIC_TYPE) == QUIC_V1_HANDSHAKE) ||
	       (version == QUIC_V2 && (head[0] & QUIC_TYPE) == QUIC_V2_HANDSHAKE);
}

/* A connection's first packets carry an id that the client made up: they go by the flow's hash, as
 * does the rest of the long ones whose id names nobody. */
static __always_inline __u32 quic_choose(struct sk_reuseport_md *ctx,
					 const volatile struct steer_table *table,
					 struct steer_decision *is)
{
	__u8 head[QUIC_LONG_BYTES];
	__u32 slot;

	is->reason = STEER_COUNT_SHORT;
	if (bpf_skb_load_bytes(ctx, PACKET_UDP_HEADER, head, 1))
		return STEER_NOBODY;
	if (!(head[0] & QUIC_LONG))
		return quic_identity(ctx, table, 1 + steer_const.offset, is);
	if (bpf_skb_load_bytes(ctx, PACKET_UDP_HEADER, head, sizeof(head)))
		return STEER_NOBODY;
	if (quic_is_handshake(head) && steer_const.offset + steer_const.length <= head[5]) {
		slot = quic_identity(ctx, table, QUIC_LONG_BYTES + steer_const.offset, is);
		if (slot < STEER_MAX_SLOTS || is->reason == STEER_COUNT_SHORT)
			return slot;
	}
	is->reason = STEER_COUNT_SELECTED;
	return plan_slot(table, ctx->hash);
}

static __always_inline __u32 bytes_choose(struct sk_reuseport_md *ctx,
					  const volatile struct steer_table *table,
					  struct steer_decision *is)
{
	return quic_identity(ctx, table, steer_const.offset, is);
}

#endif
