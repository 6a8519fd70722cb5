/* Backend rows, and the addresses that NAT sends from. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "lb_apply_internal.h"
#include "model/weights.h"

/* ---- NAT sources ---- */

/* The row of lb_sources that holds address, made if there is room.  -ENOSPC. */
static int source_row(struct lb *lb, const struct addr *address, struct err *err)
{
	int r;

	for (uint32_t row = 0; row < lb->source_count; row++)
		if (!memcmp(&lb->sources[row], address, sizeof(*address)))
			return (int)row;
	if (lb->source_count == LB_MAX_SOURCES)
		return err_set(err, -ENOSPC, "cannot use more than %d NAT source addresses",
			       LB_MAX_SOURCES);
	memcpy(&lb->sources[lb->source_count], address, sizeof(*address));
	r = apply_put(lb, LB_MAP_SOURCES, &lb->source_count, &lb->sources[lb->source_count],
		      "a NAT source address", err);
	if (r < 0)
		return r;
	return (int)lb->source_count++;
}

/* Configured addresses of one family get adjoining rows, so that a backend row can name them as a
 * range. */
static int configured_sources(struct lb *lb, bool ipv6, __u16 *ret_first, __u16 *ret_count,
			      struct err *err)
{
	const struct config_ebpf *config = lb->options.config;
	uint32_t count = 0;

	for (size_t i = 0; i < config->snat_address_count; i++) {
		int row;

		if (apply_is_v6(&config->snat_addresses[i]) != ipv6)
			continue;
		row = source_row(lb, &config->snat_addresses[i], err);
		if (row < 0)
			return row;
		if (count && row != *ret_first + (int)count)
			break; /* known from before in another order: use what adjoins */
		if (!count)
			*ret_first = (__u16)row;
		count++;
	}
	/* Without any, the row keeps what it has until its route is known (again). */
	if (count)
		*ret_count = (__u16)count;
	return (int)count;
}

int apply_fill_sources(struct lb *lb, const struct lb_next_hop *hop, bool ipv6,
		       struct lb_backend *kernel, struct err *err)
{
	int row;
	int r = configured_sources(lb, ipv6, &kernel->source_first, &kernel->source_count, err);

	if (r)
		return r < 0 ? r : 0;
	if (addr_is_any(&hop->source) || apply_is_v6(&hop->source) != ipv6)
		return 0; /* keep what the row has: the route may come back */
	row = source_row(lb, &hop->source, err);
	if (row < 0)
		return row;
	kernel->source_first = (__u16)row;
	kernel->source_count = 1;
	return 0;
}

/* ---- backend rows ---- */

static uint64_t row_hash(const void *addr, __be16 port, uint32_t table)
{
	return hash_bytes(addr, sizeof(struct addr), (uint64_t)table << 16 | port);
}

static uint64_t hash_of_row(const struct lb *lb, uint32_t row)
{
	const struct lb_backend *kernel = &lb->rows[row].kernel;

	return row_hash(kernel->addr, kernel->port, kernel->service);
}

static uint64_t id_hash(uint32_t id)
{
	return hash_mix64(id);
}

struct index_walk lb_rows_by_id(const struct lb *lb, uint32_t id)
{
	return index_find(&lb->id_index, id_hash(id));
}

static uint64_t server_hash(const struct lb *lb, uint32_t row)
{
	return row_hash(lb->rows[row].kernel.addr, lb->rows[row].kernel.port, 0);
}

struct index_walk lb_rows_of_server(const struct lb *lb, uint32_t row)
{
	return index_find(&lb->server_index, server_hash(lb, row));
}

static void forget_row(struct lb *lb, uint32_t row)
{
	index_remove(&lb->row_index, hash_of_row(lb, row), row);
	index_remove(&lb->id_index, id_hash(lb->rows[row].kernel.id), row);
	index_remove(&lb->server_index, server_hash(lb, row), row);
	lb->rows[row].used = false;
}

int apply_adopt_row(struct lb *lb, uint32_t row)
{
	if (index_put(&lb->row_index, hash_of_row(lb, row), row) < 0 ||
	    index_put(&lb->id_index, id_hash(lb->rows[row].kernel.id), row) < 0 ||
	    index_put(&lb->server_index, server_hash(lb, row), row) < 0) {
		forget_row(lb, row);
		return -ENOMEM;
	}
	lb->rows[row].used = true;
	lb->unresolved += !lb->rows[row].unresolved;
	lb->rows[row].unresolved = true;
	return 0;
}

/* Removing first makes room, so that putting cannot fail. */
static void follow_id(struct lb *lb, uint32_t row, uint32_t was)
{
	index_remove(&lb->id_index, id_hash(was), row);
	index_put(&lb->id_index, id_hash(lb->rows[row].kernel.id), row);
}

/* Not by its id: that moves when a configuration without ids loses a backend. */
static uint32_t find_row(const struct lb *lb, const struct backend *backend, uint32_t table)
{
	__be16 port = htons(backend->port);
	struct index_walk walk = index_find(&lb->row_index,
					    row_hash(&backend->address, port, table));
	uint32_t row;

	while (index_next(&walk, &row)) {
		const struct lb_backend *kernel = &lb->rows[row].kernel;

		if (kernel->service == table && kernel->port == port &&
		    !memcmp(kernel->addr, &backend->address, sizeof(kernel->addr)))
			return row;
	}
	return 0;
}

static uint32_t free_row(struct lb *lb)
{
	uint32_t row = lb->row_free ? lb->row_free : 1;

	while (row < lb->row_count && lb->rows[row].used)
		row++;
	lb->row_free = row;
	return row < lb->row_count ? row : 0;
}

int apply_write_row(struct lb *lb, uint32_t row, const struct lb_backend *kernel, bool *changed,
		    struct err *err)
{
	int r;

	if (!memcmp(&lb->rows[row].kernel, kernel, sizeof(*kernel)))
		return 0;
	r = apply_put(lb, LB_MAP_BACKENDS, &row, kernel, "a backend", err);
	if (r < 0)
		return r;
	lb->rows[row].kernel = *kernel;
	*changed = true;
	return 0;
}

/* Who is unhealthy may still be in a slot table, when too few are healthy. */
static bool takes_new(const struct backend *backend)
{
	return backend->state == BACKEND_ACTIVE && backend->weight && !backend_is_cut(backend);
}

int apply_states(struct lb *lb, const struct service *service, const uint32_t *rows, bool *changed,
		 struct err *err)
{
	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];
		struct lb_backend kernel = lb->rows[rows[i]].kernel;
		int r;

		if (takes_new(backend))
			continue;
		kernel.state = backend_is_cut(backend) ? LB_BACKEND_CUT : LB_BACKEND_DRAINING;
		/* No slot names it any more, but its clients' affinity or its id does. */
		lb->must_wait |= lb->rows[rows[i]].kernel.state == LB_BACKEND_ACTIVE &&
				 apply_is_known_otherwise(service);
		r = apply_write_row(lb, rows[i], &kernel, changed, err);
		if (r < 0)
			return r;
		if (kernel.state == LB_BACKEND_CUT)
			apply_remove_reals(lb, rows[i]);
	}
	return 0;
}

/* Puts backend into its row, which it gets if it has none. */
int apply_backend(struct lb *lb, const struct backend *backend, uint32_t table, bool *changed,
		  uint32_t *ret_row, struct err *err)
{
	uint32_t row = find_row(lb, backend, table);
	uint32_t was = lb->rows[row].kernel.id;
	struct lb_backend kernel;
	int r;

	if (row) {
		kernel = lb->rows[row].kernel;
		/* Back after it was cut off: what was cut stays cut. */
		if (kernel.state == LB_BACKEND_CUT && !backend_is_cut(backend))
			kernel.incarnation++;
	} else {
		row = free_row(lb);
		if (!row)
			return err_set(err, -ENOSPC,
				       "cannot add backend %u: all %u rows are in use; raise "
				       "maps.backends.max_entries",
				       backend->id, lb->row_count - 1);
		memset(&kernel, 0, sizeof(kernel));
		kernel.incarnation = lb->rows[row].kernel.incarnation + 1;
		kernel.port = htons(backend->port);
		memcpy(kernel.addr, &backend->address, sizeof(kernel.addr));
		memset(&lb->rows[row].hop, 0, sizeof(lb->rows[row].hop));
		lb->rows[row].active = 0;
	}
	kernel.id = backend->id;
	kernel.service = table;
	/* Who is to be cut or to drain stays active until no slot names it: apply_states. */
	if (takes_new(backend))
		kernel.state = LB_BACKEND_ACTIVE;
	else if (kernel.state == LB_BACKEND_UNUSED || !backend_is_cut(backend))
		kernel.state = kernel.state == LB_BACKEND_ACTIVE ? LB_BACKEND_ACTIVE
								 : LB_BACKEND_DRAINING;
	r = apply_fill_sources(lb, &lb->rows[row].hop, apply_is_v6(&backend->address), &kernel,
			       err);
	if (r < 0)
		return r;
	r = apply_write_row(lb, row, &kernel, changed, err);
	if (r < 0)
		return r;
	if (lb->rows[row].used) {
		if (was != backend->id)
			follow_id(lb, row, was);
	} else if (apply_adopt_row(lb, row) < 0) {
		return err_set(err, -ENOMEM, "cannot add backend %u: out of memory", backend->id);
	}
	*ret_row = row;
	return 0;
}

/* Adds the row's counts to row 0, which is no backend's, so that totals never fall; then clears
 * them. */
static int retire_counts(struct lb *lb, uint32_t row, struct err *err)
{
	int cpus = libbpf_num_possible_cpus();
	struct lb_backend_count *counts;
	struct lb_backend_count *total;
	__u32 zero = 0;
	int r = 0;

	if (cpus < 0)
		return err_set(err, cpus, "cannot count CPUs: %s", strerror(-cpus));
	counts = calloc((size_t)cpus * 2, sizeof(*counts));
	if (!counts)
		return err_set(err, -ENOMEM, "cannot read counters: out of memory");
	total = counts + cpus;
	if (bpf_map_lookup_elem(lb->maps[LB_MAP_BACKEND_COUNTS], &row, counts) < 0 ||
	    bpf_map_lookup_elem(lb->maps[LB_MAP_BACKEND_COUNTS], &zero, total) < 0) {
		r = err_set(err, -errno, "cannot read a backend's counters: %s", strerror(errno));
		goto out;
	}
	for (int i = 0; i < cpus; i++) {
		total[i].to_packets += counts[i].to_packets;
		total[i].to_bytes += counts[i].to_bytes;
		total[i].from_packets += counts[i].from_packets;
		total[i].from_bytes += counts[i].from_bytes;
		total[i].connections += counts[i].connections;
	}
	r = apply_put(lb, LB_MAP_BACKEND_COUNTS, &zero, total, "retired counters", err);
	memset(counts, 0, (size_t)cpus * sizeof(*counts));
	if (r == 0)
		r = apply_put(lb, LB_MAP_BACKEND_COUNTS, &row, counts, "a backend's counters", err);
out:
	free(counts);
	return r;
}

static void real_key(const struct lb_backend *kernel, uint8_t proto, struct lb_service_key *key)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->addr, kernel->addr, sizeof(key->addr));
	key->port = kernel->port;
	key->proto = proto;
}

int apply_reals(struct lb *lb, uint32_t row, const struct service *service, struct err *err)
{
	struct lb_service_key key;
	int r = 0;

	if (service->tcp_port_count) {
		real_key(&lb->rows[row].kernel, IPPROTO_TCP, &key);
		r = apply_put(lb, LB_MAP_REALS, &key, &row, "a backend's address", err);
	}
	if (r == 0 && service->udp_port_count) {
		real_key(&lb->rows[row].kernel, IPPROTO_UDP, &key);
		r = apply_put(lb, LB_MAP_REALS, &key, &row, "a backend's address", err);
	}
	return r;
}

void apply_remove_reals(struct lb *lb, uint32_t row)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };
	bool deleted = false;

	for (size_t i = 0; i < sizeof(protos); i++) {
		struct lb_service_key key;
		__u32 owner;

		real_key(&lb->rows[row].kernel, protos[i], &key);
		/* Two services may share a server: the key is its last writer's. */
		if (bpf_map_lookup_elem(lb->maps[LB_MAP_REALS], &key, &owner) == 0 && owner == row)
			deleted |= bpf_map_delete_elem(lb->maps[LB_MAP_REALS], &key) == 0;
	}
	if (deleted)
		apply_forget_server(lb, row);
}

int apply_retire_row(struct lb *lb, uint32_t row, bool *changed, struct err *err)
{
	struct lb_backend kernel = lb->rows[row].kernel;
	int r;

	apply_remove_reals(lb, row);
	kernel.state = LB_BACKEND_UNUSED;
	r = apply_write_row(lb, row, &kernel, changed, err);
	if (r < 0)
		return r;
	forget_row(lb, row);
	if (row < lb->row_free)
		lb->row_free = row;
	return retire_counts(lb, row, err);
}
