#include "text.h"

#include <string.h>
#include <wchar.h>
#include <wctype.h>

/* iswprint(3) lets these pass; "rm" may then read as something else. */
static bool is_reordering(wint_t c)
{
	return c == 0x061c || c == 0x200e || c == 0x200f || (c >= 0x202a && c <= 0x202e) ||
	       (c >= 0x2066 && c <= 0x2069);
}

static bool is_harmless(wchar_t c, bool lines)
{
	if (lines && (c == L'\n' || c == L'\t'))
		return true;
	return iswprint((wint_t)c) && !is_reordering((wint_t)c);
}

void text_append(struct buf *buf, const char *text, bool lines)
{
	const char *end = text + strlen(text);
	mbstate_t state = { 0 };

	while (text < end) {
		wchar_t c;
		size_t n = mbrtowc(&c, text, (size_t)(end - text), &state);
		bool valid = n != (size_t)-1 && n != (size_t)-2 && n != 0;

		if (!valid) {
			n = 1;
			memset(&state, 0, sizeof(state));
		}
		if (valid && is_harmless(c, lines)) {
			buf_append(buf, text, n);
			text += n;
			continue;
		}
		for (; n > 0; n--, text++)
			buf_printf(buf, "\\x%02x", (unsigned char)*text);
	}
}
