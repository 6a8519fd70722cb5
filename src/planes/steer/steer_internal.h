/* steer_internal.h - seen by the files of planes/steer that own maps.
 * Layer: planes. */
#ifndef LOOM_STEER_INTERNAL_H
#define LOOM_STEER_INTERNAL_H

#include "steer.h"

/* What is pinned, and as what the program knows it. */
#define STEER_MAPS(X)                                    \
	X(CONTROL, "control", ".data.control")           \
	X(TABLES, "tables", ".data.tables")              \
	X(SOCKS, "socks", "socks")                       \
	X(HELD, "socks_held", "socks_held")              \
	X(MEMBERS, "members", "steer_members")           \
	X(COUNTERS, "counters", "steer_counters")        \
	X(INDEX, "rx_index_to_slot", "rx_index_to_slot") \
	X(FLOWS, "flows", "steer_flows")

enum steer_map {
#define STEER_MAP_ENUM(name, pin, symbol) STEER_MAP_##name,
	STEER_MAPS(STEER_MAP_ENUM)
#undef STEER_MAP_ENUM
		STEER_MAP_COUNT,
};

struct steer {
	char pin_dir[256]; /* "": nothing is pinned */
	bool udp;
	bool reads_group;
	bool migrates;
	bool holds;
	bool adopted;
	struct steer_policy_options policy;
	uint64_t salt;
	int maps[STEER_MAP_COUNT];     /* owned; -1: the policy has none */
	struct steer_control *control; /* mapped */
	struct steer_tables *tables;   /* mapped */
	int program;		       /* owned */
	uint32_t program_id;
	int events; /* owned; -1: not traced */
	int cpus;
	uint16_t used;	  /* slots from here on have counted nothing */
	uint64_t indices; /* entries of rx_index_to_slot */
};

extern const char *const steer_pin_names[STEER_MAP_COUNT];
extern const char *const steer_map_names[STEER_MAP_COUNT];

uint16_t steer_stats_used(const struct steer *steer);

/* Loads a program for policy over the maps there are; maps it makes are pinned and kept. */
int steer_program_load(struct steer *steer, const struct steer_policy_options *policy,
		       const struct steer_const *filter, struct err *err);

#endif
