/* Good steering sections: what each key becomes, and what holds without it. */
#include "config_fixture.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "config/schema.h"
#include "model/guard.h"

static const char *address_of(const struct addr *addr)
{
	static char text[ADDR_TEXT_LEN];

	return addr_format(addr, text);
}

static void assert_near(double value, double expected)
{
	assert_true(value >= expected - 1e-9 && value <= expected + 1e-9);
}

static void assert_rule(const struct config_steer_rule *rule, double threshold, double clear,
			uint32_t windows, enum config_steer_action action)
{
	assert_near(rule->threshold, threshold);
	assert_near(rule->clear, clear);
	assert_int_equal(rule->windows, windows);
	assert_int_equal(rule->action, action);
}

static void test_a_group_of_three_lines_has_defaults_for_the_rest(void **state)
{
	struct config *config =
		load_good("steering: {groups: [{name: a, protocol: tcp, port: 80}]}");
	const struct config_steer_group *group = config->steering.groups;
	const struct config_steer_guard *guard = &group->guard;

	assert_int_equal(config->steering.poll_ns, 50 * NSEC_PER_MSEC);
	assert_null(config->steering.join_socket);
	assert_int_equal(config->steering.join_user_count, 0);
	assert_int_equal(config->steering.group_count, 1);
	assert_string_equal(group->name, "a");
	assert_false(group->udp);
	assert_true(group->any_family && addr_is_any(&group->address));
	assert_int_equal(group->port, 80);
	assert_null(group->netns);
	assert_int_equal(group->member_count, 0);
	assert_int_equal(group->policy.policy, CONFIG_STEER_HASH);
	assert_int_equal(group->rollout.target, CONFIG_STEER_OBSERVE);
	assert_false(group->rollout.automatic);
	assert_int_equal(group->rollout.canary_count, 3);
	assert_int_equal(group->rollout.canary_permille[2], 500);
	assert_int_equal(group->rollout.soak_ns, 60 * NSEC_PER_SEC);
	assert_int_equal(group->quarantine_ns, NSEC_PER_SEC);
	assert_int_equal(group->drain_timeout_ns, 30 * NSEC_PER_SEC);
	assert_int_equal(group->flow_idle_ns, 0);
	assert_true(guard->enabled);
	assert_int_equal(guard->window_ns, 10 * NSEC_PER_SEC);
	assert_int_equal(guard->cooldown_ns, 300 * NSEC_PER_SEC);
	assert_int_equal(guard->min_selections, 200);
	assert_int_equal(guard->probe.type, CONFIG_STEER_PROBE_NONE);
	assert_null(guard->metric_path);
	config_free(config);
}

static const struct key *rules_key(void)
{
	const struct key *groups = schema_find(schema_find(&schema_root, "steering"), "groups");

	return schema_find(schema_find(groups->keys, "guard"), "rules");
}

/* The guard counts in thousandths and nanoseconds. */
static double scale_of(int rule)
{
	switch (guard_rule_unit((enum guard_rule_id)rule)) {
	case GUARD_UNIT_RATIO:
	case GUARD_UNIT_VALUE:
		return 1e3;
	case GUARD_UNIT_NS:
		return 1e9;
	default:
		return 1;
	}
}

static void assert_default_rule(const struct config_steer_rule *rule, int name,
				const struct guard_rule *guard)
{
	static const char *const actions[] = { "warn", "repair", "revert", "fallback" };
	const struct key *clear = schema_find(&rules_key()->keys[name], "clear");
	bool needs = name == CONFIG_STEER_RULE_LATENCY || name == CONFIG_STEER_RULE_METRIC ||
		     name == CONFIG_STEER_RULE_PROBE_FAILURES;

	assert_string_equal(guard_rule_name((enum guard_rule_id)name),
			    config_steer_rule_names[name]);
	assert_int_equal(rule->enabled, guard->enabled && !needs);
	assert_int_equal(rule->below, guard->below);
	assert_near(rule->threshold * scale_of(name), (double)guard->threshold);
	assert_near(rule->clear * scale_of(name), (double)guard->clear);
	assert_int_equal(rule->windows, guard->windows);
	assert_string_equal(actions[rule->action], guard_action_name(guard->action));
	/* The manual's words begin with the number. */
	if (clear && name != CONFIG_STEER_RULE_METRIC)
		assert_near(strtod(clear->otherwise, NULL), rule->clear);
}

/* What needs a probe or a metric is off without one. */
static void test_rules_have_the_defaults_of_the_guard(void **state)
{
	struct config *config =
		load_good("steering: {groups: [{name: a, protocol: tcp, port: 80}]}");
	const struct config_steer_guard *guard = &config->steering.groups[0].guard;
	struct guard_config expected;

	guard_config_default(&expected);
	assert_int_equal(guard->window_ns, expected.window_ns);
	assert_int_equal(guard->cooldown_ns, expected.cooldown_ns);
	assert_int_equal(guard->min_selections, expected.rules[GUARD_RULE_IMBALANCE].minimum);
	for (int i = 0; i < CONFIG_STEER_RULES; i++)
		assert_default_rule(&guard->rules[i], i, &expected.rules[i]);
	config_free(config);
}

static void assert_members(const struct config_steer_group *group)
{
	static const struct {
		enum config_steer_source source;
		const char *name;
		uint32_t pid;
		uint32_t weight;
	} expected[] = {
		{ CONFIG_STEER_PROCESS, "nginx", 0, 50 },
		{ CONFIG_STEER_PROCESS, "/usr/sbin/haproxy", 0, 100 },
		{ CONFIG_STEER_UNIT, "nginx.service", 0, 100 },
		{ CONFIG_STEER_PID, NULL, 1234, 100 },
		{ CONFIG_STEER_ANY, NULL, 0, 0 },
		{ CONFIG_STEER_JOIN, NULL, 0, 100 },
	};

	assert_int_equal(group->member_count, COUNT(expected));
	for (size_t i = 0; i < COUNT(expected); i++) {
		const struct config_steer_member *member = &group->members[i];

		assert_int_equal(member->source, expected[i].source);
		assert_int_equal(member->pid, expected[i].pid);
		assert_int_equal(member->weight, expected[i].weight);
		if (expected[i].name)
			assert_string_equal(member->name, expected[i].name);
		else
			assert_null(member->name);
	}
}

static void assert_guard(const struct config_steer_guard *guard)
{
	const struct config_steer_rule *rules = guard->rules;

	assert_int_equal(guard->window_ns, 20 * NSEC_PER_SEC);
	assert_int_equal(guard->cooldown_ns, 180 * NSEC_PER_SEC);
	assert_int_equal(guard->min_selections, 70);
	assert_string_equal(guard->metric_path, "/run/web/lag");
	assert_int_equal(guard->probe.type, CONFIG_STEER_PROBE_HTTP);
	assert_string_equal(address_of(&guard->probe.address), "::1");
	assert_int_equal(guard->probe.interval_ns, 300 * NSEC_PER_MSEC);
	assert_int_equal(guard->probe.timeout_ns, 400 * NSEC_PER_MSEC);
	assert_string_equal(guard->probe.path, "/alive");
	assert_rule(&rules[CONFIG_STEER_RULE_IMBALANCE], 2.5, 1.25, 4, CONFIG_STEER_WARN);
	assert_rule(&rules[CONFIG_STEER_RULE_JAIN], 0.5, 0.75, 5, CONFIG_STEER_FALLBACK);
	assert_false(rules[CONFIG_STEER_RULE_JAIN].enabled);
	assert_rule(&rules[CONFIG_STEER_RULE_OVERFLOW], 10.5, 0.000001, 2, CONFIG_STEER_REVERT);
	assert_true(rules[CONFIG_STEER_RULE_LATENCY].enabled);
	assert_true(rules[CONFIG_STEER_RULE_PROBE_FAILURES].enabled);
	assert_true(rules[CONFIG_STEER_RULE_METRIC].enabled);
	assert_true(rules[CONFIG_STEER_RULE_METRIC].below);
	assert_rule(&rules[CONFIG_STEER_RULE_METRIC], 5, 8.125, 3, CONFIG_STEER_REVERT);
	assert_rule(&rules[CONFIG_STEER_RULE_FOREIGN], 0, 0, 2, CONFIG_STEER_FALLBACK);
	assert_false(rules[CONFIG_STEER_RULE_MEMBERSHIP].enabled);
}

static void test_every_key_of_a_group_reaches_the_configuration(void **state)
{
	struct config *config = load_good_file("tests/unit/config/every_key.yaml");
	const struct config_steering *steering = &config->steering;
	const struct config_steer_group *web = &steering->groups[0];

	assert_int_equal(steering->poll_ns, 20 * NSEC_PER_MSEC);
	assert_string_equal(steering->join_socket, "/run/loom/edge.steer");
	assert_int_equal(steering->join_user_count, 3);
	assert_int_equal(steering->join_users[1], 1000);
	assert_int_equal(steering->join_users[2], 0);
	assert_int_equal(steering->group_count, 5);
	assert_string_equal(address_of(&web->address), "127.0.0.1");
	assert_false(web->any_family);
	assert_string_equal(web->netns, "blue");
	assert_members(web);
	assert_int_equal(web->policy.policy, CONFIG_STEER_LEAST_LOADED);
	assert_int_equal(web->rollout.target, CONFIG_STEER_CANARY);
	assert_true(web->rollout.automatic);
	assert_int_equal(web->rollout.canary_count, 2);
	assert_int_equal(web->rollout.canary_permille[1], 200);
	assert_int_equal(web->rollout.soak_ns, 120 * NSEC_PER_SEC);
	assert_int_equal(web->quarantine_ns, 2 * NSEC_PER_SEC);
	assert_int_equal(web->drain_timeout_ns, 40 * NSEC_PER_SEC);
	assert_guard(&web->guard);
	config_free(config);
}

static void test_policies_take_their_options(void **state)
{
	struct config *config = load_good_file("tests/unit/config/every_key.yaml");
	const struct config_steer_group *dns = &config->steering.groups[1];
	const struct config_steer_group *quic = &config->steering.groups[2];
	const struct config_steer_group *game = &config->steering.groups[3];
	const struct config_steer_group *wg = &config->steering.groups[4];

	assert_true(dns->udp);
	assert_int_equal(dns->policy.policy, CONFIG_STEER_BYTES);
	assert_int_equal(dns->policy.offset, 4);
	assert_int_equal(dns->policy.length, 2);
	assert_int_equal(dns->policy.shift, 3);
	assert_int_equal(dns->policy.mask, 0xff);
	assert_int_equal(dns->flow_idle_ns, 7 * NSEC_PER_SEC);
	assert_string_equal(dns->guard.probe.query, "example.org");
	assert_string_equal(address_of(&dns->guard.probe.address), "::1");
	assert_int_equal(quic->policy.policy, CONFIG_STEER_QUIC);
	assert_int_equal(quic->policy.offset, 1);
	assert_int_equal(quic->policy.length, 1);
	assert_int_equal(quic->policy.mask, UINT32_MAX);
	assert_string_equal(quic->netns, "/proc/1/ns/net");
	assert_false(quic->guard.enabled);
	assert_int_equal(game->policy.flow_timeout_ns, 9 * NSEC_PER_SEC);
	assert_int_equal(game->policy.max_flows, 100);
	assert_string_equal(game->netns, "pid:7");
	assert_int_equal(wg->policy.policy, CONFIG_STEER_WIREGUARD);
	assert_int_equal(wg->policy.max_indices, 1000);
	assert_int_equal(wg->policy.flow_timeout_ns, 180 * NSEC_PER_SEC);
	config_free(config);
}

static void test_a_policys_name_and_off_stand_for_mappings(void **state)
{
	struct config *config = load_good("steering: {groups: [\n"
					  "  {name: a, protocol: tcp, port: 80, policy: random,\n"
					  "   guard: {probe: connect, rules: {drops: off}}},\n"
					  "  {name: b, protocol: tcp, port: 81, policy: }]}");
	const struct config_steer_group *groups = config->steering.groups;

	assert_int_equal(groups[0].policy.policy, CONFIG_STEER_RANDOM);
	assert_int_equal(groups[0].guard.probe.type, CONFIG_STEER_PROBE_CONNECT);
	assert_string_equal(address_of(&groups[0].guard.probe.address), "127.0.0.1");
	assert_false(groups[0].guard.rules[CONFIG_STEER_RULE_DROPS].enabled);
	assert_true(groups[0].guard.rules[CONFIG_STEER_RULE_OVERFLOW].enabled);
	assert_int_equal(groups[1].policy.policy, CONFIG_STEER_HASH);
	config_free(config);
}

static void test_without_clear_it_follows_the_threshold_in_proportion(void **state)
{
	struct config *config = load_good(
		"steering: {groups: [{name: a, protocol: tcp, port: 80, guard: {metric: /m,\n"
		"  rules: {imbalance: {threshold: 1.16}, jain: {threshold: 0.2},\n"
		"          drops: {threshold: 50}, metric: {threshold: 7}}}}]}");
	const struct config_steer_rule *rules = config->steering.groups[0].guard.rules;

	assert_near(rules[CONFIG_STEER_RULE_IMBALANCE].clear, 1.1);
	assert_near(rules[CONFIG_STEER_RULE_JAIN].clear, 0.4);
	assert_near(rules[CONFIG_STEER_RULE_DROPS].clear, 5);
	assert_near(rules[CONFIG_STEER_RULE_METRIC].clear, 7);
	assert_false(rules[CONFIG_STEER_RULE_METRIC].below);
	config_free(config);
}

/* The kernel keeps them apart. */
static void test_one_port_may_be_several_groups(void **state)
{
	struct config *config = load_good(
		"steering: {groups: [\n"
		"  {name: a, protocol: udp, port: 53},\n"
		"  {name: b, protocol: tcp, port: 53},\n"
		"  {name: c, protocol: udp, port: 53, address: 192.0.2.1},\n"
		"  {name: d, protocol: udp, port: 53, address: 192.0.2.2},\n"
		"  {name: e, protocol: udp, port: 53, netns: blue},\n"
		"  {name: f, protocol: tcp, port: 54, address: 0.0.0.0},\n"
		"  {name: g, protocol: tcp, port: 54, address: '::'}]}");

	assert_int_equal(config->steering.group_count, 7);
	assert_true(addr_is_v4(&config->steering.groups[5].address));
	assert_false(addr_is_v4(&config->steering.groups[6].address));
	config_free(config);
}

static void test_who_only_steers_has_no_load_balancer(void **state)
{
	static const struct {
		const char *text;
		bool enabled;
	} rows[] = {
		{ "steering: {groups: [{name: a, protocol: tcp, port: 80}]}", false },
		{ "ebpf: {pin_path: /sys/fs/bpf/x}\n"
		  "steering: {groups: [{name: a, protocol: tcp, port: 80}]}",
		  false },
		{ "steering: {groups: []}", true },
		{ "ebpf: {interface: eth0}\n"
		  "steering: {groups: [{name: a, protocol: tcp, port: 80}]}",
		  true },
		{ "ebpf: {enabled: true}\n"
		  "steering: {groups: [{name: a, protocol: tcp, port: 80}]}",
		  true },
		{ "ebpf: {backends: [{address: 192.0.2.1}]}\n"
		  "steering: {groups: [{name: a, protocol: tcp, port: 80}]}",
		  true },
	};

	for (size_t i = 0; i < COUNT(rows); i++) {
		struct config *config = load_good(rows[i].text);

		assert_int_equal(config->ebpf.enabled, rows[i].enabled);
		config_free(config);
	}
}

static void test_the_names_of_rules_are_the_schemas(void **state)
{
	assert_int_equal(schema_count(rules_key()), CONFIG_STEER_RULES);
	for (int i = 0; i < CONFIG_STEER_RULES; i++)
		assert_string_equal(rules_key()->keys[i].name, config_steer_rule_names[i]);
}

static void test_the_example_of_steering_means_what_it_says(void **state)
{
	struct config *config = load_good_file("etc/steer.yaml");
	const struct config_steer_group *groups = config->steering.groups;

	assert_false(config->ebpf.enabled);
	assert_int_equal(config->steering.group_count, 5);
	assert_int_equal(groups[0].policy.policy, CONFIG_STEER_LEAST_LOADED);
	assert_near(groups[0].guard.rules[CONFIG_STEER_RULE_LATENCY].threshold, 3);
	assert_int_equal(groups[1].members[0].source, CONFIG_STEER_UNIT);
	assert_int_equal(groups[2].policy.max_flows, 262144);
	assert_string_equal(groups[3].netns, "vpn");
	assert_int_equal(groups[4].policy.mask, 15);
	config_free(config);
}

static void test_a_socket_that_is_off_is_none(void **state)
{
	struct config *config = load_good("steering: {join: {socket: off, users: 7}}");

	assert_string_equal(config->steering.join_socket, "");
	assert_int_equal(config->steering.join_user_count, 1);
	assert_int_equal(config->steering.join_users[0], 7);
	config_free(config);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_a_group_of_three_lines_has_defaults_for_the_rest),
		cmocka_unit_test(test_rules_have_the_defaults_of_the_guard),
		cmocka_unit_test(test_every_key_of_a_group_reaches_the_configuration),
		cmocka_unit_test(test_policies_take_their_options),
		cmocka_unit_test(test_a_policys_name_and_off_stand_for_mappings),
		cmocka_unit_test(test_without_clear_it_follows_the_threshold_in_proportion),
		cmocka_unit_test(test_one_port_may_be_several_groups),
		cmocka_unit_test(test_who_only_steers_has_no_load_balancer),
		cmocka_unit_test(test_the_names_of_rules_are_the_schemas),
		cmocka_unit_test(test_the_example_of_steering_means_what_it_says),
		cmocka_unit_test(test_a_socket_that_is_off_is_none),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
