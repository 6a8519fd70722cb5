/* server.h - the admin API on its sockets: HTTP is libmicrohttpd's, the loop is the caller's.
 * Layer: admin.  Threads: control thread only.  Blocks: admin_run as struct control does, the rest
 * no.
 *
 *	wait for admin_fd() to be readable, at most admin_timeout_ms(); then admin_run()
 */
#ifndef LOOM_SERVER_H
#define LOOM_SERVER_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "control.h"

#define ADMIN_IDLE_TIMEOUT_S 30

struct admin_options {
	bool tcp; /* listen on TCP */
	struct addr listen;
	uint16_t port;	     /* 0: the kernel chooses; admin_port tells */
	const char *socket;  /* path of the UNIX socket; NULL: none */
	unsigned int idle_s; /* silent connections are closed then; 0: ADMIN_IDLE_TIMEOUT_S */
};

struct admin;

/* Listens; what arrives is answered by admin_run.  Credentials are read from control's config at
 * each request, so a reload changes them.
 * options	borrowed for the call
 * control	borrowed until admin_close
 * Returns 0, or -errno with a sentence in err and nothing left behind. */
int admin_open(struct admin **ret, const struct admin_options *options,
	       const struct control *control, struct err *err);

/* One epoll descriptor for all that concerns the server; level-triggered, valid until close. */
int admin_fd(const struct admin *admin);

/* Milliseconds until admin_run has to be called even if nothing is readable; -1: never.  Ask again
 * after each admin_run. */
int admin_timeout_ms(const struct admin *admin);

void admin_run(struct admin *admin);

/* The TCP port in use; 0 if there is none. */
uint16_t admin_port(const struct admin *admin);

/* Closes every connection and removes the UNIX socket's file.  NULL is fine. */
void admin_close(struct admin *admin);

#endif
