/* dns_wire.h - the little of DNS (RFC 1035 section 4.1) that a health check says and hears.
 * Layer: health.  Pure.  Threads: any. */
#ifndef LOOM_DNS_WIRE_H
#define LOOM_DNS_WIRE_H

#include <stddef.h>
#include <stdint.h>

/* Header, the longest name, type and class. */
#define DNS_QUERY_MAX (12 + 255 + 4)

/* Writes a query with recursion desired.  name: "." or labels with or without a last dot; type:
 * "A", "AAAA", "NS", "SOA".  Returns its length, or -EINVAL: no such name or type. */
int dns_query(uint8_t query[DNS_QUERY_MAX], uint16_t id, const char *name, const char *type);

/* Judges a datagram that may be anything.  NULL: it answers the query (RCODE NOERROR or NXDOMAIN);
 * otherwise what is wrong with it, a phrase.  -EAGAIN in *ret_r: it is no answer to this query at
 * all, wait for another; -EPROTO: it is one, and a bad one. */
const char *dns_answer_fault(const uint8_t *query, size_t query_len, const uint8_t *answer,
			     size_t answer_len, int *ret_r);

#endif
