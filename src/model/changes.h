/* changes.h - what the API has changed relative to the configuration.
 * Layer: model.  Pure.  Threads: any. */
#ifndef LOOM_CHANGES_H
#define LOOM_CHANGES_H

#include "base/buf.h"
#include "model.h"

/* One backend that differs. */
struct model_change {
	char *service; /* owned */
	enum model_change_kind {
		CHANGE_ADDED, /* backend is whole */
		CHANGE_SET,  /* id, address and port name one of the configuration; weight and state
				differ */
		CHANGE_GONE, /* the configuration has it, the model not any more */
	} kind;
	struct backend backend;
};

struct model_changes {
	struct model_change *list; /* owned */
	size_t count;
};

/* What turns configured into current.  0 or -ENOMEM. */
int model_changes_diff(const struct model *configured, const struct model *current,
		       struct model_changes **ret);
/* Appends a copy of change.  For whoever reads changes from a file. */
int model_changes_add(struct model_changes *changes, const char *service,
		      enum model_change_kind kind, const struct backend *backend);
/* Applies what fits; what does not (its service or backend is not configured any more, its address
 * has become one of this host's) gets a line in dropped.  An added backend whose id is taken by now
 * gets the lowest free one.  What the API has set wins over what the configuration says by now.  0
 * or -ENOMEM: model is part-way, of use to nobody. */
int model_changes_apply(struct model *model, const struct model_changes *changes,
			struct buf *dropped);
void model_changes_free(struct model_changes *changes);

/* Backends of current's services that next does not have any more stay in it as BACKEND_REMOVED,
 * until their connections have ended.  0 or -ENOMEM. */
int model_carry_over(const struct model *current, struct model *next);

/* One line per difference, for people. */
void model_describe_difference(const struct model *old, const struct model *new, struct buf *out);

#endif
