#include "route.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "auth.h"
#include "near.h"
#include "rest.h"

enum route_flag {
	ROUTE_OPEN = 1 << 0,   /* needs no credentials */
	ROUTE_CHANGE = 1 << 1, /* changes something: not for web pages */
	ROUTE_BODY = 1 << 2,   /* takes a JSON body */
};

struct route {
	const char *method; /* GET answers HEAD, too */
	const char *path;   /* "{id}" stands for a backend's number, "{name}" for a group's name */
	unsigned int flags;
	void (*answer)(struct call *call);
	const char *params[QUERY_MAX_PARAMS + 1];
};

static const struct route routes[] = {
	{ "GET", "/health", ROUTE_OPEN, rest_health },
	{ "GET", "/ready", 0, rest_ready },
	{ "GET", "/metrics", 0, rest_metrics },
	{ "GET", "/config", 0, rest_config },
	{ "POST", "/config/reload", ROUTE_CHANGE | ROUTE_BODY, rest_config_reload, { "reset" } },
	{ "GET", "/services", 0, rest_services },
	{ "GET", "/ebpf/stats", 0, rest_stats },
	{ "GET",
	  "/ebpf/connections",
	  0,
	  rest_connections,
	  { "limit", "cursor", "client", "backend", "state" } },
	{ "GET", "/ebpf/health", 0, rest_ebpf_health },
	{ "GET",
	  "/ebpf/trace",
	  0,
	  rest_trace,
	  { "duration", "address", "port", "proto", "backend", "only", "sample", "limit",
	    "frames" } },
	{ "GET", "/ebpf/backends/stats", 0, rest_backends_stats },
	{ "GET", "/ebpf/backends", 0, rest_backends },
	{ "POST", "/ebpf/backends", ROUTE_CHANGE | ROUTE_BODY, rest_backend_add },
	{ "PATCH", "/ebpf/backends/{id}", ROUTE_CHANGE | ROUTE_BODY, rest_backend_patch },
	{ "DELETE",
	  "/ebpf/backends/{id}",
	  ROUTE_CHANGE,
	  rest_backend_remove,
	  { "deadline", "force" } },
	{ "GET", "/steer/groups", 0, rest_steer_groups },
	{ "GET", "/steer/groups/{name}", 0, rest_steer_group },
	{ "POST", "/steer/groups/{name}/attach", ROUTE_CHANGE | ROUTE_BODY, rest_steer_attach },
	{ "POST", "/steer/groups/{name}/detach", ROUTE_CHANGE | ROUTE_BODY, rest_steer_detach },
	{ "POST", "/steer/groups/{name}/policy", ROUTE_CHANGE | ROUTE_BODY, rest_steer_policy },
	{ "POST", "/steer/groups/{name}/rollout", ROUTE_CHANGE | ROUTE_BODY, rest_steer_rollout },
	{ "POST", "/steer/groups/{name}/freeze", ROUTE_CHANGE | ROUTE_BODY, rest_steer_freeze },
	{ "POST", "/steer/groups/{name}/unfreeze", ROUTE_CHANGE | ROUTE_BODY, rest_steer_unfreeze },
	{ "POST", "/steer/groups/{name}/fallback", ROUTE_CHANGE | ROUTE_BODY, rest_steer_fallback },
	{ "POST", "/steer/groups/{name}/resume", ROUTE_CHANGE | ROUTE_BODY, rest_steer_resume },
	{ "POST", "/steer/groups/{name}/drain", ROUTE_CHANGE | ROUTE_BODY, rest_steer_drain },
	{ "POST", "/steer/groups/{name}/undrain", ROUTE_CHANGE | ROUTE_BODY, rest_steer_undrain },
	{ "POST", "/steer/groups/{name}/swap", ROUTE_CHANGE | ROUTE_BODY, rest_steer_swap },
	{ "POST", "/steer/groups/{name}/weight", ROUTE_CHANGE | ROUTE_BODY, rest_steer_weight },
	{ "PUT", "/steer/groups/{name}/indices", ROUTE_CHANGE | ROUTE_BODY,
	  rest_steer_indices_set },
	{ "DELETE", "/steer/groups/{name}/indices", ROUTE_CHANGE | ROUTE_BODY,
	  rest_steer_indices_remove },
	{ "GET",
	  "/steer/groups/{name}/explain",
	  0,
	  rest_steer_explain,
	  { "source", "port", "destination", "payload", "cpu" } },
	{ "GET",
	  "/steer/groups/{name}/trace",
	  0,
	  rest_steer_trace,
	  { "duration", "limit", "source", "port", "sample" } },
	{ "GET", "/steer/groups/{name}/audit", 0, rest_steer_audit },
	{ "GET", "/steer/groups/{name}/history", 0, rest_steer_history },
	{ "GET", "/steer/capabilities", 0, rest_steer_capabilities },
};

#define ROUTE_COUNT (sizeof(routes) / sizeof(routes[0]))

static bool read_id(const char *text, size_t len, uint32_t *ret)
{
	char digits[11];

	if (len >= sizeof(digits))
		return false;
	memcpy(digits, text, len);
	digits[len] = '\0';
	return query_number(digits, ret) == 0 && *ret != 0;
}

/* What cannot be a group's name (config: KEY_NAME) becomes "": of that name there is none. */
static void read_name(const char *text, size_t len, struct call *call)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_-";

	if (query_unescape(text, len, call->name, sizeof(call->name)) < 0 ||
	    call->name[strspn(call->name, letters)])
		call->name[0] = '\0';
}

/* Whether the path is the route's; fills in what of the call stands in the path. */
static bool path_matches(const struct route *route, const char *path, size_t len, struct call *call)
{
	const char *end = path + len;
	const char *at = route->path;

	call->id = 0;
	call->name[0] = '\0';
	while (*at) {
		size_t part;

		if (*at != '{') {
			if (path == end || *at++ != *path++)
				return false;
			continue;
		}
		part = strcspn(path, "/?");
		if (!part)
			return false;
		if (strncmp(at, "{id}", 4) != 0)
			read_name(path, part, call);
		else if (!read_id(path, part, &call->id))
			return false;
		path += part;
		at = strchr(at, '}') + 1;
	}
	return path == end;
}

static bool method_matches(const struct route *route, const char *method)
{
	return strcmp(route->method, method) == 0 ||
	       (strcmp(route->method, "GET") == 0 && strcmp(method, "HEAD") == 0);
}

static void no_such_route(const char *path, size_t len, struct reply *reply)
{
	const char *names[ROUTE_COUNT + 1] = { NULL };
	char given[64];
	char hint[NEAR_HINT_LEN];

	for (size_t i = 0; i < ROUTE_COUNT; i++)
		names[i] = routes[i].path;
	snprintf(given, sizeof(given), "%.*s", (int)(len < sizeof(given) ? len : sizeof(given)),
		 path);
	reply_error(reply, REPLY_NOT_FOUND, NULL, "cannot find %s: there is no such route; %s",
		    given, near_hint(given, names, hint));
}

static void not_this_method(const char *allow, const char *method, struct reply *reply)
{
	reply_error(reply, REPLY_METHOD_NOT_ALLOWED, NULL,
		    "cannot %.16s this: the route does not take that method; use %s", method,
		    allow);
	snprintf(reply->allow, sizeof(reply->allow), "%s", allow);
}

static const struct route *route_find(const struct request *request, struct call *call,
				      struct reply *reply)
{
	size_t len = strcspn(request->target, "?");
	char allow[sizeof(reply->allow)] = "";
	size_t used = 0;

	for (size_t i = 0; i < ROUTE_COUNT; i++) {
		const struct route *route = &routes[i];

		if (!path_matches(route, request->target, len, call))
			continue;
		if (method_matches(route, request->method))
			return route;
		used += (size_t)snprintf(allow + used, sizeof(allow) - used, "%s%s%s",
					 used ? ", " : "", route->method,
					 strcmp(route->method, "GET") == 0 ? ", HEAD" : "");
	}
	if (used)
		not_this_method(allow, request->method, reply);
	else
		no_such_route(request->target, len, reply);
	return NULL;
}

/* Whether the client may know anything at all. */
static bool authorize(const struct control *control, const struct request *request, bool open,
		      enum auth_result *ret_auth, struct reply *reply)
{
	const struct config_admin *admin = &control->config(control->ctx)->admin;

	*ret_auth = AUTH_NONE;
	if (request->listener == ROUTE_UNIX)
		return true;
	if (request->listener == ROUTE_LOOPBACK && request->host &&
	    !auth_host_is_loopback(request->host)) {
		reply_error(reply, REPLY_MISDIRECTED, NULL,
			    "cannot answer for this Host: the address is a loopback one; ask for "
			    "localhost");
		return false;
	}
	*ret_auth = auth_check(admin, request->authorization);
	if (*ret_auth != AUTH_REFUSED || open)
		return true;
	reply_error(reply, REPLY_UNAUTHORIZED, NULL,
		    "cannot answer: credentials are missing or wrong; send those of admin.auth");
	reply->authenticate = auth_challenge(admin);
	return false;
}

/* Browsers add Origin to what pages make them send, and Basic credentials of their own accord. */
static bool from_a_page(const struct request *request, const struct route *route,
			enum auth_result auth, struct reply *reply)
{
	if (!request->origin || !(route->flags & ROUTE_CHANGE) || auth == AUTH_BEARER)
		return false;
	reply_error(reply, REPLY_FORBIDDEN, NULL,
		    "cannot change anything for a web page: the request has an Origin; send it "
		    "without, or with a bearer token");
	return true;
}

static bool media_type_is(const char *given, const char *type)
{
	size_t len = strlen(type);

	return strncasecmp(given, type, len) == 0 && strchr("; \t", given[len]);
}

/* curl -d sends JSON as a form unless told otherwise, and the examples do not tell it. */
static bool body_fits(const struct request *request, const struct route *route, struct reply *reply)
{
	const char *type = request->content_type;

	if (request->body_too_large) {
		reply_error(reply, REPLY_TOO_LARGE, NULL,
			    "cannot read the body: it is larger than %d bytes; shorten it",
			    ROUTE_MAX_BODY);
		return false;
	}
	if (request->body_len && !(route->flags & ROUTE_BODY)) {
		reply_error(reply, REPLY_BAD_REQUEST, NULL,
			    "cannot use the body: %s %s takes none; leave it out", route->method,
			    route->path);
		return false;
	}
	if (type && (route->flags & ROUTE_BODY) && !media_type_is(type, "application/json") &&
	    !media_type_is(type, "application/x-www-form-urlencoded")) {
		reply_error(reply, REPLY_UNSUPPORTED_MEDIA_TYPE, NULL,
			    "cannot read a body of type %.64s; send application/json", type);
		return false;
	}
	return true;
}

static const struct route *admit(const struct control *control, const struct request *request,
				 struct call *call, struct reply *reply)
{
	bool open = strcmp(request->target, "/health") == 0;
	const struct route *route;
	enum auth_result auth;

	if (!authorize(control, request, open, &auth, reply))
		return NULL;
	route = route_find(request, call, reply);
	if (!route || from_a_page(request, route, auth, reply))
		return NULL;
	return route;
}

bool route_admit(const struct control *control, const struct request *request)
{
	struct reply reply;
	struct call call;
	bool admitted;

	reply_init(&reply);
	admitted = admit(control, request, &call, &reply) != NULL;
	reply_done(&reply);
	return admitted;
}

void route_answer(const struct control *control, const struct request *request, struct reply *reply)
{
	struct call call = { .control = control, .request = request, .reply = reply };
	const struct route *route = admit(control, request, &call, reply);
	const char *query;

	if (!route || !body_fits(request, route, reply))
		return;
	query = strchr(request->target, '?');
	if (query_parse(&call.query, query ? query + 1 : "", route->params, reply) < 0)
		return;
	route->answer(&call);
}
