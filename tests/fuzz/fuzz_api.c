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

static bool fuzz_look(void *ctx, uint32_t id, struct lb_backend_stats *ret)
{
	return false;
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

/* ---- socket steering: one group ---- */

static int fuzz_group(const char *group, struct err *err)
{
	size_t len = strlen(group);

	must(len >= 1 && len < 64);
	must(strspn(group, "abcdefghijklmnopqrstuvwxyz0123456789_-") == len);
	return strcmp(group, "g") == 0 ? 0 : err_set(err, -ENOENT, "cannot find the group");
}

static int fuzz_view(void *ctx, const char *group, struct steer_view **ret, struct err *err)
{
	int r = group ? fuzz_group(group, err) : 0;

	if (r < 0)
		return r;
	*ret = calloc(1, sizeof(**ret));
	must(*ret);
	(*ret)->groups = calloc(1, sizeof(*(*ret)->groups));
	must((*ret)->groups);
	(*ret)->groups[0] =
		(struct steer_group_view){ .name = "g", .policy = "hash", .state = "observe" };
	(*ret)->group_count = 1;
	return 0;
}

static int fuzz_course(void *ctx, const char *group, struct err *err)
{
	int r = fuzz_group(group, err);

	changes += r == 0;
	return r;
}

static int fuzz_policy(void *ctx, const char *group,
		       const struct config_steer_policy_options *policy, struct err *err)
{
	must(policy->policy <= CONFIG_STEER_GENERATION);
	must(policy->length >= 1 && policy->length <= 4 && policy->shift < 32 && policy->mask);
	must(policy->flow_timeout_ns && policy->max_flows >= 64 && policy->max_indices >= 64);
	return fuzz_course(ctx, group, err);
}

static int fuzz_rollout(void *ctx, const char *group, const struct steer_rollout_request *request,
			struct err *err)
{
	must(request->state[0] && request->canary_permille < 1000);
	must(!request->canary_permille || strcmp(request->state, "canary") == 0);
	return fuzz_course(ctx, group, err);
}

static int fuzz_freeze(void *ctx, const char *group, bool frozen, struct err *err)
{
	return fuzz_course(ctx, group, err);
}

static int fuzz_fallback(void *ctx, const char *group, bool on, const char *reason, struct err *err)
{
	must(strlen(reason) < 128);
	return fuzz_course(ctx, group, err);
}

/* One way to name a member, or none where none is needed. */
static int ways(const struct steer_member_name *member)
{
	must(member->slot < STEER_MAX_SLOTS && (member->has_slot || !member->slot));
	return member->has_slot + !!member->id + !!member->pid + !!member->generation +
	       !!member->unit[0];
}

static int fuzz_drain(void *ctx, const char *group, const struct steer_drain_request *request,
		      struct err *err)
{
	must(ways(&request->member) == 1 && !(request->undo && request->deadline_ns));
	return fuzz_course(ctx, group, err);
}

static int fuzz_swap(void *ctx, const char *group, const struct steer_swap_request *request,
		     struct err *err)
{
	must(ways(&request->from) <= 1 && ways(&request->to) <= 1);
	return fuzz_course(ctx, group, err);
}

static int fuzz_weight(void *ctx, const char *group, const struct steer_member_name *member,
		       uint32_t weight, struct err *err)
{
	must(ways(member) == 1 && weight <= 65535);
	return fuzz_course(ctx, group, err);
}

static int fuzz_explain(void *ctx, const char *group, const struct steer_flow_request *flow,
			struct steer_explanation *ret, struct err *err)
{
	must(flow->source_port && flow->payload_len <= sizeof(flow->payload));
	must(flow->has_payload == !!flow->payload_len);
	return fuzz_group(group, err);
}

static int fuzz_index(void *ctx, const char *group, uint32_t index, uint16_t slot, struct err *err)
{
	must(slot < STEER_MAX_SLOTS || slot == STEER_NOBODY);
	return fuzz_course(ctx, group, err);
}

static int fuzz_steer_trace(void *ctx, const char *group, const struct steer_trace_request *request,
			    struct stream **ret, struct err *err)
{
	must(request->duration_ns >= NSEC_PER_SEC && request->duration_ns <= 3600 * NSEC_PER_SEC);
	return err_set(err, -EBUSY, "cannot trace: somebody else does");
}

static int fuzz_group_text(void *ctx, const char *group, struct buf *out, struct err *err)
{
	return fuzz_group(group, err);
}

static int fuzz_text(void *ctx, struct buf *out, struct err *err)
{
	return 0;
}

static const struct control_steer steer = {
	.view = fuzz_view,
	.attach = fuzz_course,
	.detach = fuzz_course,
	.policy = fuzz_policy,
	.rollout = fuzz_rollout,
	.freeze = fuzz_freeze,
	.fallback = fuzz_fallback,
	.drain = fuzz_drain,
	.swap = fuzz_swap,
	.weight = fuzz_weight,
	.explain = fuzz_explain,
	.index = fuzz_index,
	.trace = fuzz_steer_trace,
	.audit = fuzz_group_text,
	.history = fuzz_group_text,
	.capabilities = fuzz_text,
};

static const struct control control = {
	.steer = &steer,
	.config = fuzz_config,
	.model = fuzz_model,
	.readiness = fuzz_readiness,
	.uptime_ns = fuzz_uptime,
	.reloads = fuzz_reloads,
	.last_reload_wall_s = fuzz_last_reload,
	.backend_add = fuzz_add,
	.backend_patch = fuzz_patch,
	.backend_remove = fuzz_remove,
	.reload = fuzz_reload,
	.snapshot = fuzz_snapshot,
	.backend_look = fuzz_look,
	.connections = fuzz_connections,
	.trace = fuzz_trace,
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
