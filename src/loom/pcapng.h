/* pcapng.h - a capture file with a comment on each packet (draft-ietf-opsawg-pcapng).
 * Layer: loom.  Threads: one owner.  Blocks: on the stream. */
#ifndef LOOM_PCAPNG_H
#define LOOM_PCAPNG_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

struct pcapng;

/* An Ethernet frame; all borrowed. */
struct pcapng_packet {
	const char *interface;
	uint64_t time_ns; /* since 1970 */
	uint32_t length;  /* of the frame on the wire */
	const uint8_t *frame;
	uint32_t captured;   /* bytes of it that there are */
	const char *comment; /* UTF-8 */
};

/* Begins a section on out, which stays the caller's.  application: who writes it.  NULL with errno.
 */
struct pcapng *pcapng_new(FILE *out, const char *application);
/* 0, -ENOMEM, or the stream's error. */
int pcapng_write(struct pcapng *pcapng, const struct pcapng_packet *packet);
void pcapng_free(struct pcapng *pcapng); /* NULL is fine */

#endif
