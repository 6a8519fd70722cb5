/* wrapped.h - encapsulated frames from descriptions, and what ought to be left of them.
 *
 * Both are built from nothing, the inner packet by packet.c; checksums are summed anew. */
#ifndef TEST_WRAPPED_H
#define TEST_WRAPPED_H

#include "../lb/packet.h"

enum wrap {
	WRAP_NONE,
	WRAP_IP,   /* the inner packet right behind the outer header */
	WRAP_GUE1, /* variant 1: behind UDP */
	WRAP_GUE0, /* variant 0: a header of 4 bytes, and options */
};

struct wrapped {
	enum wrap wrap;
	const char *from; /* of the outer header; IPv6 if to has a colon */
	const char *to;
	uint64_t dmac;
	uint8_t tags;
	bool ad;	 /* the outer tag is 802.1ad */
	uint8_t ihl;	 /* of the outer header, in words, filled with NOP; 0: 5 */
	uint16_t frag;	 /* IPv4's flags and offset */
	const char *ext; /* IPv6: 'd' destination options of 8 bytes, 'D' of 16, 'f' atomic
			    fragment, '1' first, '2' later fragment */
	uint8_t ecn;
	uint16_t port; /* of GUE */
	uint16_t udp_check;
	uint8_t gue_words;   /* of options */
	uint8_t gue_bits;    /* variant and control */
	struct packet inner; /* its Ethernet header is left out */
	uint8_t inner_ecn;
	uint16_t pad; /* bytes behind the outer packet */

	/* Lies. */
	uint8_t say_proto; /* of the outer header */
	uint8_t say_gue_proto;
	int say_length; /* more than there is, of the outer packet */
	int say_udp_length;
	int say_inner_ihl; /* in words; 16: zero */
	uint16_t say_type; /* ether type */
	uint8_t say_version;
};

/* Writes the frame into out[PACKET_ROOM]; returns its length. */
size_t wrapped_build(const struct wrapped *w, uint8_t *out);
/* The same unwrapped, the inner packet with these ECN bits. */
size_t wrapped_expect(const struct wrapped *w, uint8_t ecn, uint8_t *out);

/* Where in the frame the outer header, what follows it, and the inner packet begin. */
size_t wrapped_l3(const struct wrapped *w);
size_t wrapped_l4(const struct wrapped *w);
size_t wrapped_inner(const struct wrapped *w);

#endif
