/* steer attach, detach, freeze, unfreeze, resume, policy, rollout: a group's course. */
#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "steer_ask.h"

static int attach(struct session *session, const void *options, char **operands, size_t count)
{
	return steer_ask_change(session, operands[0], "attach", json_object());
}

static int detach(struct session *session, const void *options, char **operands, size_t count)
{
	return steer_ask_change(session, operands[0], "detach", json_object());
}

static int freeze(struct session *session, const void *options, char **operands, size_t count)
{
	return steer_ask_change(session, operands[0], "freeze", json_object());
}

static int unfreeze(struct session *session, const void *options, char **operands, size_t count)
{
	return steer_ask_change(session, operands[0], "unfreeze", json_object());
}

struct resume_options {
	const char *reason;
};

static const struct args_option resume_options[] = {
	{ "reason", 0, ARGS_TEXT, offsetof(struct resume_options, reason), "TEXT",
	  "for the audit log" },
	{ 0 },
};

static int resume(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct resume_options *options = ctx;

	return steer_ask_change(session, operands[0], "resume",
				json_pack("{s:s*}", "reason", options->reason));
}

/* ---- policy ---- */

struct policy_options {
	struct args_number offset;
	struct args_number length;
	struct args_number shift;
	struct args_number mask;
	const char *flow_timeout;
	struct args_number max_flows;
	struct args_number max_indices;
};

#define POLICY(member) offsetof(struct policy_options, member)

static const struct args_option policy_options[] = {
	{ "offset", 0, ARGS_NUMBER, POLICY(offset), "N",
	  "quic: of the slot within the connection id; bytes: within the payload", 0, 1400 },
	{ "length", 0, ARGS_NUMBER, POLICY(length), "N", "bytes that are read (default: 1)", 1, 4 },
	{ "shift", 0, ARGS_NUMBER, POLICY(shift), "N", "then shifted right by so many bits", 0,
	  31 },
	{ "mask", 0, ARGS_NUMBER, POLICY(mask), "N", "then masked (default: all bits)", 1,
	  UINT32_MAX },
	{ "flow-timeout", 0, ARGS_TEXT, POLICY(flow_timeout), "TIME",
	  "generation: of an idle flow (default: 3m)" },
	{ "max-flows", 0, ARGS_NUMBER, POLICY(max_flows), "N",
	  "generation: room for so many flows (default: 65536)", 64, 1u << 24 },
	{ "max-indices", 0, ARGS_NUMBER, POLICY(max_indices), "N",
	  "wireguard: room for so many receiver indices (default: 131072)", 64, 1u << 24 },
	{ 0 },
};

static void put_number(json_t *body, const char *name, const struct args_number *number)
{
	if (number->given)
		json_object_set_new(body, name, json_integer((json_int_t)number->value));
}

static int policy(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct policy_options *options = ctx;
	json_t *body = json_pack("{s:s, s:s*}", "name", operands[1], "flow_timeout",
				 options->flow_timeout);

	put_number(body, "offset", &options->offset);
	put_number(body, "length", &options->length);
	put_number(body, "shift", &options->shift);
	put_number(body, "mask", &options->mask);
	put_number(body, "max_flows", &options->max_flows);
	put_number(body, "max_indices", &options->max_indices);
	return steer_ask_change(session, operands[0], "policy", body);
}

/* ---- rollout ---- */

struct rollout_options {
	struct args_number canary;
	bool force;
	const char *reason;
};

static const struct args_option rollout_options[] = {
	{ "canary", 0, ARGS_NUMBER, offsetof(struct rollout_options, canary), "PERMILLE",
	  "canary: the policy's share of the flows (default: the next\n"
	  "                             configured step)",
	  1, 999 },
	{ "force", 0, ARGS_FLAG, offsetof(struct rollout_options, force), NULL,
	  "without the soak time, past a rollback" },
	{ "reason", 0, ARGS_TEXT, offsetof(struct rollout_options, reason), "TEXT",
	  "for the audit log" },
	{ 0 },
};

static int check_rollout(const struct rollout_options *options, const char *state, struct err *err)
{
	static const char *const states[] = { "observe",  "shadow", "canary",
					      "enforced", "next",   "back" };
	size_t i;

	for (i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		if (strcmp(states[i], state) == 0)
			break;
	if (i == sizeof(states) / sizeof(states[0]))
		return err_set(
			err, -EINVAL,
			"cannot go to '%s': it is none of observe, shadow, canary, enforced, "
			"next and back",
			state);
	if (options->canary.given && strcmp(state, "canary") != 0)
		return err_set(err, -EINVAL, "cannot use --canary with '%s': say 'canary'", state);
	return 0;
}

static int rollout(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct rollout_options *options = ctx;
	struct err err = { 0 };
	json_t *body;

	if (check_rollout(options, operands[1], &err) < 0)
		return session_usage("steer rollout", &err);
	body = json_pack("{s:s, s:s*}", "state", operands[1], "reason", options->reason);
	if (options->force)
		json_object_set_new(body, "force", json_true());
	put_number(body, "canary_permille", &options->canary);
	return steer_ask_change(session, operands[0], "rollout", body);
}

#define GROUP_VERB(word, text, more)           \
	const struct verb cmd_steer_##word = { \
		.name = "steer " #word,        \
		.operands = "GROUP",           \
		.summary = text,               \
		.help = more,                  \
		.operands_min = 1,             \
		.operands_max = 1,             \
		.run = word,                   \
	}

GROUP_VERB(attach, "Attach a group's program",
	   "It begins in its state; nothing is decided in observe and shadow.\n");
GROUP_VERB(detach, "Detach a group's program: plain Linux decides", NULL);
GROUP_VERB(
	freeze, "Let neither rollout nor guard change a group",
	"What is in force stays in force, also when it hurts: only 'loom steer fallback' works.\n");
GROUP_VERB(unfreeze, "Let rollout and guard change a group again", NULL);

const struct verb cmd_steer_resume = {
	.name = "steer resume",
	.operands = "GROUP",
	.summary = "Leave fallback: attach again, from shadow on",
	.options = resume_options,
	.options_size = sizeof(struct resume_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = resume,
};

const struct verb cmd_steer_policy = {
	.name = "steer policy",
	.operands = "GROUP POLICY",
	.summary = "Change a group's policy",
	.help = "POLICY: hash, weighted, random, least_loaded, source_hash, cpu_local, wireguard,\n"
		"quic, bytes or generation.  The group goes back to shadow.\n",
	.options = policy_options,
	.options_size = sizeof(struct policy_options),
	.operands_min = 2,
	.operands_max = 2,
	.run = policy,
};

const struct verb cmd_steer_rollout = {
	.name = "steer rollout",
	.operands = "GROUP STATE",
	.summary = "Put a policy in force, or take it back",
	.help = "STATE: observe, shadow, canary, enforced, next (one step on) or back (one "
		"step).\n",
	.options = rollout_options,
	.options_size = sizeof(struct rollout_options),
	.operands_min = 2,
	.operands_max = 2,
	.run = rollout,
};
