/* schema_tables.h - what the schema's own files share: tables of one are used in another.
 * Layer: config.  Constant data. */
#ifndef LOOM_SCHEMA_TABLES_H
#define LOOM_SCHEMA_TABLES_H

#include "base/clock.h"
#include "schema.h"

#define MSEC	    NSEC_PER_MSEC
#define SEC	    NSEC_PER_SEC
#define HOUR	    (3600 * SEC)
#define DAY	    (24 * HOUR)
#define KIB	    1024ull
#define GIB	    (KIB * KIB * KIB)
#define ENTRIES_MAX 1048576

extern const struct choice schema_algorithms[];
extern const struct choice schema_nats[];
extern const struct choice schema_encaps[];
extern const struct choice schema_protocols[];
extern const struct key schema_ports_element;
extern const struct key schema_port_element;
extern const struct key schema_net_element;
extern const struct key schema_protocol_element;
extern const struct key schema_backend_element;
extern const struct key schema_service_element;
extern const struct key schema_upstream_element;
extern const struct key schema_affinity_keys[];
extern const struct key schema_udp_affinity_keys[];
extern const struct key schema_limits_keys[];
extern const struct key schema_health_policy_keys[]; /* health_integration's */

#define PORTS(text, otherwise_text, more)                                                     \
	{                                                                                     \
		.name = "ports", .type = KEY_LIST, .flags = KEY_UNIQUE | KEY_SINGLE | (more), \
		.min = 1, .max = 65535, .keys = &schema_ports_element,                        \
		.otherwise = (otherwise_text), .help = (text)                                 \
	}

#define BACKENDS(text, more)                                                              \
	{                                                                                 \
		.name = "backends", .type = KEY_LIST, .flags = KEY_APPEND | (more),       \
		.max = ENTRIES_MAX, .keys = &schema_backend_element, .otherwise = "none", \
		.help = (text)                                                            \
	}

/* The keys of health policy, for services and for all of them. */
#define HEALTH_POLICY(upstream_otherwise, fall_unhealthy, fall_drain, fall_min, fall_slow, words)  \
	{ .name = "upstream",                                                                      \
	  .type = KEY_NAME,                                                                        \
	  .min = 1,                                                                                \
	  .max = 63,                                                                               \
	  .otherwise = upstream_otherwise,                                                         \
	  .help = "The upstream whose check decides." },                                           \
		{ .name = "on_unhealthy",                                                          \
		  .type = KEY_ENUM,                                                                \
		  .choices = schema_unhealthies,                                                   \
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
extern const struct choice schema_unhealthies[];

#endif
