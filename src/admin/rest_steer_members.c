/* A group's members: drain, undrain, swap, weight, and the indices they own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "rest_steer.h"

#define INDICES_MAX 4096

/* A MEMBER_NAME: exactly one way to name it. */
static int member_read(struct call *call, const struct json_in *member,
		       struct steer_member_name *ret)
{
	enum { SLOT, ID, PID, GENERATION, UNIT };
	struct json_in in[] = {
		[SLOT] = { "slot", JSON_IN_INTEGER, 0, STEER_MAX_SLOTS - 1 },
		[ID] = { "id", JSON_IN_INTEGER, 1, INT64_MAX },
		[PID] = { "pid", JSON_IN_INTEGER, 1, INT32_MAX },
		[GENERATION] = { "generation", JSON_IN_INTEGER, 1, UINT32_MAX },
		[UNIT] = { "unit", JSON_IN_STRING },
		{ NULL },
	};

	if (!member->given)
		return 0;
	if (json_in_object(member->value, in, call->reply) < 0)
		return -EINVAL;
	if (json_object_size(member->value) != 1 || (in[UNIT].given && !in[UNIT].string[0])) {
		reply_error(call->reply, REPLY_BAD_REQUEST, member->name,
			    "cannot tell which member is meant by %s; give one of slot, id, pid, "
			    "generation and unit",
			    member->name);
		return -EINVAL;
	}
	ret->has_slot = in[SLOT].given;
	ret->slot = (uint16_t)in[SLOT].integer;
	ret->id = (uint64_t)in[ID].integer;
	ret->pid = (uint32_t)in[PID].integer;
	ret->generation = (uint32_t)in[GENERATION].integer;
	return rest_steer_text(call, &in[UNIT], ret->unit, sizeof(ret->unit));
}

static void drain(struct call *call, bool undo)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct json_in in[] = {
		{ "member", JSON_IN_OBJECT, .required = true },
		{ undo ? NULL : "deadline", JSON_IN_STRING },
		{ NULL },
	};
	struct steer_drain_request request = { .undo = undo };
	struct err err = { 0 };
	json_t *root;
	int r;

	if (!steer || rest_steer_body(call, in, true, &root) < 0)
		return;
	r = member_read(call, &in[0], &request.member);
	if (r == 0)
		r = rest_steer_duration(call, &in[1], &request.deadline_ns);
	json_decref(root);
	if (r < 0)
		return;
	r = steer->drain(steer->ctx, call->name, &request, &err);
	rest_steer_changed(call, r, &err);
}

void rest_steer_drain(struct call *call)
{
	drain(call, false);
}

void rest_steer_undrain(struct call *call)
{
	drain(call, true);
}

void rest_steer_swap(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct json_in in[] = {
		{ "from", JSON_IN_OBJECT },
		{ "to", JSON_IN_OBJECT },
		{ "deadline", JSON_IN_STRING },
		{ NULL },
	};
	struct steer_swap_request request = { 0 };
	struct err err = { 0 };
	json_t *root;
	int r;

	if (!steer || rest_steer_body(call, in, false, &root) < 0)
		return;
	r = member_read(call, &in[0], &request.from);
	if (r == 0)
		r = member_read(call, &in[1], &request.to);
	if (r == 0)
		r = rest_steer_duration(call, &in[2], &request.deadline_ns);
	json_decref(root);
	if (r < 0)
		return;
	r = steer->swap(steer->ctx, call->name, &request, &err);
	rest_steer_changed(call, r, &err);
}

void rest_steer_weight(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct json_in in[] = {
		{ "member", JSON_IN_OBJECT, .required = true },
		{ "weight", JSON_IN_INTEGER, 0, UINT16_MAX, .required = true },
		{ NULL },
	};
	struct steer_member_name member = { 0 };
	struct err err = { 0 };
	json_t *root;
	int r;

	if (!steer || rest_steer_body(call, in, true, &root) < 0)
		return;
	r = member_read(call, &in[0], &member);
	json_decref(root);
	if (r < 0)
		return;
	r = steer->weight(steer->ctx, call->name, &member, (uint32_t)in[1].integer, &err);
	rest_steer_changed(call, r, &err);
}

/* ---- indices ---- */

static int compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a;
	uint32_t y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

static int bad_indices(struct call *call, const char *why)
{
	reply_error(call->reply, REPLY_INVALID_VALUE, "indices", "cannot use indices: %s", why);
	return -EINVAL;
}

/* All are looked at before any is set.  Sorted; *ret is the caller's. */
static int indices_read(struct call *call, const json_t *list, uint32_t **ret)
{
	size_t count = json_array_size(list);
	uint32_t *indices;

	if (count < 1 || count > INDICES_MAX)
		return bad_indices(call, "there are none, or more than 4096; send them in parts");
	indices = calloc(count, sizeof(*indices));
	if (!indices) {
		reply_json(call->reply, 500, NULL);
		return -ENOMEM;
	}
	*ret = indices;
	for (size_t i = 0; i < count; i++) {
		const json_t *index = json_array_get(list, i);
		json_int_t value = json_integer_value(index);

		if (!json_is_integer(index) || value < 0 || value > UINT32_MAX)
			return bad_indices(call,
					   "one is no integer from 0 to 4294967295; correct it");
		indices[i] = (uint32_t)value;
	}
	qsort(indices, count, sizeof(*indices), compare);
	for (size_t i = 1; i < count; i++)
		if (indices[i] == indices[i - 1])
			return bad_indices(call, "one is given twice; give it once");
	return 0;
}

static void indices_apply(struct call *call, const uint32_t *indices, size_t count, uint16_t slot)
{
	const struct control_steer *steer = call->control->steer;
	struct err err = { 0 };
	size_t done = 0;
	int r = 0;

	for (; r == 0 && done < count; done += r == 0)
		r = steer->index(steer->ctx, call->name, indices[done], slot, &err);
	if (r < 0) {
		if (done && err.text[0])
			err_prefix(&err, "%zu of %zu indices are done, then", done, count);
		rest_steer_failed(call, r, &err);
		return;
	}
	reply_json(call->reply, 200,
		   json_pack("{s:s, s:o, s:I}", "group", call->name, "slot",
			     slot == STEER_NOBODY ? json_null() : json_integer(slot), "indices",
			     (json_int_t)count));
}

static void indices(struct call *call, bool remove)
{
	struct json_in in[] = {
		{ "indices", JSON_IN_ARRAY, .required = true },
		{ remove ? NULL : "slot", JSON_IN_INTEGER, 0, STEER_MAX_SLOTS - 1,
		  .required = true },
		{ NULL },
	};
	uint32_t *list = NULL;
	json_t *root;

	if (!rest_steer_group_of(call) || rest_steer_body(call, in, true, &root) < 0)
		return;
	if (indices_read(call, in[0].value, &list) == 0)
		indices_apply(call, list, json_array_size(in[0].value),
			      remove ? STEER_NOBODY : (uint16_t)in[1].integer);
	free(list);
	json_decref(root);
}

void rest_steer_indices_set(struct call *call)
{
	indices(call, false);
}

void rest_steer_indices_remove(struct call *call)
{
	indices(call, true);
}
