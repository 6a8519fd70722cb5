/* audit_tail.h - the last lines of an append-only log of JSON lines, read from its end.
 * Layer: loomd.  Threads: any.  Blocks: reads a file. */
#ifndef LOOM_AUDIT_TAIL_H
#define LOOM_AUDIT_TAIL_H

#include <jansson.h>
#include <stddef.h>

#define AUDIT_TAIL_BYTES (4u << 20) /* further back nothing is looked for */

/* The objects whose "group" is this, the last max of them, oldest first; a line that a crash cut,
 * or that is no JSON object, is left out.  fd is borrowed.  Owned by the caller; NULL: errno. */
json_t *audit_tail(int fd, const char *group, size_t max);

/* A line of the log in the API's form: "at" in seconds, what has no place of its own in "numbers".
 * line is borrowed; NULL: out of memory. */
json_t *audit_transition(const json_t *line);

#endif
