/* slot_table.h - which slot of a table belongs to whom.
 * Layer: model.  Pure.  Threads: any.
 *
 * The same weights make the same table on every host, in whatever order they come: nodes behind
 * ECMP must agree.  A change of what comes out is a change between releases that cannot run side by
 * side; a golden hash in the tests notices it. */
#ifndef LOOM_SLOT_TABLE_H
#define LOOM_SLOT_TABLE_H

#include <stddef.h>
#include <stdint.h>

#define SLOT_TABLE_MAX	(1u << 20)
#define SLOT_WEIGHT_MAX 65535u

struct slot_weight {
	uint64_t identity; /* of the member, stable over hosts and time; decides where its slots lie
			    */
	uint32_t value;	   /* what its slots hold; not 0 */
	uint32_t weight;   /* its share, 0 .. SLOT_WEIGHT_MAX; 0: none */
};

/* All three fill table[size] from weights (borrowed); with nobody of any weight it is all 0.  A
 * member whose share is below half a slot may get none.
 * Return 0; -EINVAL: size is 0, above SLOT_TABLE_MAX or, for Maglev, no prime; -ENOMEM.  On error
 * the table is untouched.
 */

/* Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4), turns taken by weight: a member that
 * comes or goes moves little but its own slots. */
int slot_table_maglev(const struct slot_weight *weights, size_t count, uint32_t *table,
		      uint32_t size);

/* Shares within one slot of the weights' proportion, each member's slots spread evenly: for a
 * counter that walks the table. */
int slot_table_weighted(const struct slot_weight *weights, size_t count, uint32_t *table,
			uint32_t size);

/* The same with all weights but 0 taken as equal. */
int slot_table_round_robin(const struct slot_weight *weights, size_t count, uint32_t *table,
			   uint32_t size);

#endif
