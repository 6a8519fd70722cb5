/* The schema's tables as mdoc(7). */
#include <errno.h>
#include <string.h>

#include "config.h"
#include "config_value.h"
#include "schema.h"

/* A text may not begin a line with '.' or '\'', and backslashes are escapes. */
static void print_words(const char *text, struct buf *out)
{
	if (*text == '.' || *text == '\'')
		buf_printf(out, "\\&");
	for (; *text; text++) {
		if (*text == '\\')
			buf_printf(out, "\\e");
		else if (strncmp(text, ".  ", 3) == 0) {
			buf_printf(out, ".\n"); /* mdoc: a sentence, a line */
			text += 2;
		} else {
			buf_append(out, text, 1);
		}
	}
}

static void print_sentence(const char *before, const char *text, struct buf *out)
{
	buf_printf(out, "%s", before);
	print_words(text, out);
	buf_printf(out, ".\n");
}

/* "native, generic or offload". */
static void print_kind(const struct key *key, struct buf *out)
{
	const struct key *element = key->type == KEY_LIST ? key->keys : key;
	struct buf kind;

	buf_init(&kind);
	if (key->type == KEY_LIST && element->type == KEY_MAP) {
		buf_printf(&kind, "list");
	} else {
		value_describe(element, &kind);
		if (key->flags & KEY_SINGLE)
			buf_printf(&kind, "; or a list");
		else if (key->type == KEY_LIST)
			buf_printf(&kind, "; a list");
		if (key->flags & KEY_OR_ALL)
			buf_printf(&kind, ", or all");
	}
	if (!buf_failed(&kind))
		print_sentence("Value: ", kind.data, out);
	buf_done(&kind);
}

static void print_key(const struct key *key, const char *path, struct buf *out)
{
	buf_printf(out, ".It Ic %s\n", path);
	print_words(key->help, out);
	buf_printf(out, "\n");
	if (key->type != KEY_MAP || key->flags & KEY_OFF || schema_short(key))
		print_kind(key, out);
	if (key->fallback)
		print_sentence("Default: ", key->fallback, out);
	else if (key->otherwise)
		print_sentence("Default: ", key->otherwise, out);
	if (key->flags & KEY_REQUIRED)
		buf_printf(out, "Required.\n");
}

static void print_below(const struct key *map, const char *path, struct buf *out)
{
	for (const struct key *key = map->keys; key->name; key++) {
		struct buf own;

		buf_init(&own);
		buf_printf(&own, "%s%s%s", path, *path ? "." : "", key->name);
		if (!buf_failed(&own))
			print_key(key, own.data, out);
		if (key->type == KEY_LIST && key->keys->type == KEY_MAP)
			buf_printf(&own, "[]");
		if (buf_failed(&own))
			out->failed = true;
		else if (key->type == KEY_MAP)
			print_below(key, own.data, out);
		else if (key->type == KEY_LIST && key->keys->type == KEY_MAP)
			print_below(key->keys, own.data, out);
		buf_done(&own);
	}
}

int config_print_man(struct buf *out)
{
	buf_printf(out, ".Sh KEYS\n"
			"In a path,\n.Li []\nstands for an entry of the list before it.\n"
			".Bl -tag -width Ds\n");
	print_below(&schema_root, "", out);
	buf_printf(out, ".El\n");
	return buf_failed(out) ? -ENOMEM : 0;
}
