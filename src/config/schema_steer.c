/* The schema of steering: groups, their members and policies. */
#include "config.h"
#include "schema_tables.h"

static const struct choice policies[] = {
	{ "hash", CONFIG_STEER_HASH },
	{ "weighted", CONFIG_STEER_WEIGHTED },
	{ "random", CONFIG_STEER_RANDOM },
	{ "least_loaded", CONFIG_STEER_LEAST_LOADED },
	{ "source_hash", CONFIG_STEER_SOURCE_HASH },
	{ "cpu_local", CONFIG_STEER_CPU_LOCAL },
	{ "wireguard", CONFIG_STEER_WIREGUARD },
	{ "quic", CONFIG_STEER_QUIC },
	{ "bytes", CONFIG_STEER_BYTES },
	{ "generation", CONFIG_STEER_GENERATION },
	{ 0 },
};

static const struct choice states[] = {
	{ "observe", CONFIG_STEER_OBSERVE },
	{ "shadow", CONFIG_STEER_SHADOW },
	{ "canary", CONFIG_STEER_CANARY },
	{ "enforced", CONFIG_STEER_ENFORCED },
	{ 0 },
};

static const struct choice protocols[] = { { "tcp", 0 }, { "udp", 1 }, { 0 } };

static const struct key policy_keys[] = {
	{ .name = "name",
	  .type = KEY_ENUM,
	  .flags = KEY_REQUIRED | KEY_SHORT,
	  .choices = policies,
	  .help = "hash: the kernel's.  weighted: by flow, by the members' weights.  random: each "
		  "connection or datagram.  least_loaded: the shortest queue, by weight.  "
		  "source_hash: "
		  "by client address.  cpu_local: the member of the CPU that received it.  "
		  "wireguard: by receiver index.  quic: by a slot in the connection id.  bytes: by "
		  "a slot in the datagram.  generation: known flows stay, new ones go to the "
		  "newest members.  All but hash, weighted, random, least_loaded, source_hash and "
		  "cpu_local are for udp." },
	{ .name = "offset",
	  .type = KEY_NUMBER,
	  .max = 1400,
	  .unit = "bytes",
	  .fallback = "0",
	  .help = "quic, bytes: where the slot is: in the connection id (at most 19), or in the "
		  "datagram's payload." },
	{ .name = "length",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 4,
	  .unit = "bytes",
	  .fallback = "1",
	  .help = "quic, bytes: how long it is; read in network byte order." },
	{ .name = "shift",
	  .type = KEY_NUMBER,
	  .max = 31,
	  .unit = "bits",
	  .fallback = "0",
	  .help = "quic, bytes: what was read is shifted right by so many." },
	{ .name = "mask",
	  .type = KEY_NUMBER,
	  .flags = KEY_HEX,
	  .min = 1,
	  .max = UINT32_MAX,
	  .otherwise = "all bits",
	  .help = "quic, bytes: and these bits are the slot." },
	{ .name = "flow_timeout",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = DAY,
	  .fallback = "3m",
	  .help = "generation: a flow that is idle for so long is forgotten." },
	{ .name = "max_flows",
	  .type = KEY_NUMBER,
	  .min = 64,
	  .max = 16777216,
	  .unit = "flows",
	  .fallback = "65536",
	  .help = "generation: what the flow table holds; the one that was idle for longest makes "
		  "room." },
	{ .name = "max_indices",
	  .type = KEY_NUMBER,
	  .min = 64,
	  .max = 16777216,
	  .unit = "indices",
	  .fallback = "131072",
	  .help = "wireguard: what rx_index_to_slot holds." },
	{ 0 },
};

static const struct key member_keys[] = {
	{ .name = "process",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 4095,
	  .help = "Sockets of processes of this name (as in /proc/PID/comm, at most 15 bytes), or, "
		  "with a path, of this executable." },
	{ .name = "unit",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 255,
	  .help = "Sockets of this systemd unit's processes, such as nginx.service." },
	{ .name = "pid",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 4194304,
	  .help = "Sockets of this process and of its descendants." },
	{ .name = "any", .type = KEY_BOOL, .help = "true: sockets of whoever is bound there." },
	{ .name = "join",
	  .type = KEY_BOOL,
	  .help = "true: sockets that join by libloom or 'loom exec'." },
	{ .name = "weight",
	  .type = KEY_NUMBER,
	  .max = 65535,
	  .fallback = "100",
	  .help = "Of each socket found so, in proportion to the others'; 0: nothing new." },
	{ 0 },
};
static const struct key member_element = { .name = "member", .type = KEY_MAP, .keys = member_keys };

static const struct key step_element = {
	.name = "step", .type = KEY_NUMBER, .min = 1, .max = 999, .unit = "permille"
};

static const struct key rollout_keys[] = {
	{ .name = "target",
	  .type = KEY_ENUM,
	  .choices = states,
	  .fallback = "observe",
	  .help = "How far the group is to go.  observe: the kernel chooses and is counted.  "
		  "shadow: what the policy would choose is compared.  canary: the policy chooses "
		  "for a share of the flows.  enforced: it chooses." },
	{ .name = "automatic",
	  .type = KEY_BOOL,
	  .fallback = "false",
	  .help = "Does it go there by itself, a step each soak?  With false 'loom steer rollout' "
		  "takes each step." },
	{ .name = "canary",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE,
	  .min = 1,
	  .max = CONFIG_STEER_CANARY_STEPS,
	  .keys = &step_element,
	  .otherwise = "10, 100, 500",
	  .help = "The canary's steps, ascending: shares of the flows, by their hash: a flow that "
		  "is in stays in." },
	{ .name = "soak",
	  .type = KEY_DURATION,
	  .max = 30 * DAY,
	  .fallback = "1m",
	  .help = "How long a step must last without a complaint of the guard before the next.  "
		  "Where it goes by itself it takes a window more than the slowest of the guard's "
		  "rules." },
	{ 0 },
};

static const struct key group_keys[] = {
	{ .name = "name",
	  .type = KEY_NAME,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 63,
	  .help = "Unique among the groups." },
	{ .name = "protocol",
	  .type = KEY_ENUM,
	  .flags = KEY_REQUIRED,
	  .choices = protocols,
	  .help = "Of the sockets." },
	{ .name = "address",
	  .type = KEY_ADDRESS,
	  .flags = KEY_LOCAL | KEY_BOUND,
	  .fallback = "*",
	  .help = "The address that the sockets are bound to, as they are bound: sockets of "
		  "0.0.0.0 and of one address are two groups.  *: 0.0.0.0 and ::." },
	{ .name = "port",
	  .type = KEY_PORT,
	  .flags = KEY_REQUIRED,
	  .help = "The port that they are bound to." },
	{ .name = "netns",
	  .type = KEY_NETNS,
	  .otherwise = "loomd's",
	  .help = "The network namespace that they are in; a name is one of 'ip netns'." },
	{ .name = "members",
	  .type = KEY_LIST,
	  .max = 64,
	  .keys = &member_element,
	  .otherwise = "any and join",
	  .help = "Which sockets are the group's members: each entry gives one of process, unit, "
		  "pid, any and join; the first that a socket fits counts.  Others get nothing "
		  "from the policy." },
	{ .name = "policy",
	  .type = KEY_MAP,
	  .keys = policy_keys,
	  .otherwise = "hash",
	  .help = "Who gets what." },
	{ .name = "rollout",
	  .type = KEY_MAP,
	  .keys = rollout_keys,
	  .help = "How the policy comes into force." },
	{ .name = "quarantine",
	  .type = KEY_DURATION,
	  .max = HOUR,
	  .fallback = "1s",
	  .help = "A socket that is new gets nothing from the policy for so long: a configuration "
		  "test binds it as well." },
	{ .name = "drain_timeout",
	  .type = KEY_DURATION,
	  .max = DAY,
	  .fallback = "30s",
	  .help = "How long a draining member may take for what is queued; 0s: for ever." },
	{ .name = "flow_idle",
	  .type = KEY_DURATION,
	  .max = DAY,
	  .fallback = "0s",
	  .help = "udp: a draining member is done when its flows are idle for so long; 0s: when "
		  "its "
		  "queue is empty." },
	{ .name = "guard",
	  .type = KEY_MAP,
	  .flags = KEY_OFF,
	  .keys = schema_guard_keys,
	  .help = "Watches a policy that is in force, and takes it back when it hurts." },
	{ 0 },
};
static const struct key group_element = { .name = "group", .type = KEY_MAP, .keys = group_keys };

static const struct key user_element = { .name = "user", .type = KEY_TEXT, .min = 1, .max = 255 };

static const struct key join_keys[] = {
	{ .name = "socket",
	  .type = KEY_PATH,
	  .flags = KEY_OFF,
	  .min = 2,
	  .max = 107,
	  .otherwise = "/run/loom/INSTANCE.steer",
	  .help = "The UNIX socket on which programs join groups (loom_steer(3)), or off." },
	{ .name = "users",
	  .type = KEY_LIST,
	  .flags = KEY_UNIQUE | KEY_SINGLE,
	  .min = 1,
	  .max = 256,
	  .keys = &user_element,
	  .otherwise = "root and loomd's own",
	  .help = "Names or numbers of the users that may join.  Names must be known to the "
		  "host." },
	{ 0 },
};

const struct key schema_steering_keys[] = {
	{ .name = "poll",
	  .type = KEY_DURATION,
	  .min = MSEC,
	  .max = HOUR,
	  .fallback = "50ms",
	  .help = "How often the kernel is asked for sockets that are new." },
	{ .name = "join",
	  .type = KEY_MAP,
	  .keys = join_keys,
	  .help = "Programs that join a group themselves." },
	{ .name = "groups",
	  .type = KEY_LIST,
	  .flags = KEY_APPEND,
	  .max = 4096,
	  .keys = &group_element,
	  .otherwise = "none",
	  .help = "Sockets that share an address and port by SO_REUSEPORT." },
	{ 0 },
};
