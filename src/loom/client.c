#include "client.h"

#include <ctype.h>
#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/buf.h"

#define CLIENT_ANSWER_MAX ((size_t)32 << 20)
#define CLIENT_TOKEN_MAX  4096
#define CLIENT_CONNECT_S  5L
#define CLIENT_TOTAL_S	  30L
#define CLIENT_RUN_DIR	  "/run/loom"
/* The host is not looked up when a socket is given, but HTTP wants one. */
#define CLIENT_SOCKET_URL "http://localhost"

struct client {
	CURL *curl;
	char *socket; /* NULL: url leads there */
	char *url;    /* no slash at its end */
	char *where;
	char *bearer; /* whole header line, or NULL */
	struct buf refusal;
};

/* What arrives of one answer. */
struct answer {
	struct buf body;
	bool too_long;
};

static int set_socket(struct client *client, const char *instance, const char *path,
		      struct err *err)
{
	static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";
	size_t len = strlen(instance);

	if (!len || len > 32 || strspn(instance, allowed) != len)
		return err_set(
			err, -EINVAL,
			"cannot use '%s' as instance: a name has 1 to 32 of a-z, 0-9, _ and -",
			instance);
	if (path)
		client->socket = strdup(path);
	else if (asprintf(&client->socket, CLIENT_RUN_DIR "/%s.sock", instance) < 0)
		client->socket = NULL;
	if (!client->socket)
		return err_set(err, -ENOMEM, "cannot start: out of memory");
	if (!*client->socket ||
	    strlen(client->socket) >= sizeof(((struct sockaddr_un *)NULL)->sun_path))
		return err_set(err, -EINVAL,
			       "cannot use '%s' as socket: a path has 1 to 107 characters", path);
	client->url = strdup(CLIENT_SOCKET_URL);
	client->where = strdup(client->socket);
	return client->url && client->where ? 0 : -ENOMEM;
}

/* Keeps the URL, and a form of it without user and password for sentences. */
static int set_url(struct client *client, const char *url, struct err *err)
{
	CURLU *parts = curl_url();
	size_t len = strlen(url);
	char *where = NULL;
	int r = 0;

	if (!parts)
		return -ENOMEM;
	if ((strncmp(url, "http://", 7) != 0 && strncmp(url, "https://", 8) != 0) ||
	    curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK) {
		r = err_set(err, -EINVAL, "cannot use the given URL: it is none of the form %s",
			    "http[s]://HOST[:PORT]");
		goto done;
	}
	curl_url_set(parts, CURLUPART_USER, NULL, 0);
	curl_url_set(parts, CURLUPART_PASSWORD, NULL, 0);
	while (len && url[len - 1] == '/')
		len--;
	client->url = strndup(url, len);
	if (curl_url_get(parts, CURLUPART_URL, &where, 0) == CURLUE_OK)
		client->where = strdup(where);
	if (!client->url || !client->where)
		r = -ENOMEM;
done:
	curl_free(where);
	curl_url_cleanup(parts);
	return r;
}

/* One line of printable characters: anything else would end up as another header. */
static int read_token(struct client *client, const char *path, struct err *err)
{
	char token[CLIENT_TOKEN_MAX];
	FILE *file = fopen(path, "re");
	size_t len;
	size_t i;

	if (!file)
		return err_set(err, -errno, "cannot read the token file %s: %s", path,
			       strerror(errno));
	len = fread(token, 1, sizeof(token) - 1, file);
	if (ferror(file)) {
		err_set(err, -EIO, "cannot read the token file %s: %s", path, strerror(errno));
		fclose(file);
		return -EIO;
	}
	fclose(file);
	while (len && isspace((unsigned char)token[len - 1]))
		len--;
	token[len] = '\0';
	for (i = 0; i < len && isgraph((unsigned char)token[i]); i++)
		;
	if (!len || i < len || len == sizeof(token) - 1)
		return err_set(
			err, -EINVAL,
			"cannot use the token in %s: it is not one line of 1 to %d printable "
			"characters; write the value of admin.auth.bearer into it",
			path, CLIENT_TOKEN_MAX - 2);
	return asprintf(&client->bearer, "Authorization: Bearer %s", token) < 0 ? -ENOMEM : 0;
}

int client_open(struct client **ret, const struct client_options *options, struct err *err)
{
	struct client *client;
	int r = -ENOMEM;

	*ret = NULL;
	if (options->url && (options->socket || options->instance))
		return err_set(err, -EINVAL,
			       "cannot use --url with --socket or --instance: they name different "
			       "ways to loomd; leave one out");
	client = calloc(1, sizeof(*client));
	if (!client)
		goto fail;
	buf_init(&client->refusal);
	if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
		goto fail;
	client->curl = curl_easy_init();
	if (!client->curl)
		goto fail;
	r = options->url ? set_url(client, options->url, err)
			 : set_socket(client, options->instance ? options->instance : "default",
				      options->socket, err);
	if (!r && options->token_file)
		r = read_token(client, options->token_file, err);
	if (r < 0)
		goto fail;
	*ret = client;
	return 0;
fail:
	client_close(client);
	if (r == -ENOMEM)
		err_set(err, r, "cannot start: out of memory");
	return r;
}

void client_close(struct client *client)
{
	if (!client)
		return;
	curl_easy_cleanup(client->curl);
	curl_global_cleanup();
	free(client->socket);
	free(client->url);
	free(client->where);
	if (client->bearer)
		explicit_bzero(client->bearer, strlen(client->bearer));
	free(client->bearer);
	buf_done(&client->refusal);
	free(client);
}

const char *client_where(const struct client *client)
{
	return client->where;
}

const char *client_refusal(const struct client *client)
{
	return client->refusal.data ? client->refusal.data : "";
}

char *client_escape(const char *value)
{
	char *escaped = curl_easy_escape(NULL, value, 0);
	char *copy = escaped ? strdup(escaped) : NULL;

	curl_free(escaped);
	return copy;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx)
{
	struct answer *answer = ctx;

	if (answer->body.len + count > CLIENT_ANSWER_MAX) {
		answer->too_long = true;
		return 0;
	}
	buf_append(&answer->body, data, size * count);
	return buf_failed(&answer->body) ? 0 : count;
}

/* What a person can do when nobody answers. */
static const char *remedy(const struct client *client, int os_errno)
{
	if (client->socket && os_errno == EACCES)
		return "run loom as root or as a member of the socket's group";
	if (client->socket)
		return "start loomd, or name another one with --instance, --socket or --url";
	return "start loomd, or check the address against its admin.listen";
}

static int transport_error(const struct client *client, const struct client_request *request,
			   CURLcode code, const struct answer *answer, const char *detail,
			   struct err *err)
{
	long status = 0;
	long os_errno = 0;
	const char *reason = *detail ? detail : curl_easy_strerror(code);

	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_getinfo(client->curl, CURLINFO_OS_ERRNO, &os_errno);
	if (answer->too_long)
		return err_set(err, -EMSGSIZE,
			       "cannot read loomd's answer to %s %s: it is longer than %zu MiB; is "
			       "it loomd that listens at %s?",
			       request->method, request->path, CLIENT_ANSWER_MAX >> 20,
			       client->where);
	if (code == CURLE_OUT_OF_MEMORY || buf_failed(&answer->body))
		return err_set(err, -ENOMEM, "cannot read loomd's answer: out of memory");
	if (status || code == CURLE_WEIRD_SERVER_REPLY || code == CURLE_UNSUPPORTED_PROTOCOL)
		return err_set(err, -EBADMSG,
			       "cannot read loomd's answer to %s %s: %s; is it loomd that listens "
			       "at %s?",
			       request->method, request->path, reason, client->where);
	if (os_errno && (code == CURLE_COULDNT_CONNECT || code == CURLE_COULDNT_RESOLVE_HOST))
		reason = strerror((int)os_errno);
	return err_set(err, -ENOTCONN, "cannot reach loomd at %s: %s; %s", client->where, reason,
		       remedy(client, (int)os_errno));
}

/* What loomd says in {"error": {...}}; whoever else answers says nothing we would understand. */
static int refused(struct client *client, const struct client_request *request, long status,
		   const json_t *json, struct err *err)
{
	const json_t *error = json_object_get(json, "error");
	const char *message = json_string_value(json_object_get(error, "message"));
	const char *field = json_string_value(json_object_get(error, "field"));

	buf_done(&client->refusal);
	if (message && *message)
		buf_printf(&client->refusal, "%s", message);
	else
		buf_printf(&client->refusal,
			   "cannot %s %s: loomd answered status %ld without a reason; its log may "
			   "have one",
			   request->method, request->path, status);
	if (field && *field && !strstr(client->refusal.data, field))
		buf_printf(&client->refusal, " (%s)", field);
	if (status == 401 && !client->bearer)
		buf_printf(&client->refusal, "; --token-file names the file that holds the token");
	return err_set(err, -EREMOTEIO, "%s", client_refusal(client));
}

static int decode(struct client *client, const struct client_request *request,
		  const struct buf *body, json_t **ret, struct err *err)
{
	json_error_t bad;
	long status = 0;
	json_t *json = json_loadb(body->data ? body->data : "", body->len, JSON_REJECT_DUPLICATES,
				  &bad);
	int r = 0;

	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	if ((status < 200 || status > 299) &&
	    (status != request->also_accept || json_object_get(json, "error")))
		r = refused(client, request, status, json, err);
	else if (!json_is_object(json))
		r = err_set(err, -EBADMSG,
			    "cannot read loomd's answer to %s %s: %s%s; is it loomd that listens "
			    "at %s?",
			    request->method, request->path, json ? "" : "it is no JSON: ",
			    json ? "it is JSON, but no object" : bad.text, client->where);
	if (!r)
		*ret = json;
	else
		json_decref(json);
	return r;
}

static struct curl_slist *add_header(struct curl_slist *headers, const char *line, bool *failed)
{
	struct curl_slist *longer = curl_slist_append(headers, line);

	*failed |= !longer;
	return longer ? longer : headers;
}

/* curl keeps connections over its reset, and nothing else. */
static void configure(const struct client *client, const struct client_request *request,
		      const char *url, const char *body, const struct curl_slist *headers,
		      curl_write_callback write, void *ctx, char *detail)
{
	CURL *curl = client->curl;

	curl_easy_reset(curl);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "loom/" LOOM_VERSION);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT, CLIENT_CONNECT_S);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT, CLIENT_TOTAL_S);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, detail);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, write);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, ctx);
	if (client->socket) {
		curl_easy_setopt(curl, CURLOPT_UNIX_SOCKET_PATH, client->socket);
		curl_easy_setopt(curl, CURLOPT_NOPROXY, "*");
	}
	if (body || strcmp(request->method, "POST") == 0) {
		curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body ? body : "");
		curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, body ? (long)strlen(body) : 0L);
	}
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, request->method);
}

int client_send(struct client *client, const struct client_request *request, json_t **ret,
		struct err *err)
{
	char *body = request->body ? json_dumps(request->body, JSON_COMPACT) : NULL;
	char detail[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = NULL;
	struct answer answer = { 0 };
	char *url = NULL;
	bool failed = false;
	CURLcode code;
	int r;

	*ret = NULL;
	headers = add_header(headers, "Accept: application/json", &failed);
	headers = add_header(headers,
			     body ? "Content-Type: application/json" : "Content-Type:", &failed);
	if (client->bearer)
		headers = add_header(headers, client->bearer, &failed);
	if (asprintf(&url, "%s%s", client->url, request->path) < 0)
		url = NULL;
	if (!url || failed || (request->body && !body)) {
		r = err_set(err, -ENOMEM, "cannot ask loomd: out of memory");
		goto done;
	}
	configure(client, request, url, body, headers, on_body, &answer, detail);
	code = curl_easy_perform(client->curl);
	r = code == CURLE_OK ? decode(client, request, &answer.body, ret, err)
			     : transport_error(client, request, code, &answer, detail, err);
done:
	buf_done(&answer.body);
	curl_slist_free_all(headers);
	free(url);
	free(body);
	return r;
}

int client_get(struct client *client, const char *path, json_t **ret, struct err *err)
{
	return client_send(client, &(struct client_request){ .method = "GET", .path = path }, ret,
			   err);
}

/* ---- streams ---- */

struct sink {
	struct client *client;
	const struct client_lines *lines;
	struct answer answer; /* a refusal, or the line that is not whole yet */
	bool stopped;	      /* by lines */
	bool garbled;
};

static bool is_success(const struct client *client)
{
	long status = 0;

	curl_easy_getinfo(client->curl, CURLINFO_RESPONSE_CODE, &status);
	return status >= 200 && status <= 299;
}

/* Returns whether more is welcome. */
static bool take_line(struct sink *sink, const char *text, size_t len)
{
	json_t *json = json_loadb(text, len, JSON_REJECT_DUPLICATES, NULL);
	bool more = false;

	sink->garbled = !json_is_object(json);
	if (!sink->garbled)
		more = sink->lines->line(sink->lines->ctx, json);
	sink->stopped = !more && !sink->garbled;
	json_decref(json);
	return more;
}

static size_t on_lines(char *data, size_t size, size_t count, void *ctx)
{
	struct sink *sink = ctx;
	struct buf *body = &sink->answer.body;
	size_t begun = 0;
	const char *end;

	if (on_body(data, size, count, &sink->answer) != count)
		return 0;
	if (!is_success(sink->client))
		return count;
	while ((end = memchr(body->data + begun, '\n', body->len - begun))) {
		size_t len = (size_t)(end - body->data) - begun;

		if (!take_line(sink, body->data + begun, len))
			return 0;
		begun += len + 1;
	}
	body->len -= begun;
	memmove(body->data, body->data + begun, body->len);
	sink->lines->pause(sink->lines->ctx);
	return count;
}

static int on_progress(void *ctx, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct sink *sink = ctx;

	(void)a, (void)b, (void)c, (void)d;
	return *sink->lines->stop;
}

static int stream_result(struct sink *sink, const struct client_request *request, CURLcode code,
			 const char *detail, struct err *err)
{
	json_t *ignored = NULL;
	int r = 0;

	if (sink->stopped || *sink->lines->stop)
		return 0;
	if (sink->garbled)
		return err_set(
			err, -EBADMSG,
			"cannot read loomd's answer to %s %s: a line is no JSON object; is it "
			"loomd that listens at %s?",
			request->method, request->path, sink->client->where);
	if (code != CURLE_OK)
		return transport_error(sink->client, request, code, &sink->answer, detail, err);
	if (!is_success(sink->client))
		r = decode(sink->client, request, &sink->answer.body, &ignored, err);
	json_decref(ignored);
	return r;
}

int client_stream(struct client *client, const char *path, const struct client_lines *lines,
		  struct err *err)
{
	const struct client_request request = { .method = "GET", .path = path };
	struct sink sink = { .client = client, .lines = lines };
	char detail[CURL_ERROR_SIZE] = "";
	struct curl_slist *headers = NULL;
	char *url = NULL;
	bool failed = false;
	int r;

	headers = add_header(headers, "Accept: application/x-ndjson", &failed);
	if (client->bearer)
		headers = add_header(headers, client->bearer, &failed);
	if (failed || asprintf(&url, "%s%s", client->url, path) < 0) {
		r = err_set(err, -ENOMEM, "cannot ask loomd: out of memory");
		goto done;
	}
	configure(client, &request, url, NULL, headers, on_lines, &sink, detail);
	curl_easy_setopt(client->curl, CURLOPT_TIMEOUT, 0L);
	curl_easy_setopt(client->curl, CURLOPT_NOPROGRESS, 0L);
	curl_easy_setopt(client->curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(client->curl, CURLOPT_XFERINFODATA, &sink);
	r = stream_result(&sink, &request, curl_easy_perform(client->curl), detail, err);
done:
	buf_done(&sink.answer.body);
	curl_slist_free_all(headers);
	free(url);
	return r;
}
