#include <inttypes.h>

#include "base/clock.h"
#include "config_value.h"

void value_format_duration(uint64_t ns, struct buf *out)
{
	const struct value_unit *unit = value_durations;

	while (unit[1].name && (ns % unit->size || (!ns && unit->size > NSEC_PER_SEC)))
		unit++;
	buf_printf(out, "%" PRIu64 "%s", ns / unit->size, unit->name);
}

void value_format_decimal(uint64_t millionths, struct buf *out)
{
	uint64_t part = millionths % KEY_DECIMAL_ONE;
	int digits = 6;

	buf_printf(out, "%" PRIu64, millionths / KEY_DECIMAL_ONE);
	if (!part)
		return;
	for (; part % 10 == 0; part /= 10)
		digits--;
	buf_printf(out, ".%0*" PRIu64, digits, part);
}

static void describe_list(const struct choice *choices, struct buf *out)
{
	for (const struct choice *c = choices; c->name; c++)
		buf_printf(out, "%s%s", c == choices ? "" : c[1].name ? ", " : " or ", c->name);
}

static void describe_number(const struct key *key, struct buf *out)
{
	if (key->choices) {
		describe_list(key->choices, out);
		buf_printf(out, ", or ");
	}
	buf_printf(out, "a %s from %" PRIu64 " to %" PRIu64,
		   key->flags & KEY_PRIME ? "prime number" : "whole number", key->min, key->max);
	if (key->unit)
		buf_printf(out, " (%s)", key->unit);
	if (key->flags & KEY_HEX)
		buf_printf(out, ", such as 255 or 0xff");
}

static void describe_decimal(const struct key *key, struct buf *out)
{
	buf_printf(out, "a number from ");
	value_format_decimal(key->min, out);
	buf_printf(out, " to ");
	value_format_decimal(key->max, out);
	if (key->unit)
		buf_printf(out, " (%s)", key->unit);
	buf_printf(out, ", such as 1 or 0.75");
}

/* What stands for a mapping is described as well. */
static void describe_map(const struct key *key, struct buf *out)
{
	const struct key *in_short = schema_short(key);

	if (in_short) {
		value_describe(in_short, out);
		buf_printf(out, ", or ");
	}
	buf_printf(out, "a mapping: lines of \"KEY: VALUE\"%s",
		   key->flags & KEY_OFF ? ", or off" : "");
}

static void describe_address(const struct key *key, struct buf *out)
{
	buf_printf(out, key->flags & KEY_BOUND
				? "an IPv4 or IPv6 address, 0.0.0.0, \"::\" or \"*\""
				: "an IPv4 or IPv6 address, such as 10.0.1.10 or 2001:db8::1");
}

static void describe_bytes(const struct key *key, struct buf *out)
{
	buf_printf(out, "%s%" PRIu64 " to %" PRIu64 " bytes, such as 16384 or 16KiB",
		   key->flags & KEY_POWER_OF_2 ? "a power of two from " : "", key->min, key->max);
}

static void describe_duration(const struct key *key, struct buf *out)
{
	buf_printf(out, "a duration from ");
	value_format_duration(key->min, out);
	buf_printf(out, " to ");
	value_format_duration(key->max, out);
	buf_printf(out, ", such as 300s or 5m");
}

void value_describe(const struct key *key, struct buf *out)
{
	switch (key->type) {
	case KEY_MAP:
		describe_map(key, out);
		return;
	case KEY_ADDRESS:
		describe_address(key, out);
		return;
	case KEY_DECIMAL:
		describe_decimal(key, out);
		return;
	case KEY_NUMBER:
		describe_number(key, out);
		return;
	case KEY_BYTES:
		describe_bytes(key, out);
		return;
	case KEY_DURATION:
		describe_duration(key, out);
		return;
	case KEY_ENUM:
		describe_list(key->choices, out);
		return;
	case KEY_NAME:
		buf_printf(out, "a name of 1 to %" PRIu64 " characters a-z, 0-9, '_' or '-'",
			   key->max);
		return;
	case KEY_PATH:
		buf_printf(out, "an absolute path of at most %" PRIu64 " bytes%s", key->max,
			   key->flags & KEY_OFF ? ", or off" : "");
		return;
	case KEY_TEXT:
		buf_printf(out, "a text of %" PRIu64 " to %" PRIu64 " bytes", key->min, key->max);
		return;
	default:
		break;
	}
	static const char *const fixed[] = {
		[KEY_LIST] = "a list",
		[KEY_BOOL] = "true or false",
		[KEY_NET] = "an address or a network, such as 10.0.1.10 or 10.0.2.0/28",
		[KEY_PORT] = "a port from 1 to 65535",
		[KEY_PORTS] = "a port from 1 to 65535, a range such as 8000-8010, or any",
		[KEY_STATUS] = "an HTTP status such as 200, or a range such as 200-399",
		[KEY_PORT_RANGE] = "a range of ports, such as 1024-32767",
		[KEY_LISTEN] = "ADDRESS:PORT, such as 127.0.0.1:9091 or [::1]:9091, or off",
		[KEY_NETNS] = "the name of a network namespace, an absolute path, or pid:NUMBER",
		[KEY_INTERFACE] = "the name of a network interface, such as eth0",
	};
	buf_printf(out, "%s", fixed[key->type]);
}
