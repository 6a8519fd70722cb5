/* Steering groups, their members and policies, and what they contradict. */
#include "config_steer.h"

#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config_build.h"

#define COMM_MAX 15 /* TASK_COMM_LEN without its NUL */

static char *text_or_null(struct build *build, struct item *map, const char *name)
{
	const struct item *item = item_at(map, name);

	return item->node ? build_text(build, item->value.text) : NULL;
}

/* ---- members ---- */

/* In the order of enum config_steer_source. */
static const char *const sources[] = { "process", "unit", "pid", "any", "join" };

/* The only source that an entry gives; a complaint and NULL otherwise. */
static struct item *member_source(struct build *build, struct item *entry,
				  enum config_steer_source *ret)
{
	struct item *found = NULL;

	for (size_t i = 0; i < sizeof(sources) / sizeof(sources[0]); i++) {
		struct item *item = item_at(entry, sources[i]);

		if (!item->written)
			continue;
		if (found) {
			complain(build->complaints, node_key_place(item->written),
				 "steering.groups[].members[]: '%s' and '%s' are both given; an "
				 "entry gives one of process, unit, pid, any and join",
				 sources[*ret], sources[i]);
			return NULL;
		}
		found = item;
		*ret = (enum config_steer_source)i;
	}
	if (!found && entry->node)
		complain(build->complaints, node_place(entry->node),
			 "steering.groups[].members[]: one of process, unit, pid, any and join is "
			 "missing");
	return found && found->node ? found : NULL;
}

static bool has_suffix(const char *text, const char *suffix)
{
	size_t len = strlen(text), end = strlen(suffix);

	return len > end && strcmp(text + len - end, suffix) == 0;
}

static void check_source(struct build *build, const struct item *item,
			 enum config_steer_source source)
{
	const char *text = item->value.text, *why = NULL;

	switch (source) {
	case CONFIG_STEER_PROCESS:
		if (text[0] != '/' && strchr(text, '/'))
			why = "a path is absolute; begin it with '/', or give the name alone";
		else if (text[0] != '/' && strlen(text) > COMM_MAX)
			why = "the kernel keeps 15 bytes of a process's name; give those, or the "
			      "absolute path of the executable";
		break;
	case CONFIG_STEER_UNIT:
		if (strchr(text, '/') ||
		    !(has_suffix(text, ".service") || has_suffix(text, ".scope") ||
		      has_suffix(text, ".slice")))
			why = "expected the name of a systemd unit, such as nginx.service";
		break;
	case CONFIG_STEER_ANY:
	case CONFIG_STEER_JOIN:
		if (!item->value.number)
			why = "false means nothing here; delete the entry";
		break;
	case CONFIG_STEER_PID:
		break;
	}
	if (why)
		complain(build->complaints, node_place(item->node),
			 "steering.groups[].members[].%s: %s", sources[source], why);
}

static bool same_member(const struct config_steer_member *a, const struct config_steer_member *b)
{
	return a->source == b->source && a->pid == b->pid &&
	       (a->name ? b->name && strcmp(a->name, b->name) == 0 : !b->name);
}

static void build_members(struct build *build, const struct item *list,
			  struct config_steer_group *group)
{
	if (!list->node || list->count == 0)
		return;
	group->members = build_array(build, list->count, sizeof(*group->members));
	for (size_t i = 0; group->members && i < list->count; i++) {
		struct config_steer_member *member = &group->members[group->member_count];
		struct item *entry = &list->below[i];
		const struct item *item = member_source(build, entry, &member->source);

		if (!item)
			continue;
		check_source(build, item, member->source);
		if (item->key->type == KEY_TEXT)
			member->name = build_text(build, item->value.text);
		else if (member->source == CONFIG_STEER_PID)
			member->pid = (uint32_t)item->value.number;
		member->weight = (uint32_t)item_value(entry, "weight").number;
		for (size_t j = 0; j < group->member_count; j++)
			if (same_member(member, &group->members[j]))
				complain(
					build->complaints, node_place(item->node),
					"steering.groups[].members[]: this member is listed twice");
		group->member_count++;
	}
}

/* ---- policy ---- */

/* What is said about a policy that this one is not is a misunderstanding. */
static void check_policy_keys(struct build *build, struct item *item,
			      enum config_steer_policy policy)
{
	enum {
		SLOT = 1 << CONFIG_STEER_QUIC | 1 << CONFIG_STEER_BYTES,
		FLOWS = 1 << CONFIG_STEER_GENERATION,
		INDICES = 1 << CONFIG_STEER_WIREGUARD,
	};
	static const struct {
		const char *name;
		unsigned int policies;
		const char *words;
	} parts[] = {
		{ "offset", SLOT, "quic and bytes" },	 { "length", SLOT, "quic and bytes" },
		{ "shift", SLOT, "quic and bytes" },	 { "mask", SLOT, "quic and bytes" },
		{ "flow_timeout", FLOWS, "generation" }, { "max_flows", FLOWS, "generation" },
		{ "max_indices", INDICES, "wireguard" },
	};
	const struct item *name = item_at(item, "name");

	for (size_t i = 0; name->node && i < sizeof(parts) / sizeof(parts[0]); i++) {
		const struct item *part = item_at(item, parts[i].name);

		if (part->node && !(parts[i].policies >> policy & 1))
			complain(build->complaints, node_key_place(part->node),
				 "steering.groups[].policy.%s: this is for %s, and the policy is "
				 "%s; change it, or delete this",
				 parts[i].name, parts[i].words, name->node->text);
	}
}

/* Is there a slot in what is read? */
static void check_slot(struct build *build, struct item *item,
		       const struct config_steer_policy_options *options)
{
	const struct item *shift = item_at(item, "shift");
	const struct item *offset = item_at(item, "offset");
	const struct item *mask = item_at(item, "mask");
	uint32_t all = UINT32_MAX >> (32 - 8 * options->length);

	if (options->policy == CONFIG_STEER_QUIC && offset->node &&
	    options->offset + options->length > 20)
		complain(build->complaints, node_place(offset->node),
			 "steering.groups[].policy.offset: a connection id has at most 20 bytes, "
			 "and offset and length end at %u",
			 options->offset + options->length);
	if (shift->node && !(all >> options->shift))
		complain(build->complaints, node_place(shift->node),
			 "steering.groups[].policy.shift: nothing is left of %u bits that are "
			 "shifted by %u; lower it, or raise length",
			 8u * options->length, options->shift);
	else if (mask->node && !(all >> options->shift & options->mask))
		complain(build->complaints, node_place(mask->node),
			 "steering.groups[].policy.mask: of what is read, 0x%x is left after the "
			 "shift; "
			 "give bits of these",
			 all >> options->shift);
}

static bool policy_needs_udp(enum config_steer_policy policy)
{
	return policy == CONFIG_STEER_WIREGUARD || policy == CONFIG_STEER_QUIC ||
	       policy == CONFIG_STEER_BYTES || policy == CONFIG_STEER_GENERATION;
}

static void build_policy(struct build *build, struct item *group, struct config_steer_group *ret)
{
	struct item *item = item_at(group, "policy");
	const struct item *name = item_at(item, "name");
	const struct item *mask = item_at(item, "mask");
	const struct item *protocol = item_at(group, "protocol");
	struct config_steer_policy_options *options = &ret->policy;

	*options = (struct config_steer_policy_options){
		.policy = (enum config_steer_policy)item_value(item, "name").number,
		.offset = (uint16_t)item_value(item, "offset").number,
		.length = (uint8_t)item_value(item, "length").number,
		.shift = (uint8_t)item_value(item, "shift").number,
		.mask = mask->node ? (uint32_t)mask->value.number : UINT32_MAX,
		.flow_timeout_ns = item_value(item, "flow_timeout").number,
		.max_flows = (uint32_t)item_value(item, "max_flows").number,
		.max_indices = (uint32_t)item_value(item, "max_indices").number,
	};
	check_policy_keys(build, item, options->policy);
	if (options->policy == CONFIG_STEER_QUIC || options->policy == CONFIG_STEER_BYTES)
		check_slot(build, item, options);
	if (name->node && protocol->node && !ret->udp && policy_needs_udp(options->policy))
		complain(build->complaints, node_place(name->node),
			 "steering.groups[].policy: %s reads datagrams, and the protocol is tcp; "
			 "take another policy, or 'protocol: udp'",
			 name->node->text);
}

/* ---- rollout ---- */

static void build_rollout(struct build *build, struct item *item,
			  struct config_steer_rollout *rollout)
{
	static const uint16_t steps[] = { 10, 100, 500 };
	const struct item *list = item_at(item, "canary");

	rollout->target = (enum config_steer_state)item_value(item, "target").number;
	rollout->automatic = item_value(item, "automatic").number;
	rollout->soak_ns = item_value(item, "soak").number;
	for (size_t i = 0; list->node && i < list->count; i++) {
		const struct item *step = &list->below[i];
		size_t n = rollout->canary_count;

		if (!step->node)
			continue;
		if (n && step->value.number <= rollout->canary_permille[n - 1])
			complain(build->complaints, node_place(step->node),
				 "steering.groups[].rollout.canary: steps ascend; the one before "
				 "is %u",
				 rollout->canary_permille[n - 1]);
		rollout->canary_permille[rollout->canary_count++] = (uint16_t)step->value.number;
	}
	if (!list->node) {
		memcpy(rollout->canary_permille, steps, sizeof(steps));
		rollout->canary_count = sizeof(steps) / sizeof(steps[0]);
	}
}

/* How many windows pass before the slowest of the rules that take a step back has done so: its bad
 * ones, and what is left of one at the step's begin. */
static uint32_t windows_to_revert(const struct config_steer_guard *guard)
{
	uint32_t most = 0;

	for (size_t i = 0; i < CONFIG_STEER_RULES; i++) {
		const struct config_steer_rule *rule = &guard->rules[i];

		if (rule->enabled && rule->action >= CONFIG_STEER_REVERT && rule->windows > most)
			most = rule->windows;
	}
	return most + 1;
}

/* The next step begins a new count: steps that are too short are never taken back. */
static void check_soak(struct build *build, struct item *item,
		       const struct config_steer_group *group)
{
	const struct item *soak = item_at(item, "rollout.soak");
	const struct item *at = soak->node ? soak : item_at(item, "guard.window");
	uint32_t windows = windows_to_revert(&group->guard);

	if (group->rollout.automatic && group->guard.enabled && at->node &&
	    group->rollout.soak_ns < windows * group->guard.window_ns)
		complain(build->complaints, node_place(at->node),
			 "steering.groups[].rollout.soak: a step ends before the guard can take it "
			 "back; make it %u times guard.window or longer",
			 windows);
}

/* ---- groups ---- */

static void build_group(struct build *build, struct item *item, struct config_steer_group *group)
{
	const struct item *name = item_at(item, "name");
	const struct item *idle = item_at(item, "flow_idle");
	struct value address = item_value(item, "address");

	group->name = build_text(build, name->node ? name->value.text : "");
	group->udp = item_value(item, "protocol").number;
	group->address = address.net.addr;
	group->any_family = address.number;
	group->port = (uint16_t)item_value(item, "port").number;
	group->netns = text_or_null(build, item, "netns");
	group->quarantine_ns = item_value(item, "quarantine").number;
	group->drain_timeout_ns = item_value(item, "drain_timeout").number;
	group->flow_idle_ns = item_value(item, "flow_idle").number;
	build_members(build, item_at(item, "members"), group);
	build_policy(build, item, group);
	build_rollout(build, item_at(item, "rollout"), &group->rollout);
	build_guard(build, item, group);
	check_soak(build, item, group);
	if (idle->node && item_at(item, "protocol")->node && !group->udp)
		complain(build->complaints, node_key_place(idle->node),
			 "steering.groups[].flow_idle: this is for udp, and the protocol is tcp; "
			 "delete it");
}

/* "ip netns" keeps what it names below /run/netns. */
static const char *netns_name(const char *netns)
{
	static const char *const dirs[] = { "/run/netns/", "/var/run/netns/" };

	for (size_t i = 0; netns && i < sizeof(dirs) / sizeof(dirs[0]); i++)
		if (strncmp(netns, dirs[i], strlen(dirs[i])) == 0)
			return netns + strlen(dirs[i]);
	return netns ? netns : "";
}

static bool same_sockets(const struct config_steer_group *a, const struct config_steer_group *b)
{
	if (a->port != b->port || a->udp != b->udp ||
	    strcmp(netns_name(a->netns), netns_name(b->netns)) != 0)
		return false;
	if (a->any_family || b->any_family)
		return addr_is_any(&a->address) && addr_is_any(&b->address);
	return addr_equal(&a->address, &b->address);
}

static void check_unique(struct build *build, const struct item *list, size_t index)
{
	const struct config_steer_group *groups = build->config->steering.groups;
	const struct item *name = item_at(&list->below[index], "name");
	const struct item *port = item_at(&list->below[index], "port");
	char what[128];

	for (size_t i = 0; name->node && i < index; i++) {
		const struct item *other = item_at(&list->below[i], "name");

		if (!other->node)
			continue;
		if (strcmp(name->value.text, other->value.text) == 0) {
			snprintf(what, sizeof(what), "the group name '%s'", name->value.text);
			complain_twice(build->complaints, node_place(name->node), what,
				       node_place(other->node));
			return;
		}
		if (!port->node || !same_sockets(&groups[index], &groups[i]))
			continue;
		complain(build->complaints, node_place(port->node),
			 "steering.groups[]: '%s' and '%s' are the same sockets; give another "
			 "protocol, address, port or netns, or delete one",
			 other->value.text, name->value.text);
		return;
	}
}

/* ---- joining ---- */

/* The number of a user; false if there is no such one. */
static bool find_user(const char *text, uint32_t *ret)
{
	struct passwd entry, *found = NULL;
	char buffer[16384], *end;
	unsigned long number = strtoul(text, &end, 10);

	/* 2^32-1 is nobody: (uid_t)-1. */
	if (strspn(text, "0123456789") == strlen(text) && strlen(text) <= 10) {
		*ret = (uint32_t)number;
		return number < UINT32_MAX;
	}
	if (getpwnam_r(text, &entry, buffer, sizeof(buffer), &found) != 0 || !found)
		return false;
	*ret = entry.pw_uid;
	return true;
}

static void build_join(struct build *build)
{
	struct config_steering *steering = &build->config->steering;
	const struct item *socket = item_at(build->root, "steering.join.socket");
	const struct item *users = item_at(build->root, "steering.join.users");

	if (socket->node)
		steering->join_socket = build_text(
			build, strcmp(socket->value.text, "off") ? socket->value.text : "");
	if (!users->node)
		return;
	steering->join_users = build_array(build, users->count, sizeof(*steering->join_users));
	for (size_t i = 0; steering->join_users && i < users->count; i++) {
		const struct item *user = &users->below[i];

		if (!user->node)
			continue;
		if (find_user(user->value.text, &steering->join_users[steering->join_user_count]))
			steering->join_user_count++;
		else
			complain(build->complaints, node_place(user->node),
				 "steering.join.users: this host knows no such user; add it, or "
				 "give a user's number");
	}
}

void build_steering(struct build *build)
{
	struct config_steering *steering = &build->config->steering;
	const struct item *list = item_at(build->root, "steering.groups");

	steering->poll_ns = item_value(build->root, "steering.poll").number;
	build_join(build);
	if (!list->node || list->count == 0)
		return;
	steering->groups = build_array(build, list->count, sizeof(*steering->groups));
	for (size_t i = 0; steering->groups && i < list->count; i++) {
		steering->group_count++;
		build_group(build, &list->below[i], &steering->groups[i]);
		if (!build->failed)
			check_unique(build, list, i);
	}
}

static void free_group(struct config_steer_group *group)
{
	for (size_t i = 0; i < group->member_count; i++)
		free(group->members[i].name);
	free(group->members);
	free(group->name);
	free(group->netns);
	free(group->guard.metric_path);
	free(group->guard.probe.path);
	free(group->guard.probe.query);
}

void config_steering_free(struct config_steering *steering)
{
	for (size_t i = 0; i < steering->group_count; i++)
		free_group(&steering->groups[i]);
	free(steering->groups);
	free(steering->join_socket);
	free(steering->join_users);
}
