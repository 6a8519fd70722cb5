/* term.h - the terminal: whether there is one, its colours, and frames drawn in place.
 * Layer: loom.  Threads: one owner (the process has one terminal).  Blocks: on standard output. */
#ifndef LOOM_TERM_H
#define LOOM_TERM_H

#include <stdbool.h>
#include <stddef.h>

enum term_colour {
	TERM_PLAIN,
	TERM_GOOD,
	TERM_WARN,
	TERM_BAD,
	TERM_FAINT,
};

struct term {
	bool is_terminal; /* standard output is one that can place a cursor */
	bool colours;
};

/* Looks at standard output, TERM and NO_COLOR (https://no-color.org). */
void term_init(struct term *term);

/* "" for TERM_PLAIN. */
const char *term_colour_sequence(enum term_colour colour);

/* Switches to the alternate screen.  It is left again by term_leave(), by exit(3), and by every
 * signal that ends the process and can be caught. */
void term_enter(void);
void term_leave(void);

/* From the next frame on keys come one by one and are not echoed, Ctrl-C as one of them; Ctrl-Z and
 * the other signals' keys do what they always do.  Without a terminal on standard input: nothing.
 */
void term_want_keys(void);

#define TERM_CTRL_C 3

/* The next key; 0: none came in time, or there is no keyboard (any more). */
int term_key(int timeout_ms);

/* Of standard output, as it is now. */
void term_size(size_t *ret_rows, size_t *ret_columns);

/* Draws text over the previous frame, cut to the terminal's height. */
void term_draw(const char *text);

#endif
