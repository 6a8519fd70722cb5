/* HTTP and HTTPS by libcurl, whose sockets and timers live in our loop.
 *
 * Each check is a connection of its own, to the backend's address whatever Host says, by no proxy,
 * and a redirect is an answer like any other.  Nothing here resolves names, so libcurl starts no
 * thread. */
#include <curl/curl.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/buf.h"
#include "base/clock.h"
#include "probe.h"

#define HEADERS_MAX 65536

struct probe_http {
	CURLM *multi;		  /* owned */
	struct loop *loop;	  /* borrowed */
	struct loop_timer *timer; /* the loop's */
};

/* A transfer: probe->request. */
struct transfer {
	CURL *easy;
	struct curl_slist *headers;    /* owned */
	struct curl_slist *connect_to; /* owned */
	char reason[CURL_ERROR_SIZE];
	size_t header_bytes;
	bool found;   /* expect is in the body */
	bool enough;  /* the rest of the body does not matter */
	bool too_big; /* headers, or a body without expect */
};

/* A socket of libcurl's. */
struct http_socket {
	struct probe_http *http;
	curl_socket_t fd;
	struct loop_fd *watch;
};

static void transfer_free(struct probe_http *http, struct transfer *transfer)
{
	if (!transfer)
		return;
	if (transfer->easy) {
		curl_multi_remove_handle(http->multi, transfer->easy);
		curl_easy_cleanup(transfer->easy);
	}
	curl_slist_free_all(transfer->headers);
	curl_slist_free_all(transfer->connect_to);
	free(transfer);
}

static void stop(struct probe *probe)
{
	transfer_free(probe->env->http, probe->request);
	probe->request = NULL;
}

/* ---- results ---- */

static void judge(struct probe *probe, CURLcode result)
{
	const struct transfer *transfer = probe->request;
	const struct config_check *check = probe->check;
	long first = check->status_first ? check->status_first : 200;
	long last = check->status_last ? check->status_last : 399;
	long status = 0;

	curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
	if (result == CURLE_WRITE_ERROR && transfer->enough)
		result = CURLE_OK;
	if (transfer->too_big)
		probe_fail(probe,
			   check->expect && status
				   ? "the expected text is not in the answer's first %d bytes"
				   : "the answer's headers are longer than %d bytes",
			   check->expect && status ? PROBE_ANSWER_MAX : HEADERS_MAX);
	else if (result != CURLE_OK)
		probe_fail(probe, "%s",
			   transfer->reason[0] ? transfer->reason : curl_easy_strerror(result));
	else if (status < first || status > last)
		probe_fail(probe, "status %ld, not %ld to %ld", status, first, last);
	else if (check->expect && !transfer->found)
		probe_fail(probe, "status %ld, but the answer does not contain the expected text",
			   status);
	else
		probe_succeed(probe);
}

static void collect(struct probe_http *http)
{
	CURLMsg *message;
	int left;

	/* judge() frees the transfer, and with it the message: it is asked for anew each time. */
	while ((message = curl_multi_info_read(http->multi, &left))) {
		struct probe *probe = NULL;
		CURLcode result = message->data.result;

		if (message->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&probe);
		judge(probe, result);
	}
}

/* ---- libcurl in our loop ---- */

static void on_socket(void *ctx, uint32_t events)
{
	const struct http_socket *watched = ctx;
	struct probe_http *http = watched->http;
	int mask = 0;
	int running;

	if (events & EPOLLIN)
		mask |= CURL_CSELECT_IN;
	if (events & EPOLLOUT)
		mask |= CURL_CSELECT_OUT;
	if (events & (EPOLLERR | EPOLLHUP))
		mask |= CURL_CSELECT_ERR;
	curl_multi_socket_action(http->multi, watched->fd, mask, &running);
	collect(http);
}

static void on_timer(void *ctx)
{
	struct probe_http *http = ctx;
	int running;

	curl_multi_socket_action(http->multi, CURL_SOCKET_TIMEOUT, 0, &running);
	collect(http);
}

static int want_timer(CURLM *multi, long ms, void *ctx)
{
	struct probe_http *http = ctx;

	(void)multi;
	if (ms < 0)
		loop_disarm(http->timer);
	else
		loop_arm(http->timer, (uint64_t)ms * NSEC_PER_MSEC);
	return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *ctx, void *socket_ctx)
{
	struct probe_http *http = ctx;
	struct http_socket *watched = socket_ctx;
	uint32_t events = 0;

	(void)easy;
	if (what == CURL_POLL_REMOVE) {
		if (watched)
			loop_remove_fd(http->loop, watched->watch);
		curl_multi_assign(http->multi, fd, NULL);
		free(watched);
		return 0;
	}
	if (!watched) {
		watched = calloc(1, sizeof(*watched));
		if (!watched)
			return -1;
		curl_multi_assign(http->multi, fd, watched);
	}
	events |= what & CURL_POLL_IN ? EPOLLIN : 0;
	events |= what & CURL_POLL_OUT ? EPOLLOUT : 0;
	loop_remove_fd(http->loop, watched->watch);
	*watched = (struct http_socket){ .http = http, .fd = fd };
	if (loop_add_fd(http->loop, fd, events, on_socket, watched, &watched->watch) < 0)
		watched->watch = NULL; /* the check's timeout ends it */
	return 0;
}

int probe_http_open(struct probe_http **ret, struct loop *loop, struct err *err)
{
	struct probe_http *http = calloc(1, sizeof(*http));

	*ret = NULL;
	if (!http)
		return err_set(err, -ENOMEM, "cannot prepare HTTP checks: out of memory");
	http->loop = loop;
	if (curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK)
		http->multi = curl_multi_init();
	if (!http->multi || loop_add_timer(loop, on_timer, http, &http->timer) < 0) {
		curl_multi_cleanup(http->multi);
		free(http);
		return err_set(err, -ENOMEM, "cannot prepare HTTP checks: out of memory");
	}
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
	curl_multi_setopt(http->multi, CURLMOPT_SOCKETDATA, http);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERFUNCTION, want_timer);
	curl_multi_setopt(http->multi, CURLMOPT_TIMERDATA, http);
	*ret = http;
	return 0;
}

void probe_http_close(struct probe_http *http)
{
	if (!http)
		return;
	curl_multi_cleanup(http->multi);
	loop_disarm(http->timer);
	free(http);
	curl_global_cleanup();
}

/* ---- a request ---- */

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct probe *probe = ctx;
	struct transfer *transfer = probe->request;
	int r = probe->check->expect ? probe_gather(probe, data, size * count) : 1;

	transfer->found = r > 0;
	transfer->enough = r > 0;
	transfer->too_big = r == -ENOSPC;
	return r == 0 ? size * count : 0;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx)
{
	struct transfer *transfer = ((struct probe *)ctx)->request;

	(void)data;
	transfer->header_bytes += size * count;
	transfer->too_big = transfer->header_bytes > HEADERS_MAX;
	return transfer->too_big ? 0 : size * count;
}

static char *url_of(const struct probe *probe)
{
	const struct config_check *check = probe->check;
	const char *path = check->path ? check->path : "/";
	char where[ADDR_PORT_TEXT_LEN];
	struct buf url;

	buf_init(&url);
	buf_printf(&url, "%s://", check->type == CONFIG_CHECK_HTTPS ? "https" : "http");
	/* Host's own port, if it has one, is for the header alone. */
	if (check->host && check->host[0] != '[')
		buf_printf(&url, "%.*s:%u", (int)strcspn(check->host, ":"), check->host,
			   probe->port);
	else
		buf_printf(&url, "%s", addr_port_format(&probe->address, probe->port, where));
	buf_printf(&url, "%s%s", path[0] == '/' ? "" : "/", path);
	return buf_take(&url);
}

static int add_lists(const struct probe *probe, struct transfer *transfer)
{
	char where[ADDR_PORT_TEXT_LEN];
	char text[ADDR_PORT_TEXT_LEN + 300];

	snprintf(text, sizeof(text), "::%s", addr_port_format(&probe->address, probe->port, where));
	transfer->connect_to = curl_slist_append(NULL, text);
	if (!transfer->connect_to)
		return -ENOMEM;
	if (!probe->check->host)
		return 0;
	snprintf(text, sizeof(text), "Host: %s", probe->check->host);
	transfer->headers = curl_slist_append(NULL, text);
	return transfer->headers ? 0 : -ENOMEM;
}

static void set_connection(struct probe *probe, CURL *easy)
{
	const struct config_check *check = probe->check;
	struct transfer *transfer = probe->request;

	curl_easy_setopt(easy, CURLOPT_CONNECT_TO, transfer->connect_to);
	curl_easy_setopt(easy, CURLOPT_PROXY, "");
	curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
	curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(easy, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
	curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
	curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, check->verify_tls ? 1L : 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, check->verify_tls ? 2L : 0L);
	curl_easy_setopt(easy, CURLOPT_SSL_SESSIONID_CACHE, 0L);
	/* A little later than the caller's own clock, whose words are better. */
	curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS,
			 (long)(check->timeout_ns / NSEC_PER_MSEC) + 1000L);
}

static void set_request(struct probe *probe, CURL *easy)
{
	const struct config_check *check = probe->check;
	struct transfer *transfer = probe->request;

	curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
	curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(easy, CURLOPT_PATH_AS_IS, 1L);
	curl_easy_setopt(easy, CURLOPT_USERAGENT, "loom/" LOOM_VERSION " (health check)");
	if (check->method && !strcmp(check->method, "HEAD"))
		curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
	else if (check->method)
		curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, check->method);
	curl_easy_setopt(easy, CURLOPT_HTTPHEADER, transfer->headers);
	curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
	curl_easy_setopt(easy, CURLOPT_WRITEDATA, probe);
	curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_header);
	curl_easy_setopt(easy, CURLOPT_HEADERDATA, probe);
	curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason);
	curl_easy_setopt(easy, CURLOPT_PRIVATE, probe);
}

static int start(struct probe *probe)
{
	struct transfer *transfer = calloc(1, sizeof(*transfer));
	char *url;
	int r = -ENOMEM;

	probe->request = transfer;
	if (!transfer)
		return probe_refuse(probe, r, "cannot make a request");
	url = url_of(probe);
	transfer->easy = curl_easy_init();
	if (!url || !transfer->easy || add_lists(probe, transfer) < 0)
		goto out;
	curl_easy_setopt(transfer->easy, CURLOPT_URL, url);
	set_connection(probe, transfer->easy);
	set_request(probe, transfer->easy);
	/* Nothing happens yet: libcurl asks for its timer at once, and goes on when that fires. */
	r = curl_multi_add_handle(probe->env->http->multi, transfer->easy) == CURLM_OK ? 0
										       : -ENOMEM;
out:
	free(url);
	return r < 0 ? probe_refuse(probe, r, "cannot make a request") : 0;
}

const struct probe_kind probe_http = { .start = start, .stop = stop };
