/* backends.h - what the API does to backends, as functions from model to model.
 * Layer: loomd.  Threads: control thread only.  Pure but for the clock. */
#ifndef LOOM_BACKENDS_H
#define LOOM_BACKENDS_H

#include "admin/control.h"
#include "model/model.h"

/* Each changes model, or leaves it as it was and says why (errnos of control.h). */
int backends_add(struct model *model, const struct backend_request *request, uint32_t *ret_id,
		 struct err *err);
int backends_patch(struct model *model, uint32_t id, const struct backend_patch *patch,
		   struct err *err);
int backends_remove(struct model *model, uint32_t id, const struct backend_removal *removal,
		    struct err *err);

/* Deadlines fall: removed backends move to BACKEND_RESET, draining ones are marked as drained.
 * Returns whether any did, or does not any more. */
bool backends_expire(struct model *model, int64_t now_wall_s);
/* The first deadline that has not fallen; 0: none. */
int64_t backends_next_deadline(const struct model *model);

#endif
