/* config_source.h - a file's text, and complaints that point into it.
 * Layer: config.  Threads: one owner.  Blocks: source_read reads a file. */
#ifndef LOOM_CONFIG_SOURCE_H
#define LOOM_CONFIG_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "config_arena.h"

#define SOURCE_LIMIT_BYTES (10u << 20)

struct source {
	const char *name; /* in complaints; borrowed */
	size_t order;	  /* later files override */
	const char *text; /* in the arena, NUL-terminated; NULL if it could not be read */
	size_t len;
	char *shown; /* text as complaints quote it: secrets are '*' */
};

/* A byte of a source. */
struct place {
	const struct source *source;
	size_t at;
};

struct place_lines {
	size_t line;   /* from 1 */
	size_t column; /* from 1, in characters */
};

#define COMPLAINTS_SHOWN 100

struct complaints {
	struct complaint *list; /* up to COMPLAINTS_SHOWN */
	size_t count;		/* all there were */
	bool failed;		/* an allocation failed */
};

/* Takes the text of a file ("-": standard input).  What cannot be read or is no text becomes a
 * complaint.  Returns 0, -EINVAL (complained) or -ENOMEM. */
int source_read(struct source *source, const char *path, struct arena *arena,
		struct complaints *complaints);
/* The same for text in memory. */
int source_take(struct source *source, const char *text, size_t len, struct arena *arena,
		struct complaints *complaints);

/* From now on complaints show stars instead of the bytes from `from` up to `to`. */
void source_hide(const struct source *source, size_t from, size_t to);
/* Does the line of a place hold hidden text? */
bool source_hidden_line(struct place place);

struct place_lines place_lines(struct place place);

void complaints_init(struct complaints *complaints);
void complaints_done(struct complaints *complaints);
/* Notes one; rendered later, when all that is secret is known. */
void complain(struct complaints *complaints, struct place place, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* "WHAT is given twice; first at FILE:LINE:COLUMN". */
void complain_twice(struct complaints *complaints, struct place place, const char *what,
		    struct place first);
/* Writes all in the order of the text.  Returns 0 or -ENOMEM. */
int complaints_print(struct complaints *complaints, struct buf *out);

#endif
