#include "wg_demux.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "abi/steer_abi.h"
#include "abi/wg_demux_abi.h"
#include "index_map.h"

_Static_assert(WG_VSHARDS == STEER_VSHARDS && WG_ENTRY_OVERRIDES == STEER_VSHARD_OVERRIDES &&
		       WG_NOBODY == (STEER_NOBODY & ~STEER_VSHARD_OVERRIDES),
	       "the kernel's tables mean something else");
_Static_assert(LOOM_WG_SLOT_MAX == WG_NOBODY - 1, "a slot must not read as nobody");

struct loom_wg_table {
	uint64_t salt;
	uint16_t vshards[WG_VSHARDS];	/* with WG_ENTRY_OVERRIDES */
	uint32_t overrides[WG_VSHARDS]; /* how many single indices each vshard has */
	struct index_map indices;
	uint16_t *handshakes; /* owned */
	size_t handshake_count;
};

int loom_wg_table_new(struct loom_wg_table **ret, uint64_t salt)
{
	struct loom_wg_table *table = calloc(1, sizeof(*table));
	size_t i;

	*ret = table;
	if (!table)
		return -ENOMEM;
	table->salt = salt;
	for (i = 0; i < WG_VSHARDS; i++)
		table->vshards[i] = WG_NOBODY;
	return 0;
}

void loom_wg_table_free(struct loom_wg_table *table)
{
	if (!table)
		return;
	index_map_done(&table->indices);
	free(table->handshakes);
	free(table);
}

int loom_wg_table_vshard(struct loom_wg_table *table, unsigned int vshard, int slot)
{
	if (vshard >= WG_VSHARDS || slot > LOOM_WG_SLOT_MAX)
		return -EINVAL;
	table->vshards[vshard] = (table->vshards[vshard] & WG_ENTRY_OVERRIDES) |
				 (slot < 0 ? WG_NOBODY : slot);
	return 0;
}

int loom_wg_table_index(struct loom_wg_table *table, uint32_t index, int slot)
{
	uint32_t vshard = wg_vshard(index);
	size_t before = table->indices.count;
	int r = 0;

	if (slot > LOOM_WG_SLOT_MAX)
		return -EINVAL;
	if (slot < 0)
		index_map_remove(&table->indices, index);
	else
		r = index_map_set(&table->indices, index, slot);
	table->overrides[vshard] += table->indices.count - before;
	if (table->overrides[vshard])
		table->vshards[vshard] |= WG_ENTRY_OVERRIDES;
	else
		table->vshards[vshard] &= ~WG_ENTRY_OVERRIDES;
	return r;
}

int loom_wg_table_handshakes(struct loom_wg_table *table, const uint16_t *slots, size_t count)
{
	uint16_t *copy = NULL;
	size_t i;

	if (count > UINT32_MAX)
		return -EINVAL;
	for (i = 0; i < count; i++)
		if (slots[i] > LOOM_WG_SLOT_MAX)
			return -EINVAL;
	if (count) {
		copy = malloc(count * sizeof(*copy));
		if (!copy)
			return -ENOMEM;
		memcpy(copy, slots, count * sizeof(*copy));
	}
	free(table->handshakes);
	table->handshakes = copy;
	table->handshake_count = count;
	return 0;
}

/* As the kernel's program sees it: IPv4 mapped. */
static bool source_address(const struct sockaddr *source, __be32 *ret)
{
	if (source && source->sa_family == AF_INET) {
		const struct sockaddr_in *in = (const struct sockaddr_in *)source;

		ret[0] = ret[1] = 0;
		ret[2] = htonl(0xffff);
		ret[3] = in->sin_addr.s_addr;
		return true;
	}
	if (source && source->sa_family == AF_INET6) {
		memcpy(ret, &((const struct sockaddr_in6 *)source)->sin6_addr, 16);
		return true;
	}
	return false;
}

static uint32_t handshake_slot(const struct loom_wg_table *table, const struct sockaddr *source)
{
	__be32 address[4];

	if (!table->handshake_count || !source_address(source, address))
		return WG_NOBODY;
	return table->handshakes[wg_scale(wg_source_hash(address, table->salt),
					  (uint32_t)table->handshake_count)];
}

static uint32_t index_slot(const struct loom_wg_table *table, uint32_t index)
{
	uint16_t entry = table->vshards[wg_vshard(index)];
	uint16_t slot;

	if ((entry & WG_ENTRY_OVERRIDES) && index_map_get(&table->indices, index, &slot))
		return slot;
	return wg_entry_slot(entry);
}

int loom_wg_demux(const void *datagram, size_t len, const struct sockaddr *source,
		  const struct loom_wg_table *table)
{
	uint32_t slot = WG_NOBODY;
	uint32_t index = 0;

	if (len < WG_HEAD_BYTES)
		return LOOM_WG_KERNEL;
	if (len > UINT32_MAX)
		len = UINT32_MAX;
	switch (wg_classify(datagram, (uint32_t)len, &index)) {
	case WG_HANDSHAKE:
		slot = handshake_slot(table, source);
		break;
	case WG_INDEX:
		slot = index_slot(table, index);
		break;
	case WG_NOT:
		break;
	}
	return slot == WG_NOBODY ? LOOM_WG_KERNEL : (int)slot;
}
