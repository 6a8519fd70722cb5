/* totals.h - the sums in GET /ebpf/stats and how fast they grow.
 * Layer: loom.  Threads: one owner.  Blocks: no. */
#ifndef LOOM_TOTALS_H
#define LOOM_TOTALS_H

#include <jansson.h>
#include <stdint.h>

#include "reply.h"
#include "table.h"

/* One reading. */
struct totals {
	uint64_t at_ns; /* when; 0: there was none */
	uint64_t packets_forward;
	uint64_t packets_drop;
	uint64_t packets_pass;
	uint64_t bytes_rx;
	uint64_t bytes_tx;
	uint64_t connections;
};

/* Reads /ebpf/stats, which arrived just now. */
void totals_read(struct reply *reply, const json_t *stats, struct totals *ret);

/* "1.2 M forwarded, 0 dropped, 3.4 k passed" into table's next cells: sums, or with an earlier
 * reading (at_ns != 0) the rates since. */
void totals_packets(struct table *table, const struct totals *now, const struct totals *before);
void totals_bytes(struct table *table, const struct totals *now, const struct totals *before);

#endif
