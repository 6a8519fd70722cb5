/* steer_screen.h - a steering group on a live screen: a row per member, rates between two readings.
 * Layer: loom.  Threads: one owner.  Blocks: on the stream. */
#ifndef LOOM_STEER_SCREEN_H
#define LOOM_STEER_SCREEN_H

#include <stdio.h>

#include "session.h"
#include "steer_read.h"

struct steer_screen; /* remembers the reading before */

struct steer_screen *steer_screen_new(void); /* NULL: out of memory */
void steer_screen_free(struct steer_screen *screen);

/* A whole frame, as wide as columns lets it be.  The reading becomes the one before.
 * 0 or -ENOMEM. */
int steer_screen_draw(struct steer_screen *screen, const struct session *session,
		      const struct steer_read_group *group, size_t columns, FILE *out,
		      struct err *err);

/* The same in one line, for what is no terminal. */
int steer_screen_line(struct steer_screen *screen, const struct session *session,
		      const struct steer_read_group *group, FILE *out, struct err *err);

#endif
