/* exec_listen.h - an address that workers listen on: "udp:4433", "tcp:[::]:80".
 * Layer: loom.  Threads: any.  Blocks: no. */
#ifndef LOOM_EXEC_LISTEN_H
#define LOOM_EXEC_LISTEN_H

#include <sys/socket.h>

#include "base/addr.h"
#include "base/err.h"

#define EXEC_LISTEN_MAX 16
#define EXEC_LISTEN_LEN (ADDR_PORT_TEXT_LEN + 4) /* "udp:" */

struct exec_listen {
	int protocol; /* IPPROTO_TCP, IPPROTO_UDP */
	struct sockaddr_storage address;
	socklen_t length;
	char text[EXEC_LISTEN_LEN]; /* in full: "udp:0.0.0.0:4433" */
	const char *group;	    /* borrowed; NULL: by address */
};

/* PROTOCOL:[ADDRESS:]PORT; without an address 0.0.0.0.  0, or -EINVAL with a sentence. */
int exec_listen_parse(const char *text, struct exec_listen *ret, struct err *err);

#endif
