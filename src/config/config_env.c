/* ${NAME} and ${NAME:-default} in values. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "config_text.h"
#include "config_value.h"

#define VALUE_LIMIT_BYTES (64u << 10)
#define NAME_LIMIT_BYTES  128

bool value_unprintable(const char *text, size_t len)
{
	for (size_t at = 0; at < len;) {
		uint32_t rune;
		size_t n = text_rune(text + at, len - at, &rune);

		if (n == 0 || rune < 0x20 || (rune >= 0x7f && rune < 0xa0))
			return true;
		at += n;
	}
	return false;
}

/* The length of a variable's name at s. */
static size_t name_length(const char *s, const char *end)
{
	static const char first[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_";
	size_t len = 0;

	while (s + len < end && s[len] &&
	       (strchr(first, s[len]) || (len && s[len] >= '0' && s[len] <= '9')))
		len++;
	return len < NAME_LIMIT_BYTES ? len : 0;
}

/* What stands between "${" and "}". */
static int expand_one(const char *inner, const char *end, struct buf *out, struct err *err)
{
	size_t len = name_length(inner, end);
	const char *rest = inner + len;
	bool has_default = end - rest >= 2 && rest[0] == ':' && rest[1] == '-';
	char name[NAME_LIMIT_BYTES];
	const char *value;

	if (len == 0 || (rest != end && !has_default))
		return err_set(err, -EINVAL,
			       "expected ${NAME} or ${NAME:-default}; write $${ for the characters "
			       "themselves");
	memcpy(name, inner, len);
	name[len] = '\0';
	value = getenv(name);
	if (has_default && (!value || !*value)) {
		buf_append(out, rest + 2, (size_t)(end - rest - 2));
		return 0;
	}
	if (!value)
		return err_set(err, -EINVAL,
			       "the environment variable %s is not set; set it, or write "
			       "${%s:-default}",
			       name, name);
	if (strlen(value) > VALUE_LIMIT_BYTES || value_unprintable(value, strlen(value)))
		return err_set(err, -EINVAL,
			       "the environment variable %s is no printable text on one line",
			       name);
	buf_append(out, value, strlen(value));
	return 0;
}

int value_expand(const char *text, size_t len, struct buf *out, struct err *err)
{
	const char *end = text + len;

	while (text < end) {
		const char *dollar = memmem(text, (size_t)(end - text), "${", 2);
		const char *close;
		bool escaped;
		int r;

		if (!dollar) {
			buf_append(out, text, (size_t)(end - text));
			break;
		}
		escaped = dollar > text && dollar[-1] == '$';
		buf_append(out, text, (size_t)(dollar - text) - escaped);
		text = dollar + 2;
		if (escaped) {
			buf_append(out, "${", 2);
			continue;
		}
		close = memchr(text, '}', (size_t)(end - text));
		if (!close)
			return err_set(err, -EINVAL,
				       "'${' without a '}'; write $${ for the "
				       "characters themselves");
		r = expand_one(text, close, out, err);
		if (r < 0)
			return r;
		text = close + 1;
		if (out->len > VALUE_LIMIT_BYTES)
			return err_set(err, -EINVAL, "more than 64 KiB after ${...} was replaced");
	}
	return buf_failed(out) ? -ENOMEM : 0;
}
