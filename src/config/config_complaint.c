/* Complaints are kept until all is read and rendered then: only then all secrets are known, and
 * they come in the order of the text. */
#include <errno.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_source.h"
#include "config_text.h"

#define LINE_SHOWN_BYTES  160
#define LINE_BEFORE_BYTES 80

struct complaint {
	struct place place;
	size_t order; /* of arrival */
	char text[512];
};

void complaints_init(struct complaints *complaints)
{
	memset(complaints, 0, sizeof(*complaints));
}

void complaints_done(struct complaints *complaints)
{
	free(complaints->list);
	complaints_init(complaints);
}

void complain(struct complaints *complaints, struct place place, const char *fmt, ...)
{
	struct complaint *complaint;
	va_list ap;

	if (!complaints->list)
		complaints->list = calloc(COMPLAINTS_SHOWN, sizeof(*complaints->list));
	if (!complaints->list)
		complaints->failed = true;
	if (complaints->list && complaints->count < COMPLAINTS_SHOWN) {
		complaint = &complaints->list[complaints->count];
		complaint->place = place;
		complaint->order = complaints->count;
		va_start(ap, fmt);
		vsnprintf(complaint->text, sizeof(complaint->text), fmt, ap);
		va_end(ap);
	}
	complaints->count++;
}

void complain_twice(struct complaints *complaints, struct place place, const char *what,
		    struct place first)
{
	struct place_lines lines = { 0 };

	/* Counting lines takes time; only what is shown is worth it. */
	if (complaints->count < COMPLAINTS_SHOWN)
		lines = place_lines(first);
	complain(complaints, place, "%s is given twice; first at %s:%zu:%zu", what,
		 first.source->name, lines.line, lines.column);
}

static int compare(const void *left, const void *right)
{
	const struct complaint *a = left;
	const struct complaint *b = right;

	if (a->place.source->order != b->place.source->order)
		return a->place.source->order < b->place.source->order ? -1 : 1;
	if (a->place.at != b->place.at)
		return a->place.at < b->place.at ? -1 : 1;
	return a->order < b->order ? -1 : 1;
}

/* The part of a line that is shown: all of it, or what surrounds `at` in a long one. */
struct excerpt {
	size_t from;
	size_t to;
	bool cut_left;
	bool cut_right;
};

static struct excerpt excerpt_of(struct place place)
{
	const char *text = place.source->text;
	struct excerpt e = { place.at, place.at, false, false };

	while (e.from > 0 && text[e.from - 1] != '\n' && place.at - e.from < LINE_BEFORE_BYTES)
		e.from--;
	while (e.from < place.at && ((unsigned char)text[e.from] & 0xc0) == 0x80)
		e.from++;
	if (e.from == 0 && place.at >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		e.from = 3; /* a byte order mark takes no column */
	e.cut_left = e.from > 3 && text[e.from - 1] != '\n';
	while (e.to < place.source->len && text[e.to] != '\n' && e.to - e.from < LINE_SHOWN_BYTES)
		e.to++;
	while (e.to > place.at && e.to < place.source->len &&
	       ((unsigned char)text[e.to] & 0xc0) == 0x80)
		e.to--;
	e.cut_right = e.to < place.source->len && text[e.to] != '\n';
	return e;
}

/* What would move a terminal's cursor, or is no text, is shown as '?'. */
static void print_excerpt(struct place place, const struct excerpt *e, struct buf *out)
{
	const char *shown = place.source->shown;
	size_t at = e->from;

	buf_printf(out, "%s", e->cut_left ? "..." : "");
	while (at < e->to) {
		uint32_t rune;
		size_t len = text_rune(shown + at, e->to - at, &rune);

		if (len == 0 || (rune < 0x20 && rune != '\t') || (rune >= 0x7f && rune < 0xa0)) {
			if (rune != '\r' || len == 0)
				buf_append(out, "?", 1);
			at += len ? len : 1;
			continue;
		}
		buf_append(out, shown + at, len);
		at += len;
	}
	buf_printf(out, "%s\n", e->cut_right ? "..." : "");
}

static void print_caret(struct place place, const struct excerpt *e, struct buf *out)
{
	const char *text = place.source->text;

	buf_printf(out, "%s", e->cut_left ? "   " : "");
	for (size_t i = e->from; i < place.at; i++)
		if (((unsigned char)text[i] & 0xc0) != 0x80)
			buf_append(out, text[i] == '\t' ? "\t" : " ", 1);
	buf_append(out, "^\n", 2);
}

static void print_one(const struct complaint *complaint, struct buf *out)
{
	struct place place = complaint->place;
	struct place_lines lines = place_lines(place);
	struct excerpt e;

	buf_printf(out, "%s:%zu:%zu: error: %s\n", place.source->name, lines.line, lines.column,
		   complaint->text);
	if (!place.source->text)
		return;
	e = excerpt_of(place);
	print_excerpt(place, &e, out);
	print_caret(place, &e, out);
}

int complaints_print(struct complaints *complaints, struct buf *out)
{
	size_t shown = complaints->count;

	if (complaints->failed)
		return -ENOMEM;
	if (shown > COMPLAINTS_SHOWN)
		shown = COMPLAINTS_SHOWN;
	if (shown)
		qsort(complaints->list, shown, sizeof(*complaints->list), compare);
	for (size_t i = 0; i < shown; i++)
		print_one(&complaints->list[i], out);
	if (complaints->count > shown)
		buf_printf(out,
			   "%zu more errors are not shown; mend the first %d and check again\n",
			   complaints->count - shown, COMPLAINTS_SHOWN);
	return buf_failed(out) ? -ENOMEM : 0;
}
