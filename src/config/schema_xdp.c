/* The schema of ebpf.xdp. */
#include "config.h"
#include "schema_tables.h"

const struct choice schema_xdp_modes[] = {
	{ "native", CONFIG_XDP_NATIVE },
	{ "generic", CONFIG_XDP_GENERIC },
	{ "offload", CONFIG_XDP_OFFLOAD },
	{ 0 },
};

static const struct choice conditions[] = {
	{ "connection_limit_exceeded", 0 },
	{ "complex_routing", 1 },
	{ "websocket", 2 },
	{ 0 },
};
static const struct choice actions[] = { { "load_balance", 0 }, { "pass", 1 }, { 0 } };

static const struct choice clamps[] = {
	{ "false", 0 }, { "off", 0 }, { "true", 1 }, { "auto", 1 }, { 0 },
};

static const struct key cpu_element = { .name = "CPU", .type = KEY_NUMBER, .max = 4095 };
const struct key schema_interface_element = { .name = "interface", .type = KEY_INTERFACE };
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
		  "of backends spreads evenly." },
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
		  "same link only (none)." },
	{ .name = "source",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE | KEY_UNIQUE,
	  .min = 1,
	  .max = 2,
	  .keys = &schema_net_element,
	  .otherwise = "172.16.0.0/16 and 100::/64",
	  .help = "Outer source addresses of tunnels, a network of each family.  They vary with "
		  "the flow, so that the backends' receive queues share the load; only the last 32 "
		  "bits of IPv6 ones do." },
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
	  .help = "Source addresses of full NAT.  A network stands for all of its addresses; 256 "
		  "addresses altogether." },
	{ .name = "ports",
	  .type = KEY_PORT_RANGE,
	  .otherwise = "chosen at start, clear of net.ipv4.ip_local_port_range",
	  .help = "Source ports of full NAT." },
	{ 0 },
};

const struct key schema_xdp_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "With false no program is attached." },
	{ .name = "interface",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE | KEY_UNIQUE,
	  .min = 1,
	  .max = 16,
	  .keys = &schema_interface_element,
	  .otherwise = "none: \"loomd run\" needs one",
	  .help = "The network interface, or a list of them; each gets the program.  Short form: "
		  "ebpf.interface." },
	{ .name = "mode",
	  .type = KEY_ENUM,
	  .choices = schema_xdp_modes,
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
	  .type = KEY_NUMBER,
	  .min = 536,
	  .max = 65495,
	  .unit = "bytes",
	  .choices = clamps,
	  .fallback = "false",
	  .help = "Is the maximum segment size in SYNs lowered to what the way to the backend and "
		  "back carries (true, auto)?  A number limits it further." },
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
		  "map loom_next of type BPF_MAP_TYPE_PROG_ARRAY with one entry and goes on with "
		  "bpf_tail_call(ctx, &loom_next, 0); what it does not hand on ends with its own "
		  "verdict.  All are loaded and verified before any is attached." },
	{ 0 },
};
