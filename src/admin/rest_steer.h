/* rest_steer.h - what the routes of socket steering have in common.
 * Layer: admin.  Threads: control thread only.  Blocks: as struct control_steer does. */
#ifndef LOOM_REST_STEER_H
#define LOOM_REST_STEER_H

#include "json_in.h"
#include "rest.h"

/* Who steers; NULL with a 404 in the reply where no groups are configured, or where the path holds
 * what cannot be a group's name. */
const struct control_steer *rest_steer_of(struct call *call);
const struct control_steer *rest_steer_group_of(struct call *call);

/* Answers for a function of struct control_steer that returned r < 0. */
void rest_steer_failed(struct call *call, int r, const struct err *err);

/* Answers a change that returned r: with the error, or the group as it is now.  The change stands:
 * that the group cannot be read now must not make it look failed. */
void rest_steer_changed(struct call *call, int r, const struct err *err);

/* As json_in_read; *ret_root is NULL if there is no body, where none is needed. */
int rest_steer_body(struct call *call, struct json_in *members, bool needed, json_t **ret_root);

/* Text of at most size - 1 bytes; not given: "".  Returns 0 or -EINVAL with the error in reply. */
int rest_steer_text(struct call *call, const struct json_in *member, char *ret, size_t size);
/* "30s"; not given: *ret_ns untouched. */
int rest_steer_duration(struct call *call, const struct json_in *member, uint64_t *ret_ns);

#endif
