#include "table.h"

#include <errno.h>
#include <libsmartcols/libsmartcols.h>
#include <stdarg.h>
#include <stdlib.h>

#include "base/buf.h"
#include "text.h"

struct table {
	struct libscols_table *scols;
	struct libscols_line *line; /* borrowed: the row being filled */
	size_t column;		    /* its next cell */
	bool failed;
};

struct table *table_new(const struct table_column *columns, size_t count, bool colours)
{
	struct table *table = calloc(1, sizeof(*table));
	size_t i;

	if (!table)
		return NULL;
	table->scols = scols_new_table();
	if (!table->scols)
		goto fail;
	/* The cells are encoded by text.c; a narrow terminal must not cost a digit of an address.
	 */
	scols_table_enable_noencoding(table->scols, 1);
	scols_table_set_termforce(table->scols, SCOLS_TERMFORCE_NEVER);
	scols_table_enable_colors(table->scols, colours);
	scols_table_set_column_separator(table->scols, "  ");
	scols_table_enable_noheadings(table->scols, count && !columns[0].name);
	for (i = 0; i < count; i++) {
		if (!scols_table_new_column(table->scols, columns[i].name ? columns[i].name : "", 0,
					    columns[i].right ? SCOLS_FL_RIGHT : 0))
			goto fail;
	}
	return table;
fail:
	table_free(table);
	return NULL;
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

/* Rows that follow keep the columns where they are. */
static void keep_widths(struct libscols_table *scols)
{
	size_t i;

	for (i = 0; i < scols_table_get_ncols(scols); i++) {
		struct libscols_column *column = scols_table_get_column(scols, i);

		scols_column_set_whint(column, (double)scols_column_get_width(column));
	}
}

int table_print(struct table *table, FILE *out)
{
	if (!table || table->failed)
		return -ENOMEM;
	scols_table_set_stream(table->scols, out);
	if (scols_table_is_empty(table->scols)) {
		/* libsmartcols prints nothing at all for no rows. */
		return 0;
	}
	if (scols_print_table(table->scols) < 0)
		return -ENOMEM;
	keep_widths(table->scols);
	scols_table_remove_lines(table->scols);
	scols_table_enable_noheadings(table->scols, 1);
	table->line = NULL;
	return 0;
}
