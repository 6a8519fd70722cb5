#include "schema_tables.h"

#include <stdio.h>
#include <string.h>

#include "base/log.h"
#include "config.h"
#include "config_text.h"

static const struct choice xdp_modes[] = {
	{ "native", CONFIG_XDP_NATIVE },
	{ "generic", CONFIG_XDP_GENERIC },
	{ "offload", CONFIG_XDP_OFFLOAD },
	{ 0 },
};

static const struct choice modes[] = { { "xdp", 0 }, { "hybrid", 1 }, { 0 } };
static const struct choice conditions[] = {
	{ "connection_limit_exceeded", 0 },
	{ "complex_routing", 1 },
	{ "websocket", 2 },
	{ 0 },
};
static const struct choice actions[] = { { "load_balance", 0 }, { "pass", 1 }, { 0 } };
static const struct choice backend_map_types[] = { { "hash", 0 }, { "array", 1 }, { 0 } };
static const struct choice connection_map_types[] = {
	{ "lru_hash", CONFIG_MAP_LRU_HASH },
	{ "hash", CONFIG_MAP_HASH },
	{ 0 },
};
static const struct choice stats_map_types[] = { { "percpu_array", 0 }, { 0 } };
static const struct choice log_levels[] = {
	{ "error", LOG_LEVEL_ERROR },	{ "warning", LOG_LEVEL_WARNING },
	{ "notice", LOG_LEVEL_NOTICE }, { "info", LOG_LEVEL_INFO },
	{ "debug", LOG_LEVEL_DEBUG },	{ 0 },
};

static const struct key cpu_element = { .name = "CPU", .type = KEY_NUMBER, .max = 4095 };
static const struct key interface_element = { .name = "interface", .type = KEY_INTERFACE };
static const struct key condition_element = { .name = "condition",
					      .type = KEY_ENUM,
					      .choices = conditions };

static const struct key program_keys[] = {
	{ .name = "name",
	  .type = KEY_NAME,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 63,
	  .help = "Unique among the programs." },
	{ .name = "path",
	  .type = KEY_PATH,
	  .flags = KEY_REQUIRED,
	  .min = 2,
	  .max = 4095,
	  .help = "An object file." },
	{ .name = "section",
	  .type = KEY_TEXT,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 63,
	  .help = "The section of the object file that holds the program." },
	{ 0 },
};
static const struct key program_element = { .name = "program",
					    .type = KEY_MAP,
					    .keys = program_keys };

static const struct key match_keys[] = {
	PORTS("Destination ports; \"8000-8010\" is a range, any stands for all.", "any", 0),
	{ .name = "protocol",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE | KEY_UNIQUE,
	  .min = 1,
	  .max = 2,
	  .keys = &schema_protocol_element,
	  .otherwise = "both",
	  .help = "One protocol, or a list of both." },
	{ 0 },
};
static const struct key route_keys[] = {
	{ .name = "match",
	  .type = KEY_MAP,
	  .keys = match_keys,
	  .help = "Which packets the route is for." },
	{ .name = "action",
	  .type = KEY_ENUM,
	  .flags = KEY_REQUIRED,
	  .choices = actions,
	  .help = "What becomes of them." },
	{ 0 },
};
static const struct key route_element = { .name = "route", .type = KEY_MAP, .keys = route_keys };

static const struct key load_balancing_keys[] = {
	{ .name = "algorithm",
	  .type = KEY_ENUM,
	  .choices = schema_algorithms,
	  .fallback = "maglev",
	  .help = "How a new connection gets its backend: by consistent hashing of addresses and "
		  "ports (maglev) or of the client's address alone (source_hash), in turn "
		  "(round_robin), in turn by weight (weighted), or by weight and the connections "
		  "each backend has (least_connections)." },
	{ .name = "maglev_table_size",
	  .type = KEY_NUMBER,
	  .flags = KEY_PRIME,
	  .min = 3,
	  .max = 1048573,
	  .unit = "slots",
	  .fallback = "65537",
	  .help = "Slots in each service's Maglev table, a prime: about a hundred times the number "
		  "of "
		  "backends spreads evenly." },
	{ 0 },
};

static const struct key tcp_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "With false the implicit service has none of the TCP ports." },
	PORTS("TCP ports of the implicit service.", "none", 0),
	{ 0 },
};

static const struct key udp_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "With false the implicit service has none of the UDP ports." },
	PORTS("UDP ports of the implicit service.", "none", 0),
	{ .name = "session_affinity",
	  .type = KEY_MAP,
	  .keys = schema_udp_affinity_keys,
	  .help = "Sticky UDP clients." },
	{ 0 },
};

static const struct key protocols_keys[] = {
	{ .name = "tcp", .type = KEY_MAP, .keys = tcp_keys, .help = "TCP." },
	{ .name = "udp", .type = KEY_MAP, .keys = udp_keys, .help = "UDP." },
	{ 0 },
};

static const struct key dsr_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "false",
	  .help = "Do backends answer clients directly?" },
	{ .name = "encap",
	  .type = KEY_ENUM,
	  .choices = schema_encaps,
	  .fallback = "ipip",
	  .help = "How packets reach the backends: in a tunnel (ipip, gue), or rewritten on the "
		  "same "
		  "link only (none)." },
	{ .name = "source",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE | KEY_UNIQUE,
	  .min = 1,
	  .max = 2,
	  .keys = &schema_net_element,
	  .otherwise = "172.16.0.0/16 and 100::/64",
	  .help = "Outer source addresses of tunnels, a network of each family.  They vary with "
		  "the "
		  "flow, so that the backends' receive queues share the load; only the last 32 "
		  "bits of "
		  "IPv6 ones do." },
	{ .name = "gue_port",
	  .type = KEY_PORT,
	  .fallback = "6080",
	  .help = "The UDP port on which backends unwrap GUE." },
	{ 0 },
};

static const struct key icmp_keys[] = {
	{ .name = "echo",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "Are echo requests to service addresses answered by the program?" },
	{ .name = "rate",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 1000000,
	  .unit = "a second and CPU",
	  .fallback = "1000",
	  .help = "How many packets that are too big for the way on are answered with an ICMP "
		  "error." },
	{ 0 },
};

static const struct key snat_keys[] = {
	{ .name = "addresses",
	  .type = KEY_LIST,
	  .flags = KEY_UNIQUE,
	  .min = 1,
	  .max = 256,
	  .keys = &schema_net_element,
	  .otherwise = "the address the route to the backend prefers",
	  .help = "Source addresses of full NAT.  A network stands for all of its addresses; "
		  "256 addresses altogether." },
	{ .name = "ports",
	  .type = KEY_PORT_RANGE,
	  .otherwise = "chosen at start, clear of net.ipv4.ip_local_port_range",
	  .help = "Source ports of full NAT." },
	{ 0 },
};

static const struct key xdp_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "With false no program is attached." },
	{ .name = "interface",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE | KEY_UNIQUE,
	  .min = 1,
	  .max = 16,
	  .keys = &interface_element,
	  .otherwise = "none: \"loomd run\" needs one",
	  .help = "The network interface, or a list of them; each gets the program.  Short form: "
		  "ebpf.interface." },
	{ .name = "mode",
	  .type = KEY_ENUM,
	  .choices = xdp_modes,
	  .fallback = "native",
	  .help = "Where the program runs: in the driver (native), in the kernel's common receive "
		  "path (generic: any driver, slower), in the network card (offload).  Short form: "
		  "ebpf.xdp_mode." },
	{ .name = "generic_fallback",
	  .type = KEY_BOOL,
	  .fallback = "false",
	  .help = "May generic take the place of native where the driver has no native mode?" },
	{ .name = "nat",
	  .type = KEY_ENUM,
	  .choices = schema_nats,
	  .fallback = "full",
	  .help = "What is rewritten.  full: source and destination; works with any backend.  "
		  "destination: the client's address is kept, and the backend routes its answers "
		  "back through this host.  For the implicit service and those without a nat of "
		  "their own." },
	{ .name = "snat",
	  .type = KEY_MAP,
	  .keys = snat_keys,
	  .help = "The source side of full NAT." },
	{ .name = "load_balancing",
	  .type = KEY_MAP,
	  .keys = load_balancing_keys,
	  .help = "For the implicit service and what other services leave open." },
	{ .name = "protocols",
	  .type = KEY_MAP,
	  .keys = protocols_keys,
	  .help = "What the implicit service serves." },
	{ .name = "passthrough_ports",
	  .type = KEY_LIST,
	  .flags = KEY_UNIQUE,
	  .max = 65535,
	  .keys = &schema_port_element,
	  .otherwise = "none",
	  .help = "Ports that always go to this host's own sockets." },
	{ .name = "batch_size",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 65536,
	  .unit = "entries",
	  .fallback = "64",
	  .help = "Entries per system call where maps are read or changed." },
	{ .name = "ring_buffer_size",
	  .type = KEY_BYTES,
	  .flags = KEY_POWER_OF_2,
	  .min = 4096,
	  .max = GIB,
	  .unit = "bytes",
	  .fallback = "16384",
	  .help = "Size of the buffer in which the program reports events." },
	{ .name = "icmp", .type = KEY_MAP, .keys = icmp_keys, .help = "ICMP." },
	{ .name = "mss_clamp",
	  .type = KEY_BOOL,
	  .fallback = "false",
	  .help = "Is the maximum segment size in SYNs lowered to what the way to the backend and "
		  "back "
		  "carries?" },
	{ .name = "mss_max",
	  .type = KEY_NUMBER,
	  .min = 536,
	  .max = 65495,
	  .unit = "bytes",
	  .otherwise = "what the MTUs allow",
	  .help = "With mss_clamp: at most so much." },
	{ .name = "limits",
	  .type = KEY_MAP,
	  .keys = schema_limits_keys,
	  .help = "Limits of the implicit service, and of others that set none." },
	{ .name = "connection_affinity",
	  .type = KEY_MAP,
	  .keys = schema_affinity_keys,
	  .help = "Sticky clients." },
	{ .name = "dsr", .type = KEY_MAP, .keys = dsr_keys, .help = "Direct server return." },
	{ .name = "fallback",
	  .type = KEY_LIST,
	  .flags = KEY_UNIQUE,
	  .max = 16,
	  .keys = &condition_element,
	  .otherwise = "none",
	  .help = "Conditions under which packets go to user space." },
	{ .name = "routes",
	  .type = KEY_LIST,
	  .max = 1024,
	  .keys = &route_element,
	  .otherwise = "none",
	  .help = "For mode: hybrid: what is balanced by the program." },
	{ .name = "cpu_affinity",
	  .type = KEY_LIST,
	  .flags = KEY_UNIQUE | KEY_OR_ALL,
	  .min = 1,
	  .max = 4096,
	  .keys = &cpu_element,
	  .fallback = "all",
	  .help = "CPUs that process packets.  An interface without a queue of its own for each of "
		  "them, or without interrupts, hands every flow to one of them (Linux 5.9); 'loom "
		  "irq' assigns the queues of others." },
	{ .name = "programs",
	  .type = KEY_LIST,
	  .flags = KEY_APPEND,
	  .max = 64,
	  .keys = &program_element,
	  .otherwise = "none",
	  .help = "XDP programs of your own, run in this order before the balancer.  Each has a "
		  "map "
		  "loom_next of type BPF_MAP_TYPE_PROG_ARRAY with one entry and goes on with "
		  "bpf_tail_call(ctx, &loom_next, 0); what it does not hand on ends with its own "
		  "verdict.  All are loaded and verified before any is attached." },
	{ 0 },
};

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

static const struct key conntrack_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "May be false where every service is DSR: packets are then balanced by their "
		  "hash "
		  "alone.  NAT needs the connection table." },
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
		  "timeout of "
		  "their own." },
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
		  "new "
		  "connection (hash)." },
	{ 0 },
};

static const struct key stats_map_keys[] = {
	{ .name = "max_entries",
	  .type = KEY_NUMBER,
	  .min = 64,
	  .max = ENTRIES_MAX,
	  .unit = "counters",
	  .fallback = "256",
	  .help = "How many counters there may be; the program needs fewer than 64." },
	{ .name = "type",
	  .type = KEY_ENUM,
	  .choices = stats_map_types,
	  .fallback = "percpu_array",
	  .help = "How the map is organised." },
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

static const struct key health_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "false",
	  .help = "Do unhealthy backends get no new connections?" },
	HEALTH_POLICY("none: health is not looked at", "keep", "60s", "1", "0s", NULL),
	{ 0 },
};

static const struct key ebpf_keys[] = {
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
	  .keys = &interface_element,
	  .otherwise = "ebpf.xdp.interface",
	  .help = "Short form of ebpf.xdp.interface." },
	{ .name = "xdp_mode",
	  .type = KEY_ENUM,
	  .choices = xdp_modes,
	  .otherwise = "ebpf.xdp.mode",
	  .help = "Short form of ebpf.xdp.mode." },
	{ .name = "pin_path",
	  .type = KEY_PATH,
	  .min = 2,
	  .max = 200,
	  .fallback = "/sys/fs/bpf/loom",
	  .help = "A directory of a BPF file system; maps and links outlive the daemon in a "
		  "directory of "
		  "the instance's name below it." },
	{ .name = "xdp", .type = KEY_MAP, .keys = xdp_keys, .help = "The program." },
	{ .name = "conntrack",
	  .type = KEY_MAP,
	  .keys = conntrack_keys,
	  .help = "The connection table." },
	{ .name = "maps",
	  .type = KEY_MAP,
	  .keys = maps_keys,
	  .help = "Sizes and kinds of the maps." },
	BACKENDS("The servers behind the implicit service, which has the interface's own addresses "
		 "and "
		 "the ports of ebpf.xdp.protocols.",
		 0),
	{ .name = "health_integration",
	  .type = KEY_MAP,
	  .keys = health_keys,
	  .help = "Health checks." },
	{ 0 },
};

static const struct key basic_keys[] = {
	{ .name = "username",
	  .type = KEY_TEXT,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 255,
	  .help = "Without a colon." },
	{ .name = "password",
	  .type = KEY_TEXT,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 1023,
	  .help = "Best taken from the environment: ${LOOM_PASSWORD}." },
	{ 0 },
};

static const struct key auth_keys[] = {
	{ .name = "bearer",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 1023,
	  .help = "A token that is as good as a password; best taken from the environment: "
		  "${LOOM_TOKEN}." },
	{ .name = "basic",
	  .type = KEY_MAP,
	  .keys = basic_keys,
	  .help = "HTTP basic authentication." },
	{ 0 },
};

static const struct key admin_keys[] = {
	{ .name = "listen",
	  .type = KEY_LISTEN,
	  .fallback = "127.0.0.1:9091",
	  .help = "Where the admin API answers HTTP, or off.  An address that is not a loopback "
		  "one "
		  "needs admin.auth." },
	{ .name = "socket",
	  .type = KEY_PATH,
	  .flags = KEY_OFF,
	  .min = 2,
	  .max = 107,
	  .otherwise = "/run/loom/INSTANCE.sock",
	  .help = "A UNIX socket on which it answers too, or off." },
	{ .name = "auth",
	  .type = KEY_MAP,
	  .flags = KEY_SECRET,
	  .keys = auth_keys,
	  .help = "What clients must present; either suffices if both are given." },
	{ 0 },
};

static const struct key log_keys[] = {
	{ .name = "level",
	  .type = KEY_ENUM,
	  .choices = log_levels,
	  .fallback = "info",
	  .help = "What is less urgent is not logged." },
	{ 0 },
};

static const struct key root_keys[] = {
	{ .name = "instance",
	  .type = KEY_NAME,
	  .min = 1,
	  .max = 32,
	  .fallback = "default",
	  .help = "Keeps several daemons on one host apart: names the directory of pinned maps, "
		  "the "
		  "socket and the state file." },
	{ .name = "state_dir",
	  .type = KEY_PATH,
	  .min = 2,
	  .max = 4000,
	  .fallback = "/var/lib/loom",
	  .help = "Where changes made by the admin API are kept." },
	{ .name = "log", .type = KEY_MAP, .keys = log_keys, .help = "Logging." },
	{ .name = "admin", .type = KEY_MAP, .keys = admin_keys, .help = "The admin API." },
	{ .name = "ebpf", .type = KEY_MAP, .keys = ebpf_keys, .help = "The XDP load balancer." },
	{ .name = "services",
	  .type = KEY_LIST,
	  .flags = KEY_APPEND,
	  .max = 2000,
	  .keys = &schema_service_element,
	  .otherwise = "none",
	  .help = "Services with addresses of their own." },
	{ .name = "upstreams",
	  .type = KEY_LIST,
	  .flags = KEY_APPEND,
	  .max = 2000,
	  .keys = &schema_upstream_element,
	  .otherwise = "none",
	  .help = "Groups of servers that are checked for health." },
	{ 0 },
};

const struct key schema_root = { .name = "", .type = KEY_MAP, .keys = root_keys };

const struct key_alias schema_aliases[] = {
	{ "ebpf.interface", "ebpf.xdp.interface" },
	{ "ebpf.xdp_mode", "ebpf.xdp.mode" },
	{ "ebpf.maps.connections.max_entries", "ebpf.conntrack.max_entries" },
	{ 0 },
};
