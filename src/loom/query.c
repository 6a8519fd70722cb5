#include "query.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client.h"

void query_add(struct buf *path, const char *name, const char *value)
{
	char *escaped = value ? client_escape(value) : NULL;
	char mark = path->len && memchr(path->data, '?', path->len) ? '&' : '?';

	if (!value)
		return;
	path->failed |= !escaped;
	buf_printf(path, "%c%s=%s", mark, name, escaped ? escaped : "");
	free(escaped);
}

void query_add_number(struct buf *path, const char *name, const struct args_number *number)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, number->value);
	query_add(path, name, number->given ? text : NULL);
}
