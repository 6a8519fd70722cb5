/* The schema of services and backends. */
#include "config.h"
#include "schema_tables.h"

const struct choice schema_algorithms[] = {
	{ "maglev", CONFIG_MAGLEV },	       { "round_robin", CONFIG_ROUND_ROBIN },
	{ "weighted", CONFIG_WEIGHTED },       { "least_connections", CONFIG_LEAST_CONNECTIONS },
	{ "source_hash", CONFIG_SOURCE_HASH }, { 0 },
};

const char *config_algorithm_name(enum config_algorithm algorithm)
{
	const struct choice *choice = schema_algorithms;

	while (choice->name && choice->value != (int)algorithm)
		choice++;
	return choice->name;
}

const struct choice schema_nats[] = {
	{ "full", CONFIG_NAT_FULL },
	{ "destination", CONFIG_NAT_DESTINATION },
	{ 0 },
};

const struct choice schema_encaps[] = {
	{ "ipip", CONFIG_DSR_IPIP },
	{ "gue", CONFIG_DSR_GUE },
	{ "none", CONFIG_DSR_L2 },
	{ 0 },
};

const struct choice schema_protocols[] = { { "tcp", 0 }, { "udp", 1 }, { 0 } };

static const struct choice forwardings[] = { { "nat", 0 }, { "dsr", 1 }, { 0 } };
static const struct choice needs[] = {
	{ "complex_routing", 0 },
	{ "websocket", 1 },
	{ 0 },
};

const struct key schema_port_element = { .name = "port", .type = KEY_PORT };
const struct key schema_ports_element = { .name = "port", .type = KEY_PORTS };
const struct key schema_net_element = { .name = "address", .type = KEY_NET };
const struct key schema_protocol_element = { .name = "protocol",
					     .type = KEY_ENUM,
					     .choices = schema_protocols };
static const struct key client_element = { .name = "network",
					   .type = KEY_NET,
					   .flags = KEY_CLIENTS };
static const struct key address_element = { .name = "address", .type = KEY_ADDRESS };
static const struct key need_element = { .name = "need", .type = KEY_ENUM, .choices = needs };

static const struct key backend_keys[] = {
	{ .name = "id",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = UINT32_MAX,
	  .otherwise = "the lowest number that is free among all services",
	  .help = "How the admin API and the metrics name the backend." },
	{ .name = "name", .type = KEY_TEXT, .min = 1, .max = 63, .help = "A label for people." },
	{ .name = "address",
	  .type = KEY_ADDRESS,
	  .flags = KEY_REQUIRED,
	  .help = "Where the backend answers." },
	{ .name = "port",
	  .type = KEY_PORT,
	  .otherwise = "the port the client used",
	  .help = "Where the backend listens.  Under DSR packets are not rewritten: it is one of "
		  "the service's ports, or left out." },
	{ .name = "weight",
	  .type = KEY_NUMBER,
	  .min = 0,
	  .max = 65535,
	  .fallback = "100",
	  .help = "The backend's share of new connections, relative to the others' weights; with 0 "
		  "it gets none and keeps those it has." },
	{ .name = "server_id",
	  .type = KEY_NUMBER,
	  .min = 0,
	  .max = UINT32_MAX,
	  .otherwise = "none",
	  .help = "For services[].quic: the number in the connection ids that this backend gives "
		  "out." },
	{ 0 },
};
const struct key schema_backend_element = { .name = "backend",
					    .type = KEY_MAP,
					    .keys = backend_keys };

const struct key schema_affinity_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "Does a client stay with its backend?  A mapping without this key says so "
		  "too." },
	{ .name = "timeout",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = 30 * DAY,
	  .fallback = "300s",
	  .help = "How long after the last packet of its connections." },
	{ 0 },
};

const struct key schema_udp_affinity_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "Does a client stay with its backend?  A mapping without this key says so "
		  "too." },
	{ .name = "timeout",
	  .type = KEY_DURATION,
	  .min = SEC,
	  .max = 30 * DAY,
	  .fallback = "60s",
	  .help = "How long after its last packet." },
	{ 0 },
};

const struct key schema_limits_keys[] = {
	{ .name = "new_connections",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 100000000,
	  .unit = "a second",
	  .otherwise = "no limit",
	  .help = "New connections of all clients together." },
	{ .name = "new_connections_per_source",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 100000000,
	  .unit = "a second",
	  .otherwise = "no limit",
	  .help = "New connections of one client; of IPv6 clients, one /64." },
	{ .name = "syn_cookies",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "Under NAT, are SYNs beyond a limit answered with a SYN cookie, where the kernel "
		  "can (Linux 6.0)?  Otherwise they are left to the local stack." },
	{ 0 },
};

static const struct key quic_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "Are packets sent by the server id in their connection id?" },
	{ .name = "server_id_offset",
	  .type = KEY_NUMBER,
	  .min = 0,
	  .max = 19,
	  .unit = "bytes",
	  .fallback = "1",
	  .help = "Where it begins in the connection id." },
	{ .name = "server_id_length",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 4,
	  .unit = "bytes",
	  .fallback = "2",
	  .help = "How long it is." },
	{ 0 },
};

static const struct key service_keys[] = {
	{ .name = "name",
	  .type = KEY_NAME,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 63,
	  .help = "Unique; the implicit service of \"ebpf.backends\" is called \"default\"." },
	{ .name = "addresses",
	  .type = KEY_LIST,
	  .flags = KEY_REQUIRED | KEY_UNIQUE,
	  .min = 1,
	  .max = 1024,
	  .keys = &address_element,
	  .help = "The addresses clients connect to, IPv4 and IPv6." },
	{ .name = "protocol",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE | KEY_UNIQUE,
	  .min = 1,
	  .max = 2,
	  .keys = &schema_protocol_element,
	  .fallback = "tcp",
	  .help = "One protocol, or a list of both." },
	PORTS("The ports clients connect to, for each protocol; \"8000-8010\" is a range, any "
	      "stands for all that no other service of the address has.",
	      NULL, KEY_REQUIRED),
	{ .name = "algorithm",
	  .type = KEY_ENUM,
	  .choices = schema_algorithms,
	  .otherwise = "ebpf.xdp.load_balancing.algorithm",
	  .help = "How a new connection gets its backend." },
	{ .name = "maglev_table_size",
	  .type = KEY_NUMBER,
	  .flags = KEY_PRIME,
	  .min = 3,
	  .max = 1048573,
	  .unit = "slots",
	  .otherwise = "ebpf.xdp.load_balancing.maglev_table_size",
	  .help = "Slots in the service's table." },
	{ .name = "mode",
	  .type = KEY_ENUM,
	  .choices = forwardings,
	  .otherwise = "dsr if ebpf.xdp.dsr.enabled, else nat",
	  .help = "How packets reach the backends: rewritten, and the answers come back through "
		  "here (nat), or as they are, and the backends answer clients directly (dsr)." },
	{ .name = "nat",
	  .type = KEY_ENUM,
	  .choices = schema_nats,
	  .otherwise = "ebpf.xdp.nat",
	  .help = "See ebpf.xdp.nat." },
	{ .name = "encap",
	  .type = KEY_ENUM,
	  .choices = schema_encaps,
	  .otherwise = "ebpf.xdp.dsr.encap",
	  .help = "See ebpf.xdp.dsr.encap." },
	{ .name = "connection_affinity",
	  .type = KEY_MAP,
	  .keys = schema_affinity_keys,
	  .help = "See ebpf.xdp.connection_affinity." },
	{ .name = "session_affinity",
	  .type = KEY_MAP,
	  .keys = schema_udp_affinity_keys,
	  .help = "See ebpf.xdp.protocols.udp.session_affinity." },
	{ .name = "quic",
	  .type = KEY_MAP,
	  .keys = quic_keys,
	  .help = "QUIC clients whose address changes stay with their backend." },
	{ .name = "limits",
	  .type = KEY_MAP,
	  .keys = schema_limits_keys,
	  .help = "How many connections may begin; see ebpf.xdp.limits." },
	{ .name = "allow",
	  .type = KEY_LIST,
	  .flags = KEY_UNIQUE,
	  .max = 65536,
	  .keys = &client_element,
	  .otherwise = "all",
	  .help = "Clients that may connect.  Of several networks that hold a client, in allow and "
		  "in deny, the longest prefix counts." },
	{ .name = "deny",
	  .type = KEY_LIST,
	  .flags = KEY_UNIQUE,
	  .max = 65536,
	  .keys = &client_element,
	  .otherwise = "none",
	  .help = "Clients that may not." },
	{ .name = "needs",
	  .type = KEY_LIST,
	  .flags = KEY_SINGLE | KEY_UNIQUE,
	  .max = 2,
	  .keys = &need_element,
	  .otherwise = "nothing",
	  .help = "What a packet does not show: with the same word in ebpf.xdp.fallback the "
		  "service's new connections go to the local stack." },
	{ .name = "health",
	  .type = KEY_MAP,
	  .keys = schema_service_health_keys,
	  .help = "Health checks of the service's backends." },
	BACKENDS("The servers behind the service.  Each has the family of one of its addresses; "
		 "IPv6 backends may serve IPv4 addresses through a tunnel.",
		 0),
	{ 0 },
};
const struct key schema_service_element = { .name = "service",
					    .type = KEY_MAP,
					    .keys = service_keys };
