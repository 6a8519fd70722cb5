/* index.h - finds rows of an array by a hash of what they hold: open addressing from 64 bits of
 * hash to the row's number.  The caller compares the rows, so that one index serves any key. Layer:
 * base.  Threads: one owner.  Blocks: no. */
#ifndef LOOM_INDEX_H
#define LOOM_INDEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct index_slot;

/* All zeroes is an empty index. */
struct index {
	struct index_slot *slots; /* owned */
	size_t room;		  /* a power of two, or 0 */
	size_t count;
};

/* A walk over the rows of one hash; not to be used across index_put and index_remove. */
struct index_walk {
	const struct index *index;
	uint64_t hash;
	size_t at;
};

void index_done(struct index *index);
/* Adds row under hash; several rows may have one hash.  Returns 0 or -ENOMEM (nothing changed). */
int index_put(struct index *index, uint64_t hash, uint32_t row);
/* Takes out row, which was put under hash.  Nothing happens if it was not. */
void index_remove(struct index *index, uint64_t hash, uint32_t row);
struct index_walk index_find(const struct index *index, uint64_t hash);
/* The next row of the walk; false if there is none any more. */
bool index_next(struct index_walk *walk, uint32_t *ret_row);

#endif
