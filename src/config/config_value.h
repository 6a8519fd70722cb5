/* config_value.h - a scalar's text to a value of its key's type.
 * Layer: config.  Blocks: no; value_expand reads the environment. */
#ifndef LOOM_CONFIG_VALUE_H
#define LOOM_CONFIG_VALUE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "schema.h"

/* Units of durations in ns, the largest first; ends with {0}. */
struct value_unit {
	const char *name;
	uint64_t size;
};
extern const struct value_unit value_durations[];

struct value {
	uint64_t number;     /* BOOL, NUMBER, DECIMAL (millionths), BYTES, DURATION (ns), PORT, ENUM
				(the choice's value); ADDRESS: 1 for "*" */
	const char *text;    /* NAME, INTERFACE, PATH, TEXT: borrowed from what was parsed */
	struct addr_net net; /* ADDRESS and LISTEN: a host */
	uint16_t first;	     /* PORT_RANGE; LISTEN: the port, 0: off */
	uint16_t last;
};

/* Returns 0, or -EINVAL with what was expected in err; the text itself is not quoted there. */
int value_parse(const struct key *key, const char *text, struct value *ret, struct err *err);

/* "a duration from 1s to 30d, such as 300s or 5m": what a value of the key looks like. */
void value_describe(const struct key *key, struct buf *out);

/* "1.5" of millionths. */
void value_format_decimal(uint64_t millionths, struct buf *out);

/* "5m", for messages and the manual. */
void value_format_duration(uint64_t ns, struct buf *out);

/* Replaces ${NAME} and ${NAME:-default} ("$${" stands for "${").  Returns 0, -EINVAL with err, or
 * -ENOMEM. */
int value_expand(const char *text, size_t len, struct buf *out, struct err *err);

/* 127.0.0.0/8 or ::1. */
bool value_is_loopback(const struct addr *addr);

/* Does text hold a control character, or bytes that are no UTF-8? */
bool value_unprintable(const char *text, size_t len);

#endif
