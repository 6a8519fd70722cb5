/* sock_diag.h - listening TCP and bound UDP sockets, and their deaths (sock_diag(7)).
 * Layer: sys.  Threads: one owner.  Blocks: a dump waits for the kernel's answer, one second at
 * most; deaths do not.
 * Needs: no capability.  Speaks of the network namespace that the caller was in at open. */
#ifndef LOOM_SOCK_DIAG_H
#define LOOM_SOCK_DIAG_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"

struct sock_diag;

int sock_diag_open(struct sock_diag **ret, struct err *err);
void sock_diag_close(struct sock_diag *diag); /* NULL is fine */

struct sock_diag_socket {
	uint8_t family;	  /* AF_INET or AF_INET6 */
	uint8_t protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	uint8_t state;	  /* TCP_LISTEN; of UDP TCP_CLOSE, or TCP_ESTABLISHED when connected */
	bool v6only;
	struct addr addr; /* bound to; of AF_INET 0.0.0.0 is ::ffff:0.0.0.0 */
	uint16_t port;	  /* host order */
	uint32_t ifindex; /* bound to; 0: any */
	uint64_t inode;	  /* 0: no descriptor any more */
	uint64_t cookie;  /* of the socket's whole life, the host over; never 0 */
	uint32_t uid;
	/* TCP: connections in the accept queue (tcp_info's tcpi_unacked of a listener), and the
	 * most that it takes.  UDP: bytes in the receive queue, and bytes waiting to be sent. */
	uint32_t rqueue;
	uint32_t wqueue;
	bool has_memory; /* the rest is known */
	uint32_t rmem;	 /* UDP: bytes charged to the receive queue; 0 is empty */
	uint32_t rcvbuf;
	uint32_t drops; /* TCP: connections that found the accept queue full; UDP: datagrams */
};

typedef void (*sock_diag_fn)(void *ctx, const struct sock_diag_socket *socket);
/* Listening TCP or bound UDP sockets of one family.  -EAGAIN: sockets came and went so that the
 * dump is not of one piece: what fn got may lack some; -ETIMEDOUT. */
int sock_diag_dump(struct sock_diag *diag, uint8_t family, uint8_t protocol, sock_diag_fn fn,
		   void *ctx);

/* Sockets that are gone for good: no descriptor and no packet refers to them.  Told some 20 us
 * later.  Connections are left out by a filter in the kernel (except those that their own side
 * reset, which look like listeners by then); still, while this is open, each socket that ends costs
 * the kernel a message. */
struct sock_diag_deaths;

struct sock_diag_death {
	uint8_t family;
	uint8_t protocol;
	struct addr addr;
	uint16_t port;	 /* host order */
	uint64_t cookie; /* as in sock_diag_socket.  The inode is free by then, and not told. */
};

int sock_diag_deaths_open(struct sock_diag_deaths **ret, struct err *err);
void sock_diag_deaths_close(struct sock_diag_deaths *deaths); /* NULL is fine */
/* Readable when there are some; level-triggered. */
int sock_diag_deaths_fd(const struct sock_diag_deaths *deaths);

typedef void (*sock_diag_death_fn)(void *ctx, const struct sock_diag_death *death);
/* Reads all that are there.  0, or -ENOBUFS: some were lost (those that remain were handed to
 * fn); every socket may have ended, so look again. */
int sock_diag_deaths_read(struct sock_diag_deaths *deaths, sock_diag_death_fn fn, void *ctx);

#endif
