#include "client.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/must.h"

#define CLIENT_PATIENCE_MS 10000

void bench_open(struct bench *bench, unsigned int idle_s)
{
	struct admin_options options = { .tcp = true, .idle_s = idle_s };
	struct err err = { 0 };

	daemon_init(&bench->daemon);
	strcpy(bench->directory, "/tmp/loom-test-XXXXXX");
	must(mkdtemp(bench->directory));
	snprintf(bench->path, sizeof(bench->path), "%s/run/admin.sock", bench->directory);
	options.listen = bench->daemon.config.admin.listen;
	options.socket = bench->path;
	if (admin_open(&bench->admin, &options, &bench->daemon.control, &err) < 0) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

void bench_close(struct bench *bench)
{
	admin_close(bench->admin);
	*strrchr(bench->path, '/') = '\0';
	rmdir(bench->path);
	must(rmdir(bench->directory) == 0);
	daemon_done(&bench->daemon);
}

int client_unix(const struct bench *bench)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	strcpy(address.sun_path, bench->path);
	must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

int client_tcp(const struct bench *bench)
{
	struct sockaddr_in address = { .sin_family = AF_INET,
				       .sin_port = htons(admin_port(bench->admin)),
				       .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);

	must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ||
	     errno == EINPROGRESS);
	return fd;
}

bool client_wait(struct bench *bench, int fd, short events)
{
	struct pollfd fds[] = { { admin_fd(bench->admin), POLLIN, 0 }, { fd, events, 0 } };
	int timeout = admin_timeout_ms(bench->admin);
	bool bounded = timeout >= 0 && timeout < CLIENT_PATIENCE_MS;
	int n = poll(fds, 2, bounded ? timeout : CLIENT_PATIENCE_MS);

	admin_run(bench->admin);
	return n > 0 || bounded;
}

/* Sends what the socket takes.  An error is the server's doing: it has answered or given up. */
static void push(int fd, const char **bytes, size_t *len)
{
	ssize_t n = *len ? send(fd, *bytes, *len, MSG_NOSIGNAL) : 0;

	if (n < 0 && errno != EAGAIN && errno != ENOTCONN) {
		*len = 0;
	} else if (n > 0) {
		*bytes += n;
		*len -= (size_t)n;
	}
}

/* Reads what is there; false at the end. */
static bool pull(int fd, struct buf *answer)
{
	char data[16384];
	ssize_t n;

	while ((n = recv(fd, data, sizeof(data), 0)) > 0)
		buf_append(answer, data, (size_t)n);
	return n < 0 && (errno == EAGAIN || errno == ENOTCONN);
}

/* Runs the server until it waits for somebody else. */
static void settle(struct bench *bench)
{
	struct pollfd fd = { admin_fd(bench->admin), POLLIN, 0 };

	while (poll(&fd, 1, 0) > 0 || admin_timeout_ms(bench->admin) == 0)
		admin_run(bench->admin);
}

int client_exchange(struct bench *bench, int fd, const char *bytes, size_t len, bool leave,
		    struct buf *answer)
{
	bool open = true;
	int status = 0;

	while (open) {
		push(fd, &bytes, &len);
		if (leave && !len)
			settle(bench);
		else
			must(client_wait(bench, fd, (short)(POLLIN | (len ? POLLOUT : 0))));
		open = pull(fd, answer) && !(leave && !len);
	}
	close(fd);
	if (leave)
		settle(bench);
	if (answer->len)
		must(sscanf(answer->data, "HTTP/1.%*c %d", &status) == 1);
	return status;
}

struct answer client_ask(struct bench *bench, int fd, const char *method, const char *target,
			 const char *headers, const char *body)
{
	struct answer answer = { 0 };
	struct buf request;
	const char *text;

	buf_init(&request);
	buf_printf(&request, "%s %s HTTP/1.1\r\nConnection: close\r\n%s%s", method, target,
		   strstr(headers, "Host:") ? "" : "Host: localhost\r\n", headers);
	if (body)
		buf_printf(&request, "Content-Length: %zu\r\n", strlen(body));
	buf_printf(&request, "\r\n%s", body ? body : "");
	answer.status = client_exchange(bench, fd, request.data, request.len, false, &answer.text);
	buf_done(&request);
	text = answer.text.data ? strstr(answer.text.data, "\r\n\r\n") : NULL;
	if (text)
		answer.json = json_loads(text + 4, 0, NULL);
	return answer;
}

void answer_done(struct answer *answer)
{
	buf_done(&answer->text);
	json_decref(answer->json);
}

const char *answer_error(const struct answer *answer, const char *member)
{
	const char *text =
		json_string_value(json_object_get(json_object_get(answer->json, "error"), member));

	return text ? text : "";
}

bool answer_has_line(const struct answer *answer, const char *line)
{
	const char *at = answer->text.data ? strstr(answer->text.data, line) : NULL;

	return at && at[-1] == '\n' && at[strlen(line)] == '\r';
}
