/* daemon.h - a daemon as far as the admin API sees it: struct control over a real struct model,
 * with two services, three backends, two connections and two
 * steering groups. */
#ifndef LOOM_TEST_DAEMON_H
#define LOOM_TEST_DAEMON_H

#include "admin/control.h"
#include "steering.h"

#define DAEMON_ROOM 64 /* backends a service */

struct daemon {
	struct control control;
	struct config config;
	struct model model;
	struct service services[2];
	bool ready;
	unsigned int changes; /* calls that changed something */
	/* What the next calls return instead of working, if not 0. */
	int fail;
	int fail_snapshot;
	const char *complaints; /* of reload */
	bool reset;		/* as reload got it */
	struct backend_removal removal;
	struct lb_connection_filter filter; /* as connections got it */
	struct lb_cursor cursor;
	struct trace_request trace; /* as trace got it */
	struct stream *stream;	    /* the writer's hold of the last trace; the test's to end */
	unsigned int traces;
	size_t room;
	struct steering steering;
};

void daemon_init(struct daemon *daemon);
void daemon_done(struct daemon *daemon);

/* A text of everything the API can change, to compare; freed by the caller. */
char *daemon_picture(const struct daemon *daemon);

#endif
