#include "dns_wire.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

#define HEADER_LEN 12
#define LABEL_MAX  63
#define NAME_MAX_  255 /* length bytes and the root's included */

static const struct {
	const char *name;
	uint16_t number;
} types[] = { { "A", 1 }, { "NS", 2 }, { "SOA", 6 }, { "AAAA", 28 } };

static int type_number(const char *name)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (!strcasecmp(types[i].name, name))
			return types[i].number;
	return -EINVAL;
}

/* The name's wire form into out.  Returns its length or -EINVAL. */
static int put_name(uint8_t *out, const char *name)
{
	size_t len = 0;

	if (!strcmp(name, "."))
		name++;
	while (*name) {
		size_t label = strcspn(name, ".");

		if (!label || label > LABEL_MAX || len + 1 + label + 1 > NAME_MAX_)
			return -EINVAL;
		out[len++] = (uint8_t)label;
		memcpy(out + len, name, label);
		len += label;
		name += label;
		if (*name)
			name++;
	}
	out[len++] = 0;
	return (int)len;
}

int dns_query(uint8_t query[DNS_QUERY_MAX], uint16_t id, const char *name, const char *type)
{
	static const uint8_t header[HEADER_LEN] = { 0, 0, 0x01 /* RD */, 0, 0, 1 /* question */ };
	int number = type_number(type);
	int len;

	memcpy(query, header, sizeof(header));
	query[0] = (uint8_t)(id >> 8);
	query[1] = (uint8_t)id;
	len = put_name(query + HEADER_LEN, name);
	if (number < 0 || len < 0)
		return -EINVAL;
	len += HEADER_LEN;
	query[len++] = (uint8_t)(number >> 8);
	query[len++] = (uint8_t)number;
	query[len++] = 0;
	query[len++] = 1; /* IN */
	return len;
}

static const char *fault(int *ret_r, int r, const char *what)
{
	*ret_r = r;
	return what;
}

/* Does the answer repeat the query's question?  Names compare without regard to case (RFC 4343);
 * what is folded here beyond letters' case cannot make two of our names equal. */
static int same_question(const uint8_t *query, const uint8_t *answer, size_t len)
{
	for (size_t i = HEADER_LEN; i < len; i++) {
		uint8_t a = query[i];
		uint8_t b = answer[i];

		if (a >= 'A' && a <= 'Z')
			a |= 0x20;
		if (b >= 'A' && b <= 'Z')
			b |= 0x20;
		if (a != b)
			return 0;
	}
	return 1;
}

const char *dns_answer_fault(const uint8_t *query, size_t query_len, const uint8_t *answer,
			     size_t answer_len, int *ret_r)
{
	static const char *const rcodes[16] = { NULL,	    "FORMERR",	"SERVFAIL", NULL,
						"NOTIMP",   "REFUSED",	"YXDOMAIN", "YXRRSET",
						"NXRRSET",  "NOTAUTH",	"NOTZONE",  "rcode 11",
						"rcode 12", "rcode 13", "rcode 14", "rcode 15" };

	*ret_r = 0;
	if (answer_len < HEADER_LEN)
		return fault(ret_r, -EAGAIN, "it is shorter than a DNS header");
	if (memcmp(query, answer, 2) != 0)
		return fault(ret_r, -EAGAIN, "it has another id");
	if (!(answer[2] & 0x80))
		return fault(ret_r, -EAGAIN, "it is a query");
	if (answer[2] & 0x78)
		return fault(ret_r, -EPROTO, "it has another opcode");
	if (rcodes[answer[3] & 15])
		return fault(ret_r, -EPROTO, rcodes[answer[3] & 15]);
	if (answer[4] || answer[5] != 1)
		return fault(ret_r, -EPROTO, "it does not repeat the question");
	if (answer_len < query_len || !same_question(query, answer, query_len))
		return fault(ret_r, -EAGAIN, "it answers another question");
	return NULL;
}
