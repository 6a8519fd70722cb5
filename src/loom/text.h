/* text.h - text from elsewhere, made safe for a terminal.
 * Layer: loom.  Threads: any (setlocale(3) only before).  Blocks: no. */
#ifndef LOOM_TEXT_H
#define LOOM_TEXT_H

#include <stdbool.h>

#include "base/buf.h"

/* Appends text with everything a terminal could act upon, or a reader be misled by, written as
 * \xHH: control characters (C0, DEL, C1), what is not printable in the locale, and the marks that
 * reorder text (Unicode's bidirectional controls).
 * lines	newlines and tabs stay: a message of several lines */
void text_append(struct buf *buf, const char *text, bool lines);

#endif
