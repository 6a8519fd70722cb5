#include "config_value.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config_text.h"

#define PID_MAX 4194304 /* PID_MAX_LIMIT in include/linux/threads.h */

const struct value_unit value_durations[] = {
	{ "d", 86400 * NSEC_PER_SEC }, { "h", 3600 * NSEC_PER_SEC }, { "m", 60 * NSEC_PER_SEC },
	{ "s", NSEC_PER_SEC },	       { "ms", NSEC_PER_MSEC },	     { 0 },
};

static const struct value_unit sizes[] = {
	{ "GiB", 1u << 30 }, { "MiB", 1u << 20 }, { "KiB", 1u << 10 }, { "", 1 }, { 0 },
};

/* "expected WHAT" with more after it.  Returns -EINVAL. */
static int expected(const struct key *key, struct err *err, const char *more)
{
	struct buf what;

	buf_init(&what);
	value_describe(key, &what);
	err_set(err, -EINVAL, "expected %s%s", what.data ? what.data : "another value", more);
	buf_done(&what);
	return -EINVAL;
}

/* Decimal digits up to `end`, without leading zeros (some read "010" as 8). */
static int parse_digits(const char *text, const char **ret_end, uint64_t *ret)
{
	const char *s = text;
	uint64_t value = 0;

	if (!isdigit((unsigned char)*s) || (*s == '0' && isdigit((unsigned char)s[1])))
		return -EINVAL;
	for (; isdigit((unsigned char)*s); s++)
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, *s - '0', &value))
			return -ERANGE;
	*ret_end = s;
	*ret = value;
	return 0;
}

static int parse_hex(const char *text, uint64_t *ret)
{
	size_t len = strspn(text + 2, "0123456789abcdefABCDEF");

	if (len == 0 || len > 16 || text[2 + len])
		return -EINVAL;
	*ret = strtoull(text + 2, NULL, 16);
	return 0;
}

static bool is_prime(uint64_t n)
{
	for (uint64_t d = 2; d * d <= n; d++)
		if (n % d == 0)
			return false;
	return n >= 2;
}

static uint64_t nearest_prime(uint64_t n, const struct key *key)
{
	for (uint64_t distance = 0;; distance++) {
		if (n >= distance + key->min && is_prime(n - distance))
			return n - distance;
		if (n + distance <= key->max && is_prime(n + distance))
			return n + distance;
	}
}

static int parse_number(const struct key *key, const char *text, uint64_t *ret, struct err *err)
{
	bool hex = key->flags & KEY_HEX && strncmp(text, "0x", 2) == 0;
	const char *end = "";
	char more[64];

	for (const struct choice *c = key->choices; c && c->name; c++) {
		if (strcmp(c->name, text) == 0) {
			*ret = (uint64_t)c->value;
			return 0;
		}
	}
	if ((hex ? parse_hex(text, ret) : parse_digits(text, &end, ret)) < 0 || *end ||
	    *ret < key->min || *ret > key->max)
		return expected(key, err, "");
	if (key->flags & KEY_PRIME && !is_prime(*ret)) {
		snprintf(more, sizeof(more), "; the nearest is %" PRIu64, nearest_prime(*ret, key));
		return expected(key, err, more);
	}
	return 0;
}

/* Digits, or digits with a dot and one to six more. */
static int parse_decimal(const struct key *key, const char *text, uint64_t *ret, struct err *err)
{
	uint64_t unit = KEY_DECIMAL_ONE;
	const char *end;
	bool good = parse_digits(text, &end, ret) == 0 && !__builtin_mul_overflow(*ret, unit, ret);

	if (good && *end == '.') {
		do {
			end++;
			unit /= 10;
			good = isdigit((unsigned char)*end) && unit &&
			       !__builtin_add_overflow(*ret, unit * (uint64_t)(*end - '0'), ret);
		} while (good && end[1]);
		end += good;
	}
	return good && !*end && *ret >= key->min && *ret <= key->max ? 0 : expected(key, err, "");
}

/* Digits and one of units. */
static int parse_unit(const char *text, const struct value_unit *units, uint64_t *ret)
{
	const char *end;
	int r = parse_digits(text, &end, ret);

	for (; r == 0 && units->name; units++)
		if (strcmp(end, units->name) == 0)
			return __builtin_mul_overflow(*ret, units->size, ret) ? -ERANGE : 0;
	return r < 0 ? r : -EINVAL;
}

static int parse_bytes(const struct key *key, const char *text, uint64_t *ret, struct err *err)
{
	if (parse_unit(text, sizes, ret) < 0 || *ret < key->min || *ret > key->max ||
	    (key->flags & KEY_POWER_OF_2 && *ret & (*ret - 1)))
		return expected(key, err, "");
	return 0;
}

static int parse_duration(const struct key *key, const char *text, uint64_t *ret, struct err *err)
{
	const char *end;

	if (parse_digits(text, &end, ret) == 0 && !*end && *ret)
		return expected(key, err, "; the unit is missing: ms, s, m, h or d");
	/* 0 is 0 in any unit. */
	if ((strcmp(text, "0") != 0 && parse_unit(text, value_durations, ret) < 0) ||
	    *ret < key->min || *ret > key->max)
		return expected(key, err, "");
	return 0;
}

static int parse_enum(const struct key *key, const char *text, struct value *ret, struct err *err)
{
	char more[64] = "";

	for (const struct choice *c = key->choices; c->name; c++) {
		if (strcmp(c->name, text) == 0) {
			ret->number = (uint64_t)c->value;
			return 0;
		}
		if (!more[0] && text_near(text, c->name))
			snprintf(more, sizeof(more), "; did you mean '%s'?", c->name);
	}
	return expected(key, err, more);
}

static int parse_bool(const struct key *key, const char *text, uint64_t *ret, struct err *err)
{
	*ret = strcmp(text, "true") == 0;
	return *ret || strcmp(text, "false") == 0 ? 0 : expected(key, err, "");
}

bool value_is_loopback(const struct addr *addr)
{
	const struct addr v6 = { { 0, 0, 0, htonl(1) } };

	return addr_is_v4(addr) ? ntohl(addr_v4(addr)) >> 24 == 127 : addr_equal(addr, &v6);
}

/* Why nobody can be reached under such an address. */
static int check_unicast(const struct key *key, const struct addr *addr, struct err *err)
{
	const char *why = "a multicast, broadcast or reserved address names no single host; give a "
			  "unicast address";

	if (addr_is_unicast(addr) || (key->flags & KEY_LOCAL && value_is_loopback(addr)) ||
	    (key->flags & KEY_BOUND && addr_is_any(addr)))
		return 0;
	if (addr_is_any(addr))
		why = "the unspecified address names no host; give one address";
	else if (value_is_loopback(addr))
		why = "a loopback address never leaves its host, so no packet of a network is for "
		      "it; "
		      "give the address the network knows";
	return err_set(err, -EINVAL, "%s", why);
}

static int parse_port(const char *text, uint64_t *ret)
{
	const char *end;
	int r = parse_digits(text, &end, ret);

	return r < 0 || *end || *ret < 1 || *ret > 65535 ? -EINVAL : 0;
}

/* ADDRESS:PORT, [ADDRESS]:PORT. */
static int parse_listen(const char *text, struct value *ret)
{
	const char *colon = strrchr(text, ':');
	char host[ADDR_TEXT_LEN];
	const char *from = text;
	uint64_t port;
	size_t len;

	if (!colon || parse_port(colon + 1, &port) < 0)
		return -EINVAL;
	len = (size_t)(colon - text);
	if (*text == '[' && len > 2 && text[len - 1] == ']') {
		from++;
		len -= 2;
	}
	if (len == 0 || len >= sizeof(host))
		return -EINVAL;
	memcpy(host, from, len);
	host[len] = '\0';
	/* An IPv6 address needs its brackets, an IPv4 address has none. */
	if (addr_parse(host, &ret->net.addr) < 0 || (from == text) == (strchr(host, ':') != NULL))
		return -EINVAL;
	ret->first = (uint16_t)port;
	return 0;
}

static int parse_address(const struct key *key, const char *text, struct value *ret,
			 struct err *err)
{
	struct addr_net *net = &ret->net;
	struct value port;

	if (key->flags & KEY_BOUND && strcmp(text, "*") == 0) {
		ret->number = 1;
		return 0;
	}
	if (addr_parse(text, &net->addr) == 0) {
		net->length = addr_is_v4(&net->addr) ? 32 : 128;
		return check_unicast(key, &net->addr, err);
	}
	if (parse_listen(text, &port) == 0)
		return expected(key, err, "; the port does not belong here");
	if (addr_net_parse(text, net) == 0)
		return expected(key, err, "; one address, not a network");
	return expected(key, err, "");
}

static int parse_net(const struct key *key, const char *text, struct addr_net *ret, struct err *err)
{
	switch (addr_net_parse(text, ret)) {
	case 0:
		return key->flags & KEY_CLIENTS ? 0 : check_unicast(key, &ret->addr, err);
	case -ERANGE:
		return expected(key, err, "; the prefix is too long for the family");
	case -EDOM:
		return expected(key, err, "; bits behind the prefix are set");
	default:
		return expected(key, err, "");
	}
}

static int parse_port_range(const struct key *key, const char *text, struct value *ret,
			    struct err *err)
{
	const char *dash = strchr(text, '-');
	uint64_t first, last;
	char low[8] = "";

	if (!dash || dash - text >= (ptrdiff_t)sizeof(low))
		return expected(key, err, "");
	memcpy(low, text, (size_t)(dash - text));
	if (parse_port(low, &first) < 0 || parse_port(dash + 1, &last) < 0)
		return expected(key, err, "");
	if (first > last)
		return expected(key, err, "; the lower port comes first");
	ret->first = (uint16_t)first;
	ret->last = (uint16_t)last;
	return 0;
}

/* One port is a range of one; any is 0. */
static int parse_ports(const struct key *key, const char *text, struct value *ret, struct err *err)
{
	if (strcmp(text, "any") == 0)
		return 0;
	if (strchr(text, '-'))
		return parse_port_range(key, text, ret, err);
	if (parse_port(text, &ret->number) < 0)
		return expected(key, err, "");
	ret->first = ret->last = (uint16_t)ret->number;
	return 0;
}

static int parse_status(const struct key *key, const char *text, struct value *ret, struct err *err)
{
	uint64_t first = 0, last;
	const char *end;
	int r = parse_digits(text, &end, &first);

	last = first;
	if (r == 0 && *end == '-')
		r = parse_digits(end + 1, &end, &last);
	if (r < 0 || *end || first < 100 || last > 599 || first > last)
		return expected(key, err, "");
	ret->first = (uint16_t)first;
	ret->last = (uint16_t)last;
	return 0;
}

static bool is_name(const struct key *key, const char *text)
{
	size_t len = strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789_-");

	return text[len] == '\0' && len >= key->min && len <= key->max;
}

/* What dev_valid_name() in net/core/dev.c takes, and no more than text. */
static bool is_interface(const char *text)
{
	size_t len = strlen(text);

	return len > 0 && len < 16 && !strpbrk(text, "/: \t") && strcmp(text, ".") != 0 &&
	       strcmp(text, "..") != 0;
}

static bool is_path(const struct key *key, const char *text)
{
	size_t len = strlen(text);

	if (key->flags & KEY_OFF && strcmp(text, "off") == 0)
		return true;
	return text[0] == '/' && len >= key->min && len <= key->max;
}

/* What may be the name of a file below /run/netns; a path; a process. */
static bool is_netns(const char *text)
{
	const char *end;
	uint64_t pid;

	if (strncmp(text, "pid:", 4) == 0)
		return parse_digits(text + 4, &end, &pid) == 0 && !*end && pid > 0 &&
		       pid <= PID_MAX;
	if (text[0] == '/')
		return strlen(text) < 4096 && text[1];
	return text[0] && strlen(text) < 256 && !strchr(text, '/') && strcmp(text, ".") != 0 &&
	       strcmp(text, "..") != 0;
}

static int parse_text(const struct key *key, const char *text, struct value *ret, struct err *err)
{
	size_t len = strlen(text);
	bool good = len >= key->min && len <= key->max;

	if (key->type == KEY_NAME)
		good = is_name(key, text);
	else if (key->type == KEY_INTERFACE)
		good = is_interface(text);
	else if (key->type == KEY_PATH)
		good = is_path(key, text);
	else if (key->type == KEY_NETNS)
		good = is_netns(text);
	ret->text = text;
	return good ? 0 : expected(key, err, "");
}

int value_parse(const struct key *key, const char *text, struct value *ret, struct err *err)
{
	memset(ret, 0, sizeof(*ret));
	switch (key->type) {
	case KEY_BOOL:
		return parse_bool(key, text, &ret->number, err);
	case KEY_NUMBER:
		return parse_number(key, text, &ret->number, err);
	case KEY_DECIMAL:
		return parse_decimal(key, text, &ret->number, err);
	case KEY_BYTES:
		return parse_bytes(key, text, &ret->number, err);
	case KEY_DURATION:
		return parse_duration(key, text, &ret->number, err);
	case KEY_ENUM:
		return parse_enum(key, text, ret, err);
	case KEY_ADDRESS:
		return parse_address(key, text, ret, err);
	case KEY_NET:
		return parse_net(key, text, &ret->net, err);
	case KEY_PORT:
		return parse_port(text, &ret->number) < 0 ? expected(key, err, "") : 0;
	case KEY_PORTS:
		return parse_ports(key, text, ret, err);
	case KEY_STATUS:
		return parse_status(key, text, ret, err);
	case KEY_PORT_RANGE:
		return parse_port_range(key, text, ret, err);
	case KEY_LISTEN:
		if (strcmp(text, "off") == 0)
			return 0;
		return parse_listen(text, ret) < 0 ? expected(key, err, "") : 0;
	default:
		return parse_text(key, text, ret, err);
	}
}
