/* table.h - a table of text on libsmartcols.
 * Layer: loom.  Threads: one owner.  Blocks: on the stream.
 *
 * Cells are made safe for a terminal (text.h).  A failed allocation is remembered and table_print()
 * tells. */
#ifndef LOOM_TABLE_H
#define LOOM_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

#include "term.h"

struct table;

struct table_column {
	const char *name; /* NULL: a table without headings */
	bool right;
};

/* columns: borrowed for the table's life.  colours: let cells have any.  NULL if memory is short;
 * the other functions accept that. */
struct table *table_new(const struct table_column *columns, size_t count, bool colours);
void table_free(struct table *table);

/* The cells that follow belong to a new row, filled from the left. */
void table_row(struct table *table);
void table_cell(struct table *table, enum term_colour colour, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Prints the rows and forgets them: rows that follow continue the table, under the same headings
 * and at least as wide.  Returns 0 or -ENOMEM. */
int table_print(struct table *table, FILE *out);

#endif
