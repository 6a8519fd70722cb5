/* The schema of ebpf, but for ebpf.xdp. */
#include "abi/lb_abi.h"
#include "config.h"
#include "schema_tables.h"

static const struct choice modes[] = { { "xdp", 0 }, { "hybrid", 1 }, { 0 } };
static const struct choice backend_map_types[] = { { "hash", 0 }, { "array", 1 }, { 0 } };
static const struct choice connection_map_types[] = {
	{ "lru_hash", CONFIG_MAP_LRU_HASH },
	{ "hash", CONFIG_MAP_HASH },
	{ 0 },
};
static const struct choice stats_map_types[] = { { "percpu_array", 0 }, { 0 } };

static const struct key tcp_timeout_keys[] = {
	{ .name = "established",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = 30 * DAY,
	  .otherwise = "ebpf.conntrack.timeout",
	  .help = "The handshake is complete." },
	{ .name = "syn_sent",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = 30 * DAY,
	  .fallback = "30s",
	  .help = "The client's SYN was seen." },
	{ .name = "syn_recv",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = 30 * DAY,
	  .fallback = "30s",
	  .help = "The backend's SYN and ACK were seen." },
	{ .name = "fin_wait",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = 30 * DAY,
	  .fallback = "60s",
	  .help = "One side has closed." },
	{ .name = "time_wait",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = 30 * DAY,
	  .fallback = "120s",
	  .help = "Both sides have closed." },
	{ 0 },
};

#define CONNECTIONS_MAX 100000000
#define STATS_MIN	64

_Static_assert(LB_COUNTER_COUNT <= STATS_MIN, "raise it, and maps.stats's help");

static const struct key conntrack_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "May be false where every service is DSR: packets are then balanced by their "
		  "hash alone.  NAT needs the connection table." },
	{ .name = "max_entries",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = CONNECTIONS_MAX,
	  .unit = "connections",
	  .fallback = "1000000",
	  .help = "How many connections the table holds.  The same setting as "
		  "ebpf.maps.connections.max_entries." },
	{ .name = "timeout",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = 30 * DAY,
	  .fallback = "300s",
	  .help = "How long an idle connection is remembered: UDP, and TCP states without a "
		  "timeout of their own." },
	{ .name = "tcp_timeouts",
	  .type = KEY_MAP,
	  .keys = tcp_timeout_keys,
	  .help = "The same by TCP state." },
	{ .name = "sweep_interval",
	  .type = KEY_DURATION,
	  .min = 100 * MSEC,
	  .max = HOUR,
	  .fallback = "5s",
	  .help = "How often expired connections are swept from the table." },
	{ 0 },
};

static const struct key backends_map_keys[] = {
	{ .name = "max_entries",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = ENTRIES_MAX,
	  .unit = "backends",
	  .fallback = "10000",
	  .help = "How many backends all services may have together." },
	{ .name = "type",
	  .type = KEY_ENUM,
	  .choices = backend_map_types,
	  .fallback = "hash",
	  .help = "Rows are numbered, so the map is an array in either case." },
	{ 0 },
};

static const struct key connections_map_keys[] = {
	{ .name = "max_entries",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = CONNECTIONS_MAX,
	  .unit = "connections",
	  .otherwise = "ebpf.conntrack.max_entries",
	  .help = "The same setting as ebpf.conntrack.max_entries." },
	{ .name = "type",
	  .type = KEY_ENUM,
	  .choices = connection_map_types,
	  .fallback = "lru_hash",
	  .help = "What a full table does: forget the least recently used (lru_hash), or take no "
		  "new connection (hash)." },
	{ 0 },
};

static const struct key stats_map_keys[] = {
	{ .name = "max_entries",
	  .type = KEY_NUMBER,
	  .min = STATS_MIN,
	  .max = ENTRIES_MAX,
	  .unit = "counters",
	  .fallback = "256",
	  .help = "How many counters there may be; the program has fewer than 64." },
	{ .name = "type",
	  .type = KEY_ENUM,
	  .choices = stats_map_types,
	  .fallback = "percpu_array",
	  .help = "The program counts per CPU, in an array." },
	{ 0 },
};

static const struct key affinity_map_keys[] = {
	{ .name = "max_entries",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = CONNECTIONS_MAX,
	  .unit = "clients",
	  .fallback = "131072",
	  .help = "How many are remembered.  The least recently used is forgotten." },
	{ 0 },
};

static const struct key fragments_map_keys[] = {
	{ .name = "max_entries",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = CONNECTIONS_MAX,
	  .unit = "datagrams",
	  .fallback = "16384",
	  .help = "How many are followed.  The least recently used is forgotten." },
	{ 0 },
};

static const struct key sources_map_keys[] = {
	{ .name = "max_entries",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = CONNECTIONS_MAX,
	  .unit = "clients",
	  .fallback = "65536",
	  .help = "How many are counted.  The least recently used is forgotten." },
	{ 0 },
};

static const struct key maps_keys[] = {
	{ .name = "backends", .type = KEY_MAP, .keys = backends_map_keys, .help = "Backends." },
	{ .name = "affinity",
	  .type = KEY_MAP,
	  .keys = affinity_map_keys,
	  .help = "Where clients were before: connection_affinity." },
	{ .name = "fragments",
	  .type = KEY_MAP,
	  .keys = fragments_map_keys,
	  .help = "Datagrams whose fragments are under way." },
	{ .name = "sources",
	  .type = KEY_MAP,
	  .keys = sources_map_keys,
	  .help = "Clients whose rate is known: limits." },
	{ .name = "connections",
	  .type = KEY_MAP,
	  .keys = connections_map_keys,
	  .help = "Connections." },
	{ .name = "stats", .type = KEY_MAP, .keys = stats_map_keys, .help = "Counters." },
	{ 0 },
};

const struct key schema_ebpf_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "With false no program is attached." },
	{ .name = "mode",
	  .type = KEY_ENUM,
	  .choices = modes,
	  .fallback = "xdp",
	  .help = "xdp: the program balances.  hybrid: by ebpf.xdp.routes, and user space does the "
		  "rest." },
	{ .name = "interface",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE | KEY_UNIQUE,
	  .min = 1,
	  .max = 16,
	  .keys = &schema_interface_element,
	  .otherwise = "ebpf.xdp.interface",
	  .help = "Short form of ebpf.xdp.interface." },
	{ .name = "xdp_mode",
	  .type = KEY_ENUM,
	  .choices = schema_xdp_modes,
	  .otherwise = "ebpf.xdp.mode",
	  .help = "Short form of ebpf.xdp.mode." },
	{ .name = "pin_path",
	  .type = KEY_PATH,
	  .min = 2,
	  .max = 200,
	  .fallback = "/sys/fs/bpf/loom",
	  .help = "A directory of a BPF file system; maps and links outlive the daemon in a "
		  "directory of the instance's name below it." },
	{ .name = "xdp", .type = KEY_MAP, .keys = schema_xdp_keys, .help = "The program." },
	{ .name = "conntrack",
	  .type = KEY_MAP,
	  .keys = conntrack_keys,
	  .help = "The connection table." },
	{ .name = "maps",
	  .type = KEY_MAP,
	  .keys = maps_keys,
	  .help = "Sizes and kinds of the maps." },
	BACKENDS("The servers behind the implicit service, which has the interface's own addresses "
		 "and the ports of ebpf.xdp.protocols.",
		 0),
	{ .name = "health_integration",
	  .type = KEY_MAP,
	  .keys = schema_health_integration_keys,
	  .help = "Health checks." },
	{ 0 },
};
