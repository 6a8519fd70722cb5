/* lb_apply_internal.h - the parts of lb_apply.c that have files of their own.
 * Layer: planes.
 *
 * Each writes one kind of row and returns 0 or -errno with a sentence in err.  What is there
 * already is not written again; *changed is set when established flows must notice. */
#ifndef LOOM_LB_APPLY_INTERNAL_H
#define LOOM_LB_APPLY_INTERNAL_H

#include "lb_internal.h"

static inline bool apply_is_v6(const struct addr *addr)
{
	return !addr_is_v4(addr);
}

static inline bool apply_is_direct(const struct service *service)
{
	return service->forwarding >= CONFIG_DSR_IPIP;
}

static inline bool apply_is_tunnel(const struct service *service)
{
	return service->forwarding == CONFIG_DSR_IPIP || service->forwarding == CONFIG_DSR_GUE;
}

/* Are backends found by more than the slot table? */
static inline bool apply_is_known_otherwise(const struct service *service)
{
	return service->tcp_affinity_ns || service->udp_affinity_ns || service->quic.enabled;
}

/* Can the service's packets of one family reach backend? */
static inline bool apply_reaches(const struct service *service, bool ipv6,
				 const struct backend *backend)
{
	bool backend_v6 = apply_is_v6(&backend->address);

	return backend_v6 == ipv6 || (backend_v6 && apply_is_tunnel(service));
}

/* bpf_map_update_elem with a sentence. */
int apply_put(struct lb *lb, enum lb_map map, const void *key, const void *value, const char *what,
	      struct err *err);

/* lb_apply_rows.c: backends and the addresses NAT sends from. */
int apply_adopt_row(struct lb *lb, uint32_t row);
int apply_backend(struct lb *lb, const struct backend *backend, uint32_t table, bool *changed,
		  uint32_t *ret_row, struct err *err);
/* After the tables: a new connection in between would find its slot's backend closed. */
int apply_states(struct lb *lb, const struct service *service, const uint32_t *rows, bool *changed,
		 struct err *err);
int apply_write_row(struct lb *lb, uint32_t row, const struct lb_backend *kernel, bool *changed,
		    struct err *err);
int apply_fill_sources(struct lb *lb, const struct lb_next_hop *hop, bool ipv6,
		       struct lb_backend *kernel, struct err *err);
int apply_reals(struct lb *lb, uint32_t row, const struct service *service, struct err *err);
void apply_remove_reals(struct lb *lb, uint32_t row);
int apply_retire_row(struct lb *lb, uint32_t row, bool *changed, struct err *err);

/* lb_apply_tables.c: slot tables. */
/* The row that a running instance uses for one family of service, found by its addresses; -1: none.
 */
int apply_adopted_table(struct lb *lb, const struct service *service, bool ipv6);
int apply_table_row(struct lb *lb, const struct service *service, bool ipv6, struct err *err);
/* Brings the table up to date: in place if it only gains backends, else by a new one that
 * apply_swaps puts in its place. */
int apply_table(struct lb *lb, uint32_t row, const struct service *service,
		const uint32_t *backend_rows, struct err *err);
/* Swaps what apply_table has left to be swapped; waits once for the programs that hold old ones. */
int apply_swaps(struct lb *lb, struct err *err);
/* Forgets what is left of it. */
void apply_swaps_drop(struct lb *lb);
void apply_table_done(struct lb_table *table);
void apply_release_tables(struct lb *lb, const struct model *model);

/* lb_apply_unchanged.c: which services need not be applied. */
/* Whether the maps have service as it is; marks its rows in keep if so. */
bool apply_is_unchanged(struct lb *lb, const struct service *service, const int tables[2],
			bool *keep);
void apply_forget(struct lb *lb, const int tables[2]);
void apply_remember(struct lb *lb, const struct service *service, const int tables[2],
		    const uint32_t *rows);
void apply_forget_all(struct lb *lb);
/* Another service may have the server of row, and the address of both was row's. */
void apply_forget_server(struct lb *lb, uint32_t row);
uint64_t apply_endpoints_of(const struct model *model);

/* lb_apply_keys.c: maps whose keys follow from the services: written as they are applied, and what
 * no service wants any more is removed at the end. */
void apply_keys_begin(struct lb *lb);
int apply_filters(struct lb *lb, const struct service *service, const int tables[2],
		  struct err *err);
int apply_server_ids(struct lb *lb, const struct service *service, const int tables[2],
		     const uint32_t *backend_rows, struct err *err);
int apply_keys_end(struct lb *lb, struct err *err);
void apply_keys_free(struct lb *lb);

/* lb_apply_services.c: addresses, ports and the port sets. */
void apply_service_key(const struct addr *address, uint16_t port, uint8_t proto,
		       struct lb_service_key *key);
int apply_service_ports(struct lb *lb, const struct service *service, const int tables[2],
			struct err *err);
/* Before a smaller table is put in place: nobody looks for a slot beyond its end any more. */
int apply_shrink(struct lb *lb, const struct service *service, struct err *err);
int apply_vips(struct lb *lb, const struct service *service, bool ipv6, uint32_t table,
	       struct err *err);
int apply_ports(struct lb *lb, const struct model *model, struct err *err);
int apply_remove_services(struct lb *lb, const struct model *model, struct err *err);

#endif
