/* Slot tables: built by the model's functions, swapped in one step. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/hash.h"
#include "lb_apply_internal.h"
#include "model/slot_table.h"
#include "model/weights.h"

/* The table row that a running instance already uses for this service, by one of its addresses. */
int apply_adopted_table(struct lb *lb, const struct service *service, bool ipv6)
{
	uint8_t proto = service->tcp_port_count ? IPPROTO_TCP : IPPROTO_UDP;
	uint16_t port = service->tcp_port_count	  ? service->tcp_ports[0]
			: service->udp_port_count ? service->udp_ports[0]
						  : 0;

	for (size_t i = 0; i < service->address_count; i++) {
		struct lb_service_key key;
		struct lb_service value;

		if (apply_is_v6(&service->addresses[i]) != ipv6)
			continue;
		apply_service_key(&service->addresses[i], port, proto, &key);
		if (bpf_map_lookup_elem(lb->maps[LB_MAP_SERVICES], &key, &value) == 0 &&
		    value.table < LB_MAX_SERVICES && !lb->tables[value.table].name)
			return (int)value.table;
	}
	return -1;
}

static uint64_t table_hash(const char *name, bool ipv6)
{
	return hash_bytes(name, strlen(name), ipv6);
}

static int find_table(const struct lb *lb, const char *name, bool ipv6)
{
	struct index_walk walk = index_find(&lb->table_index, table_hash(name, ipv6));
	uint32_t row;

	while (index_next(&walk, &row))
		if (lb->tables[row].ipv6 == ipv6 && !strcmp(lb->tables[row].name, name))
			return (int)row;
	return -1;
}

/* The row of lb_tables for one family of service. */
int apply_table_row(struct lb *lb, const struct service *service, bool ipv6, struct err *err)
{
	int row = find_table(lb, service->name, ipv6);

	if (row >= 0)
		return row;
	if (lb->adopted)
		row = apply_adopted_table(lb, service, ipv6);
	for (int i = 0; row < 0 && i < LB_MAX_SERVICES; i++)
		if (!lb->tables[i].name)
			row = i;
	if (row < 0)
		return err_set(err, -ENOSPC,
			       "cannot add service %s: at most %d address families of services",
			       service->name, LB_MAX_SERVICES);
	lb->tables[row].name = strdup(service->name);
	if (!lb->tables[row].name ||
	    index_put(&lb->table_index, table_hash(service->name, ipv6), (uint32_t)row) < 0) {
		free(lb->tables[row].name);
		lb->tables[row].name = NULL;
		return err_set(err, -ENOMEM, "cannot add service %s: out of memory", service->name);
	}
	lb->tables[row].ipv6 = ipv6;
	lb->tables[row].signature = 0;
	return row;
}

/* Through memory: the system call takes 25 ms for 65,537 slots, which a start with 1,000 services
 * cannot wait for.  An element takes 8 bytes, kernel/bpf/arraymap.c. */
static int fill_slots(int fd, const uint32_t *slots, uint32_t size)
{
	size_t bytes = (size_t)size * sizeof(uint64_t);
	uint64_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	for (uint32_t i = 0; i < size; i++)
		memcpy(&map[i], &slots[i], sizeof(slots[i]));
	munmap(map, bytes);
	return 0;
}

static int swap_table(struct lb *lb, uint32_t row, const uint32_t *slots, uint32_t size,
		      struct err *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "lb_slots", sizeof(__u32), sizeof(__u32), size,
				&opts);
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot create a slot table of %u: %s", size,
			       strerror(errno));
	r = fill_slots(fd, slots, size);
	if (r < 0)
		err_set(err, r, "cannot fill a slot table: %s", strerror(-r));
	else
		r = apply_put(lb, LB_MAP_TABLES, &row, &fd, "a slot table", err);
	close(fd);
	return r;
}

static uint64_t backend_identity(const struct backend *backend)
{
	return hash_bytes(&backend->address, sizeof(backend->address), backend->port);
}

static int build_slots(const struct service *service, const struct slot_weight *weights,
		       size_t count, uint32_t *slots)
{
	switch (service->algorithm) {
	case CONFIG_ROUND_ROBIN:
		return slot_table_round_robin(weights, count, slots, service->table_size);
	case CONFIG_WEIGHTED:
	case CONFIG_LEAST_CONNECTIONS:
		return slot_table_weighted(weights, count, slots, service->table_size);
	default:
		return slot_table_maglev(weights, count, slots, service->table_size);
	}
}

/* Builds and swaps the table if what it is made of has changed. */
int apply_table(struct lb *lb, uint32_t row, const struct service *service,
		const uint32_t *backend_rows, struct err *err)
{
	struct slot_weight *weights = calloc(service->backend_count + 1, sizeof(*weights));
	uint32_t *shares = calloc(service->backend_count + 1, sizeof(*shares));
	struct lb_table *table = &lb->tables[row];
	uint32_t *slots = NULL;
	uint64_t signature;
	size_t count = 0;
	int r = -ENOMEM;

	if (!weights || !shares)
		goto out;
	service_weights(service, shares);
	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];

		if (!shares[i] || !apply_reaches(service, table->ipv6, backend))
			continue;
		weights[count++] = (struct slot_weight){
			.identity = backend_identity(backend),
			.value = backend_rows[i],
			.weight = shares[i],
		};
	}
	signature = hash_bytes(weights, count * sizeof(*weights),
			       (uint64_t)service->algorithm << 32 | service->table_size) |
		    1;
	if (signature == table->signature) {
		r = 0;
		goto out;
	}
	slots = calloc(service->table_size, sizeof(*slots));
	if (!slots)
		goto out;
	r = build_slots(service, weights, count, slots);
	if (r < 0)
		goto out;
	r = swap_table(lb, row, slots, service->table_size, err);
	if (r < 0)
		goto done;
	table->signature = signature;
	table->size = service->table_size;
out:
	if (r < 0)
		err_set(err, r, "cannot build the slot table of service %s: %s", service->name,
			strerror(-r));
done:
	free(slots);
	free(shares);
	free(weights);
	return r;
}

void apply_release_tables(struct lb *lb, const struct model *model)
{
	for (__u32 row = 0; row < LB_MAX_SERVICES; row++) {
		const struct lb_table *table = &lb->tables[row];

		if (!table->name || table->serial == lb->serial ||
		    model_service(model, table->name))
			continue;
		index_remove(&lb->table_index, table_hash(table->name, table->ipv6), row);
		bpf_map_delete_elem(lb->maps[LB_MAP_TABLES], &row);
		free(lb->tables[row].name);
		free(lb->tables[row].used_rows);
		memset(&lb->tables[row], 0, sizeof(lb->tables[row]));
	}
}
