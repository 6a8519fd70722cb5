/* hash.h - stable, seedable hashing for tables that several hosts must build alike.
 * Layer: base.  Threads: any.  Blocks: no. */
#ifndef LOOM_HASH_H
#define LOOM_HASH_H

#include <stddef.h>
#include <stdint.h>

/* A bijective mixer of 64 bits ("splitmix64" finalizer, Steele, Lea, Flood 2014). */
static inline uint64_t hash_mix64(uint64_t x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	x ^= x >> 31;
	return x;
}

/* Hash of len bytes; the same on every host and byte order.  Not for hostile keys in a data path.
 */
uint64_t hash_bytes(const void *data, size_t len, uint64_t seed);

#endif
