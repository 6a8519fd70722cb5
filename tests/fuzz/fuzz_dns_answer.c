/* fuzz_dns_answer.c - libFuzzer: no datagram makes the DNS check read beyond it, and only one that
 * repeats the question passes. */
#include <stdlib.h>
#include <string.h>

#include "health/dns_wire.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { ".", "www.loom.test", "a.b.c.d.e.f.g" };
	uint8_t query[DNS_QUERY_MAX];
	const char *fault;
	uint8_t *answer;
	int len;
	int r;

	if (!size)
		return 0;
	len = dns_query(query, 0x0102, names[data[0] % 3], data[0] & 4 ? "AAAA" : "NS");
	if (len < 0)
		abort();
	/* In memory of its own, so that the sanitizer sees one byte too many. */
	answer = malloc(size - 1 ? size - 1 : 1);
	if (!answer)
		return 0;
	memcpy(answer, data + 1, size - 1);
	fault = dns_answer_fault(query, (size_t)len, answer, size - 1, &r);
	if (!fault && (r || size - 1 < (size_t)len || memcmp(answer, query, 2) != 0))
		abort();
	if (fault && !r)
		abort();
	free(answer);
	return 0;
}
