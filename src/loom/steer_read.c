#include "steer_read.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "abi/steer_abi.h"
#include "base/addr.h"
#include "base/clock.h"

static const char *text(struct reply *reply, const json_t *object, const char *path)
{
	return reply_text_or(reply, object, path, "");
}

static uint64_t count_or_0(struct reply *reply, const json_t *object, const char *path)
{
	double value = reply_number_or(reply, object, path, 0);

	return value > 0 ? (uint64_t)value : 0;
}

static double seconds(struct reply *reply, const json_t *object, const char *path, double otherwise)
{
	double ns = reply_number_or(reply, object, path, -1);

	return ns < 0 ? otherwise : ns / (double)NSEC_PER_SEC;
}

static void read_member(struct reply *reply, const json_t *json, struct steer_read_member *ret)
{
	double slot = reply_number_or(reply, json, "slot", STEER_READ_NO_SLOT);

	*ret = (struct steer_read_member){
		.id = reply_count(reply, json, "id"),
		.slot = slot >= 0 && slot < 0xffff ? (int)slot : STEER_READ_NO_SLOT,
		.pid = count_or_0(reply, json, "pid"),
		.holders = reply_count(reply, json, "holders"),
		.comm = text(reply, json, "comm"),
		.unit = text(reply, json, "unit"),
		.label = text(reply, json, "label"),
		.source = text(reply, json, "source"),
		.address = text(reply, json, "address"),
		.weight = reply_count(reply, json, "weight"),
		.generation = reply_count(reply, json, "generation"),
		.state = reply_text(reply, json, "state"),
		.age_s = seconds(reply, json, "age_ns", 0),
		.drain_left_s = seconds(reply, json, "drain_left_ns", -1),
		.stuck = reply_bool(reply, json, "stuck"),
		.queue = reply_count(reply, json, "queue"),
		.queue_max = reply_count(reply, json, "queue_max"),
		.queue_age_s = seconds(reply, json, "queue_age_ns", 0),
		.drops = reply_count(reply, json, "drops"),
		.rate = reply_count(reply, json, "rate"),
		.selected = reply_count(reply, json, "selected.packets"),
		.kernel = reply_count(reply, json, "kernel.packets"),
		.shadow = reply_count(reply, json, "shadow_packets"),
		.migrated = reply_count(reply, json, "migrated"),
	};
}

static void read_members(struct reply *reply, const json_t *json, struct steer_read_group *ret)
{
	const json_t *list = reply_array(reply, json, "members");
	const json_t *member;
	size_t i;

	ret->members = calloc(json_array_size(list) + 1, sizeof(*ret->members));
	if (!ret->members) {
		err_set(reply->err, -ENOMEM, "cannot read loomd's answer: out of memory");
		return;
	}
	json_array_foreach(list, i, member) read_member(reply, member, &ret->members[i]);
	ret->member_count = i;
}

static void read_last(struct reply *reply, const json_t *json, struct steer_read_transition *ret)
{
	const json_t *last = json_object_get(json, "last");

	*ret = (struct steer_read_transition){ .from = "", .to = "", .actor = "", .reason = "" };
	if (!last || json_is_null(last))
		return;
	ret->at = reply_number(reply, json, "last.at");
	ret->from = text(reply, json, "last.from");
	ret->to = text(reply, json, "last.to");
	ret->actor = text(reply, json, "last.actor");
	ret->reason = text(reply, json, "last.reason");
}

/* "0.0.0.0:53", "[::]:53"; "*:53" for a group of both families. */
static void format_listen(struct steer_read_group *ret)
{
	struct addr address;

	if (addr_parse(ret->address, &address) == 0)
		addr_port_format(&address, (uint16_t)ret->port, ret->listen);
	else
		snprintf(ret->listen, sizeof(ret->listen), "%s:%u", ret->address,
			 (unsigned int)ret->port);
}

static void read_group(struct reply *reply, const json_t *json, struct steer_read_group *ret)
{
	*ret = (struct steer_read_group){
		.name = reply_text(reply, json, "name"),
		.protocol = reply_text(reply, json, "protocol"),
		.address = reply_text(reply, json, "address"),
		.port = reply_count(reply, json, "port"),
		.netns = text(reply, json, "netns"),
		.policy = reply_text(reply, json, "policy"),
		.state = reply_text(reply, json, "state"),
		.canary_permille = reply_count(reply, json, "canary_permille"),
		.frozen = reply_bool(reply, json, "frozen"),
		.fallback = reply_bool(reply, json, "fallback"),
		.target = text(reply, json, "target"),
		.automatic = reply_bool(reply, json, "automatic"),
		.reverted = reply_bool(reply, json, "reverted"),
		.held_back = text(reply, json, "held_back"),
		.state_age_s = seconds(reply, json, "state_age_ns", 0),
		.cooldown_s = seconds(reply, json, "cooldown_ns", 0),
		.attached = reply_bool(reply, json, "attached"),
		.program = count_or_0(reply, json, "program"),
		.program_own = count_or_0(reply, json, "program_own"),
		.exact = reply_bool(reply, json, "exact"),
		.repairs = reply_count(reply, json, "repairs"),
		.resets = reply_count(reply, json, "resets"),
		.max_over_mean_permille = reply_count(reply, json, "max_over_mean_permille"),
		.jain_permille = reply_count(reply, json, "jain_permille"),
		.probe_p99_s = seconds(reply, json, "probe_p99_ns", 0),
		.probe_failures = reply_count(reply, json, "probe_failures"),
		.indices = reply_count(reply, json, "indices"),
		.counters = reply_object(reply, json, "counters"),
	};
	format_listen(ret);
	read_last(reply, json, &ret->last);
	read_members(reply, json, ret);
}

int steer_read(struct reply *reply, const json_t *answer, struct steer_read *ret)
{
	const json_t *list = json_object_get(answer, "name") ? NULL
							     : reply_array(reply, answer, "groups");
	size_t count = json_object_get(answer, "name") ? 1 : json_array_size(list);

	ret->group_count = 0;
	ret->groups = calloc(count + 1, sizeof(*ret->groups));
	if (!ret->groups)
		return err_set(reply->err, -ENOMEM, "cannot read loomd's answer: out of memory");
	for (size_t i = 0; i < count; i++)
		read_group(reply, list ? json_array_get(list, i) : answer, &ret->groups[i]);
	ret->group_count = count;
	return reply_result(reply);
}

void steer_read_done(struct steer_read *read)
{
	for (size_t i = 0; i < read->group_count; i++)
		free(read->groups[i].members);
	free(read->groups);
	memset(read, 0, sizeof(*read));
}

uint64_t steer_read_counter(const struct steer_read_group *group, const char *name)
{
	json_int_t value = json_integer_value(json_object_get(group->counters, name));

	return value > 0 ? (uint64_t)value : 0;
}

/* Those whose help says so: the table of counters is the one source. */
struct fallback_name {
	const char *name; /* in capitals */
	const char *help;
};

static const struct fallback_name counters[] = {
#define COUNTER_HELP(name, help) { #name, help },
	STEER_COUNTERS(COUNTER_HELP)
#undef COUNTER_HELP
};
#define COUNTERS (sizeof(counters) / sizeof(counters[0]))

bool steer_read_is_fallback(const char *name)
{
	for (size_t i = 0; i < COUNTERS; i++)
		if (strcasecmp(counters[i].name, name) == 0)
			return strncmp(counters[i].help, "Fallback", 8) == 0;
	return false;
}

uint64_t steer_read_fallbacks(const struct steer_read_group *group)
{
	const json_t *value;
	const char *name;
	uint64_t sum = 0;

	json_object_foreach((json_t *)group->counters, name, value)
	{
		if (steer_read_is_fallback(name))
			sum += steer_read_counter(group, name);
	}
	return sum;
}
