/* addr.h - one type for IPv4 and IPv6 addresses.
 * Layer: base.  Threads: any.  Blocks: no.
 *
 * IPv4 is held as an IPv4-mapped IPv6 address (RFC 4291 section 2.5.5.2), the form the BPF maps
 * use. */
#ifndef LOOM_ADDR_H
#define LOOM_ADDR_H

#include <linux/types.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct addr {
	__be32 word[4];
};

/* "[2001:db8:...]:65535" and the NUL. */
#define ADDR_TEXT_LEN	   46
#define ADDR_PORT_TEXT_LEN 56

struct addr addr_from_v4(__be32 v4);
bool addr_is_v4(const struct addr *addr);
static inline __be32 addr_v4(const struct addr *addr)
{
	return addr->word[3];
}
bool addr_equal(const struct addr *a, const struct addr *b);
/* Order for sorting: IPv4 first, then by value. */
int addr_compare(const struct addr *a, const struct addr *b);
bool addr_list_has(const struct addr *list, size_t count, const struct addr *addr);

/* 0.0.0.0 or :: */
bool addr_is_any(const struct addr *addr);
/* Nothing a packet on a wire may be addressed to singly: any, loopback, multicast, broadcast. */
bool addr_is_unicast(const struct addr *addr);

/* Strict: the whole text must be one address.  Returns 0 or -EINVAL (*ret untouched). */
int addr_parse(const char *text, struct addr *ret);
/* Writes the usual text form into text[ADDR_TEXT_LEN]; returns text. */
char *addr_format(const struct addr *addr, char *text);
/* "10.0.1.10:8080", "[2001:db8::1]:8080" into text[ADDR_PORT_TEXT_LEN]; port in host order. */
char *addr_port_format(const struct addr *addr, uint16_t port, char *text);

/* A network in CIDR form; length counts within the family (0..32, 0..128); host bits are zero. */
struct addr_net {
	struct addr addr;
	uint8_t length;
};

/* "10.0.0.0/8"; an address without "/" is a host route.  -EINVAL: not a CIDR; -ERANGE: the length
 * is out of range; -EDOM: host bits are set. */
int addr_net_parse(const char *text, struct addr_net *ret);
/* Its length in the 128 bits of addr: IPv4's begin behind ::ffff:. */
unsigned int addr_net_bits(const struct addr_net *net);
bool addr_net_contains(const struct addr_net *net, const struct addr *addr);

#endif
