/* The schema of services, backends and upstreams. */
#include "config.h"
#include "schema_tables.h"

const struct choice schema_algorithms[] = {
	{ "maglev", CONFIG_MAGLEV },	       { "round_robin", CONFIG_ROUND_ROBIN },
	{ "weighted", CONFIG_WEIGHTED },       { "least_connections", CONFIG_LEAST_CONNECTIONS },
	{ "source_hash", CONFIG_SOURCE_HASH }, { 0 },
};

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

const struct choice schema_unhealthies[] = {
	{ "keep", CONFIG_UNHEALTHY_KEEP },
	{ "drain", CONFIG_UNHEALTHY_DRAIN },
	{ "reset", CONFIG_UNHEALTHY_RESET },
	{ 0 },
};

static const struct choice forwardings[] = { { "nat", 0 }, { "dsr", 1 }, { 0 } };
static const struct choice needs[] = {
	{ "complex_routing", 0 },
	{ "websocket", 1 },
	{ 0 },
};
static const struct choice check_types[] = {
	{ "tcp", CONFIG_CHECK_TCP }, { "http", CONFIG_CHECK_HTTP }, { "https", CONFIG_CHECK_HTTPS },
	{ "udp", CONFIG_CHECK_UDP }, { "dns", CONFIG_CHECK_DNS },   { 0 },
};
static const struct choice ways[] = { { "direct", 0 }, { "tunnel", 1 }, { 0 } };
static const struct choice query_types[] = {
	{ "A", 0 }, { "AAAA", 1 }, { "NS", 2 }, { "SOA", 3 }, { 0 },
};

const struct key schema_port_element = { .name = "port", .type = KEY_PORT };
const struct key schema_ports_element = { .name = "port", .type = KEY_PORTS };
const struct key schema_net_element = { .name = "address", .type = KEY_NET };
const struct key schema_protocol_element = { .name = "protocol",
					     .type = KEY_ENUM,
					     .choices = schema_protocols };
static const struct key client_element = { .name = "address",
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
		  "the "
		  "service's ports, or left out." },
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
	  .fallback = "false",
	  .help = "Does a client stay with its backend?" },
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
	  .fallback = "false",
	  .help = "Does a client stay with its backend?" },
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
		  "can "
		  "(Linux 6.0)?  Otherwise they are left to the local stack." },
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
	  .max = 16,
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

static const struct key service_health_keys[] = {
	HEALTH_POLICY("ebpf.health_integration", NULL, NULL, NULL, NULL, "ebpf.health_integration"),
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
	      "stands "
	      "for all that no other service of the address has.",
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
		  "here "
		  "(nat), or as they are, and the backends answer clients directly (dsr)." },
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
		  "in "
		  "deny, the longest prefix counts." },
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
		  "service's new "
		  "connections go to the local stack." },
	{ .name = "health",
	  .type = KEY_MAP,
	  .keys = service_health_keys,
	  .help = "Health checks of the service's backends." },
	BACKENDS("The servers behind the service.  Each has the family of one of its addresses; "
		 "IPv6 "
		 "backends may serve IPv4 addresses through a tunnel.",
		 0),
	{ 0 },
};
const struct key schema_service_element = { .name = "service",
					    .type = KEY_MAP,
					    .keys = service_keys };

static const struct key check_keys[] = {
	{ .name = "type",
	  .type = KEY_ENUM,
	  .choices = check_types,
	  .fallback = "tcp",
	  .help = "tcp: a connection is taken.  http, https: a request is answered as expected.  "
		  "udp: a "
		  "datagram is.  dns: a query is." },
	{ .name = "interval",
	  .type = KEY_DURATION,
	  .min = 100 * MSEC,
	  .max = HOUR,
	  .fallback = "2s",
	  .help = "Between two checks of a backend." },
	{ .name = "timeout",
	  .type = KEY_DURATION,
	  .min = 10 * MSEC,
	  .max = HOUR,
	  .fallback = "1s",
	  .help = "What takes longer has failed." },
	{ .name = "jitter",
	  .type = KEY_NUMBER,
	  .max = 50,
	  .unit = "percent",
	  .fallback = "10",
	  .help = "By how much of the interval checks come earlier or later, so that they do not "
		  "come "
		  "all at once." },
	{ .name = "rise",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 1000,
	  .fallback = "2",
	  .help = "Successes in a row that make a backend healthy." },
	{ .name = "fall",
	  .type = KEY_NUMBER,
	  .min = 1,
	  .max = 1000,
	  .fallback = "3",
	  .help = "Failures in a row that make it unhealthy." },
	{ .name = "flap_window",
	  .type = KEY_DURATION,
	  .min = 0,
	  .max = DAY,
	  .fallback = "10m",
	  .help = "Each time a backend falls within it doubles the successes it needs to rise, up "
		  "to "
		  "eight times; 0s: never." },
	{ .name = "port", .type = KEY_PORT, .otherwise = "the backend's", .help = "Where to ask." },
	{ .name = "path",
	  .type = KEY_PATH,
	  .min = 1,
	  .max = 1023,
	  .fallback = "/",
	  .help = "http, https: what to ask for." },
	{ .name = "host",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 255,
	  .otherwise = "the backend's address",
	  .help = "http, https: the Host header, and for TLS the server's name." },
	{ .name = "method",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 16,
	  .fallback = "GET",
	  .help = "http, https: the method." },
	{ .name = "status",
	  .type = KEY_STATUS,
	  .fallback = "200-399",
	  .help = "http, https: the status that is a success, or a range of them." },
	{ .name = "verify",
	  .type = KEY_BOOL,
	  .fallback = "false",
	  .help = "https: must the certificate be valid for the host?" },
	{ .name = "send",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 1024,
	  .otherwise = "nothing",
	  .help = "tcp, udp: what to send." },
	{ .name = "expect",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 1024,
	  .otherwise = "anything",
	  .help = "tcp, udp, http, https: what the answer must contain." },
	{ .name = "query",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 253,
	  .fallback = ".",
	  .help = "dns: the name to ask for." },
	{ .name = "query_type",
	  .type = KEY_ENUM,
	  .choices = query_types,
	  .fallback = "NS",
	  .help = "dns: the type of record." },
	{ .name = "through",
	  .type = KEY_ENUM,
	  .choices = ways,
	  .fallback = "direct",
	  .help = "Does a check go to the backend's address, or wrapped for the service's as its "
		  "packets "
		  "are (DSR)?" },
	{ 0 },
};

static const struct key upstream_keys[] = {
	{ .name = "name",
	  .type = KEY_NAME,
	  .flags = KEY_REQUIRED,
	  .min = 1,
	  .max = 63,
	  .help = "Unique among the upstreams." },
	{ .name = "check", .type = KEY_MAP, .keys = check_keys, .help = "How to check." },
	BACKENDS("Where to check backends of the same address on another port.", 0),
	{ 0 },
};
const struct key schema_upstream_element = { .name = "upstream",
					     .type = KEY_MAP,
					     .keys = upstream_keys };
