/* libloom-bind.so, preloaded by 'loom exec --hook': when the program binds an address that a socket
 * was prepared for, that socket takes the place of the program's own.
 *
 * LOOM_BIND lists the addresses ("udp:0.0.0.0:4433 tcp:[::]:80"), their sockets stand at
 * LOOM_BIND_FD and on.  What was set on the program's socket before bind is copied as far as the
 * table below goes.  Threads: any.  Nothing is allocated, nothing printed. */
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PREPARED_MAX 16

/* Prepared sockets that the program has not taken; -1: taken. */
static int prepared[PREPARED_MAX];
static size_t prepared_count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static int (*real_bind)(int, const struct sockaddr *, socklen_t);
static int (*real_close)(int);
static int (*real_close_range)(unsigned int, unsigned int, int);

/* A socket was prepared there if it is one: a program that was started by a hooked one has the
 * environment, but not the sockets. */
static bool is_prepared(int fd)
{
	int on = 0;
	socklen_t length = sizeof(on);

	return getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, &length) == 0 && on;
}

static void set_up(void)
{
	const char *list = getenv("LOOM_BIND");
	const char *first = getenv("LOOM_BIND_FD");
	int fd = first ? atoi(first) : -1;

	real_bind = dlsym(RTLD_NEXT, "bind");
	real_close = dlsym(RTLD_NEXT, "close");
	real_close_range = dlsym(RTLD_NEXT, "close_range");
	if (!list || !*list || fd < 0)
		return;
	do {
		prepared[prepared_count++] = is_prepared(fd) ? fd : -1;
		fd++;
		list = strchr(list, ' ');
	} while (list++ && prepared_count < PREPARED_MAX);
}

static int option_of(int fd, int level, int name)
{
	int value = -1;
	socklen_t length = sizeof(value);

	return getsockopt(fd, level, name, &value, &length) < 0 ? -1 : value;
}

static bool is_bound_to(int fd, const struct sockaddr *address, socklen_t length)
{
	struct sockaddr_storage bound = { 0 };
	socklen_t bound_length = sizeof(bound);

	if (getsockname(fd, (struct sockaddr *)&bound, &bound_length) < 0 ||
	    bound.ss_family != address->sa_family)
		return false;
	if (bound.ss_family == AF_INET && length >= sizeof(struct sockaddr_in)) {
		const struct sockaddr_in *a = (const struct sockaddr_in *)&bound;
		const struct sockaddr_in *b = (const struct sockaddr_in *)address;

		return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
	}
	if (bound.ss_family == AF_INET6 && length >= sizeof(struct sockaddr_in6)) {
		const struct sockaddr_in6 *a = (const struct sockaddr_in6 *)&bound;
		const struct sockaddr_in6 *b = (const struct sockaddr_in6 *)address;

		return a->sin6_port == b->sin6_port &&
		       memcmp(&a->sin6_addr, &b->sin6_addr, sizeof(a->sin6_addr)) == 0;
	}
	return false;
}

/* Takes the prepared socket for what fd is about to bind out of the table; -1: there is none. */
static int take(int fd, const struct sockaddr *address, socklen_t length)
{
	int type = option_of(fd, SOL_SOCKET, SO_TYPE);
	int found = -1;
	size_t i;

	pthread_mutex_lock(&lock);
	for (i = 0; i < prepared_count && found < 0; i++) {
		if (prepared[i] < 0 || option_of(prepared[i], SOL_SOCKET, SO_TYPE) != type ||
		    !is_bound_to(prepared[i], address, length))
			continue;
		found = prepared[i];
		prepared[i] = -1;
	}
	pthread_mutex_unlock(&lock);
	return found;
}

/* Options that servers set between socket(2) and bind(2).  doubled: the kernel tells twice what was
 * set (socket(7)). */
static const struct {
	int level, name;
	bool doubled;
} options[] = {
	{ SOL_SOCKET, SO_RCVBUF, true },
	{ SOL_SOCKET, SO_SNDBUF, true },
	{ SOL_SOCKET, SO_KEEPALIVE, false },
	{ SOL_SOCKET, SO_BROADCAST, false },
	{ SOL_SOCKET, SO_TIMESTAMP, false },
	{ SOL_SOCKET, SO_TIMESTAMPNS, false },
	{ SOL_SOCKET, SO_RXQ_OVFL, false },
	{ SOL_SOCKET, SO_MARK, false },
	{ SOL_SOCKET, SO_PRIORITY, false },
	{ IPPROTO_IP, IP_PKTINFO, false },
	{ IPPROTO_IP, IP_RECVTOS, false },
	{ IPPROTO_IP, IP_RECVTTL, false },
	{ IPPROTO_IP, IP_RECVERR, false },
	{ IPPROTO_IP, IP_TOS, false },
	{ IPPROTO_IP, IP_TTL, false },
	{ IPPROTO_IP, IP_MTU_DISCOVER, false },
	{ IPPROTO_IP, IP_TRANSPARENT, false },
	{ IPPROTO_IPV6, IPV6_RECVPKTINFO, false },
	{ IPPROTO_IPV6, IPV6_RECVTCLASS, false },
	{ IPPROTO_IPV6, IPV6_RECVHOPLIMIT, false },
	{ IPPROTO_IPV6, IPV6_MTU_DISCOVER, false },
	{ IPPROTO_TCP, TCP_NODELAY, false },
	{ IPPROTO_TCP, TCP_DEFER_ACCEPT, false },
	{ IPPROTO_TCP, TCP_FASTOPEN, false },
	{ IPPROTO_TCP, TCP_KEEPIDLE, false },
	{ IPPROTO_TCP, TCP_KEEPINTVL, false },
	{ IPPROTO_TCP, TCP_KEEPCNT, false },
	{ IPPROTO_TCP, TCP_USER_TIMEOUT, false },
	{ IPPROTO_UDP, 104 /* UDP_GRO */, false },
};

static void copy_options(int from, int to)
{
	size_t i;

	for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {
		int wanted = option_of(from, options[i].level, options[i].name);
		int value = options[i].doubled ? wanted / 2 : wanted;

		if (wanted >= 0 && wanted != option_of(to, options[i].level, options[i].name))
			(void)setsockopt(to, options[i].level, options[i].name, &value,
					 sizeof(value));
	}
}

/* fd becomes the prepared socket, and keeps its flags. */
static int put_in_place(int ready, int fd)
{
	int flags = fcntl(fd, F_GETFL);
	int fd_flags = fcntl(fd, F_GETFD);
	int r;

	copy_options(fd, ready);
	(void)fcntl(ready, F_SETFL, flags);
	r = dup3(ready, fd, fd_flags & FD_CLOEXEC ? O_CLOEXEC : 0);
	real_close(ready); /* the program's is the only one: its close is the socket's end */
	return r < 0 ? -1 : 0;
}

int bind(int fd, const struct sockaddr *address, socklen_t length)
{
	int ready = -1;

	pthread_once(&once, set_up);
	if (!real_bind) {
		errno = ENOSYS;
		return -1;
	}
	if (prepared_count && address && length >= sizeof(sa_family_t))
		ready = take(fd, address, length);
	return ready < 0 ? real_bind(fd, address, length) : put_in_place(ready, fd);
}

/* Daemons close what they think they have inherited. */
int close(int fd)
{
	size_t i;

	pthread_once(&once, set_up);
	for (i = 0; i < prepared_count; i++) {
		if (fd >= 0 && prepared[i] == fd) {
			errno = EBADF;
			return -1;
		}
	}
	return real_close ? real_close(fd) : -1;
}

int close_range(unsigned int first, unsigned int last, int flags)
{
	unsigned int from = first;
	size_t i;
	int r = 0;

	pthread_once(&once, set_up);
	if (!real_close_range) {
		errno = ENOSYS;
		return -1;
	}
	/* Those that are prepared are in ascending order. */
	for (i = 0; i < prepared_count && r == 0; i++) {
		unsigned int kept = (unsigned int)prepared[i];

		if (prepared[i] < 0 || kept < from || kept > last)
			continue;
		if (kept > from)
			r = real_close_range(from, kept - 1, flags);
		from = kept + 1;
	}
	if (r == 0 && (from <= last || from == first))
		r = real_close_range(from, last, flags);
	return r;
}

void closefrom(int low)
{
	(void)close_range(low < 0 ? 0 : (unsigned int)low, UINT_MAX, 0);
}
