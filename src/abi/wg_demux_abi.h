/* wg_demux_abi.h - to whom a WireGuard datagram belongs, decided alike in the kernel and in user
 * space: wg_select includes these functions, and so does libloom's portable demux.
 * Layer: abi.
 *
 * Messages (wireguard.com/protocol, "Protocol"): the type is the first byte, three reserved bytes
 * of 0 follow, so that it reads as a little-endian u32.
 *
 *   1 initiation  148 bytes		no index of the receiver's yet: by source
 *   2 response	    92 bytes		receiver index at 8
 *   3 cookie	    64 bytes		receiver index at 4
 *   4 data	    32 bytes and more	receiver index at 4
 *
 * A datagram shorter than its type's message is not WireGuard.  A longer one may be: several
 * segments of a sender (UDP_SEGMENT) are looked at as one.
 *
 * Who asks does in this order:
 *   wg_classify() is WG_INDEX:     entry = vshards[wg_vshard(index)];
 *				    if entry & WG_ENTRY_OVERRIDES and the table of single indices
 *				    has this one: its slot; else wg_entry_slot(entry)
 *		      WG_HANDSHAKE: handshakes[wg_scale(wg_source_hash(...), how many)]
 *		      WG_NOT:	    the kernel's hash
 * A slot WG_NOBODY is the kernel's hash, too. */
#ifndef LOOM_WG_DEMUX_ABI_H
#define LOOM_WG_DEMUX_ABI_H

#include <linux/types.h>

#define WG_INITIATION 1
#define WG_RESPONSE   2
#define WG_COOKIE     3
#define WG_DATA	      4

#define WG_INITIATION_BYTES 148
#define WG_RESPONSE_BYTES   92
#define WG_COOKIE_BYTES	    64
#define WG_DATA_BYTES	    32 /* header and tag of an empty packet: a keepalive */

#define WG_HEAD_BYTES 12 /* what wg_classify reads */

#define WG_VSHARDS	   256
#define WG_NOBODY	   0x7fff /* in an entry and as a slot */
#define WG_ENTRY_OVERRIDES 0x8000 /* ored to a vshard's slot: single indices of it moved */

enum wg_kind {
	WG_NOT,	      /* no WireGuard message */
	WG_HANDSHAKE, /* by source */
	WG_INDEX,     /* by receiver index */
};

#define WG_INLINE static inline __attribute__((always_inline, unused))

WG_INLINE __u32 wg_word(const __u8 *bytes)
{
	return bytes[0] | (__u32)bytes[1] << 8 | (__u32)bytes[2] << 16 | (__u32)bytes[3] << 24;
}

/* head: the payload's first WG_HEAD_BYTES; length: the payload's, WG_HEAD_BYTES at least.
 * *ret_index is set for WG_INDEX. */
WG_INLINE enum wg_kind wg_classify(const __u8 *head, __u32 length, __u32 *ret_index)
{
	switch (wg_word(head)) {
	case WG_INITIATION:
		return length >= WG_INITIATION_BYTES ? WG_HANDSHAKE : WG_NOT;
	case WG_RESPONSE:
		*ret_index = wg_word(head + 8);
		return length >= WG_RESPONSE_BYTES ? WG_INDEX : WG_NOT;
	case WG_COOKIE:
		*ret_index = wg_word(head + 4);
		return length >= WG_COOKIE_BYTES ? WG_INDEX : WG_NOT;
	case WG_DATA:
		*ret_index = wg_word(head + 4);
		return length >= WG_DATA_BYTES ? WG_INDEX : WG_NOT;
	default:
		return WG_NOT;
	}
}

/* The virtual shard that an index names: its top 8 bits. */
WG_INLINE __u32 wg_vshard(__u32 index)
{
	return index >> 24;
}

WG_INLINE __u32 wg_entry_slot(__u16 entry)
{
	return entry & (WG_ENTRY_OVERRIDES - 1);
}

/* Multiplication spreads upwards, the shift brings it down again; twice, with the salt between, so
 * that nobody who does not know it can tell which sources meet. */
WG_INLINE __u64 wg_mix(__u64 x, __u64 salt)
{
	x ^= salt;
	x *= 0x9fb21c651e98df25ull;
	x ^= x >> 32;
	x += salt << 29 | salt >> 35;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 29;
	return x;
}

/* Of the address alone, so that one member sees all of a source and can limit it; of IPv6 the /64,
 * which one host owns.  addr: network order, IPv4 as ::ffff:a.b.c.d; salt: secret, per group. */
WG_INLINE __u32 wg_source_hash(const __be32 *addr, __u64 salt)
{
	__u64 x = (__u64)addr[0] << 32 | addr[1];

	if (!addr[0] && !addr[1])
		x = (__u64)addr[2] << 32 | addr[3];
	return wg_mix(x, salt) >> 32;
}

/* A hash to 0 .. count - 1. */
WG_INLINE __u32 wg_scale(__u32 hash, __u32 count)
{
	return (__u64)hash * count >> 32;
}

#endif
