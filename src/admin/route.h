/* route.h - from a request to the function that answers it.  Knows nothing of sockets: the server,
 * the tests and the fuzz target call it alike.
 * Layer: admin.  Threads: control thread only.  Blocks: as struct control does. */
#ifndef LOOM_ROUTE_H
#define LOOM_ROUTE_H

#include <stdbool.h>
#include <stddef.h>

#include "control.h"
#include "query.h"
#include "reply.h"

#define ROUTE_MAX_BODY 65536

/* Where a request came in decides what it has to prove. */
enum route_listener {
	ROUTE_UNIX,	/* guarded by the socket's file mode */
	ROUTE_LOOPBACK, /* credentials if configured, and a Host that names the loopback */
	ROUTE_NETWORK,	/* credentials if configured */
};

/* All text is the client's, unchecked and borrowed. */
struct request {
	enum route_listener listener;
	const char *method;
	const char *target;	  /* path, then '?' and a query if there is one; not decoded */
	const char *content_type; /* this and the following: NULL if not sent */
	const char *authorization;
	const char *host;
	const char *origin;
	const char *body; /* not NUL-terminated; may be NULL if body_len is 0 */
	size_t body_len;
	bool body_too_large; /* and not kept */
};

/* What the function of a route works with. */
struct call {
	const struct control *control;
	const struct request *request;
	struct query query; /* checked against the route's parameters */
	uint32_t id;	    /* of the path; 0 if the route has none */
	char name[64];	    /* of the path, decoded; "" if the route has none, or it is no name */
	struct reply *reply;
};

/* Whether the head of the request deserves that its body be read; if not, route_answer says why. */
bool route_admit(const struct control *control, const struct request *request);

/* Answers the request. reply is initialised by the caller, who also releases it. */
void route_answer(const struct control *control, const struct request *request,
		  struct reply *reply);

#endif
