/* One connection of the join server: messages in, answers out. */
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "join_internal.h"

#define READ_MAX 16 /* messages in one go: the others have their turn */

void join_client_break(struct join_client *client)
{
	if (client->broken)
		return;
	client->broken = true;
	loop_remove_fd(client->server->loop, client->watch);
	client->watch = NULL; /* the loop frees it */
	loop_arm_sooner(client->server->timer, 0);
}

void join_client_free(struct join_client *client)
{
	loop_remove_fd(client->server->loop, client->watch);
	close(client->fd);
	if (client->joined)
		client->server->ops->leave(client->server->ctx, client->id);
	free(client);
}

void join_client_send(struct join_client *client, const void *message, size_t len)
{
	if (client->broken ||
	    send(client->fd, message, len, MSG_NOSIGNAL | MSG_DONTWAIT) == (ssize_t)len)
		return;
	/* The socket's own buffer is all it gets. */
	if (errno == EAGAIN)
		log_warning("cut off a member that does not read what it is told; see what it "
			    "waits for pid=%d uid=%u",
			    client->peer.pid, client->peer.uid);
	join_client_break(client);
}

static void answer(struct join_client *client, uint32_t request, int status, const struct err *err,
		   struct join_answer *with)
{
	with->header = (struct join_header){ .version = JOIN_ABI_VERSION,
					     .type = JOIN_ANSWER,
					     .request = request };
	with->status = status;
	if (status < 0)
		snprintf(with->text, sizeof(with->text), "%s",
			 err->code ? err->text : strerror(-status));
	join_client_send(client, with, sizeof(*with));
}

/* What every group asks of a socket; the rest is the group's. */
static int check_socket(int fd, struct err *err)
{
	int domain = -1, type = -1, listens = 0, reuse = 0;
	socklen_t length = sizeof(int);

	if (getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) < 0 ||
	    getsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &reuse, &length) < 0)
		return err_set(err, -ENOTSOCK,
			       "cannot join: the descriptor is no socket; pass one");
	if (domain != AF_INET && domain != AF_INET6)
		return err_set(
			err, -EAFNOSUPPORT,
			"cannot join: the socket is neither IPv4 nor IPv6; pass one that is");
	if (type != SOCK_DGRAM && !(type == SOCK_STREAM && listens))
		return err_set(err, -EINVAL,
			       "cannot join: the socket is neither UDP nor a TCP listener; listen "
			       "before joining");
	if (!reuse)
		return err_set(err, -EINVAL,
			       "cannot join: the socket has no SO_REUSEPORT; set it before bind");
	return 0;
}

static void join(struct join_client *client, const struct join_request *request, int fd)
{
	struct join_server *server = client->server;
	struct join_answer with = { .slot = JOIN_NO_SLOT, .identity = JOIN_NO_SLOT };
	struct err err = { 0 };
	uint64_t id = 0;
	uint16_t slot = JOIN_NO_SLOT;
	int r = check_socket(fd, &err);

	server->joining = client;
	server->first = (struct join_state){ 0 };
	if (r == 0)
		r = server->ops->join(server->ctx, request, &client->peer, fd, &id, &slot, &err);
	server->joining = NULL;
	if (r == 0) {
		client->joined = true;
		client->id = id;
		with.member = id;
		with.slot = slot;
	}
	answer(client, request->header.request, r, &err, &with);
	if (r < 0)
		join_client_break(client);
	else if (server->first.header.version)
		join_client_send(client, &server->first, sizeof(server->first));
}

static void leave(struct join_client *client)
{
	client->joined = false;
	client->server->ops->leave(client->server->ctx, client->id);
}

static int drain(struct join_client *client, uint32_t deadline_ms, struct err *err)
{
	const struct join_server *server = client->server;
	uint64_t deadline = deadline_ms ? clock_now_ns() + deadline_ms * NSEC_PER_MSEC : 0;
	int r;

	client->draining = true; /* before: it may be over at once */
	r = server->ops->drain(server->ctx, client->id, deadline, err);
	if (r < 0)
		client->draining = false;
	return r;
}

static void serve(struct join_client *client, const union join_message *message, int fd)
{
	const struct join_server *server = client->server;
	struct join_answer with = { .slot = JOIN_NO_SLOT, .identity = JOIN_NO_SLOT };
	struct err err = { 0 };
	int r = 0;

	switch (message->header.type) {
	case JOIN_JOIN:
		join(client, &message->join, fd);
		return;
	case JOIN_READY:
		r = server->ops->ready(server->ctx, client->id, &err);
		break;
	case JOIN_DRAIN:
		r = drain(client, message->drain.deadline_ms, &err);
		break;
	case JOIN_LEAVE:
		leave(client);
		break;
	case JOIN_PUBLISH:
	case JOIN_UNPUBLISH:
		r = server->ops->publish(server->ctx, client->id, message->indices.index,
					 message->indices.count,
					 message->header.type == JOIN_PUBLISH, &err);
		break;
	default: /* JOIN_IDENTITY: join_message_check let no other through */
		r = server->ops->identity(server->ctx, client->id, &with.identity, &err);
		break;
	}
	answer(client, message->header.request, r, &err, &with);
	if (message->header.type == JOIN_LEAVE)
		join_client_break(client);
}

/* Takes the descriptors out of msg: *ret_fd is the first, the others are closed.  How many. */
static size_t take_descriptors(struct msghdr *msg, int *ret_fd)
{
	struct cmsghdr *at;
	size_t count = 0;

	for (at = CMSG_FIRSTHDR(msg); at; at = CMSG_NXTHDR(msg, at)) {
		size_t i, here = (at->cmsg_len - CMSG_LEN(0)) / sizeof(int);

		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_RIGHTS)
			continue;
		for (i = 0; i < here; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(at) + i * sizeof(fd), sizeof(fd));
			if (count++)
				close(fd);
			else
				*ret_fd = fd;
		}
	}
	return count;
}

static void take(struct join_client *client, const union join_message *message, size_t len, int fd,
		 bool too_much)
{
	struct join_answer with = { .slot = JOIN_NO_SLOT, .identity = JOIN_NO_SLOT };
	struct err err = { 0 };
	int r;

	if (too_much)
		r = err_set(&err, -EPROTO,
			    "cannot read a message: it is too long or carries more than one "
			    "descriptor; check the library");
	else
		r = join_message_check(message, len, client->joined, fd >= 0, &err);
	if (r == 0) {
		serve(client, message, fd);
		return;
	}
	log_warning("cut off a client of the join socket: %s pid=%d uid=%u", err.text,
		    client->peer.pid, client->peer.uid);
	answer(client, 0, r, &err, &with);
	join_client_break(client);
}

/* False: nothing more is there, or to be read. */
static bool read_one(struct join_client *client)
{
	union join_message *message = &client->server->message;
	struct iovec iov = { .iov_base = message, .iov_len = sizeof(*message) };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control;
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = &control,
		.msg_controllen = sizeof(control),
	};
	ssize_t len = recvmsg(client->fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	size_t count;
	int fd = -1;

	if (len < 0 && (errno == EAGAIN || errno == EINTR))
		return false;
	if (len < 0) {
		join_client_break(client);
		return false;
	}
	count = take_descriptors(&msg, &fd);
	if (len == 0 && !count)
		join_client_break(client); /* the end; an empty datagram is as good as one */
	else
		take(client, message, (size_t)len, fd,
		     count > 1 || (msg.msg_flags & (MSG_TRUNC | MSG_CTRUNC)));
	if (fd >= 0)
		close(fd); /* a duplicate kept is a socket that nobody reads */
	return !client->broken;
}

void join_client_read(void *ctx, uint32_t events)
{
	struct join_client *client = ctx;
	int i;

	for (i = 0; i < READ_MAX && !client->broken; i++)
		if (!read_one(client))
			break;
}
