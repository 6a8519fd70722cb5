#include "table.h"

#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/buf.h"
#include "text.h"

struct table {
	const struct table_column *columns; /* borrowed */
	size_t count;
	bool colours;
	struct libscols_table *scols;
	struct libscols_line *line; /* borrowed: the row being filled */
	size_t column;		    /* its next cell */
	bool failed;
};

/* The longest heading that holds a page's columns where the page before had them. */
#define TABLE_HEADING_MAX 255

/* What libsmartcols is to print: the first page if before is NULL, or the one after it, whose
 * columns are as wide.  A column is as wide as its heading at least, so one that is not printed can
 * set it. */
static struct libscols_table *new_page(const struct table *table, struct libscols_table *before)
{
	struct libscols_table *scols = scols_new_table();
	bool headings = table->count && table->columns[0].name && !before;
	char heading[TABLE_HEADING_MAX + 1];
	size_t i;

	if (!scols)
		return NULL;
	/* The cells are encoded by text.c; a narrow terminal must not cost a digit of an address.
	 */
	scols_table_enable_noencoding(scols, 1);
	scols_table_set_termforce(scols, SCOLS_TERMFORCE_NEVER);
	scols_table_enable_colors(scols, table->colours);
	scols_table_set_column_separator(scols, "  ");
	scols_table_enable_noheadings(scols, !headings);
	for (i = 0; i < table->count; i++) {
		const char *name = table->columns[i].name ? table->columns[i].name : "";
		size_t width = before ? scols_column_get_width(scols_table_get_column(before, i))
				      : 0;

		if (width > TABLE_HEADING_MAX)
			width = TABLE_HEADING_MAX;
		snprintf(heading, sizeof(heading), "%-*s", (int)width, name);
		if (scols_table_new_column(scols, heading, 0,
					   table->columns[i].right ? SCOLS_FL_RIGHT : 0))
			continue;
		scols_unref_table(scols);
		return NULL;
	}
	return scols;
}

struct table *table_new(const struct table_column *columns, size_t count, bool colours)
{
	struct table *table = calloc(1, sizeof(*table));

	if (!table)
		return NULL;
	table->columns = columns;
	table->count = count;
	table->colours = colours;
	table->scols = new_page(table, NULL);
	if (!table->scols) {
		table_free(table);
		return NULL;
	}
	return table;
}

void table_free(struct table *table)
{
	if (!table)
		return;
	scols_unref_table(table->scols);
	free(table);
}

void table_row(struct table *table)
{
	if (!table)
		return;
	table->line = scols_table_new_line(table->scols, NULL);
	table->column = 0;
	if (!table->line)
		table->failed = true;
}

void table_cell(struct table *table, enum term_colour colour, const char *fmt, ...)
{
	struct buf safe;
	char *text = NULL;
	va_list ap;
	int n;

	if (!table || !table->line)
		return;
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0) {
		table->failed = true;
		return;
	}
	buf_init(&safe);
	text_append(&safe, text, false);
	if (buf_failed(&safe) ||
	    scols_line_set_data(table->line, table->column, safe.data ? safe.data : "") < 0)
		table->failed = true;
	else if (colour != TERM_PLAIN)
		scols_cell_set_color(scols_line_get_cell(table->line, table->column),
				     term_colour_sequence(colour));
	table->column++;
	buf_done(&safe);
	free(text);
}

int table_print(struct table *table, FILE *out)
{
	struct libscols_table *next;

	if (!table || table->failed)
		return -ENOMEM;
	/* The headings are still to come. */
	if (scols_table_is_empty(table->scols))
		return 0;
	scols_table_set_stream(table->scols, out);
	if (scols_print_table(table->scols) < 0)
		return -ENOMEM;
	next = new_page(table, table->scols);
	if (!next)
		return -ENOMEM;
	scols_unref_table(table->scols);
	table->scols = next;
	table->line = NULL;
	return 0;
}
