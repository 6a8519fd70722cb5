#include "totals.h"

#include <stddef.h>

#include "base/clock.h"
#include "human.h"

void totals_read(struct reply *reply, const json_t *stats, struct totals *ret)
{
	*ret = (struct totals){
		.at_ns = clock_now_ns(),
		.packets_forward = reply_count(reply, stats, "packets.forward"),
		.packets_drop = reply_count(reply, stats, "packets.drop"),
		.packets_pass = reply_count(reply, stats, "packets.pass"),
		.bytes_rx = reply_count(reply, stats, "bytes.rx"),
		.bytes_tx = reply_count(reply, stats, "bytes.tx"),
		.connections = reply_count(reply, stats, "connections.total"),
	};
}

void totals_packets(struct table *table, const struct totals *now, const struct totals *before)
{
	const uint64_t sums[] = { now->packets_forward, now->packets_drop, now->packets_pass };
	const uint64_t old[] = { before->packets_forward, before->packets_drop,
				 before->packets_pass };
	uint64_t elapsed_ns = now->at_ns - before->at_ns;
	char text[3][HUMAN_LEN];
	size_t i;

	for (i = 0; i < 3; i++) {
		if (before->at_ns)
			human_si(human_rate(old[i], sums[i], elapsed_ns), "pps", text[i]);
		else
			human_si((double)sums[i], "", text[i]);
	}
	table_cell(table, TERM_PLAIN, "%s forwarded, %s dropped, %s passed", text[0], text[1],
		   text[2]);
}

void totals_bytes(struct table *table, const struct totals *now, const struct totals *before)
{
	uint64_t elapsed_ns = now->at_ns - before->at_ns;
	char rx[HUMAN_LEN];
	char tx[HUMAN_LEN];

	if (before->at_ns) {
		human_si(8 * human_rate(before->bytes_rx, now->bytes_rx, elapsed_ns), "bit/s", rx);
		human_si(8 * human_rate(before->bytes_tx, now->bytes_tx, elapsed_ns), "bit/s", tx);
	} else {
		human_si((double)now->bytes_rx, "B", rx);
		human_si((double)now->bytes_tx, "B", tx);
	}
	table_cell(table, TERM_PLAIN, "%s received, %s sent", rx, tx);
}
