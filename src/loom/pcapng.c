#include "pcapng.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define BLOCK_SECTION	 0x0a0d0d0au
#define BLOCK_INTERFACE	 1u
#define BLOCK_PACKET	 6u
#define BYTE_ORDER_MAGIC 0x1a2b3c4du

#define OPTION_END	     0
#define OPTION_COMMENT	     1
#define OPTION_IF_NAME	     2
#define OPTION_APPLICATION   4
#define OPTION_IF_RESOLUTION 9
#define OPTION_MAX	     65535u

#define LINKTYPE_ETHERNET 1
#define NANOSECONDS	  9 /* 10^-9 */

struct pcapng {
	FILE *out;
	struct buf block;  /* owned; the one being made */
	char **interfaces; /* owned; by number */
	uint32_t interface_count;
};

/* The file says which byte order it has: it is the machine's. */
static void put16(struct pcapng *pcapng, uint16_t value)
{
	buf_append(&pcapng->block, &value, sizeof(value));
}

static void put32(struct pcapng *pcapng, uint32_t value)
{
	buf_append(&pcapng->block, &value, sizeof(value));
}

/* Bytes, padded to 32 bits. */
static void put_padded(struct pcapng *pcapng, const void *data, size_t len)
{
	static const char zeroes[4];

	buf_append(&pcapng->block, data, len);
	buf_append(&pcapng->block, zeroes, (4 - len % 4) % 4);
}

static void put_option(struct pcapng *pcapng, uint16_t code, const void *data, size_t len)
{
	if (len > OPTION_MAX)
		len = OPTION_MAX;
	put16(pcapng, code);
	put16(pcapng, (uint16_t)len);
	put_padded(pcapng, data, len);
}

static void put_text(struct pcapng *pcapng, uint16_t code, const char *text)
{
	put_option(pcapng, code, text, strlen(text));
}

static void begin_block(struct pcapng *pcapng, uint32_t type)
{
	pcapng->block.len = 0;
	put32(pcapng, type);
	put32(pcapng, 0); /* the length, once it is known */
}

static int end_block(struct pcapng *pcapng)
{
	struct buf *block = &pcapng->block;
	uint32_t length;

	put_option(pcapng, OPTION_END, "", 0);
	length = (uint32_t)block->len + 4;
	put32(pcapng, length);
	if (buf_failed(block))
		return -ENOMEM;
	memcpy(block->data + 4, &length, sizeof(length));
	errno = 0;
	if (fwrite(block->data, 1, block->len, pcapng->out) != block->len)
		return errno ? -errno : -EIO;
	return 0;
}

static int write_section(struct pcapng *pcapng, const char *application)
{
	begin_block(pcapng, BLOCK_SECTION);
	put32(pcapng, BYTE_ORDER_MAGIC);
	put16(pcapng, 1);
	put16(pcapng, 0);
	put32(pcapng, UINT32_MAX); /* how long the section is: not known yet */
	put32(pcapng, UINT32_MAX);
	put_text(pcapng, OPTION_APPLICATION, application);
	return end_block(pcapng);
}

static int write_interface(struct pcapng *pcapng, const char *name)
{
	const uint8_t resolution = NANOSECONDS;

	begin_block(pcapng, BLOCK_INTERFACE);
	put16(pcapng, LINKTYPE_ETHERNET);
	put16(pcapng, 0);
	put32(pcapng, 0); /* no limit to what is captured */
	put_text(pcapng, OPTION_IF_NAME, name);
	put_option(pcapng, OPTION_IF_RESOLUTION, &resolution, sizeof(resolution));
	return end_block(pcapng);
}

struct pcapng *pcapng_new(FILE *out, const char *application)
{
	struct pcapng *pcapng = calloc(1, sizeof(*pcapng));
	int r;

	if (!pcapng)
		return NULL;
	pcapng->out = out;
	buf_init(&pcapng->block);
	r = write_section(pcapng, application);
	if (r == 0)
		return pcapng;
	pcapng_free(pcapng);
	errno = -r;
	return NULL;
}

/* An interface is described before its first packet. */
static int find_interface(struct pcapng *pcapng, const char *name, uint32_t *ret)
{
	char **longer;

	for (*ret = 0; *ret < pcapng->interface_count; ++*ret)
		if (strcmp(pcapng->interfaces[*ret], name) == 0)
			return 0;
	longer = realloc(pcapng->interfaces,
			 (pcapng->interface_count + 1) * sizeof(*pcapng->interfaces));
	if (!longer)
		return -ENOMEM;
	pcapng->interfaces = longer;
	longer[*ret] = strdup(name);
	if (!longer[*ret])
		return -ENOMEM;
	pcapng->interface_count++;
	return write_interface(pcapng, name);
}

int pcapng_write(struct pcapng *pcapng, const struct pcapng_packet *packet)
{
	uint32_t interface;
	int r = find_interface(pcapng, packet->interface, &interface);

	if (r < 0)
		return r;
	begin_block(pcapng, BLOCK_PACKET);
	put32(pcapng, interface);
	put32(pcapng, (uint32_t)(packet->time_ns >> 32));
	put32(pcapng, (uint32_t)packet->time_ns);
	put32(pcapng, packet->captured);
	put32(pcapng, packet->length);
	put_padded(pcapng, packet->frame, packet->captured);
	put_text(pcapng, OPTION_COMMENT, packet->comment);
	return end_block(pcapng);
}

void pcapng_free(struct pcapng *pcapng)
{
	if (!pcapng)
		return;
	for (uint32_t i = 0; i < pcapng->interface_count; i++)
		free(pcapng->interfaces[i]);
	free(pcapng->interfaces);
	buf_done(&pcapng->block);
	free(pcapng);
}
