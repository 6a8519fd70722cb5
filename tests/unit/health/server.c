#include "server.h"

#include <arpa/inet.h>
#include <setjmp.h>
#include <stdarg.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static int open_socket(int type, uint16_t port, uint16_t *ret_port)
{
	struct sockaddr_in in = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(in);
	int one = 1;

	in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	assert_int_equal(bind(fd, (struct sockaddr *)&in, sizeof(in)), 0);
	assert_int_equal(getsockname(fd, (struct sockaddr *)&in, &len), 0);
	*ret_port = ntohs(in.sin_port);
	return fd;
}

uint16_t server_closed_port(int type)
{
	uint16_t port;

	close(open_socket(type, 0, &port));
	return port;
}

static void hang_up(struct server *server)
{
	loop_remove_fd(server->loop, server->client_watch);
	server->client_watch = NULL;
	if (server->client >= 0)
		close(server->client);
	server->client = -1;
}

static void on_client(void *ctx, uint32_t events)
{
	struct server *server = ctx;
	ssize_t n = recv(server->client, server->heard + server->heard_len,
			 sizeof(server->heard) - 1 - server->heard_len, 0);

	(void)events;
	if (n <= 0) {
		hang_up(server);
		return;
	}
	server->heard_len += (size_t)n;
	server->heard[server->heard_len] = '\0';
	for (int i = 0; server->answer && i < (server->flood ? server->flood : 1); i++)
		if (send(server->client, server->answer, server->answer_len, MSG_NOSIGNAL) < 0)
			break;
}

static void on_connection(void *ctx, uint32_t events)
{
	struct server *server = ctx;

	(void)events;
	hang_up(server);
	server->client = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (server->client < 0)
		return;
	server->connections++;
	server->heard_len = 0;
	assert_int_equal(loop_add_fd(server->loop, server->client, EPOLLIN, on_client, server,
				     &server->client_watch),
			 0);
}

static void on_datagram(void *ctx, uint32_t events)
{
	struct server *server = ctx;
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	uint8_t answer[4096];
	size_t answer_len = server->answer_len;
	ssize_t n = recvfrom(server->fd, server->heard, sizeof(server->heard), 0,
			     (struct sockaddr *)&from, &len);

	(void)events;
	if (n < 0)
		return;
	server->connections++;
	if (server->answer)
		memcpy(answer, server->answer, answer_len);
	if (server->make)
		answer_len = server->make(server, (uint8_t *)server->heard, (size_t)n, answer);
	else if (!server->answer)
		return;
	sendto(server->fd, answer, answer_len, 0, (struct sockaddr *)&from, len);
}

static void serve(struct server *server, struct loop *loop, const char *answer, loop_fd_fn fn)
{
	server->loop = loop;
	server->client = -1;
	server->answer = answer;
	server->answer_len = answer ? strlen(answer) : 0;
	assert_int_equal(loop_add_fd(loop, server->fd, EPOLLIN, fn, server, &server->watch), 0);
}

void server_open_tcp(struct server *server, struct loop *loop, uint16_t port, const char *answer)
{
	server->fd = open_socket(SOCK_STREAM, port, &server->port);
	assert_int_equal(listen(server->fd, 64), 0);
	serve(server, loop, answer, on_connection);
}

void server_open_udp(struct server *server, struct loop *loop, const char *answer)
{
	server->fd = open_socket(SOCK_DGRAM, 0, &server->port);
	serve(server, loop, answer, on_datagram);
}

void server_close(struct server *server)
{
	hang_up(server);
	loop_remove_fd(server->loop, server->watch);
	close(server->fd);
	server->fd = -1;
}
