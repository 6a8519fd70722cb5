/* The guard of a steering group: its rules, and what they lack. */
#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"
#include "config_build.h"

const char *const config_steer_rule_names[CONFIG_STEER_RULES] = {
	"imbalance", "jain",	       "drops",	 "overflow", "queue_age",  "fallbacks",
	"latency",   "probe_failures", "metric", "foreign",  "membership",
};

/* What is even, none or as before; and which clear goes with the default threshold. */
static const struct rule_scale {
	double ideal;
	double threshold;
	double clear;
} scales[CONFIG_STEER_RULES] = {
	[CONFIG_STEER_RULE_IMBALANCE] = { 1, 1.8, 1.5 },
	[CONFIG_STEER_RULE_JAIN] = { 1, 0.6, 0.7 },
	[CONFIG_STEER_RULE_DROPS] = { 0, 1000, 100 },
	[CONFIG_STEER_RULE_OVERFLOW] = { 0, 500, 100 },
	[CONFIG_STEER_RULE_QUEUE_AGE] = { 0, 5, 1 },
	[CONFIG_STEER_RULE_FALLBACKS] = { 0, 100, 50 },
	[CONFIG_STEER_RULE_LATENCY] = { 1, 2, 1.5 },
	[CONFIG_STEER_RULE_PROBE_FAILURES] = { 0, 300, 50 },
};

static double decimal(struct item *item, const char *name)
{
	return (double)item_value(item, name).number / (double)KEY_DECIMAL_ONE;
}

/* As exact as what one would write. */
static double default_clear(enum config_steer_rule_name name, double threshold)
{
	const struct rule_scale *scale = &scales[name];
	double part, clear;

	if (name == CONFIG_STEER_RULE_METRIC)
		return threshold;
	part = (scale->clear - scale->ideal) / (scale->threshold - scale->ideal);
	clear = scale->ideal + (threshold - scale->ideal) * part;
	return (double)(uint64_t)(clear * (double)KEY_DECIMAL_ONE + 0.5) / (double)KEY_DECIMAL_ONE;
}

static void build_limits(struct build *build, struct item *item, enum config_steer_rule_name name,
			 struct config_steer_rule *rule)
{
	const struct item *clear = item_at(item, "clear");

	rule->threshold = decimal(item, "threshold");
	rule->clear = clear->node ? decimal(item, "clear") : default_clear(name, rule->threshold);
	rule->below = name == CONFIG_STEER_RULE_JAIN ||
		      (name == CONFIG_STEER_RULE_METRIC && rule->clear > rule->threshold);
	if (name == CONFIG_STEER_RULE_METRIC || !clear->node)
		return;
	if (rule->below ? rule->clear < rule->threshold : rule->clear > rule->threshold)
		complain(build->complaints, node_place(clear->node),
			 "steering.groups[].guard.rules.%s.clear: it is %s the threshold; what is "
			 "bad cannot be good again",
			 config_steer_rule_names[name], rule->below ? "below" : "above");
}

/* Rules that measure what must be told where it is. */
static void check_source(struct build *build, struct item *guard, struct item *item,
			 enum config_steer_rule_name name, struct config_steer_rule *rule)
{
	bool metric = name == CONFIG_STEER_RULE_METRIC;
	bool given = metric ? item_at(guard, "metric")->written != NULL
			    : item_value(guard, "probe.type").number != CONFIG_STEER_PROBE_NONE ||
				      (item_at(guard, "probe.type")->written &&
				       !item_at(guard, "probe.type")->node);
	const struct item *enabled = item_at(item, "enabled");

	if (!enabled->node)
		rule->enabled = given;
	else if (rule->enabled && !given)
		complain(build->complaints, node_place(enabled->node),
			 "steering.groups[].guard.rules.%s: 'guard.%s' is missing; say what to %s",
			 config_steer_rule_names[name], metric ? "metric" : "probe",
			 metric ? "read" : "ask");
	if (metric && rule->enabled && given && !item_at(item, "threshold")->written)
		complain(
			build->complaints,
			node_key_place(item->node ? item->node : item_at(guard, "metric")->written),
			"steering.groups[].guard.rules.metric: 'threshold' is missing; no number "
			"fits every application");
}

static void build_rule(struct build *build, struct item *guard, enum config_steer_rule_name name,
		       struct config_steer_rule *rule)
{
	struct item *rules = item_at(guard, "rules");
	struct item *item = item_at(rules, config_steer_rule_names[name]);

	must(item->key == &rules->key->keys[name]);
	rule->enabled = item_value(item, "enabled").number;
	rule->windows = (uint32_t)item_value(item, "windows").number;
	rule->action = (enum config_steer_action)item_value(item, "action").number;
	if (name != CONFIG_STEER_RULE_FOREIGN && name != CONFIG_STEER_RULE_MEMBERSHIP)
		build_limits(build, item, name, rule);
	if (name == CONFIG_STEER_RULE_METRIC || name == CONFIG_STEER_RULE_LATENCY ||
	    name == CONFIG_STEER_RULE_PROBE_FAILURES)
		check_source(build, guard, item, name, rule);
}

/* ---- the probe ---- */

static void check_probe_keys(struct build *build, struct item *item,
			     enum config_steer_probe_type type)
{
	static const struct {
		const char *name;
		enum config_steer_probe_type type;
		const char *words;
	} parts[] = {
		{ "path", CONFIG_STEER_PROBE_HTTP, "http" },
		{ "query", CONFIG_STEER_PROBE_DNS, "dns" },
	};
	const struct item *given = item_at(item, "type");

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		const struct item *part = item_at(item, parts[i].name);

		if (part->node && type != parts[i].type && (given->node || !given->written))
			complain(build->complaints, node_key_place(part->node),
				 "steering.groups[].guard.probe.%s: this is for probes of type %s, "
				 "and the type is %s; change it, or delete this",
				 parts[i].name, parts[i].words,
				 given->node ? given->node->text : "none, the default");
	}
}

static void check_probe_protocol(struct build *build, const struct item *type,
				 const struct item *protocol, bool udp)
{
	bool none = type->node && type->value.number == CONFIG_STEER_PROBE_NONE;
	bool dns = type->node && type->value.number == CONFIG_STEER_PROBE_DNS;

	if (!type->node || !protocol->node || none || dns == udp)
		return;
	complain(build->complaints, node_place(type->node),
		 "steering.groups[].guard.probe.type: %s asks by %s, and the protocol is %s; take "
		 "%s, or none",
		 type->node->text, udp ? "tcp" : "udp", udp ? "udp" : "tcp",
		 udp ? "dns" : "connect or http");
}

/* Where the group is; a wildcard is asked on the host itself. */
static struct addr probe_address(const struct config_steer_group *group)
{
	struct addr address = group->address;

	if (!addr_is_any(&address))
		return address;
	if (group->any_family || addr_is_v4(&address))
		return addr_from_v4(htonl(0x7f000001));
	address.word[3] = htonl(1);
	return address;
}

static void build_probe(struct build *build, struct item *group, struct item *item,
			struct config_steer_group *ret)
{
	const struct item *address = item_at(item, "address");
	const struct item *type = item_at(item, "type");
	struct config_steer_probe *probe = &ret->guard.probe;

	*probe = (struct config_steer_probe){
		.type = (enum config_steer_probe_type)item_value(item, "type").number,
		.address = address->node ? address->value.net.addr : probe_address(ret),
		.interval_ns = item_value(item, "interval").number,
		.timeout_ns = item_value(item, "timeout").number,
		.path = build_text(build, item_value(item, "path").text),
		.query = build_text(build, item_value(item, "query").text),
	};
	check_probe_keys(build, item, probe->type);
	check_probe_protocol(build, type, item_at(group, "protocol"), ret->udp);
}

void build_guard(struct build *build, struct item *group, struct config_steer_group *ret)
{
	struct item *item = item_at(group, "guard");
	const struct item *metric = item_at(item, "metric");
	struct config_steer_guard *guard = &ret->guard;

	guard->enabled = item_value(item, "enabled").number;
	guard->window_ns = item_value(item, "window").number;
	guard->cooldown_ns = item_value(item, "cooldown").number;
	guard->min_selections = (uint32_t)item_value(item, "min_selections").number;
	if (metric->node)
		guard->metric_path = build_text(build, metric->value.text);
	build_probe(build, group, item_at(item, "probe"), ret);
	for (int name = 0; name < CONFIG_STEER_RULES; name++)
		build_rule(build, item, (enum config_steer_rule_name)name, &guard->rules[name]);
}
