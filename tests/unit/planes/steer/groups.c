#include "groups.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define PATIENCE_MS 5000

static int outside = -1;

static void loopback_up(void)
{
	struct ifreq lo = { .ifr_name = "lo", .ifr_flags = IFF_UP };
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	assert_true(fd >= 0);
	assert_int_equal(ioctl(fd, SIOCSIFFLAGS, &lo), 0);
	close(fd);
}

void groups_enter(void)
{
	outside = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	assert_true(outside >= 0);
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	loopback_up();
}

void groups_leave(void)
{
	assert_int_equal(setns(outside, CLONE_NEWNET), 0);
	close(outside);
	outside = -1;
}

/* ---- */

union any {
	struct sockaddr generic;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

/* Returns its length. */
static socklen_t address(const char *text, uint16_t port, union any *ret)
{
	memset(ret, 0, sizeof(*ret));
	if (strchr(text, ':')) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = htons(port);
		assert_int_equal(inet_pton(AF_INET6, text, &ret->v6.sin6_addr), 1);
		return sizeof(ret->v6);
	}
	ret->v4.sin_family = AF_INET;
	ret->v4.sin_port = htons(port);
	assert_int_equal(inet_pton(AF_INET, text, &ret->v4.sin_addr), 1);
	return sizeof(ret->v4);
}

static void set(int fd, int level, int option, int value)
{
	assert_int_equal(setsockopt(fd, level, option, &value, sizeof(value)), 0);
}

static int type_of(int protocol)
{
	return (protocol == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM) | SOCK_CLOEXEC | SOCK_NONBLOCK;
}

int groups_socket(int protocol, const char *addr, uint16_t port, bool alone)
{
	bool both = !strcmp(addr, "::*");
	union any to;
	socklen_t length = address(both ? "::" : addr, port, &to);
	int fd = socket(to.generic.sa_family, type_of(protocol), 0);

	assert_true(fd >= 0);
	if (to.generic.sa_family == AF_INET6)
		set(fd, IPPROTO_IPV6, IPV6_V6ONLY, !both);
	set(fd, SOL_SOCKET, SO_REUSEPORT, !alone);
	if (bind(fd, &to.generic, length) < 0)
		fail_msg("cannot bind %s port %u: %s", addr, port, strerror(errno));
	if (protocol == IPPROTO_TCP)
		assert_int_equal(listen(fd, GROUPS_BACKLOG), 0);
	return fd;
}

void groups_sockets(int protocol, const char *addr, uint16_t port, int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++)
		fds[i] = groups_socket(protocol, addr, port, false);
}

void groups_close(int *fds, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
		fds[i] = -1;
	}
}

int groups_client(int protocol, const char *addr, uint16_t port)
{
	union any to;
	socklen_t length = address(addr, port, &to);
	int fd = socket(to.generic.sa_family, type_of(protocol), 0);

	assert_true(fd >= 0);
	if (connect(fd, &to.generic, length) < 0)
		assert_int_equal(errno, EINPROGRESS);
	return fd;
}

int groups_accept(int fd)
{
	struct pollfd listener = { .fd = fd, .events = POLLIN };
	int server;

	assert_int_equal(poll(&listener, 1, PATIENCE_MS), 1);
	server = accept(fd, NULL, NULL);
	assert_true(server >= 0);
	return server;
}

uint64_t groups_inode(int fd)
{
	struct stat st;

	assert_int_equal(fstat(fd, &st), 0);
	return st.st_ino;
}

uint64_t groups_cookie(int fd)
{
	uint64_t cookie = 0;
	socklen_t length = sizeof(cookie);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &cookie, &length), 0);
	return cookie;
}
