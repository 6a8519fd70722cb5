#include "netlink_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <sys/time.h>

int netlink_socket_open(struct netlink_socket *netlink, int bus)
{
	struct timeval limit = { .tv_sec = 1 };

	netlink->socket = mnl_socket_open2(bus, SOCK_CLOEXEC);
	if (!netlink->socket || mnl_socket_bind(netlink->socket, 0, MNL_SOCKET_AUTOPID) < 0 ||
	    setsockopt(mnl_socket_get_fd(netlink->socket), SOL_SOCKET, SO_RCVTIMEO, &limit,
		       sizeof(limit)) < 0)
		return -errno;
	return 0;
}

void netlink_socket_close(struct netlink_socket *netlink)
{
	if (netlink->socket)
		mnl_socket_close(netlink->socket);
	netlink->socket = NULL;
}

struct nlmsghdr *netlink_socket_begin(struct netlink_socket *netlink, uint16_t type, uint16_t flags)
{
	struct nlmsghdr *message = mnl_nlmsg_put_header(netlink->buffer);

	message->nlmsg_type = type;
	message->nlmsg_flags = NLM_F_REQUEST | flags;
	message->nlmsg_seq = ++netlink->sequence;
	return message;
}

ssize_t netlink_socket_receive(const struct mnl_socket *socket, char *buffer, size_t size)
{
	struct iovec iov = { buffer, size };

	for (;;) {
		struct sockaddr_nl from = { 0 };
		struct msghdr message = { .msg_name = &from,
					  .msg_namelen = sizeof(from),
					  .msg_iov = &iov,
					  .msg_iovlen = 1 };
		ssize_t n = recvmsg(mnl_socket_get_fd(socket), &message, 0);

		if (n < 0)
			return -errno;
		if (from.nl_pid != 0 || n < (ssize_t)sizeof(struct nlmsghdr))
			continue;
		return message.msg_flags & MSG_TRUNC ? -EMSGSIZE : n;
	}
}

int netlink_socket_transact(struct netlink_socket *netlink, struct nlmsghdr *message,
			    mnl_cb_t parse, void *data)
{
	const struct nlmsghdr *answer = (const struct nlmsghdr *)netlink->buffer;
	unsigned int port = mnl_socket_get_portid(netlink->socket);
	bool one_answer = !(message->nlmsg_flags & (NLM_F_DUMP | NLM_F_ACK));
	int r = MNL_CB_OK;

	if (mnl_socket_sendto(netlink->socket, message, message->nlmsg_len) < 0)
		return -errno;
	while (r > MNL_CB_STOP) {
		ssize_t n = netlink_socket_receive(netlink->socket, netlink->buffer,
						   sizeof(netlink->buffer));

		if (n < 0)
			return n == -EAGAIN ? -ETIMEDOUT : (int)n;
		/* To a request that timed out before. */
		if (answer->nlmsg_seq != netlink->sequence)
			continue;
		r = mnl_cb_run(netlink->buffer, (size_t)n, netlink->sequence, port, parse, data);
		if (r < 0)
			return -errno;
		if (one_answer)
			return 0;
	}
	return 0;
}
