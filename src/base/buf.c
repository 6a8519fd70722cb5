#include "buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void buf_init(struct buf *buf)
{
	memset(buf, 0, sizeof(*buf));
}

void buf_done(struct buf *buf)
{
	free(buf->data);
	buf_init(buf);
}

/* Makes room for len more bytes and the NUL. */
static bool buf_reserve(struct buf *buf, size_t len)
{
	size_t cap = buf->cap ? buf->cap : 256;
	char *data;

	if (buf->failed)
		return false;
	while (cap - buf->len <= len)
		cap *= 2;
	if (cap == buf->cap)
		return true;
	data = realloc(buf->data, cap);
	if (!data) {
		buf->failed = true;
		return false;
	}
	buf->data = data;
	buf->cap = cap;
	return true;
}

void buf_append(struct buf *buf, const void *data, size_t len)
{
	if (!buf_reserve(buf, len))
		return;
	memcpy(buf->data + buf->len, data, len);
	buf->len += len;
	buf->data[buf->len] = '\0';
}

/* What fits into the room that is there, as nearly all does, is formatted once. */
void buf_printf(struct buf *buf, const char *fmt, ...)
{
	va_list ap;
	int n;

	if (!buf_reserve(buf, 64))
		return;
	va_start(ap, fmt);
	n = vsnprintf(buf->data + buf->len, buf->cap - buf->len, fmt, ap);
	va_end(ap);
	if (n >= 0 && (size_t)n >= buf->cap - buf->len) {
		buf->data[buf->len] = '\0';
		if (!buf_reserve(buf, (size_t)n))
			return;
		va_start(ap, fmt);
		vsnprintf(buf->data + buf->len, (size_t)n + 1, fmt, ap);
		va_end(ap);
	}
	if (n >= 0)
		buf->len += (size_t)n;
	else
		buf->data[buf->len] = '\0';
}

char *buf_take(struct buf *buf)
{
	char *data;

	if (!buf_reserve(buf, 0)) {
		buf_done(buf);
		return NULL;
	}
	data = buf->data;
	data[buf->len] = '\0';
	buf_init(buf);
	return data;
}
