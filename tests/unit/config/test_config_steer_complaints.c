/* Bad steering sections: the exact words, places and carets. */
#include "config_fixture.h"

/* clang-format off */
static const struct {
	const char *name;
	const char *text;
	const char *complaints;
} rows[] = {
	{ "two groups of one name",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80}\n"
	  "    - {name: a, protocol: tcp, port: 81}\n",
	  "t.yaml:4:14: error: the group name 'a' is given twice; first at t.yaml:3:14\n"
	  "    - {name: a, protocol: tcp, port: 81}\n"
	  "             ^\n" },
	{ "the same sockets by address",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, address: 192.0.2.1, port: 80}\n"
	  "    - {name: b, protocol: tcp, address: 192.0.2.1, port: 80}\n",
	  "t.yaml:4:58: error: steering.groups[]: 'a' and 'b' are the same sockets; give another protocol, address, port or netns, or delete one\n"
	  "    - {name: b, protocol: tcp, address: 192.0.2.1, port: 80}\n"
	  "                                                         ^\n" },
	{ "both families and one of them",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, address: \"::\", port: 53}\n"
	  "    - {name: b, protocol: udp, port: 53}\n",
	  "t.yaml:4:38: error: steering.groups[]: 'a' and 'b' are the same sockets; give another protocol, address, port or netns, or delete one\n"
	  "    - {name: b, protocol: udp, port: 53}\n"
	  "                                     ^\n" },
	{ "the same sockets by two names of a namespace",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 53, netns: blue}\n"
	  "    - {name: b, protocol: udp, port: 53, netns: /run/netns/blue}\n",
	  "t.yaml:4:38: error: steering.groups[]: 'a' and 'b' are the same sockets; give another protocol, address, port or netns, or delete one\n"
	  "    - {name: b, protocol: udp, port: 53, netns: /run/netns/blue}\n"
	  "                                     ^\n" },
	{ "a group without its port",
	  "steering: {groups: [{name: a, protocol: tcp}]}\n",
	  "t.yaml:1:21: error: steering.groups[]: 'port' is missing\n"
	  "steering: {groups: [{name: a, protocol: tcp}]}\n"
	  "                    ^\n" },
	{ "a multicast address",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       address: 224.0.0.1}\n",
	  "t.yaml:4:17: error: steering.groups[].address: a multicast, broadcast or reserved address names no single host; give a unicast address\n"
	  "       address: 224.0.0.1}\n"
	  "                ^\n" },
	{ "a namespace that is no path",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       netns: a/b}\n",
	  "t.yaml:4:15: error: steering.groups[].netns: expected the name of a network namespace, an absolute path, or pid:NUMBER\n"
	  "       netns: a/b}\n"
	  "              ^\n" },
	{ "a namespace of no process",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       netns: \"pid:0\"}\n",
	  "t.yaml:4:15: error: steering.groups[].netns: expected the name of a network namespace, an absolute path, or pid:NUMBER\n"
	  "       netns: \"pid:0\"}\n"
	  "              ^\n" },
	{ "a member of no kind",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       members: [{weight: 1}]}\n",
	  "t.yaml:4:18: error: steering.groups[].members[]: one of process, unit, pid, any and join is missing\n"
	  "       members: [{weight: 1}]}\n"
	  "                 ^\n" },
	{ "a member of two kinds",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       members: [{process: nginx, any: true}]}\n",
	  "t.yaml:4:35: error: steering.groups[].members[]: 'process' and 'any' are both given; an entry gives one of process, unit, pid, any and join\n"
	  "       members: [{process: nginx, any: true}]}\n"
	  "                                  ^\n" },
	{ "a member twice",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       members: [{pid: 7}, {pid: 7, weight: 3}]}\n",
	  "t.yaml:4:34: error: steering.groups[].members[]: this member is listed twice\n"
	  "       members: [{pid: 7}, {pid: 7, weight: 3}]}\n"
	  "                                 ^\n" },
	{ "a process's name that is too long",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       members: [{process: a-name-of-16-byte}]}\n",
	  "t.yaml:4:28: error: steering.groups[].members[].process: the kernel keeps 15 bytes of a process's name; give those, or the absolute path of the executable\n"
	  "       members: [{process: a-name-of-16-byte}]}\n"
	  "                           ^\n" },
	{ "a process by half a path",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       members: [{process: bin/nginx}]}\n",
	  "t.yaml:4:28: error: steering.groups[].members[].process: a path is absolute; begin it with '/', or give the name alone\n"
	  "       members: [{process: bin/nginx}]}\n"
	  "                           ^\n" },
	{ "a unit without its suffix",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       members: [{unit: nginx}]}\n",
	  "t.yaml:4:25: error: steering.groups[].members[].unit: expected the name of a systemd unit, such as nginx.service\n"
	  "       members: [{unit: nginx}]}\n"
	  "                        ^\n" },
	{ "a source that is none",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       members: [{join: false}]}\n",
	  "t.yaml:4:25: error: steering.groups[].members[].join: false means nothing here; delete the entry\n"
	  "       members: [{join: false}]}\n"
	  "                        ^\n" },
	{ "a weight out of range",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       members: [{any: true, weight: -1}]}\n",
	  "t.yaml:4:38: error: steering.groups[].members[].weight: expected a whole number from 0 to 65535\n"
	  "       members: [{any: true, weight: -1}]}\n"
	  "                                     ^\n" },
	{ "a typo in a policy",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       policy: wieghted}\n",
	  "t.yaml:4:16: error: steering.groups[].policy: expected hash, weighted, random, least_loaded, source_hash, cpu_local, wireguard, quic, bytes or generation; did you mean 'weighted'?\n"
	  "       policy: wieghted}\n"
	  "               ^\n" },
	{ "a list as a policy",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       policy: [weighted]}\n",
	  "t.yaml:4:16: error: steering.groups[].policy: expected hash, weighted, random, least_loaded, source_hash, cpu_local, wireguard, quic, bytes or generation, or a mapping: lines of \"KEY: VALUE\"\n"
	  "       policy: [weighted]}\n"
	  "               ^\n" },
	{ "options without a policy",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       policy: {offset: 1}}\n",
	  "t.yaml:4:8: error: steering.groups[].policy: 'name' is missing\n"
	  "       policy: {offset: 1}}\n"
	  "       ^\n" },
	{ "an option of another policy",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       policy: {name: weighted, max_flows: 100}}\n",
	  "t.yaml:4:33: error: steering.groups[].policy.max_flows: this is for generation, and the policy is weighted; change it, or delete this\n"
	  "       policy: {name: weighted, max_flows: 100}}\n"
	  "                                ^\n" },
	{ "datagrams' policy for tcp",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       policy: wireguard}\n",
	  "t.yaml:4:16: error: steering.groups[].policy: wireguard reads datagrams, and the protocol is tcp; take another policy, or 'protocol: udp'\n"
	  "       policy: wireguard}\n"
	  "               ^\n" },
	{ "datagrams' policy for tcp, written out",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       policy: {name: generation}}\n",
	  "t.yaml:4:23: error: steering.groups[].policy: generation reads datagrams, and the protocol is tcp; take another policy, or 'protocol: udp'\n"
	  "       policy: {name: generation}}\n"
	  "                      ^\n" },
	{ "a slot behind the connection id",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       policy: {name: quic, offset: 18, length: 3}}\n",
	  "t.yaml:4:37: error: steering.groups[].policy.offset: a connection id has at most 20 bytes, and offset and length end at 21\n"
	  "       policy: {name: quic, offset: 18, length: 3}}\n"
	  "                                    ^\n" },
	{ "a shift that leaves nothing",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       policy: {name: bytes, length: 1, shift: 8}}\n",
	  "t.yaml:4:48: error: steering.groups[].policy.shift: nothing is left of 8 bits that are shifted by 8; lower it, or raise length\n"
	  "       policy: {name: bytes, length: 1, shift: 8}}\n"
	  "                                               ^\n" },
	{ "a mask of what is not read",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       policy: {name: bytes, length: 1, mask: 0xff00}}\n",
	  "t.yaml:4:47: error: steering.groups[].policy.mask: of what is read, 0xff is left after the shift; give bits of these\n"
	  "       policy: {name: bytes, length: 1, mask: 0xff00}}\n"
	  "                                              ^\n" },
	{ "a mask that is no number",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       policy: {name: bytes, mask: 0xfg}}\n",
	  "t.yaml:4:36: error: steering.groups[].policy.mask: expected a whole number from 1 to 4294967295, such as 255 or 0xff\n"
	  "       policy: {name: bytes, mask: 0xfg}}\n"
	  "                                   ^\n" },
	{ "steps that do not ascend",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       rollout: {canary: [10, 10]}}\n",
	  "t.yaml:4:31: error: steering.groups[].rollout.canary: steps ascend; the one before is 10\n"
	  "       rollout: {canary: [10, 10]}}\n"
	  "                              ^\n" },
	{ "a step that is everything",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       rollout: {canary: 1000}}\n",
	  "t.yaml:4:26: error: steering.groups[].rollout.canary: expected a whole number from 1 to 999 (permille)\n"
	  "       rollout: {canary: 1000}}\n"
	  "                         ^\n" },
	{ "too many steps",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       rollout: {canary: [1, 2, 3, 4, 5, 6, 7, 8, 9]}}\n",
	  "t.yaml:4:26: error: steering.groups[].rollout.canary: expected a list of 1 to 8 entries\n"
	  "       rollout: {canary: [1, 2, 3, 4, 5, 6, 7, 8, 9]}}\n"
	  "                         ^\n" },
	{ "steps that nobody judges",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       rollout: {automatic: true, soak: 5s}}\n",
	  "t.yaml:4:41: error: steering.groups[].rollout.soak: a step ends before the guard can take it back; make it 3 times guard.window or longer\n"
	  "       rollout: {automatic: true, soak: 5s}}\n"
	  "                                        ^\n" },
	{ "steps that end before a rule has counted to its windows",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       rollout: {automatic: true, soak: 60s}, guard: {rules: {drops: {windows: 6}}}}\n",
	  "t.yaml:4:41: error: steering.groups[].rollout.soak: a step ends before the guard can take it back; make it 7 times guard.window or longer\n"
	  "       rollout: {automatic: true, soak: 60s}, guard: {rules: {drops: {windows: 6}}}}\n"
	  "                                        ^\n" },
	{ "steps that a longer window leaves unjudged",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       rollout: {automatic: true}, guard: {window: 2m}}\n",
	  "t.yaml:4:52: error: steering.groups[].rollout.soak: a step ends before the guard can take it back; make it 3 times guard.window or longer\n"
	  "       rollout: {automatic: true}, guard: {window: 2m}}\n"
	  "                                                   ^\n" },
	{ "idle flows of tcp",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       flow_idle: 1s}\n",
	  "t.yaml:4:8: error: steering.groups[].flow_idle: this is for udp, and the protocol is tcp; delete it\n"
	  "       flow_idle: 1s}\n"
	  "       ^\n" },
	{ "a guard that is neither on nor off",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: on}\n",
	  "t.yaml:4:15: error: steering.groups[].guard: expected a mapping: lines of \"KEY: VALUE\", or off\n"
	  "       guard: on}\n"
	  "              ^\n" },
	{ "good again above what is bad",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {rules: {imbalance: {threshold: 1.25, clear: 1.5}}}}\n",
	  "t.yaml:4:60: error: steering.groups[].guard.rules.imbalance.clear: it is above the threshold; what is bad cannot be good again\n"
	  "       guard: {rules: {imbalance: {threshold: 1.25, clear: 1.5}}}}\n"
	  "                                                           ^\n" },
	{ "good again below what is bad",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {rules: {jain: {clear: 0.5}}}}\n",
	  "t.yaml:4:38: error: steering.groups[].guard.rules.jain.clear: it is below the threshold; what is bad cannot be good again\n"
	  "       guard: {rules: {jain: {clear: 0.5}}}}\n"
	  "                                     ^\n" },
	{ "a threshold out of range",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {rules: {jain: {threshold: 1.01}}}}\n",
	  "t.yaml:4:42: error: steering.groups[].guard.rules.jain.threshold: expected a number from 0 to 1 (1 is even), such as 1 or 0.75\n"
	  "       guard: {rules: {jain: {threshold: 1.01}}}}\n"
	  "                                         ^\n" },
	{ "a threshold with too many digits",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {rules: {jain: {threshold: 0.1234567}}}}\n",
	  "t.yaml:4:42: error: steering.groups[].guard.rules.jain.threshold: expected a number from 0 to 1 (1 is even), such as 1 or 0.75\n"
	  "       guard: {rules: {jain: {threshold: 0.1234567}}}}\n"
	  "                                         ^\n" },
	{ "a repair of what nobody broke",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {rules: {drops: {action: repair}}}}\n",
	  "t.yaml:4:40: error: steering.groups[].guard.rules.drops.action: expected warn, revert or fallback\n"
	  "       guard: {rules: {drops: {action: repair}}}}\n"
	  "                                       ^\n" },
	{ "a typo in a rule",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {rules: {imbalence: off}}}\n",
	  "t.yaml:4:24: error: unknown key 'imbalence' in steering.groups[].guard.rules; did you mean 'imbalance'?\n"
	  "       guard: {rules: {imbalence: off}}}\n"
	  "                       ^\n" },
	{ "a rule without what it measures",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {rules: {latency: {enabled: true}}}}\n",
	  "t.yaml:4:43: error: steering.groups[].guard.rules.latency: 'guard.probe' is missing; say what to ask\n"
	  "       guard: {rules: {latency: {enabled: true}}}}\n"
	  "                                          ^\n" },
	{ "the metric's rule without a metric",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {rules: {metric: {enabled: true, threshold: 1}}}}\n",
	  "t.yaml:4:42: error: steering.groups[].guard.rules.metric: 'guard.metric' is missing; say what to read\n"
	  "       guard: {rules: {metric: {enabled: true, threshold: 1}}}}\n"
	  "                                         ^\n" },
	{ "a metric without its threshold",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {metric: /run/m}}\n",
	  "t.yaml:4:16: error: steering.groups[].guard.rules.metric: 'threshold' is missing; no number fits every application\n"
	  "       guard: {metric: /run/m}}\n"
	  "               ^\n" },
	{ "a probe of the other protocol",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       guard: {probe: connect}}\n",
	  "t.yaml:4:23: error: steering.groups[].guard.probe.type: connect asks by tcp, and the protocol is udp; take dns, or none\n"
	  "       guard: {probe: connect}}\n"
	  "                      ^\n" },
	{ "a query of what is no resolver",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {probe: {type: dns}}}\n",
	  "t.yaml:4:30: error: steering.groups[].guard.probe.type: dns asks by udp, and the protocol is tcp; take connect or http, or none\n"
	  "       guard: {probe: {type: dns}}}\n"
	  "                             ^\n" },
	{ "a path that nobody asks for",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {probe: {type: connect, path: /}}}\n",
	  "t.yaml:4:39: error: steering.groups[].guard.probe.path: this is for probes of type http, and the type is connect; change it, or delete this\n"
	  "       guard: {probe: {type: connect, path: /}}}\n"
	  "                                      ^\n" },
	{ "a query that nobody sends",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: udp, port: 80,\n"
	  "       guard: {probe: {query: example.org}}}\n",
	  "t.yaml:4:24: error: steering.groups[].guard.probe.query: this is for probes of type dns, and the type is none, the default; change it, or delete this\n"
	  "       guard: {probe: {query: example.org}}}\n"
	  "                       ^\n" },
	{ "a probe of the unspecified address",
	  "steering:\n"
	  "  groups:\n"
	  "    - {name: a, protocol: tcp, port: 80,\n"
	  "       guard: {probe: {type: connect, address: 0.0.0.0}}}\n",
	  "t.yaml:4:48: error: steering.groups[].guard.probe.address: the unspecified address names no host; give one address\n"
	  "       guard: {probe: {type: connect, address: 0.0.0.0}}}\n"
	  "                                               ^\n" },
	{ "a user whom nobody knows",
	  "steering: {join: {users: [root, no-such-user-here]}}\n",
	  "t.yaml:1:33: error: steering.join.users: this host knows no such user; add it, or give a user's number\n"
	  "steering: {join: {users: [root, no-such-user-here]}}\n"
	  "                                ^\n" },
	{ "a user's number that is none",
	  "steering: {join: {users: 4294967295}}\n",
	  "t.yaml:1:26: error: steering.join.users: this host knows no such user; add it, or give a user's number\n"
	  "steering: {join: {users: 4294967295}}\n"
	  "                         ^\n" },
	{ "a user twice",
	  "steering: {join: {users: [1, 1]}}\n",
	  "t.yaml:1:30: error: steering.join.users: this user is listed twice\n"
	  "steering: {join: {users: [1, 1]}}\n"
	  "                             ^\n" },
};
/* clang-format on */

static void test_each_fault_of_steering_is_told_with_its_place(void **state)
{
	for (size_t i = 0; i < COUNT(rows); i++)
		assert_complaints(rows[i].text, rows[i].complaints);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_each_fault_of_steering_is_told_with_its_place),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
