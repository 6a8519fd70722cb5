#include "server.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "auth.h"
#include "base/buf.h"
#include "listen.h"
#include "route.h"
#include "stream_response.h"

#define ADMIN_CONNECTIONS	 64 /* a listener */
#define ADMIN_CONNECTIONS_PER_IP 16 /* loopback aside, where all clients share one address */
/* Request line and headers must fit; bodies pass through in pieces. */
#define ADMIN_CONNECTION_MEMORY 16384
/* A body that is too large is still read so far, so that the client gets to see the 413. */
#define ADMIN_MAX_DISCARD (1024 * 1024ul)

/* One way in. */
struct listener {
	struct MHD_Daemon *daemon; /* owned; NULL: not in use */
	const struct control *control;
	enum route_listener kind;
};

struct admin {
	int epoll_fd; /* holds the listeners' epoll descriptors */
	struct listener tcp;
	struct listener unix_socket;
	uint16_t port;
	char *path; /* owned; NULL until the socket file is ours */
	struct stat path_id;
};

/* A request on its way in. */
struct exchange {
	char *target;	 /* owned; as sent, before libmicrohttpd decodes it */
	struct buf body; /* owned */
	size_t received; /* bytes of body, kept or not */
	bool head_seen;
	bool keep_body;
};

static void *exchange_new(void *cls, const char *uri, struct MHD_Connection *connection)
{
	struct exchange *x = calloc(1, sizeof(*x));

	(void)cls;
	(void)connection;
	if (!x)
		return NULL;
	x->target = strdup(uri);
	if (!x->target) {
		free(x);
		return NULL;
	}
	buf_init(&x->body);
	return x;
}

static void exchange_free(void *cls, struct MHD_Connection *connection, void **con_cls,
			  enum MHD_RequestTerminationCode why)
{
	struct exchange *x = *con_cls;

	(void)cls;
	(void)connection;
	(void)why;
	*con_cls = NULL;
	if (!x)
		return;
	buf_done(&x->body);
	free(x->target);
	free(x);
}

static const char *header(struct MHD_Connection *connection, const char *name)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static struct request request_of(const struct listener *listener, struct MHD_Connection *connection,
				 const char *method, const struct exchange *x)
{
	return (struct request){
		.listener = listener->kind,
		.method = method,
		.target = x->target,
		.content_type = header(connection, MHD_HTTP_HEADER_CONTENT_TYPE),
		.authorization = header(connection, MHD_HTTP_HEADER_AUTHORIZATION),
		.host = header(connection, MHD_HTTP_HEADER_HOST),
		.origin = header(connection, MHD_HTTP_HEADER_ORIGIN),
		.body = x->body.data,
		.body_len = x->body.len,
		.body_too_large = x->received > ROUTE_MAX_BODY,
	};
}

static struct MHD_Response *response_of(struct MHD_Connection *connection, struct reply *reply)
{
	size_t len = reply->body.len;
	struct MHD_Response *response;
	char *text;

	if (reply->stream) {
		response = stream_response(reply->stream, connection);
		if (response)
			reply->stream = NULL;
		return response;
	}
	text = buf_take(&reply->body);
	if (!text)
		return NULL;
	response = MHD_create_response_from_buffer(len, text, MHD_RESPMEM_MUST_FREE);
	if (!response)
		free(text);
	return response;
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct reply *reply)
{
	struct MHD_Response *response = response_of(connection, reply);
	enum MHD_Result sent;

	if (!response)
		return MHD_NO;
	MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, reply->content_type);
	MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
	MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
	if (reply->allow[0])
		MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, reply->allow);
	if (reply->authenticate)
		MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
					reply->authenticate);
	sent = MHD_queue_response(connection, reply->status, response);
	MHD_destroy_response(response);
	return sent;
}

static enum MHD_Result answer(const struct listener *listener, struct MHD_Connection *connection,
			      const char *method, const struct exchange *x)
{
	struct request request = request_of(listener, connection, method, x);
	enum MHD_Result sent;
	struct reply reply;

	if (buf_failed(&x->body))
		return MHD_NO;
	reply_init(&reply);
	route_answer(listener->control, &request, &reply);
	sent = send_reply(connection, &reply);
	reply_done(&reply);
	return sent;
}

/* Headers are there: decides about the body. Answering now would close the connection, so that is
 * for bodies nobody should have to send. */
static enum MHD_Result take_head(const struct listener *listener, struct MHD_Connection *connection,
				 const char *method, struct exchange *x)
{
	const char *length = header(connection, MHD_HTTP_HEADER_CONTENT_LENGTH);
	struct request request = request_of(listener, connection, method, x);

	x->head_seen = true;
	x->keep_body = route_admit(listener->control, &request);
	if (!length || strtoull(length, NULL, 10) <= ADMIN_MAX_DISCARD)
		return MHD_YES;
	x->received = SIZE_MAX;
	return answer(listener, connection, method, x);
}

static enum MHD_Result take_body(struct exchange *x, const char *data, size_t len)
{
	x->received += len;
	if (x->received > ADMIN_MAX_DISCARD)
		return MHD_NO;
	if (x->received > ROUTE_MAX_BODY)
		buf_done(&x->body);
	else if (x->keep_body)
		buf_append(&x->body, data, len);
	return MHD_YES;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
				  const char *method, const char *version, const char *data,
				  size_t *len, void **con_cls)
{
	const struct listener *listener = cls;
	struct exchange *x = *con_cls;
	enum MHD_Result taken;

	(void)url;
	(void)version;
	if (!x)
		return MHD_NO;
	if (!x->head_seen)
		return take_head(listener, connection, method, x);
	if (*len == 0)
		return answer(listener, connection, method, x);
	taken = take_body(x, data, *len);
	*len = 0;
	return taken;
}

/* Starts HTTP on fd, which the daemon owns from then on; fd is closed if it does not start. */
static int listener_start(struct admin *admin, struct listener *listener, int fd,
			  unsigned int per_ip, unsigned int idle_s)
{
	const union MHD_DaemonInfo *info;
	struct epoll_event event = { .events = EPOLLIN };

	listener->daemon = MHD_start_daemon(
		MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME, 0, NULL, NULL, on_request, listener,
		MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
		(unsigned int)ADMIN_CONNECTIONS, MHD_OPTION_PER_IP_CONNECTION_LIMIT, per_ip,
		MHD_OPTION_CONNECTION_TIMEOUT, idle_s ? idle_s : ADMIN_IDLE_TIMEOUT_S,
		MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)ADMIN_CONNECTION_MEMORY,
		MHD_OPTION_STRICT_FOR_CLIENT, 1, MHD_OPTION_URI_LOG_CALLBACK, exchange_new, NULL,
		MHD_OPTION_NOTIFY_COMPLETED, exchange_free, NULL, MHD_OPTION_END);
	if (!listener->daemon) {
		/* It may have closed fd or not; nobody else opens descriptors meanwhile. */
		if (fcntl(fd, F_GETFD) >= 0)
			close(fd);
		return -ENOMEM;
	}
	info = MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_EPOLL_FD);
	if (!info)
		return -ENOTSUP;
	return epoll_ctl(admin->epoll_fd, EPOLL_CTL_ADD, info->epoll_fd, &event) < 0 ? -errno : 0;
}

static uint16_t port_of(int fd)
{
	union {
		struct sockaddr any;
		struct sockaddr_in v4;
		struct sockaddr_in6 v6;
	} sa = { 0 };
	socklen_t len = sizeof(sa);

	if (getsockname(fd, &sa.any, &len) < 0)
		return 0;
	return ntohs(sa.any.sa_family == AF_INET6 ? sa.v6.sin6_port : sa.v4.sin_port);
}

static int open_tcp(struct admin *admin, const struct admin_options *options, struct err *err)
{
	bool loopback = auth_addr_is_loopback(&options->listen);
	int fd = listen_tcp(&options->listen, options->port, err);
	int r;

	if (fd < 0)
		return fd;
	admin->port = port_of(fd);
	admin->tcp.kind = loopback ? ROUTE_LOOPBACK : ROUTE_NETWORK;
	r = listener_start(admin, &admin->tcp, fd, loopback ? 0 : ADMIN_CONNECTIONS_PER_IP,
			   options->idle_s);
	if (r < 0)
		err_set(err, r, "cannot serve the admin API over TCP: %s; free some memory",
			strerror(-r));
	return r;
}

static int open_unix(struct admin *admin, const struct admin_options *options, struct err *err)
{
	int fd = listen_unix(options->socket, SOCK_STREAM, "admin.socket", &admin->path_id, err);
	int r;

	if (fd < 0)
		return fd;
	admin->unix_socket.kind = ROUTE_UNIX;
	admin->path = strdup(options->socket);
	if (!admin->path) {
		listen_unlink(options->socket, &admin->path_id);
		close(fd);
		return err_set(err, -ENOMEM, "cannot listen on %s: out of memory; free some",
			       options->socket);
	}
	r = listener_start(admin, &admin->unix_socket, fd, 0, options->idle_s);
	if (r < 0)
		err_set(err, r, "cannot serve the admin API on %s: %s; free some memory",
			options->socket, strerror(-r));
	return r;
}

int admin_open(struct admin **ret, const struct admin_options *options,
	       const struct control *control, struct err *err)
{
	struct admin *admin = calloc(1, sizeof(*admin));
	int r;

	if (!admin)
		return err_set(err, -ENOMEM, "cannot open the admin API: out of memory; free some");
	admin->tcp.control = control;
	admin->unix_socket.control = control;
	admin->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	if (admin->epoll_fd < 0) {
		r = err_set(err, -errno, "cannot open the admin API: %s; raise the limit of files",
			    strerror(errno));
		goto fail;
	}
	if (options->tcp && (r = open_tcp(admin, options, err)) < 0)
		goto fail;
	if (options->socket && (r = open_unix(admin, options, err)) < 0)
		goto fail;
	*ret = admin;
	return 0;
fail:
	admin_close(admin);
	return r;
}

int admin_fd(const struct admin *admin)
{
	return admin->epoll_fd;
}

uint16_t admin_port(const struct admin *admin)
{
	return admin->port;
}

static int listener_timeout_ms(const struct listener *listener)
{
	MHD_UNSIGNED_LONG_LONG ms;

	if (!listener->daemon || MHD_get_timeout(listener->daemon, &ms) != MHD_YES)
		return -1;
	return ms > INT_MAX ? INT_MAX : (int)ms;
}

int admin_timeout_ms(const struct admin *admin)
{
	int tcp = listener_timeout_ms(&admin->tcp);
	int local = listener_timeout_ms(&admin->unix_socket);

	if (tcp < 0)
		return local;
	return local < 0 || tcp < local ? tcp : local;
}

static unsigned int connections_of(const struct listener *listener)
{
	return MHD_get_daemon_info(listener->daemon, MHD_DAEMON_INFO_CURRENT_CONNECTIONS)
		->num_connections;
}

/* A full listener leaves the epoll set, and libmicrohttpd puts it back at the beginning of a run
 * only: without another run after connections ended, nobody waiting would ever be let in. */
static void listener_run(struct listener *listener)
{
	bool full;

	if (!listener->daemon)
		return;
	full = connections_of(listener) >= ADMIN_CONNECTIONS;
	MHD_run(listener->daemon);
	if (full && connections_of(listener) < ADMIN_CONNECTIONS)
		MHD_run(listener->daemon);
}

void admin_run(struct admin *admin)
{
	listener_run(&admin->tcp);
	listener_run(&admin->unix_socket);
}

void admin_close(struct admin *admin)
{
	if (!admin)
		return;
	if (admin->tcp.daemon)
		MHD_stop_daemon(admin->tcp.daemon);
	if (admin->unix_socket.daemon)
		MHD_stop_daemon(admin->unix_socket.daemon);
	if (admin->path)
		listen_unlink(admin->path, &admin->path_id);
	free(admin->path);
	if (admin->epoll_fd >= 0)
		close(admin->epoll_fd);
	free(admin);
}
