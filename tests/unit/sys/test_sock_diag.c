#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#include "as_user.h"
#include "holder.h"
#include "lab.h"
#include "sys/sock_diag.h"

#define PATIENCE_MS 5000
#define PORT	    4433
#define BACKLOG	    8

static struct sock_diag *diag;

static struct sockaddr_in6 v6(const char *text, uint16_t port)
{
	struct sockaddr_in6 ret = { .sin6_family = AF_INET6, .sin6_port = htons(port) };

	assert_int_equal(inet_pton(AF_INET6, text, &ret.sin6_addr), 1);
	return ret;
}

static struct sockaddr_in v4(uint16_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

static int bound(int family, int type)
{
	int fd = socket(family, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	struct sockaddr_in6 six = v6("::1", PORT);
	struct sockaddr_in four = v4(PORT);
	int one = 1;

	assert_true(fd >= 0);
	if (family == AF_INET6)
		assert_int_equal(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof(one)), 0);
	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)), 0);
	if (family == AF_INET6)
		assert_int_equal(bind(fd, (struct sockaddr *)&six, sizeof(six)), 0);
	else
		assert_int_equal(bind(fd, (struct sockaddr *)&four, sizeof(four)), 0);
	if (type == SOCK_STREAM)
		assert_int_equal(listen(fd, BACKLOG), 0);
	return fd;
}

static int client(int type)
{
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
	struct sockaddr_in to = v4(PORT);

	assert_true(fd >= 0);
	assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	return fd;
}

static uint64_t cookie(int fd)
{
	uint64_t ret = 0;
	socklen_t length = sizeof(ret);

	assert_int_equal(getsockopt(fd, SOL_SOCKET, SO_COOKIE, &ret, &length), 0);
	return ret;
}

/* ---- dumps ---- */

struct found {
	struct sock_diag_socket list[64];
	size_t count;
};

static void note(void *ctx, const struct sock_diag_socket *socket)
{
	struct found *found = ctx;

	assert_true(found->count < sizeof(found->list) / sizeof(found->list[0]));
	found->list[found->count++] = *socket;
}

static const struct sock_diag_socket *sockets(uint8_t family, uint8_t protocol, size_t expected)
{
	static struct found found;

	found.count = 0;
	assert_int_equal(sock_diag_dump(diag, family, protocol, note, &found), 0);
	assert_int_equal(found.count, expected);
	return found.list;
}

static void each_kind_of_socket_is_told(void **state)
{
	static const struct {
		int family, type;
		uint8_t protocol, state;
		const char *addr;
	} rows[] = {
		{ AF_INET, SOCK_STREAM, IPPROTO_TCP, TCP_LISTEN, "127.0.0.1" },
		{ AF_INET6, SOCK_STREAM, IPPROTO_TCP, TCP_LISTEN, "::1" },
		{ AF_INET, SOCK_DGRAM, IPPROTO_UDP, TCP_CLOSE, "127.0.0.1" },
		{ AF_INET6, SOCK_DGRAM, IPPROTO_UDP, TCP_CLOSE, "::1" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = bound(rows[i].family, rows[i].type);
		const struct sock_diag_socket *socket = sockets((uint8_t)rows[i].family,
								rows[i].protocol, 1);
		struct addr addr;

		assert_int_equal(addr_parse(rows[i].addr, &addr), 0);
		assert_true(addr_equal(&socket->addr, &addr));
		assert_int_equal(socket->family, rows[i].family);
		assert_int_equal(socket->protocol, rows[i].protocol);
		assert_int_equal(socket->state, rows[i].state);
		assert_int_equal(socket->v6only, rows[i].family == AF_INET6);
		assert_int_equal(socket->port, PORT);
		assert_int_equal(socket->ifindex, 0);
		assert_int_equal(socket->inode, holder_inode(fd));
		assert_int_equal(socket->cookie, cookie(fd));
		assert_int_equal(socket->uid, getuid());
		assert_true(socket->has_memory);
		assert_true(socket->rcvbuf > 0);
		close(fd);
		sockets((uint8_t)rows[i].family, rows[i].protocol, 0);
	}
}

static void a_listeners_queue_is_told_and_its_connections_are_not(void **state)
{
	int fd = bound(AF_INET, SOCK_STREAM);
	const struct sock_diag_socket *socket;
	int clients[3];

	for (int i = 0; i < 3; i++)
		clients[i] = client(SOCK_STREAM);
	socket = sockets(AF_INET, IPPROTO_TCP, 1);
	assert_int_equal(socket->rqueue, 3);
	assert_int_equal(socket->wqueue, BACKLOG);
	for (int i = 0; i < 3; i++)
		close(clients[i]);
	close(fd);
}

static void a_udp_queue_and_its_drops_are_told(void **state)
{
	int fd = bound(AF_INET, SOCK_DGRAM);
	int from = client(SOCK_DGRAM);
	const struct sock_diag_socket *socket;
	unsigned int kept = 0;
	char text[1000] = { 0 };
	int size = 0; /* the kernel's least */

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	for (int i = 0; i < 50; i++)
		assert_int_equal(send(from, text, sizeof(text), 0), sizeof(text));
	socket = sockets(AF_INET, IPPROTO_UDP, 2);
	if (socket->inode != holder_inode(fd))
		socket++;
	assert_true(socket->rqueue > 0);
	assert_true(socket->rmem > 0);
	while (recv(fd, text, sizeof(text), 0) > 0)
		kept++;
	assert_true(kept < 50);
	assert_int_equal(socket->drops, 50 - kept);
	close(from);
	close(fd);
}

static void many_sockets_come_in_several_pieces(void **state)
{
	enum { MANY = 60 };
	int fds[MANY];
	int one = 1;

	for (int i = 0; i < MANY; i++) {
		struct sockaddr_in here = v4((uint16_t)(PORT + i));

		fds[i] = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		assert_int_equal(setsockopt(fds[i], SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one)),
				 0);
		assert_int_equal(bind(fds[i], (struct sockaddr *)&here, sizeof(here)), 0);
	}
	sockets(AF_INET, IPPROTO_UDP, MANY);
	for (int i = 0; i < MANY; i++)
		close(fds[i]);
}

/* ---- deaths ---- */

static struct sock_diag_deaths *deaths;

struct dead {
	struct sock_diag_death list[1024];
	size_t count;
};

static void note_death(void *ctx, const struct sock_diag_death *death)
{
	struct dead *dead = ctx;

	if (dead->count < sizeof(dead->list) / sizeof(dead->list[0]))
		dead->list[dead->count++] = *death;
}

/* The next ones; fails if none come. */
static const struct dead *next(int expected)
{
	struct pollfd watch = { .fd = sock_diag_deaths_fd(deaths), .events = POLLIN };
	static struct dead dead;

	dead.count = 0;
	assert_int_equal(poll(&watch, 1, PATIENCE_MS), 1);
	assert_int_equal(sock_diag_deaths_read(deaths, note_death, &dead), expected);
	return &dead;
}

static void a_death_is_told_by_its_cookie(void **state)
{
	static const struct {
		int family, type;
		uint8_t protocol;
		const char *addr;
	} rows[] = {
		{ AF_INET, SOCK_STREAM, IPPROTO_TCP, "127.0.0.1" },
		{ AF_INET6, SOCK_STREAM, IPPROTO_TCP, "::1" },
		{ AF_INET, SOCK_DGRAM, IPPROTO_UDP, "127.0.0.1" },
		{ AF_INET6, SOCK_DGRAM, IPPROTO_UDP, "::1" },
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int fd = bound(rows[i].family, rows[i].type);
		uint64_t who = cookie(fd);
		const struct dead *dead;
		struct addr addr;

		close(fd);
		dead = next(0);
		assert_int_equal(dead->count, 1);
		assert_int_equal(addr_parse(rows[i].addr, &addr), 0);
		assert_int_equal(dead->list[0].cookie, who);
		assert_int_equal(dead->list[0].family, rows[i].family);
		assert_int_equal(dead->list[0].protocol, rows[i].protocol);
		assert_int_equal(dead->list[0].port, PORT);
		assert_true(addr_equal(&dead->list[0].addr, &addr));
	}
}

static void connections_end_untold(void **state)
{
	int fd = bound(AF_INET, SOCK_STREAM);
	uint64_t who = cookie(fd);
	const struct dead *dead;

	for (int i = 0; i < 20; i++) {
		int from = client(SOCK_STREAM);
		int to = accept(fd, NULL, NULL);

		assert_true(to >= 0);
		close(from);
		close(to);
	}
	close(fd);
	dead = next(0);
	assert_int_equal(dead->count, 1);
	assert_int_equal(dead->list[0].cookie, who);
}

static void a_socket_that_somebody_holds_is_not_dead(void **state)
{
	int fd = bound(AF_INET, SOCK_DGRAM);
	int copy = dup(fd);
	int other = bound(AF_INET6, SOCK_DGRAM);
	uint64_t who = cookie(fd);
	const struct dead *dead;

	close(fd);
	close(other);
	dead = next(0);
	assert_int_equal(dead->count, 1);
	assert_int_equal(dead->list[0].family, AF_INET6);
	close(copy);
	dead = next(0);
	assert_int_equal(dead->list[0].cookie, who);
}

static void count_death(void *ctx, const struct sock_diag_death *death)
{
	++*(unsigned int *)ctx;
}

/* Another reader, with room for all of them, tells when the kernel has told them all. */
static void end_many(unsigned int count)
{
	struct sock_diag_deaths *other;
	struct pollfd watch = { .events = POLLIN };
	unsigned int told = 0;

	assert_int_equal(sock_diag_deaths_open(&other, NULL), 0);
	watch.fd = sock_diag_deaths_fd(other);
	for (unsigned int i = 0; i < count; i++)
		close(bound(AF_INET, SOCK_DGRAM));
	while (told < count) {
		assert_int_equal(poll(&watch, 1, PATIENCE_MS), 1);
		assert_int_equal(sock_diag_deaths_read(other, count_death, &told), 0);
	}
	sock_diag_deaths_close(other);
}

static void lost_deaths_are_an_error_once(void **state)
{
	int size = 0; /* the kernel's least */
	const struct dead *dead;
	uint64_t who;
	int fd;

	assert_int_equal(setsockopt(sock_diag_deaths_fd(deaths), SOL_SOCKET, SO_RCVBUFFORCE, &size,
				    sizeof(size)),
			 0);
	end_many(300);
	dead = next(-ENOBUFS);
	assert_true(dead->count > 0 && dead->count < 300);
	/* And what comes afterwards is told as before. */
	fd = bound(AF_INET, SOCK_DGRAM);
	who = cookie(fd);
	close(fd);
	dead = next(0);
	assert_int_equal(dead->list[dead->count - 1].cookie, who);
}

/* ---- powers ---- */

static int check_powerless(void)
{
	struct found found = { .count = 0 };
	struct sock_diag_deaths *watch;
	struct sock_diag *mine;

	if (sock_diag_open(&mine, NULL) < 0 ||
	    sock_diag_dump(mine, AF_INET, IPPROTO_TCP, note, &found) < 0 || found.count != 1)
		return 1;
	sock_diag_close(mine);
	if (sock_diag_deaths_open(&watch, NULL) < 0)
		return 2;
	sock_diag_deaths_close(watch);
	return 0;
}

static void it_takes_no_powers(void **state)
{
	int fd = bound(AF_INET, SOCK_STREAM);

	assert_int_equal(as_user(NULL, 0, check_powerless), 0);
	close(fd);
}

/* ---- */

static int open_all(void **state)
{
	lab_open();
	return sock_diag_open(&diag, NULL) || sock_diag_deaths_open(&deaths, NULL);
}

static int close_all(void **state)
{
	sock_diag_close(diag);
	sock_diag_deaths_close(deaths);
	lab_close();
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, open_all, close_all)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(each_kind_of_socket_is_told),
		CASE(a_listeners_queue_is_told_and_its_connections_are_not),
		CASE(a_udp_queue_and_its_drops_are_told),
		CASE(many_sockets_come_in_several_pieces),
		CASE(a_death_is_told_by_its_cookie),
		CASE(connections_end_untold),
		CASE(a_socket_that_somebody_holds_is_not_dead),
		CASE(lost_deaths_are_an_error_once),
		CASE(it_takes_no_powers),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
