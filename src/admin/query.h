/* query.h - strict reading of the query part of a request target.
 * Layer: admin.  Threads: control thread only.  Blocks: no. */
#ifndef LOOM_QUERY_H
#define LOOM_QUERY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"

#define QUERY_MAX_PARAMS 10
#define QUERY_MAX_TEXT	 512

/* The decoded parameters of one request. */
struct query {
	struct {
		const char *name;  /* borrowed from the names given to query_parse */
		const char *value; /* in text */
	} params[QUERY_MAX_PARAMS];
	unsigned int count;
	char text[QUERY_MAX_TEXT];
};

/* Decodes raw (what follows the '?'; may be empty) as application/x-www-form-urlencoded.
 * names	the parameters there are, NULL-terminated; borrowed as long as *ret is used
 * Returns 0 or -EINVAL with the error in reply: unknown, doubled or without value, or wrong
 * percent-encoding. */
int query_parse(struct query *ret, const char *raw, const char *const *names, struct reply *reply);

/* The value, or NULL if it was not given. */
const char *query_get(const struct query *query, const char *name);

/* These return 0 (*ret untouched if the parameter was not given), or -EINVAL with the error in
 * reply. */
int query_uint(const struct query *query, const char *name, uint32_t min, uint32_t max,
	       uint32_t *ret, struct reply *reply);
int query_bool(const struct query *query, const char *name, bool *ret, struct reply *reply);
/* "30s", "5m", "1h": at least a second, at most a day. */
int query_duration_s(const struct query *query, const char *name, uint64_t *ret,
		     struct reply *reply);

/* The same text outside of a query.  Returns 0 or -EINVAL. */
int query_duration_text(const char *text, uint64_t *ret_s);

/* A decimal number without sign or leading zeros.  Returns 0 or -EINVAL. */
int query_number(const char *text, uint32_t *ret);

/* Undoes the percent-encoding of len bytes of a path into ret[size].  Returns 0 or -EINVAL: wrong,
 * too long, or with a NUL. */
int query_unescape(const char *text, size_t len, char *ret, size_t size);

/* Two hexadecimal digits a byte.  Returns how many bytes, 1 to size, or -EINVAL. */
int query_hex(const char *text, uint8_t *ret, size_t size);

#endif
