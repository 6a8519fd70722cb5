#include "hash.h"

uint64_t hash_bytes(const void *data, size_t len, uint64_t seed)
{
	const uint8_t *at = data;
	uint64_t h = hash_mix64(seed ^ (uint64_t)len);

	for (; len >= 8; len -= 8, at += 8) {
		uint64_t word = 0;

		for (int i = 7; i >= 0; i--)
			word = word << 8 | at[i];
		h = hash_mix64(h ^ word);
	}
	for (; len > 0; len--, at++)
		h = hash_mix64(h ^ *at);
	return h;
}
