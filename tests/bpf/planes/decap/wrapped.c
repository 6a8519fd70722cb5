#include "wrapped.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/must.h"

static uint8_t *put16(uint8_t *at, unsigned int value)
{
	at[0] = (uint8_t)(value >> 8);
	at[1] = (uint8_t)value;
	return at + 2;
}

static bool outer6(const struct wrapped *w)
{
	return strchr(w->to, ':');
}

/* RFC 1071, over big-endian words. */
static uint16_t checksum(const uint8_t *bytes, size_t count)
{
	uint32_t sum = 0;

	for (size_t i = 0; i < count; i += 2)
		sum += (uint32_t)bytes[i] << 8 | bytes[i + 1];
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)~sum;
}

static void set_ecn(uint8_t *ip, uint8_t ecn)
{
	if (ip[0] >> 4 == 6) {
		ip[1] = (uint8_t)((ip[1] & ~0x30) | ecn << 4);
		return;
	}
	ip[1] = (uint8_t)((ip[1] & ~3) | ecn);
	put16(ip + 10, 0);
	put16(ip + 10, checksum(ip, (ip[0] & 15) * 4u));
}

/* The inner packet alone; its length. */
static size_t build_inner(const struct wrapped *w, uint8_t ecn, uint8_t *out)
{
	uint8_t frame[PACKET_ROOM];
	size_t length = packet_build(&w->inner, frame) - 14;

	memcpy(out, frame + 14, length);
	set_ecn(out, ecn);
	if (w->say_inner_ihl)
		out[0] = (uint8_t)(0x40 | (w->say_inner_ihl & 15));
	return length;
}

static uint8_t *put_ethernet(const struct wrapped *w, bool ipv6, uint8_t *at)
{
	const uint64_t macs[2] = { w->dmac ? w->dmac : MAC_LB, MAC_ROUTER };

	for (int i = 0; i < 2; i++)
		for (int byte = 5; byte >= 0; byte--)
			*at++ = (uint8_t)(macs[i] >> byte * 8);
	for (int i = 0; i < w->tags; i++) {
		at = put16(at, i == 0 && w->ad ? 0x88a8 : 0x8100);
		at = put16(at, 0x6001u + (unsigned int)i);
	}
	return put16(at, ipv6 ? 0x86dd : 0x0800);
}

static uint8_t protocol(const struct wrapped *w)
{
	if (w->say_proto)
		return w->say_proto;
	if (w->wrap == WRAP_IP)
		return packet_is_v6(&w->inner) ? IPPROTO_IPV6 : IPPROTO_IPIP;
	return IPPROTO_UDP;
}

static size_t ext_bytes(const struct wrapped *w)
{
	size_t bytes = 0;

	for (const char *e = w->ext ? w->ext : ""; *e; e++)
		bytes += *e == 'D' ? 16 : 8;
	return bytes;
}

static size_t header_bytes(const struct wrapped *w)
{
	return outer6(w) ? 40 + ext_bytes(w) : (w->ihl ? w->ihl : 5) * 4u;
}

static size_t gue_bytes(const struct wrapped *w)
{
	switch (w->wrap) {
	case WRAP_GUE1:
		return 8;
	case WRAP_GUE0:
		return 12 + w->gue_words * 4u;
	default:
		return 0;
	}
}

static uint8_t ext_number(char letter)
{
	return letter == 'd' || letter == 'D' ? IPPROTO_DSTOPTS : IPPROTO_FRAGMENT;
}

static uint8_t *put_outer6(const struct wrapped *w, size_t payload, uint8_t *at)
{
	const char *ext = w->ext ? w->ext : "";
	uint8_t *ip = at;

	memset(ip, 0, 40 + ext_bytes(w));
	ip[0] = (uint8_t)((w->say_version ? w->say_version : 6) << 4 | 0x0b);
	ip[1] = (uint8_t)(0x84 | w->ecn << 4);
	put16(ip + 4, (unsigned int)((int)(ext_bytes(w) + payload) + w->say_length));
	ip[6] = *ext ? ext_number(*ext) : protocol(w);
	ip[7] = 63;
	must(inet_pton(AF_INET6, w->from, ip + 8) == 1 && inet_pton(AF_INET6, w->to, ip + 24) == 1);
	at += 40;
	for (; *ext; ext++) {
		at[0] = ext[1] ? ext_number(ext[1]) : protocol(w);
		at[1] = *ext == 'D';
		if (*ext == '1')
			put16(at + 2, 0x0001);
		else if (*ext == '2')
			put16(at + 2, 0x0100);
		else if (*ext != 'f')
			put16(at + 2,
			      0x0401); /* tunnel encapsulation limit, RFC 2473 section 4.1.1 */
		at += *ext == 'D' ? 16 : 8;
	}
	return at;
}

static uint8_t *put_outer4(const struct wrapped *w, size_t payload, uint8_t *at)
{
	size_t header = header_bytes(w);

	memset(at, 1, header);
	at[0] = (uint8_t)((w->say_version ? w->say_version : 4) << 4 | header / 4);
	at[1] = (uint8_t)(0x48 | w->ecn);
	put16(at + 2, (unsigned int)((int)(header + payload) + w->say_length));
	put16(at + 4, 0x4321);
	put16(at + 6, w->frag);
	at[8] = 63;
	at[9] = protocol(w);
	put16(at + 10, 0);
	must(inet_pton(AF_INET, w->from, at + 12) == 1 && inet_pton(AF_INET, w->to, at + 16) == 1);
	put16(at + 10, checksum(at, header));
	return at + header;
}

static uint8_t *put_gue(const struct wrapped *w, size_t inner, uint8_t *at)
{
	if (!gue_bytes(w))
		return at;
	at = put16(at, 40000);
	at = put16(at, w->port ? w->port : 6080);
	at = put16(at, (unsigned int)((int)(gue_bytes(w) + inner) + w->say_udp_length));
	at = put16(at, w->udp_check);
	if (w->wrap == WRAP_GUE1)
		return at;
	*at++ = w->gue_bits | w->gue_words;
	*at++ = w->say_gue_proto	  ? w->say_gue_proto
		: packet_is_v6(&w->inner) ? IPPROTO_IPV6
					  : IPPROTO_IPIP;
	at = put16(at, 0);
	memset(at, 0xaa, w->gue_words * 4u);
	return at + w->gue_words * 4u;
}

size_t wrapped_build(const struct wrapped *w, uint8_t *out)
{
	uint8_t inner[PACKET_ROOM];
	size_t length = build_inner(w, w->inner_ecn, inner);
	size_t payload = gue_bytes(w) + length;
	uint8_t *at = put_ethernet(w, outer6(w), out);

	if (w->say_type)
		put16(at - 2, w->say_type);
	at = outer6(w) ? put_outer6(w, payload, at) : put_outer4(w, payload, at);
	at = put_gue(w, length, at);
	must((size_t)(at - out) == wrapped_inner(w) && length + w->pad < PACKET_ROOM - 300);
	memcpy(at, inner, length);
	memset(at + length, 0xee, w->pad);
	return (size_t)(at - out) + length + w->pad;
}

size_t wrapped_expect(const struct wrapped *w, uint8_t ecn, uint8_t *out)
{
	uint8_t *at = put_ethernet(w, packet_is_v6(&w->inner), out);
	size_t length = build_inner(w, ecn, at);

	memset(at + length, 0xee, w->pad);
	return (size_t)(at - out) + length + w->pad;
}

size_t wrapped_l3(const struct wrapped *w)
{
	return 14 + w->tags * 4u;
}

size_t wrapped_l4(const struct wrapped *w)
{
	return wrapped_l3(w) + header_bytes(w);
}

size_t wrapped_inner(const struct wrapped *w)
{
	return wrapped_l4(w) + gue_bytes(w);
}
