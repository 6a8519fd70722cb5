/* lb_internal.h - the plane's state, seen only by its own files.
 * Layer: planes. */
#ifndef LOOM_LB_INTERNAL_H
#define LOOM_LB_INTERNAL_H

#include "base/index.h"
#include "lb.h"
#include "lb_stats.h"
#include "sys/cpus.h"

/* Pinned maps, in pinning order; lb_control last: its presence says that the rest is whole. */
#define LB_MAPS(X)                           \
	X(CONNS4, lb_conns4)                 \
	X(CONNS6, lb_conns6)                 \
	X(SERVICES, lb_services)             \
	X(VIPS, lb_vips)                     \
	X(TABLES, lb_tables)                 \
	X(BACKENDS, lb_backends)             \
	X(SOURCES, lb_sources)               \
	X(REALS, lb_reals)                   \
	X(SERVER_IDS, lb_server_ids)         \
	X(FILTERS, lb_filters)               \
	X(AFFINITY, lb_affinity)             \
	X(FRAGMENTS, lb_fragments)           \
	X(LINKS, lb_links)                   \
	X(PORTS, lb_ports)                   \
	X(COUNTERS, lb_counters)             \
	X(BACKEND_COUNTS, lb_backend_counts) \
	X(EVENTS, lb_events)                 \
	X(CONTROL, lb_control)

enum lb_map {
#define LB_MAP_ENUM(name, symbol) LB_MAP_##name,
	LB_MAPS(LB_MAP_ENUM)
#undef LB_MAP_ENUM
		LB_MAP_COUNT,
};

/* A row of lb_backends, as the kernel has it, and what user space knows beside. */
struct lb_row {
	bool used;
	bool marked;	 /* within lb_apply_tables.c */
	bool unresolved; /* in use, and its next hop was never looked for */
	struct lb_backend kernel;
	struct lb_next_hop hop;
	uint64_t active; /* connections that live, by the last complete sweep */
};

/* One family of a service: a row of lb_tables. */
struct lb_table {
	char *name; /* service; NULL: free */
	bool ipv6;
	uint64_t signature; /* of what the slots were built from; 0: unknown */
	uint32_t size;
	uint64_t serial;     /* of the last apply whose model has the service */
	uint64_t applied;    /* signature of the service as the maps have it; 0: to be applied */
	uint32_t *used_rows; /* owned; of the service's backends, in its first family's table */
	size_t used_count;
	int slots;	   /* owned; descriptor of the inner map; 0: none is held */
	uint32_t *members; /* owned; the backends' rows that the slots name */
	size_t member_count;
};

/* A slot table that waits to be put in its place. */
struct lb_swap {
	uint32_t row;
	int fd; /* owned */
	uint64_t signature;
	uint32_t size;
	uint32_t *members; /* owned */
	size_t member_count;
};

/* Their descriptors stay below the 1,024 that a process may have without asking. */
#define LB_MAX_SWAPS 256

struct lb_link {
	char name[16];
	uint32_t ifindex;
	int fd;
	bool generic;
};

struct lb_pending {
	struct lb_key6 key;
};

#define LB_MAX_PENDING 256

struct lb_sweep {
	unsigned int family; /* 0: IPv4, 1: IPv6 */
	uint32_t token;	     /* batch cursor */
	bool running;
	uint64_t started_ns;
	uint64_t *active; /* by backend row, of the pass under way; owned */
	uint64_t states[LB_STATES];
	uint64_t entries;
	uint32_t room; /* entries a batch holds */
	void *keys;    /* owned */
	void *values;  /* owned */
};

struct lb_keys;	    /* lb_apply_keys.c */
struct lb_chain;    /* lb_chain.c */
#define LB_CHAINS 2 /* one for each end: lb_main, lb_spread */

struct lb {
	struct lb_options options;
	struct lb_features features;
	struct cpus spread; /* the CPUs that the loaded program spreads packets over, if it does */
	struct lb_bpf *bpf; /* owned; the loaded program */
	int maps[LB_MAP_COUNT];
	struct lb_migration *migration; /* owned; NULL unless maps of an older layout were found */
	bool adopted;
	uint32_t generation;

	struct lb_row *rows; /* owned; options.config->max_backends + 1 */
	uint32_t row_count;
	struct index row_index;	   /* rows in use by service, address and port */
	struct index id_index;	   /* rows in use by backend id */
	struct index server_index; /* rows in use by address and port */
	uint32_t resolve_next;	   /* row at which the pass of lb_resolve_step goes on; 0: none */
	uint32_t unresolved;	   /* rows */
	uint32_t row_free;	   /* no row below it is free */
	struct lb_table *tables;   /* owned; LB_MAX_SERVICES */
	struct index table_index;  /* tables in use by name and family */
	uint64_t serial;	   /* of the apply under way */
	uint64_t endpoints;	   /* signature of the services' addresses and ports; 0: unknown */
	bool must_wait;		   /* who was removed may be picked until running programs end */
	struct lb_swap *swaps;	   /* owned; LB_MAX_SWAPS */
	size_t swap_count;
	bool apply_again; /* a row that went took along what another service needs */
	struct lb_addr sources[LB_MAX_SOURCES];
	uint32_t source_count;

	struct lb_link links[LB_MAX_INTERFACES];
	size_t link_count;

	struct lb_chain *chains[LB_CHAINS];	/* owned; by end: lb_main, lb_spread */
	struct lb_chain *old_chains[LB_CHAINS]; /* owned; links may still use them */

	struct lb_keys *filters;    /* owned; of lb_filters, as the model wants them */
	struct lb_keys *server_ids; /* owned; of lb_server_ids */

	struct lb_sweep sweep;
	uint64_t sweep_passes;
	uint64_t sweep_expired;
	uint64_t sweep_last_ns;
	uint64_t repairs;
	uint64_t entries;	    /* of the last pass */
	uint64_t states[LB_STATES]; /* of the last pass */

	struct lb_trace *trace; /* owned; NULL while nobody traces */

	struct ring_buffer *ring; /* owned */
	struct lb_pending pending[LB_MAX_PENDING];
	size_t pending_count;
};

/* lb_program.c */
int lb_program_load(struct lb *lb, const struct lb_features *features, struct err *err);
void lb_program_unload(struct lb_bpf *bpf);
int lb_program_fd(const struct lb *lb);
/* How often the halves of a connection look after each other: often enough that neither expires
 * beside a partner in use, seldom enough that a million flows do not pay for it. */
uint32_t lb_touch_ticks(const struct lb *lb);
/* What config and model need, and the flows of the past, whose modes past has. */
struct lb_features lb_features_of(const struct config_ebpf *config, const struct model *model,
				  const struct lb_features *past);
/* The modes of the services in the maps that were taken over; none if there were no maps. */
void lb_features_found(const struct lb *lb, struct lb_features *ret);
bool lb_features_equal(const struct lb_features *a, const struct lb_features *b);

/* lb_spread.c */
void lb_spread_cpus(const struct config_ebpf *config, struct cpus *ret);
/* Does the configuration want other CPUs than the loaded program has? */
bool lb_spread_changed(const struct lb *lb);
/* Before and after bpf is loaded: for cpus, or none.  0 or -errno with a sentence. */
int lb_spread_prepare(struct lb_bpf *bpf, const struct cpus *cpus, struct err *err);
int lb_spread_fill(const struct lb_bpf *bpf, const struct cpus *cpus, struct err *err);
/* The program for an interface: lb_main, or what hands its packets on. */
int lb_spread_program_fd(const struct lb *lb, const char *interface);

/* lb_trace.c */
/* Before bpf, a traced program, is loaded: its ring buffer's size; a trace under way keeps its
 * maps. */
int lb_trace_prepare(struct lb *lb, struct lb_bpf *bpf, struct err *err);

/* lb_chain.c: the user's programs before the balancer's. */
/* Would they load?  -EINVAL with a sentence. */
int lb_chain_check(const struct config_ebpf *config, struct err *err);
/* What to attach so that packets end in end_fd: the first program, or end_fd itself.  which: number
 * of the chain; one for each end.  Programs that changed are loaded anew before anything is. */
int lb_chain_entry(struct lb *lb, int end_fd, int which, struct err *err);
/* After the links were updated: what they used before goes. */
void lb_chain_settle(struct lb *lb);
void lb_chain_free(struct lb_chain *chain);
void lb_chain_unpin(const char *pin_dir);

/* lb_migrate.c: maps of an older layout.  lb_migrate_begin moves their pins out of the way,
 * lb_migrate_copy fills the new ones once they are there, lb_migrate_end copies what came meanwhile
 * and removes the old ones; lb_migrate_undo puts the pins back. */
bool lb_migrate_knows(uint32_t abi_version);
int lb_migrate_begin(struct lb *lb, struct err *err);
int lb_migrate_copy(struct lb *lb, struct err *err);
void lb_migrate_end(struct lb *lb);
void lb_migrate_undo(struct lb *lb);
/* Pins that a migration left aside because its daemon died. */
void lb_migrate_recover(const char *pin_dir);
extern const char *const lb_map_names[LB_MAP_COUNT];

/* lb_attach.c */
void lb_links_close(struct lb *lb);
int lb_links_detach(const char *pin_dir);

/* lb_apply.c */
int lb_apply_adopt(struct lb *lb, struct err *err);
int lb_apply_defaults(struct lb *lb, struct err *err);

/* lb_apply_rows.c: a walk over the rows in use that may have id; the caller compares. */
struct index_walk lb_rows_by_id(const struct lb *lb, uint32_t id);
/* The same for those that may have the server of row. */
struct index_walk lb_rows_of_server(const struct lb *lb, uint32_t row);

/* lb_sweep.c */
int lb_sweep_init(struct lb *lb);
void lb_sweep_done(struct lb *lb);

/* lb_repair.c: puts back the missing half that pending asks for, if this forward entry is its
 * partner. */
void lb_repair_match(struct lb *lb, const struct lb_key6 *key, const struct lb_conn6 *conn,
		     bool ipv6);

/* lb_entry.c: widens IPv4 entries, so that user space knows one form. */
void lb_entry_widen(const struct lb_key4 *key4, const struct lb_conn4 *conn4, struct lb_key6 *key,
		    struct lb_conn6 *conn);

#endif
