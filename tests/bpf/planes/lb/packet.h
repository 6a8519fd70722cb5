/* packet.h - frames from descriptions.
 *
 * A test describes the packet that goes in and the one that ought to come out; both are built from
 * nothing here, with every checksum summed anew.  Nothing of the program's arithmetic is used. */
#ifndef TEST_PACKET_H
#define TEST_PACKET_H

#include <linux/types.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define PACKET_ROOM 4096

#define FIN 0x01
#define SYN 0x02
#define RST 0x04
#define PSH 0x08
#define ACK 0x10

/* Link-layer addresses of the world. */
#define MAC_LB	    0x020000000001ull
#define MAC_CLIENT  0x0200000000c1ull
#define MAC_ROUTER  0x0200000000c2ull
#define MAC_BACKEND 0x0200000000b1ull

struct packet {
	uint64_t dmac;
	uint64_t smac;
	uint8_t tags; /* VLAN tags, up to three */
	bool ad;      /* the outer one is 802.1ad */
	uint16_t tci[3];
	const char *from; /* IPv6 if it has a colon */
	const char *to;
	uint8_t ttl;
	uint8_t ihl;	 /* in words, filled with NOP options; 0: 5 */
	uint16_t frag;	 /* IPv4's flags and offset */
	const char *ext; /* IPv6's extension headers, a letter each: packet.c */
	uint8_t proto;
	uint16_t sport;
	uint16_t dport;
	uint8_t flags; /* TCP's byte 13 */
	uint8_t doff;  /* in words, filled with NOP options; 0: 5 */
	uint32_t seq;
	uint32_t ack;
	int window;	  /* 0: 512; WINDOW_NONE: 0 */
	uint16_t mss;	  /* TCP's option for it, in the place of four NOPs; 0: none */
	uint8_t mss_at;	  /* bytes of options before it */
	uint16_t payload; /* bytes */
	uint16_t fill;	  /* first two bytes of the payload; the others count up */
	uint16_t pad;	  /* bytes after the IP packet */
	uint16_t tos;	  /* or traffic class: TOS(); 0: 0x28 */
	uint16_t id;	  /* IPv4's, 0: 0x1234; a fragment's over IPv6 */
	bool later;	  /* a later fragment: no transport header */
	bool plain;	  /* IP header without TOS, id and flow label: as this host's own are */

	/* ICMP, if icmp is set: header, then quoted_bytes of a packet from its IP header on, or the
	 * payload. */
	bool icmp;
	uint8_t type;
	uint8_t code;
	uint32_t rest;
	const struct packet *quoted;
	uint16_t quoted_bytes; /* QUOTED_ALL: all */

	/* An outer header, with TOS, id and "don't fragment" of the packet; UDP as well if
	 * gue_dport is not 0. */
	const char *outer_from;
	const char *outer_to;
	uint16_t gue_sport;
	uint16_t gue_dport;

	/* Lies: the frame is laid out as above, and then says something else. */
	uint16_t say_type; /* ether type */
	uint8_t say_version;
	uint8_t say_ihl; /* 16: zero */
	uint8_t say_doff;
	int say_length;	      /* more than there is: IPv4's total or IPv6's payload length */
	int say_udp_length;   /* more than there is */
	uint16_t wrong_ip;    /* this much beside the right checksum */
	uint16_t wrong_check; /* the same of TCP or UDP */
	bool no_check;	      /* UDP: zero */
	bool dont_fragment;   /* as the resets are */
};

#define WINDOW_NONE (-1)
#define TOS(value)  (0x100 | (value))
#define QUOTED_ALL  0xffff
#define OUTER_TTL   64

#define PACKET(...)       \
	((struct packet){ \
		.dmac = MAC_LB, .smac = MAC_CLIENT, .ttl = 64, .payload = 24, __VA_ARGS__ })

/* Writes the frame into out[PACKET_ROOM]; returns its length. */
size_t packet_build(const struct packet *p, uint8_t *out);

bool packet_is_v6(const struct packet *p);
/* Address in mapped form. */
void packet_address(const char *text, __be32 *ret);
/* Bytes of the IP packet, without an outer header. */
size_t packet_bytes(const struct packet *p);
/* The outer source address of a frame laid out as p, as text, and the port of GUE. */
void packet_outer_source(const struct packet *p, const uint8_t *frame, char *text, size_t room);
uint16_t packet_outer_sport(const struct packet *p, const uint8_t *frame);
/* Where the transport header lies in the frame. */
size_t packet_transport(const struct packet *p);
/* The source port of a frame laid out as p. */
uint16_t packet_sport_of(const struct packet *p, const uint8_t *frame);
uint16_t packet_check_of(const struct packet *p, const uint8_t *frame);

#endif
