/* buf.h - a growing byte buffer for text.
 * Layer: base.  Threads: one owner.  Blocks: no.
 *
 * A failed allocation is remembered: appends become no-ops and buf_failed() tells. */
#ifndef LOOM_BUF_H
#define LOOM_BUF_H

#include <stdbool.h>
#include <stddef.h>

struct buf {
	char *data; /* owned; NUL-terminated once anything was appended */
	size_t len;
	size_t cap;
	bool failed;
};

void buf_init(struct buf *buf);
void buf_done(struct buf *buf);
void buf_append(struct buf *buf, const void *data, size_t len);
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static inline bool buf_failed(const struct buf *buf)
{
	return buf->failed;
}

/* Hands the NUL-terminated text over to the caller, who frees it; buf is empty afterwards.
 * NULL if an allocation failed. */
char *buf_take(struct buf *buf);

#endif
