/* A group's course: attach, detach, policy, rollout, freeze, unfreeze, fallback, resume. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "rest_steer.h"

#define REASON_LEN 128

/* Nothing is to be said, and so nothing may be. */
static int read_nothing(struct call *call)
{
	struct json_in none[] = { { NULL } };
	json_t *root;

	if (rest_steer_body(call, none, false, &root) < 0)
		return -EINVAL;
	json_decref(root);
	return 0;
}

void rest_steer_attach(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct err err = { 0 };

	if (steer && read_nothing(call) == 0)
		rest_steer_changed(call, steer->attach(steer->ctx, call->name, &err), &err);
}

void rest_steer_detach(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct err err = { 0 };

	if (steer && read_nothing(call) == 0)
		rest_steer_changed(call, steer->detach(steer->ctx, call->name, &err), &err);
}

static void freeze(struct call *call, bool frozen)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct err err = { 0 };

	if (steer && read_nothing(call) == 0)
		rest_steer_changed(call, steer->freeze(steer->ctx, call->name, frozen, &err), &err);
}

void rest_steer_freeze(struct call *call)
{
	freeze(call, true);
}

void rest_steer_unfreeze(struct call *call)
{
	freeze(call, false);
}

static void fallback(struct call *call, bool on)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct json_in in[] = { { "reason", JSON_IN_STRING }, { NULL } };
	char reason[REASON_LEN];
	struct err err = { 0 };
	json_t *root;
	int r;

	if (!steer || rest_steer_body(call, in, false, &root) < 0)
		return;
	r = rest_steer_text(call, &in[0], reason, sizeof(reason));
	json_decref(root);
	if (r < 0)
		return;
	r = steer->fallback(steer->ctx, call->name, on, reason, &err);
	rest_steer_changed(call, r, &err);
}

void rest_steer_fallback(struct call *call)
{
	fallback(call, true);
}

void rest_steer_resume(struct call *call)
{
	fallback(call, false);
}

/* ---- policy ---- */

enum { NAME, OFFSET, LENGTH, SHIFT, MASK, FLOW_TIMEOUT, MAX_FLOWS, MAX_INDICES };

/* The policies are numbered alike in the configuration and in the programs. */
_Static_assert((int)CONFIG_STEER_GENERATION == (int)STEER_GENERATION, "order of policies");

static int policy_named(struct call *call, const char *name, enum config_steer_policy *ret)
{
	for (int i = 0; steer_policy_name((enum steer_policy)i); i++) {
		if (strcmp(steer_policy_name((enum steer_policy)i), name) != 0)
			continue;
		*ret = (enum config_steer_policy)i;
		return 0;
	}
	reply_error(call->reply, REPLY_INVALID_VALUE, "name",
		    "cannot use policy \"%.32s\": there is none such; give hash, weighted, random, "
		    "least_loaded, source_hash, cpu_local, wireguard, quic, bytes or generation",
		    name);
	return -EINVAL;
}

/* What the policy does not read must not look as if it did something. */
static int policy_reads(struct call *call, const struct json_in *in,
			enum config_steer_policy policy)
{
	static const char *const readers[] = {
		[OFFSET] = "quic and bytes",   [LENGTH] = "quic and bytes",
		[SHIFT] = "quic and bytes",    [MASK] = "quic and bytes",
		[FLOW_TIMEOUT] = "generation", [MAX_FLOWS] = "generation",
		[MAX_INDICES] = "wireguard",
	};

	for (int i = OFFSET; i <= MAX_INDICES; i++) {
		if (!in[i].given ||
		    strstr(readers[i], steer_policy_name((enum steer_policy)policy)))
			continue;
		reply_error(call->reply, REPLY_BAD_REQUEST, in[i].name,
			    "cannot use %s with policy %s: it is for %s; leave it out", in[i].name,
			    in[NAME].string, readers[i]);
		return -EINVAL;
	}
	return 0;
}

static int64_t integer_or(const struct json_in *member, int64_t otherwise)
{
	return member->given ? member->integer : otherwise;
}

/* Is there anything left of what is read? */
static int check_slot(struct call *call, const struct config_steer_policy_options *p)
{
	uint32_t read = UINT32_MAX >> (32 - 8 * p->length) >> p->shift;
	const char *field = !read ? "shift" : !(read & p->mask) ? "mask" : NULL;

	if (p->policy == CONFIG_STEER_QUIC && p->offset + p->length > 20)
		field = "offset";
	if (!field)
		return 0;
	reply_error(call->reply, REPLY_INVALID_VALUE, field,
		    strcmp(field, "offset") == 0
			    ? "cannot use offset %u with length %u: a connection id has at most "
			      "20 bytes; lower them"
			    : "cannot read a slot at offset %u from %u bytes: shift and mask leave "
			      "none of their bits; lower shift, or widen mask or length",
		    p->offset, p->length);
	return -EINVAL;
}

static int policy_read(struct call *call, struct json_in *in,
		       struct config_steer_policy_options *ret)
{
	*ret = (struct config_steer_policy_options){
		.offset = (uint16_t)in[OFFSET].integer,
		.length = (uint8_t)integer_or(&in[LENGTH], 1),
		.shift = (uint8_t)in[SHIFT].integer,
		.mask = (uint32_t)integer_or(&in[MASK], UINT32_MAX),
		.flow_timeout_ns = 180 * NSEC_PER_SEC,
		.max_flows = (uint32_t)integer_or(&in[MAX_FLOWS], 65536),
		.max_indices = (uint32_t)integer_or(&in[MAX_INDICES], 131072),
	};
	if (policy_named(call, in[NAME].string, &ret->policy) < 0 ||
	    policy_reads(call, in, ret->policy) < 0 || check_slot(call, ret) < 0)
		return -EINVAL;
	return rest_steer_duration(call, &in[FLOW_TIMEOUT], &ret->flow_timeout_ns);
}

void rest_steer_policy(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct json_in in[] = {
		[NAME] = { "name", JSON_IN_STRING, .required = true },
		[OFFSET] = { "offset", JSON_IN_INTEGER, 0, 1400 },
		[LENGTH] = { "length", JSON_IN_INTEGER, 1, 4 },
		[SHIFT] = { "shift", JSON_IN_INTEGER, 0, 31 },
		[MASK] = { "mask", JSON_IN_INTEGER, 1, UINT32_MAX },
		[FLOW_TIMEOUT] = { "flow_timeout", JSON_IN_STRING },
		[MAX_FLOWS] = { "max_flows", JSON_IN_INTEGER, 64, 16777216 },
		[MAX_INDICES] = { "max_indices", JSON_IN_INTEGER, 64, 16777216 },
		{ NULL },
	};
	struct config_steer_policy_options policy;
	struct err err = { 0 };
	json_t *root;
	int r;

	if (!steer || rest_steer_body(call, in, true, &root) < 0)
		return;
	r = policy_read(call, in, &policy);
	json_decref(root);
	if (r < 0)
		return;
	r = steer->policy(steer->ctx, call->name, &policy, &err);
	rest_steer_changed(call, r, &err);
}

/* ---- rollout ---- */

enum { STATE, CANARY, FORCE, REASON };

static int rollout_read(struct call *call, const struct json_in *in,
			struct steer_rollout_request *ret)
{
	static const char *const states[] = { "observe",  "shadow", "canary",
					      "enforced", "next",   "back" };
	const char *state = in[STATE].string;
	size_t i;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(states[i], state) == 0)
			break;
	if (i == sizeof(states) / sizeof(states[0])) {
		reply_error(call->reply, REPLY_INVALID_VALUE, "state",
			    "cannot go to state \"%.32s\": there is none such; give observe, "
			    "shadow, canary, enforced, next or back",
			    state);
		return -EINVAL;
	}
	if (in[CANARY].given && strcmp(state, "canary") != 0) {
		reply_error(call->reply, REPLY_BAD_REQUEST, "canary_permille",
			    "cannot use canary_permille with state %s: it is for canary; leave it "
			    "out",
			    state);
		return -EINVAL;
	}
	strcpy(ret->state, states[i]);
	ret->canary_permille = (uint16_t)in[CANARY].integer;
	ret->force = in[FORCE].truth;
	return rest_steer_text(call, &in[REASON], ret->reason, sizeof(ret->reason));
}

void rest_steer_rollout(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct json_in in[] = {
		[STATE] = { "state", JSON_IN_STRING, .required = true },
		[CANARY] = { "canary_permille", JSON_IN_INTEGER, 1, 999 },
		[FORCE] = { "force", JSON_IN_BOOL },
		[REASON] = { "reason", JSON_IN_STRING },
		{ NULL },
	};
	struct steer_rollout_request request = { 0 };
	struct err err = { 0 };
	json_t *root;
	int r;

	if (!steer || rest_steer_body(call, in, true, &root) < 0)
		return;
	r = rollout_read(call, in, &request);
	json_decref(root);
	if (r < 0)
		return;
	r = steer->rollout(steer->ctx, call->name, &request, &err);
	rest_steer_changed(call, r, &err);
}
