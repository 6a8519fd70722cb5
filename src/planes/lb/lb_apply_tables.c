/* Slot tables: built by the model's functions; new ones are swapped together, each in one step. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <fcntl.h>
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

/* ---- slots ---- */

/* Through memory: the system call takes 25 ms for 65,537 slots, which a start with 1,000 services
 * cannot wait for.  An element takes 8 bytes, kernel/bpf/arraymap.c.  Programs may read meanwhile:
 * each finds the old backend or the new one. */
static int write_slots(int fd, const uint32_t *slots, uint32_t size)
{
	size_t bytes = (size_t)size * 2 * sizeof(*slots);
	uint32_t *map = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (map == MAP_FAILED)
		return -errno;
	for (size_t i = 0; i < size; i++)
		if (map[2 * i] != slots[i])
			__atomic_store_n(&map[2 * i], slots[i], __ATOMIC_RELAXED);
	munmap(map, bytes);
	return 0;
}

static int slots_new(const uint32_t *slots, uint32_t size, int *ret_fd, struct err *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP | BPF_F_MMAPABLE);
	int fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "lb_slots", sizeof(__u32), sizeof(__u32), size,
				&opts);
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot create a slot table of %u: %s", size,
			       strerror(errno));
	r = write_slots(fd, slots, size);
	if (r < 0) {
		close(fd);
		return err_set(err, r, "cannot fill a slot table: %s", strerror(-r));
	}
	*ret_fd = fd;
	return 0;
}

/* ---- swapping ---- */

static void swap_done(struct lb_swap *swap)
{
	if (swap->fd > 0)
		close(swap->fd);
	free(swap->members);
	memset(swap, 0, sizeof(*swap));
}

static void table_close(struct lb_table *table)
{
	if (table->slots > 0)
		close(table->slots);
	free(table->members);
	table->slots = 0;
	table->members = NULL;
	table->member_count = 0;
}

void apply_table_done(struct lb_table *table)
{
	table_close(table);
	free(table->name);
	free(table->used_rows);
	memset(table, 0, sizeof(*table));
}

/* Descriptors that are held stand above FD_FIRST: what else the process opens gets the low numbers
 * that some libraries need.  Beyond the limit none is held, and each change of the table is a swap.
 */
#define FD_FIRST 1024

static void swap_settle(struct lb_table *table, struct lb_swap *swap)
{
	int held = fcntl(swap->fd, F_DUPFD_CLOEXEC, FD_FIRST);

	table_close(table);
	table->slots = held > 0 ? held : 0;
	table->signature = swap->signature;
	table->size = swap->size;
	table->members = swap->members;
	table->member_count = swap->member_count;
	swap->members = NULL;
}

int apply_swaps(struct lb *lb, struct err *err)
{
	uint32_t rows[LB_MAX_SWAPS];
	int fds[LB_MAX_SWAPS];
	__u32 done = (__u32)lb->swap_count;
	int r = 0;

	if (!lb->swap_count)
		return 0;
	for (size_t i = 0; i < lb->swap_count; i++) {
		rows[i] = lb->swaps[i].row;
		fds[i] = lb->swaps[i].fd;
	}
	if (bpf_map_update_batch(lb->maps[LB_MAP_TABLES], rows, fds, &done, NULL) < 0)
		r = err_set(err, -errno, "cannot swap slot tables: %s", strerror(errno));
	for (size_t i = 0; i < done && i < lb->swap_count; i++)
		swap_settle(&lb->tables[rows[i]], &lb->swaps[i]);
	apply_swaps_drop(lb);
	return r;
}

void apply_swaps_drop(struct lb *lb)
{
	for (size_t i = 0; i < lb->swap_count; i++)
		swap_done(&lb->swaps[i]);
	lb->swap_count = 0;
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

/* ---- building ---- */

/* What a table is built from. */
struct recipe {
	struct slot_weight *weights; /* owned */
	size_t count;
	uint64_t signature; /* never 0 */
};

static int recipe_make(const struct service *service, bool ipv6, const uint32_t *backend_rows,
		       struct recipe *ret)
{
	uint32_t *shares = calloc(service->backend_count + 1, sizeof(*shares));

	ret->count = 0;
	ret->weights = calloc(service->backend_count + 1, sizeof(*ret->weights));
	if (!ret->weights || !shares) {
		free(shares);
		return -ENOMEM;
	}
	service_weights(service, shares);
	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];

		if (!shares[i] || !apply_reaches(service, ipv6, backend))
			continue;
		ret->weights[ret->count++] = (struct slot_weight){
			.identity = backend_identity(backend),
			.value = backend_rows[i],
			.weight = shares[i],
		};
	}
	free(shares);
	ret->signature = hash_bytes(ret->weights, ret->count * sizeof(*ret->weights),
				    (uint64_t)service->algorithm << 32 | service->table_size) |
			 1;
	return 0;
}

/* Does nobody lose his slots? */
static bool only_gains(struct lb *lb, const struct lb_table *table, const struct recipe *recipe)
{
	bool all = true;

	for (size_t i = 0; i < recipe->count; i++)
		lb->rows[recipe->weights[i].value].marked = true;
	for (size_t i = 0; i < table->member_count; i++)
		all &= lb->rows[table->members[i]].marked;
	for (size_t i = 0; i < recipe->count; i++)
		lb->rows[recipe->weights[i].value].marked = false;
	return all;
}

static uint32_t *members_of(const struct recipe *recipe)
{
	uint32_t *members = malloc(recipe->count * sizeof(*members) + 1);

	for (size_t i = 0; members && i < recipe->count; i++)
		members[i] = recipe->weights[i].value;
	return members;
}

/* Without a swap no program need be waited for: whoever is still picked by a slot that was read
 * before takes new connections as well.  Returns whether it was possible. */
static bool edit_in_place(struct lb *lb, struct lb_table *table, const struct recipe *recipe,
			  const uint32_t *slots, uint32_t size)
{
	uint32_t *members;

	if (table->slots <= 0 || table->size != size || !only_gains(lb, table, recipe))
		return false;
	members = members_of(recipe);
	if (!members)
		return false;
	table->signature = 0;
	if (write_slots(table->slots, slots, size) < 0) {
		free(members);
		return false;
	}
	free(table->members);
	table->members = members;
	table->member_count = recipe->count;
	table->signature = recipe->signature;
	return true;
}

static int add_swap(struct lb *lb, uint32_t row, const struct recipe *recipe, const uint32_t *slots,
		    uint32_t size, struct err *err)
{
	struct lb_swap swap = { .row = row,
				.signature = recipe->signature,
				.size = size,
				.member_count = recipe->count };
	int r;

	if (lb->swap_count == LB_MAX_SWAPS) {
		r = apply_swaps(lb, err);
		if (r < 0)
			return r;
	}
	swap.members = members_of(recipe);
	if (!swap.members)
		return err_set(err, -ENOMEM, "cannot keep a slot table: out of memory");
	r = slots_new(slots, size, &swap.fd, err);
	if (r < 0) {
		free(swap.members);
		return r;
	}
	lb->swaps[lb->swap_count++] = swap;
	return 0;
}

static int build_table(struct lb *lb, uint32_t row, const struct service *service,
		       const struct recipe *recipe, struct err *err)
{
	uint32_t size = service->table_size;
	uint32_t *slots = calloc(size, sizeof(*slots));
	int r = slots ? build_slots(service, recipe->weights, recipe->count, slots) : -ENOMEM;

	if (r < 0)
		err_set(err, r, "cannot build the slot table of service %s: %s", service->name,
			strerror(-r));
	else if (!edit_in_place(lb, &lb->tables[row], recipe, slots, size))
		r = add_swap(lb, row, recipe, slots, size, err);
	free(slots);
	return r;
}

int apply_table(struct lb *lb, uint32_t row, const struct service *service,
		const uint32_t *backend_rows, struct err *err)
{
	struct recipe recipe;
	int r = recipe_make(service, lb->tables[row].ipv6, backend_rows, &recipe);

	if (r < 0)
		err_set(err, r, "cannot build the slot table of service %s: %s", service->name,
			strerror(-r));
	else if (recipe.signature != lb->tables[row].signature)
		r = build_table(lb, row, service, &recipe, err);
	free(recipe.weights);
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
		apply_table_done(&lb->tables[row]);
	}
}
