#include "tunnel_packet.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#define IP4_LEN 20
#define IP6_LEN 40
#define TCP_LEN 20
#define UDP_LEN 8

static void put16(uint8_t *at, uint32_t value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value)
{
	put16(at, value >> 16);
	put16(at + 2, value);
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

static uint32_t get32(const uint8_t *at)
{
	return (uint32_t)get16(at) << 16 | get16(at + 2);
}

/* The Internet checksum's sum, not folded (RFC 1071). */
static uint32_t sum(const uint8_t *data, size_t len, uint32_t start)
{
	for (size_t i = 0; i + 1 < len; i += 2)
		start += get16(data + i);
	return len % 2 ? start + ((uint32_t)data[len - 1] << 8) : start;
}

static uint16_t fold(uint32_t value)
{
	while (value >> 16)
		value = (value & 0xffff) + (value >> 16);
	return (uint16_t)~value;
}

/* Returns the header's length. */
static size_t write_ip(const struct tunnel_packet *packet, uint8_t proto, size_t len, uint8_t *out)
{
	if (addr_is_v4(&packet->source)) {
		memset(out, 0, IP4_LEN);
		out[0] = 0x45;
		put16(out + 2, (uint32_t)(IP4_LEN + len));
		out[6] = 0x40; /* DF */
		out[8] = 64;
		out[9] = proto;
		memcpy(out + 12, &packet->source.word[3], 4);
		memcpy(out + 16, &packet->destination.word[3], 4);
		put16(out + 10, fold(sum(out, IP4_LEN, 0)));
		return IP4_LEN;
	}
	memset(out, 0, IP6_LEN);
	out[0] = 0x60;
	put16(out + 4, (uint32_t)len);
	out[6] = proto;
	out[7] = 64;
	memcpy(out + 8, &packet->source, 16);
	memcpy(out + 24, &packet->destination, 16);
	return IP6_LEN;
}

/* IPv4-mapped words beyond the IPv4 address would count 0xffff, which is 0 in this sum; still, say
 * what is meant. */
static uint32_t pseudo_header(const struct tunnel_packet *packet, uint8_t proto, size_t len)
{
	size_t skip = addr_is_v4(&packet->source) ? 12 : 0;
	uint32_t total = sum((const uint8_t *)&packet->source + skip, 16 - skip, proto);

	return sum((const uint8_t *)&packet->destination + skip, 16 - skip, total + (uint32_t)len);
}

int tunnel_packet_write(const struct tunnel_packet *packet, uint8_t out[TUNNEL_PACKET_MAX])
{
	uint8_t proto = packet->tcp ? IPPROTO_TCP : IPPROTO_UDP;
	size_t len = packet->tcp ? TCP_LEN : UDP_LEN + packet->payload_len;
	size_t head;
	uint8_t *at;

	if (len > TUNNEL_PACKET_MAX - IP6_LEN)
		return -EMSGSIZE;
	head = write_ip(packet, proto, len, out);
	at = out + head;
	memset(at, 0, packet->tcp ? TCP_LEN : UDP_LEN);
	put16(at, packet->source_port);
	put16(at + 2, packet->destination_port);
	if (packet->tcp) {
		put32(at + 4, packet->seq);
		put32(at + 8, packet->ack);
		at[12] = TCP_LEN / 4 << 4;
		at[13] = packet->flags;
		put16(at + 14, packet->flags & TUNNEL_SYN ? 64240 : 0);
		put16(at + 16, fold(sum(at, len, pseudo_header(packet, proto, len))));
	} else {
		uint16_t check;

		put16(at + 4, (uint32_t)len);
		if (packet->payload_len)
			memcpy(at + UDP_LEN, packet->payload, packet->payload_len);
		check = fold(sum(at, len, pseudo_header(packet, proto, len)));
		put16(at + 6, check ? check : 0xffff); /* 0 is "none" (RFC 768) */
	}
	return (int)(head + len);
}

/* Finds the transport header.  Returns its offset, 0 if there is none. */
static size_t read_ip(const uint8_t *data, size_t *len, uint8_t *proto, struct tunnel_packet *ret)
{
	size_t head;
	size_t total;

	if (*len >= IP4_LEN && data[0] >> 4 == 4) {
		head = (size_t)(data[0] & 15) * 4;
		total = get16(data + 2);
		if (head < IP4_LEN || get16(data + 6) & 0x3fff) /* MF, or not the first */
			return 0;
		*proto = data[9];
		memcpy(&ret->source.word[3], data + 12, 4);
		memcpy(&ret->destination.word[3], data + 16, 4);
		ret->source = addr_from_v4(ret->source.word[3]);
		ret->destination = addr_from_v4(ret->destination.word[3]);
	} else if (*len >= IP6_LEN && data[0] >> 4 == 6) {
		head = IP6_LEN;
		total = IP6_LEN + (size_t)get16(data + 4);
		*proto = data[6]; /* servers send no extension headers */
		memcpy(&ret->source, data + 8, 16);
		memcpy(&ret->destination, data + 24, 16);
	} else {
		return 0;
	}
	if (total < *len)
		*len = total; /* Ethernet's padding */
	return total < head ? 0 : head;
}

int tunnel_packet_read(const uint8_t *data, size_t len, struct tunnel_packet *ret)
{
	struct tunnel_packet packet = { 0 };
	uint8_t proto = 0;
	size_t head = read_ip(data, &len, &proto, &packet);
	const uint8_t *at = data + head;

	if (!head)
		return -EBADMSG;
	packet.tcp = proto == IPPROTO_TCP;
	if (!packet.tcp && proto != IPPROTO_UDP)
		return -EBADMSG;
	if (len < head + (packet.tcp ? TCP_LEN : UDP_LEN))
		return -EBADMSG;
	packet.source_port = get16(at);
	packet.destination_port = get16(at + 2);
	if (packet.tcp) {
		packet.seq = get32(at + 4);
		packet.ack = get32(at + 8);
		packet.flags = at[13];
	} else {
		if (get16(at + 4) < UDP_LEN || get16(at + 4) > len - head)
			return -EBADMSG;
		packet.payload = at + UDP_LEN;
		packet.payload_len = get16(at + 4) - UDP_LEN;
	}
	*ret = packet;
	return 0;
}
