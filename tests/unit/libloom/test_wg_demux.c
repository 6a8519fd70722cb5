#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "libloom/wg_demux.h"

#define INDEX_4	   0xa1000001u /* at +4: virtual shard 0xa1 */
#define INDEX_8	   0xb2000002u /* at +8: virtual shard 0xb2 */
#define SLOT_4	   4
#define SLOT_8	   8
#define SLOT_FIRST 1 /* of initiations */

static struct sockaddr_in v4(const char *text)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(51820) };

	assert_int_equal(inet_pton(AF_INET, text, &in.sin_addr), 1);
	return in;
}

static struct sockaddr_in6 v6(const char *text)
{
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6 };

	assert_int_equal(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	return in6;
}

static void put_u32(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)value;
	at[1] = (uint8_t)(value >> 8);
	at[2] = (uint8_t)(value >> 16);
	at[3] = (uint8_t)(value >> 24);
}

/* A datagram that ends where memory ends: whoever reads on dies. */
static uint8_t *datagram(uint8_t *page_end, uint32_t type, size_t len)
{
	uint8_t whole[2048] = { 0 };

	put_u32(whole, type);
	put_u32(whole + 4, INDEX_4);
	put_u32(whole + 8, INDEX_8);
	memcpy(page_end - len, whole, len);
	return page_end - len;
}

static uint8_t *guarded(void)
{
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	uint8_t *at = mmap(NULL, 2 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
			   0);

	assert_ptr_not_equal(at, MAP_FAILED);
	assert_int_equal(mprotect(at + page, page, PROT_NONE), 0);
	return at + page;
}

static struct loom_wg_table *table_of_slots(void)
{
	const uint16_t handshakes[] = { SLOT_FIRST };
	struct loom_wg_table *table;

	assert_int_equal(loom_wg_table_new(&table, 0x0123456789abcdef), 0);
	assert_int_equal(loom_wg_table_vshard(table, 0xa1, SLOT_4), 0);
	assert_int_equal(loom_wg_table_vshard(table, 0xb2, SLOT_8), 0);
	assert_int_equal(loom_wg_table_handshakes(table, handshakes, 1), 0);
	return table;
}

/* Type, its shortest length, whose it is then. */
static const struct {
	uint32_t type;
	size_t least;
	int slot;
} types[] = {
	{ 0, SIZE_MAX, 0 },
	{ 1, 148, SLOT_FIRST },
	{ 2, 92, SLOT_8 },
	{ 3, 64, SLOT_4 },
	{ 4, 32, SLOT_4 },
	{ 5, SIZE_MAX, 0 },
	{ 0xff, SIZE_MAX, 0 },
	/* The reserved bytes are not 0. */
	{ 0x00000104, SIZE_MAX, 0 },
	{ 0x00010004, SIZE_MAX, 0 },
	{ 0x01000004, SIZE_MAX, 0 },
	{ 0x80000001, SIZE_MAX, 0 },
	{ 0x00000402, SIZE_MAX, 0 },
	/* Big endian. */
	{ 0x04000000, SIZE_MAX, 0 },
};

static void every_type_at_every_length(void **state)
{
	struct loom_wg_table *table = table_of_slots();
	struct sockaddr_in source = v4("192.0.2.1");
	uint8_t *end = guarded();
	size_t i, len;

	for (i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		for (len = 0; len <= 1500; len++)
			assert_int_equal(loom_wg_demux(datagram(end, types[i].type, len), len,
						       (struct sockaddr *)&source, table),
					 len >= types[i].least ? types[i].slot : LOOM_WG_KERNEL);
	loom_wg_table_free(table);
}

static int index_to(struct loom_wg_table *table, uint32_t index)
{
	uint8_t data[32] = { 4 };

	put_u32(data + 4, index);
	return loom_wg_demux(data, sizeof(data), NULL, table);
}

static void a_single_index_may_belong_to_another_than_its_virtual_shard(void **state)
{
	struct loom_wg_table *table = table_of_slots();

	assert_int_equal(loom_wg_table_index(table, INDEX_4, 77), 0);
	assert_int_equal(loom_wg_table_index(table, INDEX_4 + 1, 78), 0);
	assert_int_equal(index_to(table, INDEX_4), 77);
	assert_int_equal(index_to(table, INDEX_4 + 1), 78);
	assert_int_equal(index_to(table, INDEX_4 + 2), SLOT_4);
	/* The shard moves, single indices stay. */
	assert_int_equal(loom_wg_table_vshard(table, 0xa1, 5), 0);
	assert_int_equal(index_to(table, INDEX_4), 77);
	assert_int_equal(index_to(table, INDEX_4 + 2), 5);
	assert_int_equal(loom_wg_table_vshard(table, 0xa1, -1), 0);
	assert_int_equal(index_to(table, INDEX_4), 77);
	assert_int_equal(index_to(table, INDEX_4 + 2), LOOM_WG_KERNEL);
	assert_int_equal(loom_wg_table_index(table, INDEX_4, -1), 0);
	assert_int_equal(loom_wg_table_index(table, INDEX_4, -1), 0);
	assert_int_equal(index_to(table, INDEX_4 + 1), 78);
	assert_int_equal(loom_wg_table_index(table, INDEX_4 + 1, -1), 0);
	assert_int_equal(index_to(table, INDEX_4 + 1), LOOM_WG_KERNEL);
	/* In a shard of nobody's. */
	assert_int_equal(loom_wg_table_index(table, 0xffffffff, 0), 0);
	assert_int_equal(index_to(table, 0xffffffff), 0);
	assert_int_equal(index_to(table, 0xfffffffe), LOOM_WG_KERNEL);
	loom_wg_table_free(table);
}

static void the_top_8_bits_of_an_index_are_its_virtual_shard(void **state)
{
	struct loom_wg_table *table;
	unsigned int i;

	assert_int_equal(loom_wg_table_new(&table, 1), 0);
	for (i = 0; i < 256; i++)
		assert_int_equal(loom_wg_table_vshard(table, i, (int)(i * 127)), 0);
	for (i = 0; i < 256; i++) {
		assert_int_equal(index_to(table, i << 24), i * 127);
		assert_int_equal(index_to(table, i << 24 | 0xffffff), i * 127);
	}
	loom_wg_table_free(table);
}

static void what_is_out_of_range_is_refused(void **state)
{
	struct loom_wg_table *table = table_of_slots();
	const uint16_t slots[] = { 0, 0x7fff };

	assert_int_equal(loom_wg_table_vshard(table, 256, 0), -EINVAL);
	assert_int_equal(loom_wg_table_vshard(table, 0, 0x7fff), -EINVAL);
	assert_int_equal(loom_wg_table_index(table, 0, 0x7fff), -EINVAL);
	assert_int_equal(loom_wg_table_handshakes(table, slots, 2), -EINVAL);
	assert_int_equal(loom_wg_table_vshard(table, 0, LOOM_WG_SLOT_MAX), 0);
	assert_int_equal(index_to(table, 1), LOOM_WG_SLOT_MAX);
	loom_wg_table_free(table);
}

static int initiation_to(struct loom_wg_table *table, const void *source)
{
	uint8_t data[148] = { 1 };

	return loom_wg_demux(data, sizeof(data), source, table);
}

static void initiations_go_by_the_source_address_alone(void **state)
{
	struct loom_wg_table *table = table_of_slots();
	struct sockaddr_in a = v4("192.0.2.1"), b = v4("192.0.2.1");
	struct sockaddr_in6 c = v6("2001:db8:0:1::1"), d = v6("2001:db8:0:1:ffff::2"),
			    mapped = v6("::ffff:192.0.2.1");
	const struct sockaddr unknown = { .sa_family = AF_UNIX };
	uint16_t slots[1000];
	int moved = 0, i;

	for (i = 0; i < 1000; i++)
		slots[i] = (uint16_t)i;
	assert_int_equal(loom_wg_table_handshakes(table, slots, 1000), 0);
	b.sin_port = htons(1);
	assert_int_equal(initiation_to(table, &a), initiation_to(table, &b));
	assert_int_equal(initiation_to(table, &a), initiation_to(table, &mapped));
	assert_int_equal(initiation_to(table, &c), initiation_to(table, &d));
	for (i = 0; i < 100; i++) {
		b.sin_addr.s_addr = htonl(0xc0000201 + 1 + i);
		c.sin6_addr.s6_addr[7] = (uint8_t)(2 + i); /* another /64 */
		moved += initiation_to(table, &a) != initiation_to(table, &b);
		moved += initiation_to(table, &c) != initiation_to(table, &d);
	}
	assert_in_range(moved, 195, 200);
	assert_int_equal(initiation_to(table, NULL), LOOM_WG_KERNEL);
	assert_int_equal(initiation_to(table, &unknown), LOOM_WG_KERNEL);
	assert_int_equal(loom_wg_table_handshakes(table, NULL, 0), 0);
	assert_int_equal(initiation_to(table, &a), LOOM_WG_KERNEL);
	loom_wg_table_free(table);
}

/* Neighbours are the usual sources: 65536 of them over 16 slots, 4096 each on average. */
static void neighbours_spread_evenly_and_differently_by_salt(void **state)
{
	uint16_t slots[16];
	struct loom_wg_table *table, *other;
	int got[16] = { 0 }, same = 0, i;

	for (i = 0; i < 16; i++)
		slots[i] = (uint16_t)i;
	assert_int_equal(loom_wg_table_new(&table, 1), 0);
	assert_int_equal(loom_wg_table_new(&other, 2), 0);
	assert_int_equal(loom_wg_table_handshakes(table, slots, 16), 0);
	assert_int_equal(loom_wg_table_handshakes(other, slots, 16), 0);
	for (i = 0; i < 65536; i++) {
		struct sockaddr_in source = { .sin_family = AF_INET };
		int slot;

		source.sin_addr.s_addr = htonl(0x0a000000 + (uint32_t)i);
		slot = initiation_to(table, &source);
		got[slot]++;
		same += slot == initiation_to(other, &source);
	}
	for (i = 0; i < 16; i++)
		assert_in_range(got[i], 4096 - 320, 4096 + 320); /* five standard deviations */
	assert_in_range(same, 4096 - 320, 4096 + 320);
	loom_wg_table_free(table);
	loom_wg_table_free(other);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_type_at_every_length),
		cmocka_unit_test(a_single_index_may_belong_to_another_than_its_virtual_shard),
		cmocka_unit_test(the_top_8_bits_of_an_index_are_its_virtual_shard),
		cmocka_unit_test(what_is_out_of_range_is_refused),
		cmocka_unit_test(initiations_go_by_the_source_address_alone),
		cmocka_unit_test(neighbours_spread_evenly_and_differently_by_salt),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
