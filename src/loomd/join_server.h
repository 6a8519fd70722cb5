/* join_server.h - the socket at which applications join groups: libloom's other end.
 * Layer: loomd.  Threads: control thread only.  Blocks: no.
 *
 * It reads messages, strictly, and keeps who said them; what they mean is the business of struct
 * join_ops.  One connection is one member.  A client that says what is no message, or does not read
 * what it is told, is cut off; so is one that does not join within 5 seconds. */
#ifndef LOOM_JOIN_SERVER_H
#define LOOM_JOIN_SERVER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "abi/join_abi.h"
#include "base/err.h"
#include "sys/loop.h"

#define JOIN_SERVER_CLIENTS 1024 /* connections at a time */
#define JOIN_SERVER_HASTE_S 5	 /* a client joins within */

struct join_server;

/* Who is at the other end, as the kernel says; pid is of loomd's pid namespace, 0: of none. */
struct join_peer {
	pid_t pid;
	uid_t uid;
	gid_t gid;
};

/* What the members mean.  Called from the loop, for one member at a time, never for one that left;
 * each may call join_server_state and join_server_drained, also for the member it is called for
 * (join for no other: what it tells then goes to the one that joins, after the answer).
 * They return 0 or -errno with a sentence in err, which goes to the client. */
struct join_ops {
	/* socket_fd (borrowed for the call: duplicates are closed at once): a UDP or listening TCP
	 * socket of IPv4 or IPv6 with SO_REUSEPORT; that it is of the group is not checked yet.
	 * request: borrowed.  *ret_id: unique among members, not 0. */
	int (*join)(void *ctx, const struct join_request *request, const struct join_peer *peer,
		    int socket_fd, uint64_t *ret_id, uint16_t *ret_slot, struct err *err);
	int (*ready)(void *ctx, uint64_t id, struct err *err);
	/* deadline_ns: of clock_now_ns; 0: none.  join_server_drained tells when it is over. */
	int (*drain)(void *ctx, uint64_t id, uint64_t deadline_ns, struct err *err);
	/* The connection ended, or the client asked for it. */
	void (*leave)(void *ctx, uint64_t id);
	int (*publish)(void *ctx, uint64_t id, const uint32_t *indices, size_t count, bool add,
		       struct err *err);
	int (*identity)(void *ctx, uint64_t id, uint16_t *ret, struct err *err);
};

struct join_server_options {
	const char *path;   /* borrowed for the call */
	const uid_t *users; /* who may join besides root and loomd's own; borrowed for the call */
	size_t user_count;  /* some: the socket's mode is 0666, else 0660 */
	gid_t group;	    /* of the socket; (gid_t)-1: as it comes */
};

/* ops and ctx: borrowed until join_server_close.  0, or -errno with a sentence and nothing left:
 * -EADDRINUSE: another loomd answers there. */
int join_server_open(struct join_server **ret, struct loop *loop,
		     const struct join_server_options *options, const struct join_ops *ops,
		     void *ctx, struct err *err);

/* Ends all connections without calling leave: the members' sockets stay where they are, and their
 * clients come back.  NULL is fine. */
void join_server_close(struct join_server *server);

/* Replaces the permitted users (reload); who is connected stays.  0 or -ENOMEM (unchanged). */
int join_server_users(struct join_server *server, const uid_t *users, size_t count);

/* Events.  Without effect if there is no such member, or, for drained, none that drains. */
void join_server_drained(struct join_server *server, uint64_t id, enum join_drained_reason reason);
void join_server_state(struct join_server *server, uint64_t id, enum join_rollout rollout,
		       enum join_member member);

/* Ends the connection of a member that the server itself gave up; leave is not called. */
void join_server_end(struct join_server *server, uint64_t id);

#endif
