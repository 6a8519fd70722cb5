#include "slot_table.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"

/* One member's walk over the slots: offset, offset + skip, ... modulo the size. */
struct walk {
	uint64_t identity;
	uint32_t value;
	uint32_t weight;
	uint32_t at;
	uint32_t skip;
	uint64_t credit; /* grows by weight a round; a turn costs the largest weight */
};

static int compare_walks(const void *a, const void *b)
{
	const struct walk *x = a;
	const struct walk *y = b;

	if (x->identity != y->identity)
		return x->identity < y->identity ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

static size_t begin_walks(const struct slot_weight *weights, size_t count, uint32_t size,
			  struct walk *walks, uint32_t *ret_max)
{
	size_t n = 0;

	*ret_max = 0;
	for (size_t i = 0; i < count; i++) {
		uint64_t hash = hash_mix64(weights[i].identity);

		if (!weights[i].weight)
			continue;
		walks[n++] = (struct walk){
			.identity = weights[i].identity,
			.value = weights[i].value,
			.weight = weights[i].weight,
			.at = (uint32_t)(hash >> 32) % size,
			.skip = size > 1 ? (uint32_t)hash % (size - 1) + 1 : 1,
		};
		if (weights[i].weight > *ret_max)
			*ret_max = weights[i].weight;
	}
	qsort(walks, n, sizeof(*walks), compare_walks);
	return n;
}

/* The next slot of the walk that nobody has; there is one, since the size is prime. */
static uint32_t next_free(struct walk *walk, const uint32_t *table, uint32_t size)
{
	uint32_t slot;

	do {
		slot = walk->at;
		walk->at += walk->skip;
		if (walk->at >= size)
			walk->at -= size;
	} while (table[slot]);
	return slot;
}

int slot_table_maglev(const struct slot_weight *weights, size_t count, uint32_t *table,
		      uint32_t size)
{
	struct walk *walks = calloc(count + 1, sizeof(*walks));
	uint32_t filled = 0;
	uint32_t max;
	size_t n;

	if (!walks)
		return -ENOMEM;
	memset(table, 0, size * sizeof(*table));
	n = begin_walks(weights, count, size, walks, &max);
	while (n && filled < size) {
		for (size_t i = 0; i < n && filled < size; i++) {
			walks[i].credit += walks[i].weight;
			if (walks[i].credit < max)
				continue;
			walks[i].credit -= max;
			table[next_free(&walks[i], table, size)] = walks[i].value;
			filled++;
		}
	}
	free(walks);
	return 0;
}
