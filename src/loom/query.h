/* query.h - a path's query, one parameter at a time.
 * Layer: loom.  Threads: one owner.  Blocks: no.
 *
 * The path is a buf; that memory is short shows at its buf_take(). */
#ifndef LOOM_QUERY_H
#define LOOM_QUERY_H

#include "args.h"
#include "base/buf.h"

/* "?name=value", or "&name=value" behind another; the value escaped.  NULL: nothing. */
void query_add(struct buf *path, const char *name, const char *value);

/* The same for an option, if it was given. */
void query_add_number(struct buf *path, const char *name, const struct args_number *number);

#endif
