#include "index.h"

#include <errno.h>
#include <stdlib.h>

struct index_slot {
	uint64_t hash;
	uint32_t row;
	bool used;
};

#define ROOM_MIN 64

static size_t home(const struct index *index, uint64_t hash)
{
	return (size_t)hash & (index->room - 1);
}

static size_t after(const struct index *index, size_t at)
{
	return (at + 1) & (index->room - 1);
}

void index_done(struct index *index)
{
	free(index->slots);
	*index = (struct index){ 0 };
}

static void place(struct index *index, uint64_t hash, uint32_t row)
{
	size_t at = home(index, hash);

	while (index->slots[at].used)
		at = after(index, at);
	index->slots[at] = (struct index_slot){ hash, row, true };
	index->count++;
}

static int grow(struct index *index)
{
	struct index next = { .room = index->room ? index->room * 2 : ROOM_MIN };

	next.slots = calloc(next.room, sizeof(*next.slots));
	if (!next.slots)
		return -ENOMEM;
	for (size_t i = 0; i < index->room; i++)
		if (index->slots[i].used)
			place(&next, index->slots[i].hash, index->slots[i].row);
	index_done(index);
	*index = next;
	return 0;
}

int index_put(struct index *index, uint64_t hash, uint32_t row)
{
	/* At most half full: a walk that finds nothing ends after a few slots. */
	if (2 * (index->count + 1) > index->room && grow(index) < 0)
		return -ENOMEM;
	place(index, hash, row);
	return 0;
}

/* Closes the gap at hole, so that no walk ends before its row (Knuth, TAOCP 6.4, algorithm R). */
static void close_gap(struct index *index, size_t hole)
{
	for (size_t at = after(index, hole); index->slots[at].used; at = after(index, at)) {
		size_t want = home(index, index->slots[at].hash);
		size_t mask = index->room - 1;

		/* Whether its home is not between the hole (exclusive) and where it stands. */
		if (((at - want) & mask) < ((at - hole) & mask))
			continue;
		index->slots[hole] = index->slots[at];
		hole = at;
	}
	index->slots[hole].used = false;
}

void index_remove(struct index *index, uint64_t hash, uint32_t row)
{
	if (!index->room)
		return;
	for (size_t at = home(index, hash); index->slots[at].used; at = after(index, at)) {
		if (index->slots[at].hash != hash || index->slots[at].row != row)
			continue;
		close_gap(index, at);
		index->count--;
		return;
	}
}

struct index_walk index_find(const struct index *index, uint64_t hash)
{
	return (struct index_walk){ index, hash, index->room ? home(index, hash) : 0 };
}

bool index_next(struct index_walk *walk, uint32_t *ret_row)
{
	const struct index *index = walk->index;

	while (index->room && index->slots[walk->at].used) {
		const struct index_slot *slot = &index->slots[walk->at];

		walk->at = after(index, walk->at);
		if (slot->hash != walk->hash)
			continue;
		*ret_row = slot->row;
		return true;
	}
	return false;
}
