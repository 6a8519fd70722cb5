/* stream.h - an answer that is written while it is sent.
 * Layer: admin.  Threads: control thread only.  Blocks: no.
 *
 * Two sides hold a stream: who writes it, and who sends it.  It is gone when both have let go. */
#ifndef LOOM_STREAM_H
#define LOOM_STREAM_H

#include <stdbool.h>
#include <stddef.h>

struct stream;

/* Held by both sides.  NULL if memory is short. */
struct stream *stream_new(void);

/* ---- who writes ---- */

void stream_write(struct stream *stream, const char *data, size_t len);
/* Bytes that wait for the client to take them. */
size_t stream_pending(const struct stream *stream);
/* The client has gone, or bytes were lost for want of memory: writing is vain. */
bool stream_broken(const struct stream *stream);
/* No more is written: the client gets the rest and the end.  The writer has let go.  NULL is fine.
 */
void stream_end(struct stream *stream);

/* ---- who sends ---- */

/* Lets go.  NULL is fine. */
void stream_close(struct stream *stream);

#endif
