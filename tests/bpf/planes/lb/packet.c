#include "packet.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/must.h"

struct writer {
	uint8_t *at;
};

static void put8(struct writer *w, uint8_t value)
{
	*w->at++ = value;
}

static void put16(struct writer *w, uint16_t value)
{
	put8(w, value >> 8);
	put8(w, (uint8_t)value);
}

static void put32(struct writer *w, uint32_t value)
{
	put16(w, value >> 16);
	put16(w, (uint16_t)value);
}

static void put_mac(struct writer *w, uint64_t mac)
{
	put16(w, (uint16_t)(mac >> 32));
	put32(w, (uint32_t)mac);
}

static void put_bytes(struct writer *w, const void *bytes, size_t count)
{
	memcpy(w->at, bytes, count);
	w->at += count;
}

static void set16(uint8_t *at, uint16_t value)
{
	at[0] = value >> 8;
	at[1] = (uint8_t)value;
}

static uint16_t get16(const uint8_t *at)
{
	return (uint16_t)(at[0] << 8 | at[1]);
}

/* RFC 1071 as it is written down: big-endian words, an odd byte at the end is a high one. */
static uint32_t sum_words(uint32_t sum, const uint8_t *bytes, size_t count)
{
	for (size_t i = 0; i < count; i++)
		sum += i % 2 ? bytes[i] : (uint32_t)bytes[i] << 8;
	return sum;
}

static uint16_t fold(uint32_t sum)
{
	while (sum > 0xffff)
		sum = (sum & 0xffff) + (sum >> 16);
	return (uint16_t)sum;
}

static uint16_t beside(uint16_t check, uint16_t wrong)
{
	return wrong ? fold((uint32_t)check + wrong) : check;
}

bool packet_is_v6(const struct packet *p)
{
	return strchr(p->from, ':');
}

void packet_address(const char *text, __be32 *ret)
{
	if (strchr(text, ':')) {
		must(inet_pton(AF_INET6, text, ret) == 1);
		return;
	}
	ret[0] = 0;
	ret[1] = 0;
	ret[2] = htonl(0xffff);
	must(inet_pton(AF_INET, text, &ret[3]) == 1);
}

static size_t ihl_bytes(const struct packet *p)
{
	return (p->ihl ? p->ihl : 5) * 4u;
}

/* Letters of packet.ext; of each the header's number and length. */
static const struct extension {
	char letter;
	uint8_t number;
	uint8_t bytes;
	uint8_t second[3]; /* second to fourth byte */
} extensions[] = {
	{ 'h', IPPROTO_HOPOPTS, 8, { 0, 1, 4 } },     /* with PadN */
	{ 'd', IPPROTO_DSTOPTS, 16, { 1, 1, 12 } },   /* of two units */
	{ 'r', IPPROTO_ROUTING, 8, { 0, 4, 0 } },     /* arrived: no segments left */
	{ 'R', IPPROTO_ROUTING, 8, { 0, 4, 1 } },     /* on its way */
	{ 'f', IPPROTO_FRAGMENT, 8, { 0, 0, 0 } },    /* atomic: RFC 6946 */
	{ 'v', IPPROTO_FRAGMENT, 8, { 0, 0, 6 } },    /* atomic, with reserved bits set */
	{ '1', IPPROTO_FRAGMENT, 8, { 0, 0, 1 } },    /* the first of several */
	{ '2', IPPROTO_FRAGMENT, 8, { 0, 0x10, 1 } }, /* a middle one */
	{ '3', IPPROTO_FRAGMENT, 8, { 0, 0x20, 0 } }, /* the last */
	{ 'L', IPPROTO_DSTOPTS, 8, { 255, 1, 4 } },   /* says that it is longer than the frame */
	{ 'a', IPPROTO_AH, 24, { 4, 0, 0 } },
	{ 'e', IPPROTO_ESP, 8, { 0, 0, 1 } },
	{ 'n', IPPROTO_NONE, 8, { 0, 0, 0 } },
	{ 'm', 135, 8, { 0, 0, 0 } }, /* mobility */
	{ 'x', 253, 8, { 0, 0, 0 } }, /* RFC 3692: for experiments */
};

static const struct extension *extension_of(char letter)
{
	for (size_t i = 0; i < sizeof(extensions) / sizeof(*extensions); i++)
		if (extensions[i].letter == letter)
			return &extensions[i];
	must(!"a letter of packet.ext");
	return NULL;
}

static size_t extensions_bytes(const struct packet *p)
{
	size_t bytes = 0;

	for (const char *letter = p->ext ? p->ext : ""; *letter; letter++)
		bytes += extension_of(*letter)->bytes;
	return bytes;
}

static size_t packet_network(const struct packet *p)
{
	return 14 + p->tags * 4u;
}

size_t packet_transport(const struct packet *p)
{
	return packet_network(p) + (packet_is_v6(p) ? 40 + extensions_bytes(p) : ihl_bytes(p));
}

uint16_t packet_sport_of(const struct packet *p, const uint8_t *frame)
{
	return get16(frame + packet_transport(p));
}

uint16_t packet_check_of(const struct packet *p, const uint8_t *frame)
{
	return get16(frame + packet_transport(p) + (p->proto == IPPROTO_TCP ? 16 : 6));
}

static void put_ethernet(struct writer *w, const struct packet *p)
{
	bool ipv6 = p->outer_to ? strchr(p->outer_to, ':') != NULL : packet_is_v6(p);
	uint16_t type = ipv6 ? 0x86dd : 0x0800;

	put_mac(w, p->dmac);
	put_mac(w, p->smac);
	for (int i = 0; i < p->tags; i++) {
		put16(w, i == 0 && p->ad ? 0x88a8 : 0x8100);
		put16(w, p->tci[i]);
	}
	put16(w, p->say_type ? p->say_type : type);
}

static uint8_t tos_of(const struct packet *p)
{
	if (p->tos)
		return (uint8_t)p->tos;
	return p->dont_fragment || p->plain ? 0 : 0x28;
}

static uint16_t id_of(const struct packet *p)
{
	if (p->dont_fragment || p->plain)
		return 0;
	return p->id ? p->id : 0x1234;
}

static void put_ipv4(struct writer *w, const struct packet *p, size_t transport)
{
	uint8_t *ip = w->at;
	size_t header = ihl_bytes(p);
	__be32 addr[4];

	put8(w, (uint8_t)((p->say_version ? p->say_version : 4) << 4 |
			  (p->say_ihl ? p->say_ihl & 0xf : header / 4)));
	put8(w, tos_of(p));
	put16(w, (uint16_t)((int)(header + transport) + p->say_length));
	put16(w, id_of(p));
	put16(w, p->dont_fragment ? 0x4000 : p->frag);
	put8(w, p->ttl);
	put8(w, p->proto);
	put16(w, 0);
	packet_address(p->from, addr);
	put_bytes(w, &addr[3], 4);
	packet_address(p->to, addr);
	put_bytes(w, &addr[3], 4);
	memset(w->at, 1, header - 20);
	w->at += header - 20;
	set16(ip + 10, beside((uint16_t)~fold(sum_words(0, ip, header)), p->wrong_ip));
}

static void put_ipv6(struct writer *w, const struct packet *p, size_t transport)
{
	const char *ext = p->ext ? p->ext : "";
	__be32 addr[4];

	put32(w, (uint32_t)(p->say_version ? p->say_version : 6) << 28 | (uint32_t)tos_of(p) << 20 |
			 (p->dont_fragment || p->plain ? 0 : 0x05678));
	put16(w, (uint16_t)((int)(extensions_bytes(p) + transport) + p->say_length));
	put8(w, *ext ? extension_of(*ext)->number : p->proto);
	put8(w, p->ttl);
	packet_address(p->from, addr);
	put_bytes(w, addr, 16);
	packet_address(p->to, addr);
	put_bytes(w, addr, 16);
	for (; *ext; ext++) {
		const struct extension *e = extension_of(*ext);

		put8(w, ext[1] ? extension_of(ext[1])->number : p->proto);
		put_bytes(w, e->second, 3);
		memset(w->at, 0, e->bytes - 4u);
		w->at += e->bytes - 4u;
		if (e->number == IPPROTO_FRAGMENT)
			set16(w->at - 2, p->id);
	}
}

static size_t quoted_bytes(const struct packet *p)
{
	return p->quoted_bytes == QUOTED_ALL ? packet_bytes(p->quoted) : p->quoted_bytes;
}

static size_t transport_bytes(const struct packet *p)
{
	if (p->icmp)
		return 8u + (p->quoted ? quoted_bytes(p) : p->payload);
	if (p->later)
		return p->payload;
	if (p->proto == IPPROTO_TCP)
		return (p->doff ? p->doff : 5) * 4u + p->payload;
	return (p->proto == IPPROTO_UDP ? 8u : 0u) + p->payload;
}

size_t packet_bytes(const struct packet *p)
{
	return packet_transport(p) - packet_network(p) + transport_bytes(p);
}

static uint16_t window_of(const struct packet *p)
{
	return p->window == WINDOW_NONE ? 0 : p->window ? (uint16_t)p->window : 512;
}

static void put_tcp(struct writer *w, const struct packet *p)
{
	uint8_t words = p->doff ? p->doff : 5;

	put16(w, p->sport);
	put16(w, p->dport);
	put32(w, p->seq);
	put32(w, p->ack);
	put8(w, (uint8_t)((p->say_doff ? p->say_doff : words) << 4));
	put8(w, p->flags);
	put16(w, p->dont_fragment && !p->window ? 0 : window_of(p));
	put32(w, 0);
	memset(w->at, 1, (words - 5u) * 4);
	if (p->mss) {
		w->at[p->mss_at] = 2;
		w->at[p->mss_at + 1] = 4;
		set16(w->at + p->mss_at + 2, p->mss);
	}
	w->at += (words - 5u) * 4;
}

static void put_udp(struct writer *w, const struct packet *p)
{
	put16(w, p->sport);
	put16(w, p->dport);
	put16(w, (uint16_t)(8 + p->payload + p->say_udp_length));
	put16(w, 0);
}

/* Over the pseudo-header and everything from l4 on: RFC 9293 section 3.1, RFC 768, RFC 8200
 * section 8.1. */
static uint16_t transport_check(const struct packet *p, const uint8_t *l4, size_t bytes)
{
	__be32 addr[4];
	uint32_t sum = (uint32_t)p->proto + (uint32_t)bytes;
	bool ipv6 = packet_is_v6(p);

	packet_address(p->from, addr);
	sum = sum_words(sum, (uint8_t *)(ipv6 ? addr : &addr[3]), ipv6 ? 16 : 4);
	packet_address(p->to, addr);
	sum = sum_words(sum, (uint8_t *)(ipv6 ? addr : &addr[3]), ipv6 ? 16 : 4);
	return (uint16_t)~fold(sum_words(sum, l4, bytes));
}

static void put_icmp(struct writer *w, const struct packet *p)
{
	uint8_t frame[PACKET_ROOM];

	put8(w, p->type);
	put8(w, p->code);
	put16(w, 0);
	put32(w, p->rest);
	if (!p->quoted)
		return;
	packet_build(p->quoted, frame);
	put_bytes(w, frame + packet_network(p->quoted), quoted_bytes(p));
}

/* RFC 792: over the message alone; RFC 4443 section 2.3: with the pseudo-header. */
static uint16_t icmp_check(const struct packet *p, const uint8_t *l4, size_t bytes)
{
	if (packet_is_v6(p))
		return transport_check(p, l4, bytes);
	return (uint16_t)~fold(sum_words(0, l4, bytes));
}

static void put_transport(struct writer *w, const struct packet *p)
{
	uint8_t *l4 = w->at;
	size_t bytes = transport_bytes(p);
	uint16_t check;

	if (p->icmp)
		put_icmp(w, p);
	else if (p->proto == IPPROTO_TCP && !p->later)
		put_tcp(w, p);
	else if (p->proto == IPPROTO_UDP && !p->later)
		put_udp(w, p);
	for (int i = 0; i < p->payload && !p->quoted; i++)
		put8(w, (uint8_t)(i == 0 ? p->fill >> 8 : p->fill + i - 1));
	check = transport_check(p, l4, bytes);
	if (p->icmp) {
		set16(l4 + 2, beside(icmp_check(p, l4, bytes), p->wrong_check));
	} else if (p->later) {
		return;
	} else if (p->proto == IPPROTO_TCP) {
		set16(l4 + 16, beside(check, p->wrong_check));
	} else if (p->proto == IPPROTO_UDP && !p->no_check) {
		check = beside(check, p->wrong_check);
		set16(l4 + 6, check ? check : 0xffff);
	}
}

static bool outer_is_v6(const struct packet *p)
{
	return strchr(p->outer_to, ':');
}

/* RFC 2003 section 3.1, RFC 2473 section 6, RFC 6040 section 4.1; the flow label repeats the
 * source's last bits. */
static void put_outer(struct writer *w, const struct packet *p)
{
	uint8_t inner = packet_is_v6(p) ? IPPROTO_IPV6 : IPPROTO_IPIP;
	size_t bytes = packet_bytes(p) + (p->gue_dport ? 8 : 0);
	uint8_t *ip = w->at;

	if (outer_is_v6(p)) {
		put32(w, 0x60000000u | (uint32_t)tos_of(p) << 20);
		put16(w, (uint16_t)bytes);
		put8(w, p->gue_dport ? IPPROTO_UDP : inner);
		put8(w, OUTER_TTL);
		must(inet_pton(AF_INET6, p->outer_from, w->at) == 1);
		must(inet_pton(AF_INET6, p->outer_to, w->at + 16) == 1);
		ip[1] |= w->at[13] & 0xf;
		ip[2] = w->at[14];
		ip[3] = w->at[15];
		w->at += 32;
	} else {
		put16(w, 0x4500 | tos_of(p));
		put16(w, (uint16_t)(20 + bytes));
		put16(w, packet_is_v6(p) ? 0 : id_of(p));
		put16(w, p->frag & 0x4000);
		put8(w, OUTER_TTL);
		put8(w, p->gue_dport ? IPPROTO_UDP : inner);
		put16(w, 0);
		must(inet_pton(AF_INET, p->outer_from, w->at) == 1);
		must(inet_pton(AF_INET, p->outer_to, w->at + 4) == 1);
		w->at += 8;
		set16(ip + 10, (uint16_t)~fold(sum_words(0, ip, 20)));
	}
	if (!p->gue_dport)
		return;
	put16(w, p->gue_sport);
	put16(w, p->gue_dport);
	put16(w, (uint16_t)bytes);
	put16(w, 0);
}

void packet_outer_source(const struct packet *p, const uint8_t *frame, char *text, size_t room)
{
	const uint8_t *ip = frame + packet_network(p);

	if (outer_is_v6(p))
		must(inet_ntop(AF_INET6, ip + 8, text, (socklen_t)room));
	else
		must(inet_ntop(AF_INET, ip + 12, text, (socklen_t)room));
}

uint16_t packet_outer_sport(const struct packet *p, const uint8_t *frame)
{
	return get16(frame + packet_network(p) + (outer_is_v6(p) ? 40 : 20));
}

size_t packet_build(const struct packet *p, uint8_t *out)
{
	struct writer w = { out };

	put_ethernet(&w, p);
	if (p->outer_to)
		put_outer(&w, p);
	if (packet_is_v6(p))
		put_ipv6(&w, p, transport_bytes(p));
	else
		put_ipv4(&w, p, transport_bytes(p));
	put_transport(&w, p);
	for (int i = 0; i < p->pad; i++)
		put8(&w, 0xee);
	must(w.at - out <= PACKET_ROOM);
	return (size_t)(w.at - out);
}
