#include "rest.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "json_in.h"

#define BACKEND_DEFAULT_WEIGHT 100
#define BACKEND_MAX_WEIGHT     65535

/* The backend with id; NULL with a 404 in the reply. */
static const struct backend *find_backend(struct call *call, uint32_t id,
					  struct service **ret_service)
{
	const struct backend *backend = model_backend(call->control->model(call->control->ctx), id,
						      ret_service);

	if (!backend)
		reply_error(call->reply, REPLY_NOT_FOUND, NULL,
			    "cannot find backend %u: there is none; GET /ebpf/backends lists them",
			    id);
	return backend;
}

static int add_read(struct call *call, struct backend_request *ret, json_t **ret_root)
{
	enum { ADDRESS, PORT, WEIGHT, ID, SERVICE };
	struct json_in in[] = {
		[ADDRESS] = { "address", JSON_IN_STRING, .required = true },
		[PORT] = { "port", JSON_IN_INTEGER, 0, UINT16_MAX, .required = true },
		[WEIGHT] = { "weight", JSON_IN_INTEGER, 0, BACKEND_MAX_WEIGHT },
		[ID] = { "id", JSON_IN_INTEGER, 1, UINT32_MAX },
		[SERVICE] = { "service", JSON_IN_STRING },
		{ NULL },
	};
	const struct request *request = call->request;

	if (json_in_read(request->body, request->body_len, in, ret_root, call->reply) < 0)
		return -EINVAL;
	if (addr_parse(in[ADDRESS].string, &ret->address) < 0 || !addr_is_unicast(&ret->address)) {
		reply_error(call->reply, REPLY_INVALID_VALUE, "address",
			    "cannot use address \"%.64s\": it is no unicast IPv4 or IPv6 address; "
			    "give one such as 10.0.1.10",
			    in[ADDRESS].string);
		json_decref(*ret_root);
		return -EINVAL;
	}
	ret->port = (uint16_t)in[PORT].integer;
	ret->weight = in[WEIGHT].given ? (uint32_t)in[WEIGHT].integer : BACKEND_DEFAULT_WEIGHT;
	ret->id = (uint32_t)in[ID].integer;
	ret->service = in[SERVICE].string;
	return 0;
}

/* Which member an error of backend_add is about. */
static const char *add_field(int r)
{
	switch (r) {
	case -ENOENT:
		return "service";
	case -EAFNOSUPPORT:
		return "address";
	default:
		return NULL;
	}
}

void rest_backend_add(struct call *call)
{
	const struct control *control = call->control;
	struct backend_request request = { 0 };
	const struct backend *backend;
	struct service *service;
	struct err err = { 0 };
	json_t *root;
	uint32_t id;
	int r;

	if (add_read(call, &request, &root) < 0)
		return;
	r = control->backend_add(control->ctx, &request, &id, &err);
	json_decref(root);
	if (r < 0) {
		reply_errno(call->reply, r, &err, add_field(r));
		return;
	}
	backend = find_backend(call, id, &service);
	if (backend)
		rest_answer_backend(call, 201, backend, service->name);
}

/* "deadline" goes with the state it ends. */
static int patch_deadline(struct call *call, const struct json_in *deadline,
			  struct backend_patch *ret)
{
	if (!deadline->given)
		return 0;
	if (!ret->has_state || ret->state != BACKEND_DRAINING) {
		reply_error(call->reply, REPLY_BAD_REQUEST, "deadline",
			    "cannot use a deadline here: it is for draining backends; give it with "
			    "\"state\": \"draining\"");
		return -EINVAL;
	}
	if (query_duration_text(deadline->string, &ret->deadline_s) == 0)
		return 0;
	reply_error(
		call->reply, REPLY_INVALID_VALUE, "deadline",
		"cannot use deadline \"%.32s\": it is no duration from 1s to 24h; write 30s, 5m "
		"or 1h",
		deadline->string);
	return -EINVAL;
}

static int patch_state(struct call *call, const struct json_in *state, struct backend_patch *ret)
{
	ret->has_state = state->given;
	ret->state = BACKEND_ACTIVE;
	if (!state->given || strcmp(state->string, "active") == 0)
		return 0;
	ret->state = BACKEND_DRAINING;
	if (strcmp(state->string, "draining") == 0)
		return 0;
	reply_error(call->reply, REPLY_INVALID_VALUE, "state",
		    "cannot use state \"%.32s\": a backend cannot be put into it; give active or "
		    "draining",
		    state->string);
	return -EINVAL;
}

static int patch_read(struct call *call, struct backend_patch *ret)
{
	enum { WEIGHT, STATE, DEADLINE };
	struct json_in in[] = {
		[WEIGHT] = { "weight", JSON_IN_INTEGER, 0, BACKEND_MAX_WEIGHT },
		[STATE] = { "state", JSON_IN_STRING },
		[DEADLINE] = { "deadline", JSON_IN_STRING },
		{ NULL },
	};
	const struct request *request = call->request;
	json_t *root;
	int r;

	if (json_in_read(request->body, request->body_len, in, &root, call->reply) < 0)
		return -EINVAL;
	ret->has_weight = in[WEIGHT].given;
	ret->weight = (uint32_t)in[WEIGHT].integer;
	r = patch_state(call, &in[STATE], ret);
	if (r == 0)
		r = patch_deadline(call, &in[DEADLINE], ret);
	if (r == 0 && !in[WEIGHT].given && !in[STATE].given) {
		reply_error(call->reply, REPLY_BAD_REQUEST, NULL,
			    "cannot change the backend: the body changes nothing; give weight or "
			    "state");
		r = -EINVAL;
	}
	json_decref(root);
	return r;
}

void rest_backend_patch(struct call *call)
{
	const struct control *control = call->control;
	struct backend_patch patch = { 0 };
	const struct backend *backend;
	struct service *service;
	struct err err = { 0 };
	int r;

	if (!find_backend(call, call->id, NULL) || patch_read(call, &patch) < 0)
		return;
	r = control->backend_patch(control->ctx, call->id, &patch, &err);
	if (r < 0) {
		reply_errno(call->reply, r, &err, NULL);
		return;
	}
	backend = find_backend(call, call->id, &service);
	if (backend)
		rest_answer_backend(call, 200, backend, service->name);
}

static int removal_read(struct call *call, struct backend_removal *ret)
{
	if (query_bool(&call->query, "force", &ret->force, call->reply) < 0 ||
	    query_duration_s(&call->query, "deadline", &ret->deadline_s, call->reply) < 0)
		return -EINVAL;
	if (!ret->force || !ret->deadline_s)
		return 0;
	reply_error(call->reply, REPLY_BAD_REQUEST, "deadline",
		    "cannot remove the backend: force=true cuts its connections now, a deadline "
		    "later; give one of them");
	return -EINVAL;
}

/* A backend whose last connection had ended may be gone from the model at once: the answer is then
 * made from what it was. */
void rest_backend_remove(struct call *call)
{
	const struct control *control = call->control;
	struct backend_removal removal = { 0 };
	const struct backend *backend;
	struct service *service;
	struct backend was;
	struct err err = { 0 };
	char *name;
	int r;

	backend = find_backend(call, call->id, &service);
	if (!backend || removal_read(call, &removal) < 0)
		return;
	was = *backend;
	name = strdup(service->name);
	if (!name) {
		reply_json(call->reply, 500, NULL);
		return;
	}
	r = control->backend_remove(control->ctx, call->id, &removal, &err);
	if (r < 0) {
		reply_errno(call->reply, r, &err, NULL);
		goto done;
	}
	backend = model_backend(control->model(control->ctx), call->id, NULL);
	if (!backend) {
		was.state = removal.force ? BACKEND_RESET : BACKEND_REMOVED;
		was.deadline_wall_s = 0;
	}
	rest_answer_backend(call, 200, backend ? backend : &was, name);
done:
	free(name);
}
