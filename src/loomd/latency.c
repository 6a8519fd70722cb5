#include "latency.h"

#include <stdlib.h>
#include <string.h>

void latency_add(struct latency *latency, uint64_t ns)
{
	latency->ns[latency->next] = ns;
	latency->next = (latency->next + 1) % LATENCY_LAST;
	if (latency->count < LATENCY_LAST)
		latency->count++;
}

static int compare(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

uint64_t latency_p99(const struct latency *latency)
{
	uint64_t sorted[LATENCY_LAST];

	if (latency->count < LATENCY_MINIMUM)
		return 0;
	memcpy(sorted, latency->ns, latency->count * sizeof(*sorted));
	qsort(sorted, latency->count, sizeof(*sorted), compare);
	/* The nearest rank: of 100 the 99th, of 16 the slowest. */
	return sorted[(latency->count * 99 + 99) / 100 - 1];
}
