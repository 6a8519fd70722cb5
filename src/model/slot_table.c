#include "slot_table.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitset.h"
#include "base/hash.h"
#include "base/must.h"

struct member {
	uint64_t identity;
	uint32_t value;
	uint32_t weight;
	uint64_t period;    /* between two turns */
	uint64_t remainder; /* of its quota */
	uint32_t at;	    /* Maglev: offset, offset + skip, ... modulo the size */
	uint32_t skip;
};

/* ---- who is in, in an order that all hosts share ---- */

static int compare_members(const void *a, const void *b)
{
	const struct member *x = a;
	const struct member *y = b;

	if (x->identity != y->identity)
		return x->identity < y->identity ? -1 : 1;
	return x->value < y->value ? -1 : x->value > y->value;
}

/* Those with weight, sorted by identity.  -ENOMEM. */
static int members_new(const struct slot_weight *weights, size_t count, struct member **ret,
		       size_t *ret_count)
{
	struct member *members = calloc(count + 1, sizeof(*members));
	size_t n = 0;

	if (!members)
		return -ENOMEM;
	for (size_t i = 0; i < count; i++) {
		must(weights[i].value && weights[i].weight <= SLOT_WEIGHT_MAX);
		if (weights[i].weight)
			members[n++] = (struct member){
				.identity = weights[i].identity,
				.value = weights[i].value,
				.weight = weights[i].weight,
			};
	}
	qsort(members, n, sizeof(*members), compare_members);
	*ret = members;
	*ret_count = n;
	return 0;
}

/* ---- whose turn it is ---- */

/* A member takes its turns at the times 1/2w, 3/2w, 5/2w, ...: at any time each has had its share
 * within a slot, and when one leaves, the others' order does not change.  (Rounds with a credit
 * that is compared to the largest weight would shift everybody when the heaviest leaves, and take a
 * round for each slot beside a heavy one.)
 *
 * Times are integers, so that all hosts agree.  A period is at least 2^23 and rounds down by less
 * than 1, so that after 2^20 turns a member is early by an eighth of a turn at most, and the last
 * time stays below 2^64. */
#define WEIGHT_ONE (1ull << 43)

struct turn {
	uint64_t due;
	uint32_t member;
};

static bool earlier(const struct turn *a, const struct turn *b)
{
	return a->due != b->due ? a->due < b->due : a->member < b->member;
}

/* Restores the heap below i, where only heap[i] may be out of order. */
static void sift_down(struct turn *heap, size_t count, size_t i)
{
	struct turn moved = heap[i];

	for (;;) {
		size_t child = 2 * i + 1;

		if (child >= count)
			break;
		if (child + 1 < count && earlier(&heap[child + 1], &heap[child]))
			child++;
		if (!earlier(&heap[child], &moved))
			break;
		heap[i] = heap[child];
		i = child;
	}
	heap[i] = moved;
}

static struct turn *heap_new(struct member *members, size_t count)
{
	struct turn *heap = calloc(count + 1, sizeof(*heap)); /* never nothing */

	if (!heap)
		return NULL;
	for (size_t i = 0; i < count; i++) {
		members[i].period = WEIGHT_ONE / members[i].weight;
		heap[i] = (struct turn){ members[i].period / 2, (uint32_t)i };
	}
	for (size_t i = count / 2; i > 0; i--)
		sift_down(heap, count, i - 1);
	return heap;
}

static struct member *take_turn(struct member *members, struct turn *heap, size_t count)
{
	struct member *member = &members[heap[0].member];

	heap[0].due += member->period;
	sift_down(heap, count, 0);
	return member;
}

/* ---- Maglev ---- */

static bool is_prime(uint32_t n)
{
	for (uint32_t d = 2; (uint64_t)d * d <= n; d++)
		if (n % d == 0)
			return false;
	return n > 1;
}

/* The next slot of the member's permutation that nobody has; there is one, since size is prime.  A
 * bit a slot stays in the first-level cache, where the table does not. */
static uint32_t next_free(struct member *member, const uint64_t *taken, uint32_t size)
{
	uint32_t slot;

	do {
		slot = member->at;
		member->at += member->skip;
		if (member->at >= size)
			member->at -= size;
	} while (bitset_test(taken, slot));
	return slot;
}

/* With equal weights turns go round, and need no heap. */
static bool all_equal(const struct member *members, size_t count)
{
	for (size_t i = 1; i < count; i++)
		if (members[i].weight != members[0].weight)
			return false;
	return true;
}

static int fill_maglev(struct member *members, size_t count, uint32_t *table, uint32_t size)
{
	bool equal = all_equal(members, count);
	struct turn *heap = equal ? NULL : heap_new(members, count);
	uint64_t *taken = calloc(size / 64 + 1, sizeof(*taken));
	size_t next = 0;

	if (!taken || (!equal && !heap)) {
		free(heap);
		free(taken);
		return -ENOMEM;
	}
	memset(table, 0, size * sizeof(*table));
	for (uint32_t filled = 0; count && filled < size; filled++) {
		struct member *member = equal ? &members[next] : take_turn(members, heap, count);
		uint32_t slot = next_free(member, taken, size);

		next = next + 1 < count ? next + 1 : 0;
		bitset_set(taken, slot);
		table[slot] = member->value;
	}
	free(taken);
	free(heap);
	return 0;
}

int slot_table_maglev(const struct slot_weight *weights, size_t count, uint32_t *table,
		      uint32_t size)
{
	struct member *members;
	size_t n;
	int r;

	if (size > SLOT_TABLE_MAX || !is_prime(size))
		return -EINVAL;
	r = members_new(weights, count, &members, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; i < n; i++) {
		uint64_t hash = hash_mix64(members[i].identity);

		members[i].at = (uint32_t)(hash >> 32) % size;
		members[i].skip = (uint32_t)hash % (size - 1) + 1;
	}
	r = fill_maglev(members, n, table, size);
	free(members);
	return r;
}

/* ---- exact shares ---- */

static int compare_remainders(const void *a, const void *b)
{
	const struct member *x = a;
	const struct member *y = b;

	if (x->remainder != y->remainder)
		return x->remainder > y->remainder ? -1 : 1;
	return compare_members(a, b);
}

/* Makes each weight a number of slots, size in all: the quota's whole part, and what is left to the
 * largest remainders. */
static void apportion(struct member *members, size_t count, uint32_t size)
{
	uint64_t total = 0;
	uint32_t left = size;

	for (size_t i = 0; i < count; i++)
		total += members[i].weight;
	for (size_t i = 0; i < count; i++) {
		uint64_t quota = (uint64_t)members[i].weight * size;

		members[i].weight = (uint32_t)(quota / total);
		members[i].remainder = quota % total;
		left -= members[i].weight;
	}
	qsort(members, count, sizeof(*members), compare_remainders);
	for (size_t i = 0; i < left; i++)
		members[i].weight++;
	qsort(members, count, sizeof(*members), compare_members);
}

static int fill_exactly(struct member *members, size_t count, uint32_t *table, uint32_t size)
{
	struct turn *heap;
	size_t n = 0;

	if (count)
		apportion(members, count, size);
	for (size_t i = 0; i < count; i++)
		if (members[i].weight)
			members[n++] = members[i];
	heap = heap_new(members, n);
	if (!heap)
		return -ENOMEM;
	memset(table, 0, size * sizeof(*table));
	for (uint32_t i = 0; n && i < size; i++)
		table[i] = take_turn(members, heap, n)->value;
	free(heap);
	return 0;
}

/* Each its share of turns; alike: whatever the weights. */
static int fill_by_turns(const struct slot_weight *weights, size_t count, bool alike,
			 uint32_t *table, uint32_t size)
{
	struct member *members;
	size_t n;
	int r = -EINVAL;

	if (size && size <= SLOT_TABLE_MAX)
		r = members_new(weights, count, &members, &n);
	if (r < 0)
		return r;
	for (size_t i = 0; alike && i < n; i++)
		members[i].weight = 1;
	r = fill_exactly(members, n, table, size);
	free(members);
	return r;
}

int slot_table_weighted(const struct slot_weight *weights, size_t count, uint32_t *table,
			uint32_t size)
{
	return fill_by_turns(weights, count, false, table, size);
}

int slot_table_round_robin(const struct slot_weight *weights, size_t count, uint32_t *table,
			   uint32_t size)
{
	return fill_by_turns(weights, count, true, table, size);
}
