/* human.h - numbers as people read them.
 * Layer: loom.  Threads: any.  Blocks: no.
 *
 * Steps of 1000 with SI prefixes, for bytes too: they stand beside link speeds. */
#ifndef LOOM_HUMAN_H
#define LOOM_HUMAN_H

#include <stddef.h>
#include <stdint.h>

#define HUMAN_LEN 32

/* "17 pps", "1.2 Mpps", "3.4 GB", "12 M" (unit ""), into text[HUMAN_LEN]; returns text.  Not a
 * number, or negative: "-". */
char *human_si(double value, const char *unit, char *text);

/* "0.5s", "42s", "5m 3s", "3h 12m", "12d 4h". */
char *human_seconds(double seconds, char *text);

/* "0.3%", "<0.1%", "100%", and "-" of nothing. */
char *human_share(uint64_t part, uint64_t whole, char *text);

/* Per second, between two readings of a counter; NAN if it ran backwards (it was reset) or no time
 * has passed. */
double human_rate(uint64_t before, uint64_t after, uint64_t elapsed_ns);

#endif
