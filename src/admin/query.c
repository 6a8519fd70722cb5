#include "query.h"

#include <errno.h>
#include <string.h>

#include "near.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Undoes percent-encoding in place.  A NUL would end the text early: it is refused. */
static int decode(char *text)
{
	char *to = text;

	for (; *text; text++, to++) {
		int high, low;

		*to = *text == '+' ? ' ' : *text;
		if (*text != '%')
			continue;
		high = hex_digit(text[1]);
		low = high < 0 ? -1 : hex_digit(text[2]);
		if (low < 0 || (high == 0 && low == 0))
			return -EINVAL;
		*to = (char)(high << 4 | low);
		text += 2;
	}
	*to = '\0';
	return 0;
}

static int param_add(struct query *query, const char *name, const char *value,
		     const char *const *names, struct reply *reply)
{
	char hint[NEAR_HINT_LEN];
	size_t i;

	for (i = 0; names[i] && strcmp(names[i], name) != 0; i++)
		;
	if (!names[i]) {
		reply_error(reply, REPLY_BAD_REQUEST, name,
			    "cannot read the query: unknown parameter \"%s\"; %s", name,
			    near_hint(name, names, hint));
		return -EINVAL;
	}
	if (query_get(query, name)) {
		reply_error(reply, REPLY_BAD_REQUEST, name,
			    "cannot read the query: \"%s\" is given twice; give it once", name);
		return -EINVAL;
	}
	query->params[query->count].name = names[i];
	query->params[query->count++].value = value;
	return 0;
}

int query_parse(struct query *ret, const char *raw, const char *const *names, struct reply *reply)
{
	char *rest = ret->text;
	char *pair;

	ret->count = 0;
	if (!*raw)
		return 0;
	if (strlen(raw) >= sizeof(ret->text)) {
		reply_error(reply, REPLY_BAD_REQUEST, NULL,
			    "cannot read the query: it is longer than %d bytes; shorten it",
			    QUERY_MAX_TEXT - 1);
		return -EINVAL;
	}
	strcpy(ret->text, raw);
	while ((pair = strsep(&rest, "&"))) {
		char *value = strchr(pair, '=');

		if (value)
			*value++ = '\0';
		if (decode(pair) < 0 || !value || decode(value) < 0) {
			reply_error(reply, REPLY_BAD_REQUEST, NULL,
				    "cannot read the query: \"%s\" is not NAME=VALUE with correct "
				    "percent-encoding; correct it",
				    pair);
			return -EINVAL;
		}
		if (param_add(ret, pair, value, names, reply) < 0)
			return -EINVAL;
	}
	return 0;
}

const char *query_get(const struct query *query, const char *name)
{
	for (unsigned int i = 0; i < query->count; i++)
		if (strcmp(query->params[i].name, name) == 0)
			return query->params[i].value;
	return NULL;
}

int query_number(const char *text, uint32_t *ret)
{
	uint64_t number = 0;

	if (!*text || (text[0] == '0' && text[1]))
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		number = number * 10 + (uint64_t)(*text - '0');
		if (number > UINT32_MAX)
			return -EINVAL;
	}
	*ret = (uint32_t)number;
	return 0;
}

int query_uint(const struct query *query, const char *name, uint32_t min, uint32_t max,
	       uint32_t *ret, struct reply *reply)
{
	const char *text = query_get(query, name);
	uint32_t number;

	if (!text)
		return 0;
	if (query_number(text, &number) < 0 || number < min || number > max) {
		reply_error(reply, REPLY_BAD_REQUEST, name,
			    "cannot use %s=%s: it is out of range; give an integer from %u to %u",
			    name, text, min, max);
		return -EINVAL;
	}
	*ret = number;
	return 0;
}

int query_bool(const struct query *query, const char *name, bool *ret, struct reply *reply)
{
	const char *text = query_get(query, name);

	if (!text)
		return 0;
	*ret = strcmp(text, "true") == 0;
	if (*ret || strcmp(text, "false") == 0)
		return 0;
	reply_error(reply, REPLY_BAD_REQUEST, name,
		    "cannot use %s=%s: it is no truth value; give true or false", name, text);
	return -EINVAL;
}

static uint64_t unit_seconds(char unit)
{
	switch (unit) {
	case 's':
		return 1;
	case 'm':
		return 60;
	case 'h':
		return 3600;
	default:
		return 0;
	}
}

int query_duration_text(const char *text, uint64_t *ret_s)
{
	size_t len = strlen(text);
	char digits[11];
	uint32_t number;
	uint64_t seconds = 0;

	if (len >= 2 && len <= sizeof(digits)) {
		memcpy(digits, text, len - 1);
		digits[len - 1] = '\0';
		if (query_number(digits, &number) == 0)
			seconds = number * unit_seconds(text[len - 1]);
	}
	if (seconds < 1 || seconds > 24 * 3600ull)
		return -EINVAL;
	*ret_s = seconds;
	return 0;
}

int query_duration_s(const struct query *query, const char *name, uint64_t *ret,
		     struct reply *reply)
{
	const char *text = query_get(query, name);

	if (text && query_duration_text(text, ret) < 0) {
		reply_error(
			reply, REPLY_BAD_REQUEST, name,
			"cannot use %s=%s: it is no duration from 1s to 24h; write 30s, 5m or 1h",
			name, text);
		return -EINVAL;
	}
	return 0;
}

int query_unescape(const char *text, size_t len, char *ret, size_t size)
{
	if (len >= size * 3)
		return -EINVAL;
	for (; len; text++, len--) {
		char byte = *text;

		if (byte == '%') {
			int high = len > 2 ? hex_digit(text[1]) : -1;
			int low = high < 0 ? -1 : hex_digit(text[2]);

			if (low < 0)
				return -EINVAL;
			byte = (char)(high << 4 | low);
			text += 2;
			len -= 2;
		}
		if (!byte || size-- <= 1)
			return -EINVAL;
		*ret++ = byte;
	}
	*ret = '\0';
	return 0;
}

int query_hex(const char *text, uint8_t *ret, size_t size)
{
	size_t len = strlen(text);

	if (!len || len % 2 || len / 2 > size)
		return -EINVAL;
	for (; *text; text += 2) {
		int high = hex_digit(text[0]);
		int low = hex_digit(text[1]);

		if (high < 0 || low < 0)
			return -EINVAL;
		*ret++ = (uint8_t)(high << 4 | low);
	}
	return (int)(len / 2);
}
