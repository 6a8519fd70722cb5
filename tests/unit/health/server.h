/* server.h - what health checks meet in these tests: sockets in the same loop. */
#ifndef LOOM_TEST_SERVER_H
#define LOOM_TEST_SERVER_H

#include <stddef.h>
#include <stdint.h>

#include "sys/loop.h"

struct server {
	struct loop *loop;
	int fd; /* -1: closed */
	int client;
	struct loop_fd *watch;
	struct loop_fd *client_watch;
	uint16_t port;
	const char *answer; /* sent to whoever says something; NULL: silence */
	size_t answer_len;
	int flood; /* the answer is repeated so often */
	int connections;
	char heard[2048];
	size_t heard_len;
	/* Of UDP: makes the answer of what was heard; NULL: answer as it is. */
	size_t (*make)(struct server *server, const uint8_t *query, size_t len, uint8_t *answer);
};

/* On 127.0.0.1; port 0: any. */
void server_open_tcp(struct server *server, struct loop *loop, uint16_t port, const char *answer);
void server_open_udp(struct server *server, struct loop *loop, const char *answer);
void server_close(struct server *server);
/* A port nobody listens on. */
uint16_t server_closed_port(int type);

#endif
