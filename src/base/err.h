/* err.h - an error a person will read.
 * Layer: base.  Threads: one owner.  Blocks: no.
 *
 * Functions return 0 or -errno.  Where a sentence helps, a struct err * comes last; it may be NULL.
 */
#ifndef LOOM_ERR_H
#define LOOM_ERR_H

struct err {
	int code;	/* -errno, 0 while nothing went wrong */
	char text[512]; /* "cannot VERB OBJECT: REASON; NEXT STEP", no newline */
};

/* Sets code and text; a text that does not fit is cut.  Returns code, so that callers can
 * "return err_set(...)".  err may be NULL. */
int err_set(struct err *err, int code, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Puts a formatted prefix and ": " before the text that is there.  Returns err's code (0 for NULL).
 */
int err_prefix(struct err *err, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
