/* lb_csum.h - incremental Internet checksums (RFC 1071, RFC 1624), for the program and for user
 * space. Layer: planes, and BPF.  Pure.
 *
 * Sums are over 16-bit words as they lie in memory, so they are the same on either byte order (RFC
 * 1071, 2 (B)). */
#ifndef LB_CSUM_H
#define LB_CSUM_H

#include <linux/types.h>

/* What "TTL less one" adds to the header's sum: m' = m - 0x0100 in the word of TTL and protocol. */
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
#define CSUM_TTL_DELTA 0xfffeu
#else
#define CSUM_TTL_DELTA 0xfeffu
#endif

static inline __attribute__((always_inline)) __u16 csum_fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* What replacing the word old by new adds to a sum: RFC 1624, equation 3. */
static inline __attribute__((always_inline)) __u32 csum_diff32(__be32 old, __be32 new)
{
	return (~old & 0xffff) + (~old >> 16) + (new & 0xffff) + (new >> 16);
}

static inline __attribute__((always_inline)) __u32 csum_diff16(__be16 old, __be16 new)
{
	return (__u16)~old + (__u32) new;
}

static inline __attribute__((always_inline)) __u16 csum_apply(__u16 check, __u16 delta)
{
	return ~csum_fold((__u16)~check + (__u32)delta);
}

#endif
