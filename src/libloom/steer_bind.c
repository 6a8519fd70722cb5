#include <errno.h>
#include <netinet/in.h>
#include <unistd.h>

#include "loom_steer.h"

static int set_up(int fd, const struct sockaddr *address, socklen_t length, int protocol,
		  int backlog)
{
	int on = 1;

	if (setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)) < 0)
		return -errno;
	/* A listener's last connections may still stand in TIME_WAIT. */
	if (protocol == IPPROTO_TCP &&
	    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) < 0)
		return -errno;
	if (address->sa_family == AF_INET6 &&
	    setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)) < 0)
		return -errno;
	if (bind(fd, address, length) < 0)
		return -errno;
	if (protocol == IPPROTO_TCP && listen(fd, backlog > 0 ? backlog : INT32_MAX) < 0)
		return -errno;
	return 0;
}

int loom_steer_bind(const struct sockaddr *address, socklen_t length, int protocol, int backlog)
{
	int type = protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
	int fd, r;

	if (!address || (protocol != IPPROTO_TCP && protocol != IPPROTO_UDP))
		return -EINVAL;
	if (address->sa_family != AF_INET && address->sa_family != AF_INET6)
		return -EAFNOSUPPORT;
	fd = socket(address->sa_family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, protocol);
	if (fd < 0)
		return -errno;
	r = set_up(fd, address, length, protocol, backlog);
	if (r < 0) {
		close(fd);
		return r;
	}
	return fd;
}
