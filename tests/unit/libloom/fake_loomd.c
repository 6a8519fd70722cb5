#include "fake_loomd.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "libloom/loom_steer.h"

static int refused(struct fake_loomd *fake, struct err *err)
{
	int r = fake->fail;

	fake->fail = 0;
	return r < 0 ? err_set(err, r, "cannot do it: the test says so; ask the test") : 0;
}

/* Notes that something happened: count is one of fake's. */
static int note(struct fake_loomd *fake, int *count, struct err *err)
{
	int r;

	pthread_mutex_lock(&fake->lock);
	++*count;
	r = refused(fake, err);
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
	return r;
}

static int on_join(void *ctx, const struct join_request *request, const struct join_peer *peer,
		   int socket_fd, uint64_t *ret_id, uint16_t *ret_slot, struct err *err)
{
	struct fake_loomd *fake = ctx;
	socklen_t length = sizeof(fake->socket_cookie);

	pthread_mutex_lock(&fake->lock);
	fake->request = *request;
	fake->peer = *peer;
	must(getsockopt(socket_fd, SOL_SOCKET, SO_COOKIE, &fake->socket_cookie, &length) == 0);
	fake->index_count = 0;
	fake->indices = 0;
	*ret_id = fake->id = request->member ? request->member : fake->socket_cookie;
	pthread_mutex_unlock(&fake->lock);
	join_server_state(fake->server, *ret_id, JOIN_ROLLOUT_SHADOW, JOIN_MEMBER_QUARANTINED);
	*ret_slot = 3;
	return note(fake, &fake->joins, err);
}

static int on_ready(void *ctx, uint64_t id, struct err *err)
{
	struct fake_loomd *fake = ctx;

	must(id == fake->id);
	return note(fake, &fake->readies, err);
}

static int on_drain(void *ctx, uint64_t id, uint64_t deadline_ns, struct err *err)
{
	struct fake_loomd *fake = ctx;

	must(id == fake->id);
	fake->drain_deadline_ns = deadline_ns;
	return note(fake, &fake->drains, err);
}

static void on_leave(void *ctx, uint64_t id)
{
	struct fake_loomd *fake = ctx;

	must(id == fake->id);
	(void)note(fake, &fake->leaves, NULL);
}

static int on_publish(void *ctx, uint64_t id, const uint32_t *indices, size_t count, bool add,
		      struct err *err)
{
	struct fake_loomd *fake = ctx;
	size_t i;

	must(id == fake->id);
	for (i = 0; i < count; i++)
		fake->indices += add ? (uint64_t)indices[i] : -(uint64_t)indices[i];
	fake->index_count += add ? count : -count;
	return note(fake, add ? &fake->publishes : &fake->unpublishes, err);
}

static int on_identity(void *ctx, uint64_t id, uint16_t *ret, struct err *err)
{
	struct fake_loomd *fake = ctx;
	int r = refused(fake, err);

	must(id == fake->id);
	if (r == 0)
		*ret = 99;
	return r;
}

static const struct join_ops ops = {
	.join = on_join,
	.ready = on_ready,
	.drain = on_drain,
	.leave = on_leave,
	.publish = on_publish,
	.identity = on_identity,
};

static void on_command(void *ctx, uint32_t events)
{
	struct fake_loomd *fake = ctx;
	uint64_t count;
	int i;

	must(read(fake->wake, &count, sizeof(count)) == sizeof(count));
	pthread_mutex_lock(&fake->lock);
	if (fake->command == FAKE_STOP)
		loop_stop(fake->loop);
	else if (fake->command == FAKE_ENFORCED)
		join_server_state(fake->server, fake->id, JOIN_ROLLOUT_ENFORCED,
				  JOIN_MEMBER_ACTIVE);
	else if (fake->command == FAKE_FLOOD)
		for (i = 0; i < 5000; i++)
			join_server_state(fake->server, fake->id, JOIN_ROLLOUT_ENFORCED,
					  JOIN_MEMBER_ACTIVE);
	else
		join_server_drained(fake->server, fake->id,
				    fake->command == FAKE_DRAINED ? JOIN_DRAINED_EMPTY
								  : JOIN_DRAINED_DEADLINE);
	fake->command = FAKE_NOTHING;
	pthread_cond_broadcast(&fake->changed);
	pthread_mutex_unlock(&fake->lock);
}

static void *serve(void *ctx)
{
	struct fake_loomd *fake = ctx;

	must(loop_run(fake->loop) == 0);
	join_server_close(fake->server);
	loop_free(fake->loop);
	return NULL;
}

void fake_open(struct fake_loomd *fake)
{
	memset(fake, 0, sizeof(*fake));
	strcpy(fake->directory, "/tmp/loom-join-XXXXXX");
	must(mkdtemp(fake->directory));
	snprintf(fake->path, sizeof(fake->path), "%s/steer", fake->directory);
	pthread_mutex_init(&fake->lock, NULL);
	pthread_cond_init(&fake->changed, NULL);
	fake->wake = eventfd(0, EFD_CLOEXEC);
	must(fake->wake >= 0);
}

void fake_start(struct fake_loomd *fake)
{
	const struct join_server_options options = { .path = fake->path, .group = (gid_t)-1 };
	struct err err = { 0 };

	must(loop_new(&fake->loop) == 0);
	if (join_server_open(&fake->server, fake->loop, &options, &ops, fake, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	must(loop_add_fd(fake->loop, fake->wake, EPOLLIN, on_command, fake, NULL) == 0);
	must(pthread_create(&fake->thread, NULL, serve, fake) == 0);
	fake->running = 1;
}

void fake_do(struct fake_loomd *fake, int command)
{
	const uint64_t one = 1;

	pthread_mutex_lock(&fake->lock);
	fake->command = command;
	must(write(fake->wake, &one, sizeof(one)) == sizeof(one));
	while (fake->command)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
}

void fake_stop(struct fake_loomd *fake)
{
	fake_do(fake, FAKE_STOP);
	must(pthread_join(fake->thread, NULL) == 0);
	fake->running = 0;
}

void fake_close(struct fake_loomd *fake)
{
	if (fake->running)
		fake_stop(fake);
	must(unlink(fake->path) < 0 && errno == ENOENT);
	must(rmdir(fake->directory) == 0);
	close(fake->wake);
}

void fake_await(struct fake_loomd *fake, const int *count, int least)
{
	pthread_mutex_lock(&fake->lock);
	while (*count < least)
		pthread_cond_wait(&fake->changed, &fake->lock);
	pthread_mutex_unlock(&fake->lock);
}

int fake_socket(void)
{
	struct sockaddr_in address = { .sin_family = AF_INET };
	int fd;

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	fd = loom_steer_bind((struct sockaddr *)&address, sizeof(address), IPPROTO_UDP, 0);
	must(fd >= 0);
	return fd;
}
