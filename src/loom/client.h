/* client.h - requests to loomd's admin API (docs/rest-api.md).
 * Layer: loom.  Threads: one owner.  Blocks: at most 30 seconds a request, streams aside. */
#ifndef LOOM_CLIENT_H
#define LOOM_CLIENT_H

#include <jansson.h>
#include <signal.h>
#include <stdbool.h>

#include "base/err.h"

struct client;

struct client_options {
	const char *instance;	/* NULL: "default"; names the socket */
	const char *socket;	/* path; NULL: the instance's */
	const char *url;	/* instead of the socket; may hold "user:password@" */
	const char *token_file; /* holds a bearer token; NULL: none is sent */
};

struct client_request {
	const char *method;
	const char *path;   /* with its query, which client_escape() made safe */
	const json_t *body; /* borrowed; NULL: none */
	long also_accept;   /* a status that is an answer, too; 0: none beyond 2xx */
};

/* Sets up, sends nothing.  0; -EINVAL: the options contradict; else the token file's error. */
int client_open(struct client **ret, const struct client_options *options, struct err *err);
void client_close(struct client *client);

/* The socket's path or the URL, without a password. */
const char *client_where(const struct client *client);

/* Sends a request.  *ret is the answer, a JSON object of the caller's (json_decref); NULL on error.
 * Returns 0 or
 *   -ENOTCONN   nobody answered
 *   -EREMOTEIO  loomd refused; client_refusal() has all it said, err the beginning
 *   -EBADMSG    the answer is none that loomd would give
 *   -EMSGSIZE   it is longer than 32 MiB
 *   -ENOMEM */
int client_send(struct client *client, const struct client_request *request, json_t **ret,
		struct err *err);
int client_get(struct client *client, const char *path, json_t **ret, struct err *err);

/* What to do with an answer that goes on for long, a line of JSON each. */
struct client_lines {
	/* json: an object, borrowed.  False: no more lines. */
	bool (*line)(void *ctx, const json_t *json);
	/* No more has come yet. */
	void (*pause)(void *ctx);
	void *ctx;
	const volatile sig_atomic_t *stop; /* set by a signal: no more lines */
};

/* GETs path and hands over the lines of the answer until it ends, or lines says so.  However long
 * that takes: there is no time limit.  Returns as client_send. */
int client_stream(struct client *client, const char *path, const struct client_lines *lines,
		  struct err *err);

/* The last refusal, as long as it is; "" before.  Not yet safe for a terminal. */
const char *client_refusal(const struct client *client);

/* A value for a query; the caller's, free(3).  NULL if memory is short. */
char *client_escape(const char *value);

#endif
