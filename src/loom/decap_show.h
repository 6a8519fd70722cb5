/* decap_show.h - what loom decap has set up, for a person or a program.
 * Layer: loom.  Threads: one.  Blocks: on standard output. */
#ifndef LOOM_DECAP_SHOW_H
#define LOOM_DECAP_SHOW_H

#include "planes/decap/decap.h"
#include "session.h"

/* Prints on standard output.
 * findings	borrowed: a member of the JSON; NULL: none
 * 0 or -ENOMEM. */
int decap_show(struct session *session, const struct decap_state *state, json_t *findings,
	       struct err *err);

#endif
