/* bitset.h - fixed sets of small integers.
 * Layer: base.  Threads: one owner.  Blocks: no. */
#ifndef LOOM_BITSET_H
#define LOOM_BITSET_H

#include <stdbool.h>
#include <stdint.h>

#define BITSET_WORDS(bits) (((bits) + 63) / 64)

static inline void bitset_set(uint64_t *words, uint32_t bit)
{
	words[bit / 64] |= 1ull << (bit % 64);
}

static inline void bitset_clear(uint64_t *words, uint32_t bit)
{
	words[bit / 64] &= ~(1ull << (bit % 64));
}

static inline bool bitset_test(const uint64_t *words, uint32_t bit)
{
	return words[bit / 64] >> (bit % 64) & 1;
}

#endif
