/* steer_internal.h - what libloom's own files share: the handle and its connection.
 * Layer: libloom.  Threads: one owner.
 *
 * The connection is a machine of one outstanding request: JOINING, READYING and PUBLISHING lead to
 * UP, each answer to the next step, so that a rejoin never waits; calls wait for UP. */
#ifndef LOOM_STEER_INTERNAL_H
#define LOOM_STEER_INTERNAL_H

#include <stdbool.h>

#include "abi/join_abi.h"
#include "index_map.h"
#include "loom_steer.h"

enum link_step {
	LINK_NONE, /* no connection; the next attempt is at retry_at_ns */
	LINK_JOINING,
	LINK_READYING,
	LINK_PUBLISHING,
	LINK_UP,
};

struct loom_steer {
	/* What was asked. */
	char group[JOIN_GROUP_LEN];
	char label[JOIN_LABEL_LEN];
	char path[108];
	uint32_t weight, generation, timeout_ms, retry_ms;
	int fd;		 /* borrowed */
	uint64_t cookie; /* of the socket: fd may have become another one */
	bool wanted;	 /* to be a member: not left, not drained */
	bool ready;
	struct index_map published;

	/* The connection. */
	enum link_step step;
	int conn;  /* -1 if step is LINK_NONE */
	int epoll; /* what the application waits on: conn and timer */
	int timer;
	uint64_t retry_at_ns;
	uint32_t request; /* the last request's number */
	bool waiting;	  /* for its answer */
	struct join_answer answer;
	size_t cursor; /* LINK_PUBLISHING: in published */

	/* What loomd told. */
	bool known; /* member and slot are loomd's */
	uint64_t member;
	uint16_t slot;
	enum loom_steer_member member_state;
	enum loom_steer_rollout rollout;

	bool draining;
	enum loom_steer_drained drained;
	uint64_t drain_until_ns; /* when loomd is no longer waited for; 0: never */

	char error[JOIN_TEXT_LEN + 128];
};

uint64_t steer_now_ns(void);
void steer_set_error(struct loom_steer *steer, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* Begins to connect if it is wanted and time, takes what loomd sent, times out.  Never blocks.
 * Returns how many messages it took. */
int link_process(struct loom_steer *steer);

/* Waits, timeout_ms at most, until the connection is UP or gone; true if it is UP. */
bool link_settle(struct loom_steer *steer);

/* Sends a request (its header is filled in here) on a connection that is UP, and waits for its
 * answer, in steer->answer.  Returns its status, or -ENOTCONN if the connection broke. */
int link_ask(struct loom_steer *steer, enum join_type type, void *message, size_t len);

/* Ends the connection; retry: when to try again. */
void link_drop(struct loom_steer *steer, uint64_t retry_ms);

/* Makes loom_steer_fd readable when link_process has something to do. */
void link_arm(struct loom_steer *steer);
/* Something changed that the application has not seen: readable at once. */
void link_arm_now(struct loom_steer *steer);

/* The type, address and SO_REUSEPORT of the socket are right.  0 or -errno. */
int steer_check_socket(int fd, uint64_t *ret_cookie);

#endif
