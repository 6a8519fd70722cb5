/* The schema of health: upstreams with their checks, and what services make of them. */
#include "config.h"
#include "schema_tables.h"

static const struct choice unhealthies[] = {
	{ "keep", CONFIG_UNHEALTHY_KEEP },
	{ "drain", CONFIG_UNHEALTHY_DRAIN },
	{ "reset", CONFIG_UNHEALTHY_RESET },
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

/* The keys of health policy, for services and for all of them. */
#define HEALTH_POLICY(upstream_otherwise, fall_unhealthy, fall_drain, fall_min, fall_slow, words)  \
	{ .name = "upstream",                                                                      \
	  .type = KEY_NAME,                                                                        \
	  .min = 1,                                                                                \
	  .max = 63,                                                                               \
	  .otherwise = upstream_otherwise,                                                         \
	  .help = "The upstream whose check decides.  Where the document has no "                  \
		  "upstreams at all, a name stands for tcp checks of the backends." },             \
		{ .name = "on_unhealthy",                                                          \
		  .type = KEY_ENUM,                                                                \
		  .choices = unhealthies,                                                          \
		  .fallback = fall_unhealthy,                                                      \
		  .otherwise = words,                                                              \
		  .help = "What becomes of an unhealthy backend's connections: they go on "        \
			  "(keep), "                                                               \
			  "go on until drain_timeout and are reset then (drain), or are reset at " \
			  "once (reset)." },                                                       \
		{ .name = "drain_timeout",                                                         \
		  .type = KEY_DURATION,                                                            \
		  .min = 0,                                                                        \
		  .max = DAY,                                                                      \
		  .fallback = fall_drain,                                                          \
		  .otherwise = words,                                                              \
		  .help = "How long on_unhealthy: drain waits; 0s: for ever." },                   \
		{ .name = "min_healthy",                                                           \
		  .type = KEY_NUMBER,                                                              \
		  .min = 0,                                                                        \
		  .max = 100,                                                                      \
		  .unit = "percent",                                                               \
		  .fallback = fall_min,                                                            \
		  .otherwise = words,                                                              \
		  .help = "With fewer of a service's backends healthy, all are used: better some " \
			  "failures than everything on the last one.  0: never." },                \
	{                                                                                          \
		.name = "slow_start", .type = KEY_DURATION, .min = 0, .max = HOUR,                 \
		.fallback = fall_slow, .otherwise = words,                                         \
		.help = "How long a backend that was added or has become healthy takes to get "    \
			"its "                                                                     \
			"full share; 0s: none."                                                    \
	}

const struct key schema_health_integration_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "false",
	  .help = "Do unhealthy backends get no new connections?" },
	HEALTH_POLICY("none: health is not looked at", "keep", "60s", "1", "0s", NULL),
	{ 0 },
};

const struct key schema_service_health_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "With false the service's backends are not checked, whatever "
		  "ebpf.health_integration says." },
	HEALTH_POLICY("ebpf.health_integration", NULL, NULL, NULL, NULL, "ebpf.health_integration"),
	{ 0 },
};

static const struct key check_keys[] = {
	{ .name = "type",
	  .type = KEY_ENUM,
	  .choices = check_types,
	  .fallback = "tcp",
	  .help = "tcp: a connection is taken.  http, https: a request is answered as expected.  "
		  "udp: a datagram is.  dns: a query is." },
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
		  "come all at once." },
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
		  "to eight times; 0s: never." },
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
	  .help = "tcp, udp: what to send.  \\r, \\n, \\t and \\xHH stand for bytes, \\\\ for a "
		  "backslash." },
	{ .name = "expect",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 1024,
	  .otherwise = "anything",
	  .help = "tcp, udp, http, https: what the answer must contain; escapes as in send." },
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
		  "packets are?  Services that are not DSR by ipip or gue are checked directly." },
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
