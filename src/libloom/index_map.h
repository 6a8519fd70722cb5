/* index_map.h - a hash table of receiver indices.
 * Layer: libloom.  Threads: one owner.  Blocks: no. */
#ifndef LOOM_INDEX_MAP_H
#define LOOM_INDEX_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_entry {
	uint32_t index;
	uint16_t value;
	uint16_t used;
};

/* Zeroed: empty. */
struct index_map {
	struct index_entry *entries; /* owned; a power of two of them */
	size_t size;		     /* 0 or a power of two, at most 3/4 used */
	size_t count;
};

void index_map_done(struct index_map *map);

/* Room for more entries, so that as many index_map_set cannot fail.  0 or -ENOMEM (unchanged). */
int index_map_reserve(struct index_map *map, size_t more);

/* Adds or replaces.  0 or -ENOMEM (unchanged). */
int index_map_set(struct index_map *map, uint32_t index, uint16_t value);
void index_map_remove(struct index_map *map, uint32_t index);
bool index_map_get(const struct index_map *map, uint32_t index, uint16_t *ret);

/* Up to max indices from *cursor (0 to begin) on; how many, 0 at the end.  Changes in between
 * confuse the cursor. */
size_t index_map_take(const struct index_map *map, size_t *cursor, uint32_t *ret, size_t max);

#endif
