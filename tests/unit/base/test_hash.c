/* hash and bitset. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/bitset.h"
#include "base/hash.h"

static void the_mixer_is_splitmix64(void **state)
{
	/* Known first outputs of SplitMix64 with seed 0: mix(k * 0x9e3779b97f4a7c15). */
	assert_true(hash_mix64(0x9e3779b97f4a7c15) == 0xe220a8397b1dcdaf);
	assert_true(hash_mix64(0x9e3779b97f4a7c15 * 2) == 0x6e789e6aa1b965f4);
	assert_true(hash_mix64(0x9e3779b97f4a7c15 * 3) == 0x06c45d188009454f);
}

static void hashes_are_those_of_every_release(void **state)
{
	static const uint8_t bytes[] = "\x0a\x00\x01\x0a Loom, 0123456789";

	assert_true(hash_bytes(bytes, 0, 0) == 0x0);
	assert_true(hash_bytes(bytes, 4, 80) == 0xad5facde6b529fbf);
	assert_true(hash_bytes(bytes, 16, 80) == 0xad6285161c1e4e24);
	assert_true(hash_bytes(bytes, 21, 80) == 0xb462e9e1c2b633b9);
}

static void every_byte_the_length_and_the_seed_count(void **state)
{
	uint8_t bytes[32] = { 0 };
	uint64_t before = hash_bytes(bytes, 21, 1);

	assert_true(hash_bytes(bytes, 20, 1) != before);
	assert_true(hash_bytes(bytes, 22, 1) != before);
	assert_true(hash_bytes(bytes, 21, 2) != before);
	for (size_t bit = 0; bit < 21 * 8; bit++) {
		int flipped;

		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
		flipped = __builtin_popcountll(hash_bytes(bytes, 21, 1) ^ before);
		assert_true(flipped > 10 && flipped < 54);
		bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
	}
}

static void bytes_may_lie_anywhere(void **state)
{
	uint8_t bytes[32];
	uint64_t aligned;

	memset(bytes, 7, sizeof(bytes));
	aligned = hash_bytes(bytes, 19, 0);
	for (size_t offset = 1; offset < 8; offset++)
		assert_true(hash_bytes(bytes + offset, 19, 0) == aligned);
}

static void a_bit_is_set_and_cleared_alone(void **state)
{
	static const uint32_t bits[] = { 0, 1, 63, 64, 65, 127, 128, 199 };
	uint64_t words[BITSET_WORDS(200)] = { 0 };

	assert_int_equal(BITSET_WORDS(0), 0);
	assert_int_equal(BITSET_WORDS(64), 1);
	assert_int_equal(BITSET_WORDS(65), 2);
	for (size_t i = 0; i < 8; i++) {
		bitset_set(words, bits[i]);
		bitset_set(words, bits[i]);
		for (uint32_t bit = 0; bit < 200; bit++)
			assert_int_equal(bitset_test(words, bit), bit == bits[i]);
		bitset_clear(words, bits[i]);
		bitset_clear(words, bits[i]);
		assert_false(bitset_test(words, bits[i]));
	}
	memset(words, 0xff, sizeof(words));
	bitset_clear(words, 64);
	assert_true(words[0] == UINT64_MAX && words[1] == UINT64_MAX - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_mixer_is_splitmix64),
		cmocka_unit_test(hashes_are_those_of_every_release),
		cmocka_unit_test(every_byte_the_length_and_the_seed_count),
		cmocka_unit_test(bytes_may_lie_anywhere),
		cmocka_unit_test(a_bit_is_set_and_cleared_alone),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
