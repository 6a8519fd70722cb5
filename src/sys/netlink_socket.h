/* netlink_socket.h - asks the kernel over netlink(7) and hears its whole answer.
 * Layer: sys.  Threads: one owner.  Blocks: a request waits for the answer, one second at most. */
#ifndef LOOM_NETLINK_SOCKET_H
#define LOOM_NETLINK_SOCKET_H

#include <libmnl/libmnl.h>
#include <stdint.h>
#include <sys/types.h>

#define NETLINK_SOCKET_BUFFER 32768

struct netlink_socket {
	struct mnl_socket *socket; /* owned */
	uint32_t sequence;
	char buffer[NETLINK_SOCKET_BUFFER];
};

/* bus: NETLINK_ROUTE, ...  0 or -errno; netlink_socket_close in any case. */
int netlink_socket_open(struct netlink_socket *netlink, int bus);
void netlink_socket_close(struct netlink_socket *netlink); /* zeroed is fine */

/* A request, in the socket's buffer, to be completed. */
struct nlmsghdr *netlink_socket_begin(struct netlink_socket *netlink, uint16_t type,
				      uint16_t flags);

/* Sends it and hands the answers to parse until the kernel is done.  0; -ETIMEDOUT; -EINTR: what
 * was dumped changed meanwhile; else what the kernel says. */
int netlink_socket_transact(struct netlink_socket *netlink, struct nlmsghdr *message,
			    mnl_cb_t parse, void *data);

/* The next datagram of the kernel's; who has CAP_NET_ADMIN may send others, which are skipped.  Its
 * size, or -errno: -EMSGSIZE, recvmsg(2)'s. */
ssize_t netlink_socket_receive(const struct mnl_socket *socket, char *buffer, size_t size);

#endif
