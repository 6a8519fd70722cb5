/* slot_table.h - which slot of a table belongs to whom.
 * Layer: model.  Pure.  Threads: any.
 *
 * The same weights make the same table on every host and in every release: nodes behind ECMP must
 * agree. */
#ifndef LOOM_SLOT_TABLE_H
#define LOOM_SLOT_TABLE_H

#include <stddef.h>
#include <stdint.h>

struct slot_weight {
	uint64_t identity; /* of the member, stable over hosts and time; decides where its slots lie
			    */
	uint32_t value;	   /* what its slots hold; not 0 */
	uint32_t weight;   /* its share; 0: none */
};

/* Maglev hashing (Eisenbud et al., NSDI 2016, section 3.4): shares follow the weights, and a member
 * that goes takes little but its own slots with it. weights	borrowed; any order table	gets
 * size slots; all 0 if nobody has weight size		a prime, well above the number of members
 * Returns 0 or -ENOMEM (table untouched). */
int slot_table_maglev(const struct slot_weight *weights, size_t count, uint32_t *table,
		      uint32_t size);

#endif
