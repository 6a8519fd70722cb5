/* fuzz_tunnel_packet.c - libFuzzer: no packet makes the tunnel checks read beyond it. */
#include <stdlib.h>
#include <string.h>

#include "health/tunnel_packet.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	/* In memory of its own, so that the sanitizer sees one byte too many. */
	uint8_t *copy = malloc(size ? size : 1);
	struct tunnel_packet packet;
	unsigned int total = 0;

	if (!copy)
		return 0;
	memcpy(copy, data, size);
	if (tunnel_packet_read(copy, size, &packet) == 0 && !packet.tcp) {
		for (size_t i = 0; i < packet.payload_len; i++)
			total += ((const uint8_t *)packet.payload)[i];
		if (packet.payload_len > size || total > packet.payload_len * 255)
			abort();
	}
	free(copy);
	return 0;
}
