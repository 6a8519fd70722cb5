#include "addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct addr addr_from_v4(__be32 v4)
{
	return (struct addr){ { 0, 0, htonl(0xffff), v4 } };
}

bool addr_is_v4(const struct addr *addr)
{
	return addr->word[0] == 0 && addr->word[1] == 0 && addr->word[2] == htonl(0xffff);
}

bool addr_equal(const struct addr *a, const struct addr *b)
{
	return memcmp(a, b, sizeof(*a)) == 0;
}

int addr_compare(const struct addr *a, const struct addr *b)
{
	bool v4 = addr_is_v4(a);

	if (v4 != addr_is_v4(b))
		return v4 ? -1 : 1;
	return memcmp(a, b, sizeof(*a));
}

bool addr_list_has(const struct addr *list, size_t count, const struct addr *addr)
{
	for (size_t i = 0; i < count; i++)
		if (addr_equal(&list[i], addr))
			return true;
	return false;
}

bool addr_is_any(const struct addr *addr)
{
	return addr->word[0] == 0 && addr->word[1] == 0 && addr->word[3] == 0 &&
	       (addr->word[2] == 0 || addr->word[2] == htonl(0xffff));
}

bool addr_is_unicast(const struct addr *addr)
{
	if (addr_is_any(addr))
		return false;
	if (addr_is_v4(addr)) {
		uint32_t v4 = ntohl(addr_v4(addr));

		/* 0/8, 127/8, 224/4 and 240/4: RFC 1122 section 3.2.1.3, RFC 1112 section 4. */
		return v4 >> 24 != 0 && v4 >> 24 != 127 && v4 < 0xe0000000;
	}
	/* ::/64 has ::1 and what stands for IPv4, ff00::/8 groups: RFC 4291 sections 2.5 and 2.7. */
	if (addr->word[0] == 0 && addr->word[1] == 0)
		return false;
	return ntohl(addr->word[0]) >> 24 != 0xff;
}

int addr_parse(const char *text, struct addr *ret)
{
	struct in_addr v4;
	struct in6_addr v6;

	if (inet_pton(AF_INET, text, &v4) == 1) {
		*ret = addr_from_v4(v4.s_addr);
		return 0;
	}
	if (inet_pton(AF_INET6, text, &v6) == 1) {
		memcpy(ret, &v6, sizeof(*ret));
		return 0;
	}
	return -EINVAL;
}

char *addr_format(const struct addr *addr, char *text)
{
	__be32 v4 = addr_v4(addr);

	if (addr_is_v4(addr))
		inet_ntop(AF_INET, &v4, text, ADDR_TEXT_LEN);
	else
		inet_ntop(AF_INET6, addr, text, ADDR_TEXT_LEN);
	return text;
}

char *addr_port_format(const struct addr *addr, uint16_t port, char *text)
{
	char bare[ADDR_TEXT_LEN];

	addr_format(addr, bare);
	snprintf(text, ADDR_PORT_TEXT_LEN, addr_is_v4(addr) ? "%s:%u" : "[%s]:%u", bare, port);
	return text;
}

/* The bits of word i (0..3) of an IPv6 address that a prefix of length bits covers, host order. */
static uint32_t prefix_mask(unsigned int length, unsigned int i)
{
	if (length >= (i + 1) * 32)
		return UINT32_MAX;
	if (length <= i * 32)
		return 0;
	return UINT32_MAX << (32 - (length - i * 32));
}

unsigned int addr_net_bits(const struct addr_net *net)
{
	return net->length + (addr_is_v4(&net->addr) ? 96u : 0u);
}

int addr_net_parse(const char *text, struct addr_net *ret)
{
	struct addr_net net;
	char bare[ADDR_TEXT_LEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	unsigned long length;
	char *end;
	unsigned int max;

	if (len >= sizeof(bare))
		return -EINVAL;
	memcpy(bare, text, len);
	bare[len] = '\0';
	if (addr_parse(bare, &net.addr) < 0)
		return -EINVAL;
	max = addr_is_v4(&net.addr) ? 32 : 128;
	length = max;
	if (slash) {
		if (slash[1] < '0' || slash[1] > '9')
			return -EINVAL;
		length = strtoul(slash + 1, &end, 10);
		if (*end)
			return -EINVAL;
		if (length > max)
			return -ERANGE;
	}
	net.length = (uint8_t)length;
	for (unsigned int i = 0; i < 4; i++)
		if (ntohl(net.addr.word[i]) & ~prefix_mask(addr_net_bits(&net), i))
			return -EDOM;
	*ret = net;
	return 0;
}

bool addr_net_contains(const struct addr_net *net, const struct addr *addr)
{
	for (unsigned int i = 0; i < 4; i++)
		if ((ntohl(net->addr.word[i]) ^ ntohl(addr->word[i])) &
		    prefix_mask(addr_net_bits(net), i))
			return false;
	return true;
}
