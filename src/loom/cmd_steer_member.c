/* steer drain, undrain, swap, weight: a group's members. */
#include "verb.h"

#include <errno.h>
#include <stdio.h>

#include "steer_ask.h"

static const char member_help[] =
	"MEMBER: a slot (3 or slot:3), id:12, pid:4711, gen:2 (a whole generation) or\n"
	"unit:nginx.service.\n";

struct drain_options {
	const char *deadline;
};

static const struct args_option drain_options[] = {
	{ "deadline", 0, ARGS_TEXT, offsetof(struct drain_options, deadline), "TIME",
	  "it is drained then, whatever its queue (default: drain_timeout)" },
	{ 0 },
};

static int drain(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct drain_options *options = ctx;
	struct err err = { 0 };
	json_t *member = steer_ask_member(operands[1], &err);

	if (!member)
		return session_usage("steer drain", &err);
	return steer_ask_change(
		session, operands[0], "drain",
		json_pack("{s:o, s:s*}", "member", member, "deadline", options->deadline));
}

static int undrain(struct session *session, const void *options, char **operands, size_t count)
{
	struct err err = { 0 };
	json_t *member = steer_ask_member(operands[1], &err);

	if (!member)
		return session_usage("steer undrain", &err);
	return steer_ask_change(session, operands[0], "undrain",
				json_pack("{s:o}", "member", member));
}

static int weight(struct session *session, const void *options, char **operands, size_t count)
{
	struct err err = { 0 };
	json_t *member;
	uint64_t value;

	if (args_number("a weight", operands[2], 0, 65535, &value, &err) < 0)
		return session_usage("steer weight", &err);
	member = steer_ask_member(operands[1], &err);
	if (!member)
		return session_usage("steer weight", &err);
	return steer_ask_change(
		session, operands[0], "weight",
		json_pack("{s:o, s:I}", "member", member, "weight", (json_int_t)value));
}

/* ---- swap ---- */

struct swap_options {
	const char *from;
	const char *to;
	const char *deadline;
};

static const struct args_option swap_options[] = {
	{ "from", 0, ARGS_TEXT, offsetof(struct swap_options, from), "MEMBER",
	  "drains (default: what is old)" },
	{ "to", 0, ARGS_TEXT, offsetof(struct swap_options, to), "MEMBER",
	  "leaves quarantine (default: what is new)" },
	{ "deadline", 0, ARGS_TEXT, offsetof(struct swap_options, deadline), "TIME",
	  "the old are drained then, whatever their queues" },
	{ 0 },
};

static int swap(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct swap_options *options = ctx;
	struct err err = { 0 };
	json_t *from = options->from ? steer_ask_member(options->from, &err) : NULL;
	json_t *to = options->to && !err.code ? steer_ask_member(options->to, &err) : NULL;

	if (err.code) {
		json_decref(from);
		return session_usage("steer swap", &err);
	}
	return steer_ask_change(session, operands[0], "swap",
				json_pack("{s:o*, s:o*, s:s*}", "from", from, "to", to, "deadline",
					  options->deadline));
}

const struct verb cmd_steer_drain = {
	.name = "steer drain",
	.operands = "GROUP MEMBER",
	.summary = "Give a member nothing new until its queue is empty",
	.help = member_help,
	.options = drain_options,
	.options_size = sizeof(struct drain_options),
	.operands_min = 2,
	.operands_max = 2,
	.run = drain,
};

const struct verb cmd_steer_undrain = {
	.name = "steer undrain",
	.operands = "GROUP MEMBER",
	.summary = "Give a drained member new flows again",
	.help = member_help,
	.operands_min = 2,
	.operands_max = 2,
	.run = undrain,
};

const struct verb cmd_steer_swap = {
	.name = "steer swap",
	.operands = "GROUP",
	.summary = "From old members to new ones, without loss",
	.help = "What is new becomes active, what is old drains; then it may be stopped.\n",
	.options = swap_options,
	.options_size = sizeof(struct swap_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = swap,
};

const struct verb cmd_steer_weight = {
	.name = "steer weight",
	.operands = "GROUP MEMBER N",
	.summary = "Set a member's share of new flows",
	.help = member_help,
	.operands_min = 3,
	.operands_max = 3,
	.run = weight,
};
