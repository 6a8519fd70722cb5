#include "join_server.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "admin/listen.h"
#include "base/clock.h"
#include "base/log.h"
#include "join_internal.h"

#define HASTE_NS (JOIN_SERVER_HASTE_S * NSEC_PER_SEC)

static bool is_permitted(const struct join_server *server, uid_t uid)
{
	size_t i;

	if (uid == 0 || uid == geteuid())
		return true;
	for (i = 0; i < server->user_count; i++)
		if (server->users[i] == uid)
			return true;
	return false;
}

/* Frees who is broken, tells of their leaving, and breaks who did not join in time.  From the
 * loop alone: whoever breaks a client may still be using it. */
static void reap(void *ctx)
{
	struct join_server *server = ctx;
	struct join_client **at = &server->clients;
	uint64_t now = clock_now_ns();

	while (*at) {
		struct join_client *client = *at;
		uint64_t until = client->since_ns + HASTE_NS;

		if (!client->broken && !client->joined && now < until)
			loop_arm_sooner(server->timer, until - now);
		if (!client->broken && (client->joined || now < until)) {
			at = &client->next;
			continue;
		}
		*at = client->next;
		join_client_free(client);
		server->count--;
	}
}

/* Over the limit or not permitted: says so, and that is all. */
static void refuse(int fd, int status, const char *text)
{
	struct join_answer answer = {
		.header = { .version = JOIN_ABI_VERSION, .type = JOIN_ANSWER },
		.status = status,
		.slot = JOIN_NO_SLOT,
		.identity = JOIN_NO_SLOT,
	};

	strncpy(answer.text, text, sizeof(answer.text) - 1);
	/* Who does not hear it sees the end of the connection. */
	(void)!send(fd, &answer, sizeof(answer), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static int add_client(struct join_server *server, int fd, const struct join_peer *peer)
{
	struct join_client *client = calloc(1, sizeof(*client));
	int r;

	if (!client)
		return -ENOMEM;
	client->server = server;
	client->fd = fd;
	client->peer = *peer;
	client->since_ns = clock_now_ns();
	r = loop_add_fd(server->loop, fd, EPOLLIN, join_client_read, client, &client->watch);
	if (r < 0) {
		free(client);
		return r;
	}
	client->next = server->clients;
	server->clients = client;
	server->count++;
	loop_arm_sooner(server->timer, HASTE_NS);
	return 0;
}

static void accept_one(void *ctx, uint32_t events)
{
	struct join_server *server = ctx;
	struct ucred peer;
	socklen_t length = sizeof(peer);
	int fd = accept4(server->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return; /* it has gone, or descriptors are short: the next one may succeed */
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) < 0)
		refuse(fd, -EACCES, "cannot join: loomd cannot tell who asks; try again");
	else if (!is_permitted(server, peer.uid))
		refuse(fd, -EPERM,
		       "cannot join: this user is not permitted; add its uid to "
		       "steering.join.users");
	else if (server->count >= JOIN_SERVER_CLIENTS)
		refuse(fd, -EUSERS,
		       "cannot join: loomd has as many members as it serves (1024); end some");
	else if (add_client(server, fd,
			    &(struct join_peer){
				    .pid = peer.pid, .uid = peer.uid, .gid = peer.gid }) < 0)
		refuse(fd, -ENOMEM, "cannot join: loomd is out of memory; free some");
}

static int open_socket(struct join_server *server, const struct join_server_options *options,
		       struct err *err)
{
	server->fd = listen_unix(options->path, SOCK_SEQPACKET, "steering.join.socket",
				 &server->path_id, err);
	if (server->fd < 0)
		return server->fd;
	server->path = strdup(options->path);
	if (!server->path) {
		listen_unlink(options->path, &server->path_id);
		return err_set(err, -ENOMEM, "cannot listen on %s: out of memory; free some",
			       options->path);
	}
	if ((options->group != (gid_t)-1 && chown(server->path, (uid_t)-1, options->group) < 0) ||
	    (options->user_count && chmod(server->path, 0666) < 0))
		return err_set(err, -errno,
			       "cannot open %s to its users: %s; check the directory's owner",
			       server->path, strerror(errno));
	return 0;
}

int join_server_users(struct join_server *server, const uid_t *users, size_t count)
{
	uid_t *copy = calloc(count + 1, sizeof(*copy));

	if (!copy)
		return -ENOMEM;
	if (count)
		memcpy(copy, users, count * sizeof(*copy));
	free(server->users);
	server->users = copy;
	server->user_count = count;
	if (server->path && chmod(server->path, count ? 0666 : 0660) < 0)
		log_warning("cannot change the mode of %s: %s; change it by hand", server->path,
			    strerror(errno));
	return 0;
}

int join_server_open(struct join_server **ret, struct loop *loop,
		     const struct join_server_options *options, const struct join_ops *ops,
		     void *ctx, struct err *err)
{
	struct join_server *server = calloc(1, sizeof(*server));
	int r;

	*ret = NULL;
	if (!server)
		return err_set(err, -ENOMEM, "cannot serve joining: out of memory; free some");
	server->loop = loop;
	server->ops = ops;
	server->ctx = ctx;
	server->fd = -1;
	r = join_server_users(server, options->users, options->user_count);
	if (r == 0)
		r = loop_add_timer(loop, reap, server, &server->timer);
	if (r < 0) {
		err_set(err, r, "cannot serve joining: %s; free some memory", strerror(-r));
		goto fail;
	}
	r = open_socket(server, options, err);
	if (r < 0)
		goto fail;
	r = loop_add_fd(loop, server->fd, EPOLLIN, accept_one, server, &server->watch);
	if (r < 0) {
		err_set(err, r, "cannot wait for who joins: %s; free some memory", strerror(-r));
		goto fail;
	}
	*ret = server;
	return 0;
fail:
	join_server_close(server);
	return r;
}

void join_server_close(struct join_server *server)
{
	if (!server)
		return;
	while (server->clients) {
		struct join_client *client = server->clients;

		server->clients = client->next;
		client->joined = false; /* it stays a member */
		join_client_free(client);
	}
	loop_remove_fd(server->loop, server->watch);
	if (server->timer)
		loop_disarm(server->timer);
	if (server->path)
		listen_unlink(server->path, &server->path_id);
	if (server->fd >= 0)
		close(server->fd);
	free(server->path);
	free(server->users);
	free(server);
}

static struct join_client *find(struct join_server *server, uint64_t id)
{
	struct join_client *client;

	for (client = server->clients; client; client = client->next)
		if (client->joined && !client->broken && client->id == id)
			return client;
	return NULL;
}

void join_server_drained(struct join_server *server, uint64_t id, enum join_drained_reason reason)
{
	struct join_client *client = find(server, id);
	struct join_drained event = {
		.header = { .version = JOIN_ABI_VERSION, .type = JOIN_DRAINED },
		.reason = reason,
	};

	if (!client || !client->draining)
		return;
	client->draining = false;
	join_client_send(client, &event, sizeof(event));
}

void join_server_state(struct join_server *server, uint64_t id, enum join_rollout rollout,
		       enum join_member member)
{
	struct join_client *client = find(server, id);
	struct join_state event = {
		.header = { .version = JOIN_ABI_VERSION, .type = JOIN_STATE },
		.rollout = rollout,
		.member = member,
	};

	if (client)
		join_client_send(client, &event, sizeof(event));
	else if (server->joining)
		server->first = event; /* its id is not known here yet; the answer comes first */
}

void join_server_end(struct join_server *server, uint64_t id)
{
	struct join_client *client = find(server, id);

	if (!client)
		return;
	client->joined = false;
	join_client_break(client);
}
