/* client.h - an admin server and raw clients of it in one thread: waiting for an answer is running
 * the server until it comes. */
#ifndef LOOM_TEST_CLIENT_H
#define LOOM_TEST_CLIENT_H

#include <jansson.h>

#include "admin/server.h"
#include "base/buf.h"
#include "daemon.h"

/* A daemon, its admin server on TCP (loopback) and a UNIX socket in a directory of its own. */
struct bench {
	struct daemon daemon;
	struct admin *admin;
	char directory[64];
	char path[96];
};

/* idle_s: see struct admin_options. */
void bench_open(struct bench *bench, unsigned int idle_s);
void bench_close(struct bench *bench);

int client_unix(const struct bench *bench);
int client_tcp(const struct bench *bench);

/* Runs the server once something happens on it or on fd; false after 10 s of nothing. */
bool client_wait(struct bench *bench, int fd, short events);

/* Sends bytes, lets the server run, and collects what comes until the server closes; or, with
 * leave, until the server waits for more: then the client goes away.  Returns the first status, 0
 * if there was none. */
int client_exchange(struct bench *bench, int fd, const char *bytes, size_t len, bool leave,
		    struct buf *answer);

/* A whole answer to one request over a connection of its own. */
struct answer {
	int status;
	struct buf text; /* head and body */
	json_t *json;	 /* of the body; NULL if it is no JSON */
};

/* headers: lines that end in "\r\n", or "".  body may be NULL. */
struct answer client_ask(struct bench *bench, int fd, const char *method, const char *target,
			 const char *headers, const char *body);
void answer_done(struct answer *answer);
/* A member of the error object, "" if there is none. */
const char *answer_error(const struct answer *answer, const char *member);
/* Whether the head has this line. */
bool answer_has_line(const struct answer *answer, const char *line);

#endif
