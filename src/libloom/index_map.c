#include "index_map.h"

#include <errno.h>
#include <stdlib.h>

#define SIZE_MIN 16

/* Where an index belongs: the multiplier is 2^32 over the golden ratio. */
static size_t home(const struct index_map *map, uint32_t index)
{
	uint32_t hash = index * 0x9e3779b1u;

	return (hash ^ hash >> 15) & (map->size - 1);
}

/* Its place, or the free one where it would be put. */
static size_t find(const struct index_map *map, uint32_t index)
{
	size_t at = home(map, index);

	while (map->entries[at].used && map->entries[at].index != index)
		at = (at + 1) & (map->size - 1);
	return at;
}

void index_map_done(struct index_map *map)
{
	free(map->entries);
	*map = (struct index_map){ 0 };
}

static int grow(struct index_map *map, size_t size)
{
	struct index_map bigger = { .size = size, .count = map->count };
	size_t i;

	bigger.entries = calloc(size, sizeof(*bigger.entries));
	if (!bigger.entries)
		return -ENOMEM;
	for (i = 0; i < map->size; i++)
		if (map->entries[i].used)
			bigger.entries[find(&bigger, map->entries[i].index)] = map->entries[i];
	free(map->entries);
	*map = bigger;
	return 0;
}

int index_map_reserve(struct index_map *map, size_t more)
{
	size_t size = map->size ? map->size : SIZE_MIN;

	if (more > SIZE_MAX / 16 - map->count)
		return -ENOMEM;
	while ((map->count + more) * 4 > size * 3)
		size *= 2;
	return size == map->size ? 0 : grow(map, size);
}

int index_map_set(struct index_map *map, uint32_t index, uint16_t value)
{
	int r = index_map_reserve(map, 1);
	struct index_entry *entry;

	if (r < 0)
		return r;
	entry = &map->entries[find(map, index)];
	map->count += !entry->used;
	*entry = (struct index_entry){ .index = index, .value = value, .used = 1 };
	return 0;
}

/* Entries behind a hole move up, so that no search ends at it too early. */
void index_map_remove(struct index_map *map, uint32_t index)
{
	size_t mask = map->size - 1;
	size_t hole, at;

	if (!map->count)
		return;
	hole = find(map, index);
	if (!map->entries[hole].used)
		return;
	for (at = (hole + 1) & mask; map->entries[at].used; at = (at + 1) & mask) {
		size_t from = home(map, map->entries[at].index);

		if (((at - from) & mask) < ((at - hole) & mask))
			continue; /* it belongs behind the hole */
		map->entries[hole] = map->entries[at];
		hole = at;
	}
	map->entries[hole].used = 0;
	map->count--;
}

bool index_map_get(const struct index_map *map, uint32_t index, uint16_t *ret)
{
	const struct index_entry *entry;

	if (!map->count)
		return false;
	entry = &map->entries[find(map, index)];
	if (entry->used)
		*ret = entry->value;
	return entry->used;
}

size_t index_map_take(const struct index_map *map, size_t *cursor, uint32_t *ret, size_t max)
{
	size_t count = 0;

	for (; *cursor < map->size && count < max; ++*cursor)
		if (map->entries[*cursor].used)
			ret[count++] = map->entries[*cursor].index;
	return count;
}
