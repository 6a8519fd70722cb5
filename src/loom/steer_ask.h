/* steer_ask.h - what the steering verbs have in common: their paths and their requests.
 * Layer: loom.  Threads: one owner.  Blocks: as client.h. */
#ifndef LOOM_STEER_ASK_H
#define LOOM_STEER_ASK_H

#include "session.h"
#include "steer_read.h"

/* "/steer/groups/NAME/ACTION"; group NULL: "/steer/groups"; action NULL: no more than the group.
 * The caller's, free(3); NULL with err: out of memory. */
char *steer_ask_path(const char *group, const char *action, struct err *err);

/* GETs a group's action; as client_get. */
int steer_ask(struct session *session, const char *group, const char *action, json_t **ret,
	      struct err *err);

/* GETs and reads a group, or all for NULL.  Both are the caller's: steer_read_done, json_decref. */
int steer_ask_groups(struct session *session, const char *group, json_t **ret_answer,
		     struct steer_read *ret, struct err *err);

/* POSTs body, which is taken over (NULL: an empty object), and prints the group that comes back.
 * Returns the exit code. */
int steer_ask_change(struct session *session, const char *group, const char *action, json_t *body);

/* A MEMBER as people write it: "slot:3", "id:12", "pid:4711", "gen:2", "unit:nginx.service", "3";
 * as the API has it, owned by the caller.  NULL with err: it is none, or memory is short. */
json_t *steer_ask_member(const char *member, struct err *err);

#endif
