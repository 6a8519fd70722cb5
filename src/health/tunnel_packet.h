/* tunnel_packet.h - the packets of a check that goes the way of the service's packets: made and
 * read by hand, since their source and destination are not what the stack would use. Layer: health.
 * Pure.  Threads: any. */
#ifndef LOOM_TUNNEL_PACKET_H
#define LOOM_TUNNEL_PACKET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"

#define TUNNEL_PACKET_MAX 1400

enum tunnel_tcp_flag {
	TUNNEL_SYN = 0x02,
	TUNNEL_RST = 0x04,
	TUNNEL_ACK = 0x10,
};

/* A TCP segment without data, or a UDP datagram; ports in host order. */
struct tunnel_packet {
	struct addr source;
	struct addr destination; /* of source's family */
	uint16_t source_port;
	uint16_t destination_port;
	bool tcp;
	uint8_t flags; /* TCP */
	uint32_t seq;
	uint32_t ack;
	const void *payload; /* UDP; borrowed */
	size_t payload_len;
};

/* Writes packet from its IP header on.  Returns its length, or -EMSGSIZE. */
int tunnel_packet_write(const struct tunnel_packet *packet, uint8_t out[TUNNEL_PACKET_MAX]);

/* Reads what may be anything; checksums are not looked at, as they may be the interface's to
 * finish.  payload points into data.  0, or -EBADMSG: no TCP or UDP, a fragment, or cut short. */
int tunnel_packet_read(const uint8_t *data, size_t len, struct tunnel_packet *ret);

#endif
