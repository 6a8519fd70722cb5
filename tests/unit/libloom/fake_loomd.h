/* fake_loomd.h - loomd's join server in a thread, with members that only note what they are told;
 * and a server of nothing but bytes. */
#ifndef FAKE_LOOMD_H
#define FAKE_LOOMD_H

#include <pthread.h>
#include <stdint.h>

#include "loomd/join_server.h"

struct fake_loomd {
	char path[100]; /* of the socket; in a directory of its own */
	char directory[64];

	pthread_mutex_t lock; /* what follows */
	pthread_cond_t changed;
	struct join_request request; /* the last JOIN */
	uint64_t socket_cookie;
	struct join_peer peer;
	int joins, readies, drains, leaves, publishes, unpublishes;
	uint64_t indices; /* their sum, published less unpublished */
	size_t index_count;
	uint64_t drain_deadline_ns;
	int fail; /* the next request is refused with it */
	uint64_t id;

	pthread_t thread;
	int running, wake; /* an eventfd: command is to be done, by the server's thread */
	int command;
	struct loop *loop;
	struct join_server *server;
};

enum { FAKE_NOTHING, FAKE_STOP, FAKE_DRAINED, FAKE_DEADLINE, FAKE_ENFORCED, FAKE_FLOOD };

void fake_open(struct fake_loomd *fake);  /* a path, no server yet */
void fake_close(struct fake_loomd *fake); /* stops it if it runs */
void fake_start(struct fake_loomd *fake);
void fake_stop(struct fake_loomd *fake);
void fake_do(struct fake_loomd *fake, int command); /* returns when it is done */

/* Waits until *count is at least so many. */
void fake_await(struct fake_loomd *fake, const int *count, int least);

/* An UDP socket that can join, on a port of its own of 127.0.0.1. */
int fake_socket(void);

#endif
