/* fuzz_api.c - libFuzzer target over everything the admin API reads of a request: target, query,
 * headers and body.  The first byte picks listener and method; lines up to the body are target,
 * Host, Authorization, Content-Type and Origin, "-" for what is not sent.
 *
 * Invariants: an answer always comes, an error is JSON of the documented form, and only a request
 * that is answered with success reached the daemon. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "admin/route.h"
#include "base/clock.h"
#include "base/must.h"

static char bearer[] = "token";
static char user[] = "ann";
static char password[] = "secret";
static char name[] = "default";
static struct config config = { .instance = name };
static struct backend backends[] = { { .id = 1, .port = 80, .weight = 100 },
				     { .id = 2, .port = 80, .weight = 100 } };
static struct service services[] = { { .name = name, .backends = backends, .backend_count = 2 } };
static struct model model = { services, 1 };
static unsigned int changes;

static const struct config *fuzz_config(void *ctx)
{
	return &config;
}

static const struct model *fuzz_model(void *ctx)
{
	return &model;
}

static void fuzz_readiness(void *ctx, struct control_readiness *ret)
{
	memset(ret, 0, sizeof(*ret));
}

static uint64_t fuzz_uptime(void *ctx)
{
	return 1;
}

static uint64_t fuzz_reloads(void *ctx, bool succeeded)
{
	return succeeded;
}

static int64_t fuzz_last_reload(void *ctx)
{
	return 1;
}

static int fuzz_add(void *ctx, const struct backend_request *request, uint32_t *ret_id,
		    struct err *err)
{
	must(request->weight <= 65535 && addr_is_unicast(&request->address));
	changes++;
	*ret_id = 1;
	return 0;
}

static int fuzz_patch(void *ctx, uint32_t id, const struct backend_patch *patch, struct err *err)
{
	must(patch->has_weight || patch->has_state);
	must(patch->weight <= 65535);
	must(patch->state == BACKEND_ACTIVE || patch->state == BACKEND_DRAINING);
	changes++;
	return 0;
}

static int fuzz_remove(void *ctx, uint32_t id, const struct backend_removal *removal,
		       struct err *err)
{
	must(!removal->force || !removal->deadline_s);
	must(removal->deadline_s <= 86400);
	changes++;
	return 0;
}

static int fuzz_reload(void *ctx, bool reset, struct buf *complaints, struct buf *report,
		       struct err *err)
{
	changes++;
	return 0;
}

static int fuzz_snapshot(void *ctx, struct lb_snapshot **ret, struct err *err)
{
	*ret = calloc(1, sizeof(**ret));
	return *ret ? 0 : -ENOMEM;
}

static int fuzz_connections(void *ctx, const struct lb_connection_filter *filter,
			    struct lb_cursor *cursor, struct lb_connection *connections,
			    size_t room)
{
	must(room >= 1 && room <= 1000 && cursor->family <= 1);
	must(!filter->has_backend || filter->backend_id);
	cursor->done = true;
	return 0;
}

/* A stream has no body to look at: that the request was understood is all there is to see. */
static int fuzz_trace(void *ctx, const struct trace_request *request, struct stream **ret,
		      struct err *err)
{
	must(request->duration_ns >= NSEC_PER_SEC && request->duration_ns <= 3600 * NSEC_PER_SEC);
	return err_set(err, -EBUSY, "cannot trace: somebody else does");
}

static const struct control control = {
	NULL,	      fuzz_config,	fuzz_model,	  fuzz_readiness,      fuzz_uptime,
	fuzz_reloads, fuzz_last_reload, fuzz_add,	  fuzz_patch,	       fuzz_remove,
	fuzz_reload,  fuzz_snapshot,	fuzz_connections, .trace = fuzz_trace,
};

/* Cuts the next line off *text; NULL if there is none or it is "-". */
static const char *next_line(char **text)
{
	char *line = *text ? strsep(text, "\n") : NULL;

	return line && strcmp(line, "-") != 0 ? line : NULL;
}

static void check_reply(const struct reply *reply)
{
	json_error_t error;
	json_t *root;

	must(reply->status >= 200 && reply->status < 600);
	must(reply->body.data && !buf_failed(&reply->body));
	if (strcmp(reply->content_type, "application/json") != 0)
		return;
	root = json_loadb(reply->body.data, reply->body.len, 0, &error);
	must(root);
	/* /ready has its own form: it is the one answer of 503 here. */
	must(reply->status < 400 || reply->status == 503 ||
	     json_is_string(json_object_get(json_object_get(root, "error"), "message")));
	json_decref(root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const methods[] = { "GET",  "POST", "PATCH", "DELETE",
					       "HEAD", "PUT",  "get",	"" };
	struct request request = { .method = "GET" };
	unsigned int before = changes;
	struct reply reply;
	char *text, *rest;

	if (size < 1)
		return 0;
	text = malloc(size);
	must(text);
	memcpy(text, data + 1, size - 1);
	text[size - 1] = '\0';
	rest = text;
	request.method = methods[data[0] & 7];
	request.listener = (enum route_listener)((data[0] >> 3) % 3);
	config.admin.bearer = data[0] & 0x40 ? bearer : NULL;
	config.admin.basic_user = data[0] & 0x80 ? user : NULL;
	config.admin.basic_password = data[0] & 0x80 ? password : NULL;
	request.target = next_line(&rest);
	request.target = request.target ? request.target : "/";
	request.host = next_line(&rest);
	request.authorization = next_line(&rest);
	request.content_type = next_line(&rest);
	request.origin = next_line(&rest);
	/* The body may hold NULs. */
	request.body = rest;
	request.body_len = rest ? size - 1 - (size_t)(rest - text) : 0;
	reply_init(&reply);
	route_answer(&control, &request, &reply);
	check_reply(&reply);
	must(changes == before || reply.status / 100 == 2);
	reply_done(&reply);
	free(text);
	return 0;
}
