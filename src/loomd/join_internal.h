/* join_internal.h - what join_server.c and join_client.c share.
 * Layer: loomd.  Threads: control thread only. */
#ifndef LOOM_JOIN_INTERNAL_H
#define LOOM_JOIN_INTERNAL_H

#include <sys/stat.h>

#include "join_message.h"
#include "join_server.h"

struct join_client {
	struct join_client *next;
	struct join_server *server;
	struct loop_fd *watch;
	struct join_peer peer;
	int fd; /* owned */
	uint64_t since_ns;
	bool joined;   /* id is a member's */
	bool draining; /* a JOIN_DRAINED is owed */
	bool broken;   /* to be freed by the loop */
	uint64_t id;
};

struct join_server {
	struct loop *loop;
	const struct join_ops *ops;
	void *ctx;
	int fd;
	struct loop_fd *watch;
	struct loop_timer *timer; /* reaps */
	char *path;		  /* owned */
	struct stat path_id;
	uid_t *users; /* owned */
	size_t user_count;
	struct join_client *clients; /* owned */
	size_t count;
	struct join_client *joining; /* ops->join is being asked for it */
	struct join_state first;     /* what it told of it meanwhile; version 0: nothing */
	union join_message message;  /* that is being read */
};

/* The client's descriptor is readable: serves some of what is there. */
void join_client_read(void *ctx, uint32_t events);

/* Sends, or breaks the client if it has not read what it was told before. */
void join_client_send(struct join_client *client, const void *message, size_t len);

/* Nothing more from or to it; the loop frees it. */
void join_client_break(struct join_client *client);

/* Tells of its leaving if it is joined.  Not in the list any more. */
void join_client_free(struct join_client *client);

#endif
