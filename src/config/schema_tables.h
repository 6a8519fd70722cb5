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
extern const struct key schema_health_integration_keys[];
extern const struct key schema_service_health_keys[];
extern const struct key schema_ebpf_keys[];
extern const struct key schema_steering_keys[];
extern const struct key schema_guard_keys[];
extern const struct key schema_xdp_keys[];
extern const struct key schema_interface_element;
extern const struct choice schema_xdp_modes[];

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

#endif
