/* The only code that writes the load balancer's maps (the connection tables aside: lb_sweep.c,
 * lb_repair.c).
 *
 * Order is everything here.  Additions: backend rows, then tables that name them, then services,
 * then the port sets that let packets in.  Removals the other way round.  A program on another CPU
 * may hold a table it looked up just before the swap; replacing an inner map waits for those
 * (kernel/bpf/syscall.c, maybe_wait_bpf_programs). */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/bitset.h"
#include "base/hash.h"
#include "base/log.h"
#include "lb_internal.h"
#include "model/slot_table.h"

static int put(struct lb *lb, enum lb_map map, const void *key, const void *value, const char *what,
	       struct err *err)
{
	if (bpf_map_update_elem(lb->maps[map], key, value, BPF_ANY) == 0)
		return 0;
	return err_set(err, -errno, "cannot write %s: %s%s", what, strerror(errno),
		       errno == E2BIG ? "; the map is full: raise maps.backends.max_entries" : "");
}

static bool is_v6(const struct addr *addr)
{
	return !addr_is_v4(addr);
}

/* ---- what was there before ---- */

static int adopt_rows(struct lb *lb)
{
	for (uint32_t row = 1; row < lb->row_count; row++) {
		struct lb_row *r = &lb->rows[row];

		if (bpf_map_lookup_elem(lb->maps[LB_MAP_BACKENDS], &row, &r->kernel) < 0)
			return -errno;
		r->used = r->kernel.state != LB_BACKEND_UNUSED;
	}
	for (uint32_t row = 0; row < LB_MAX_SOURCES; row++) {
		if (bpf_map_lookup_elem(lb->maps[LB_MAP_SOURCES], &row, &lb->sources[row]) < 0)
			return -errno;
		if (lb->sources[row].word[0] | lb->sources[row].word[1] | lb->sources[row].word[2] |
		    lb->sources[row].word[3])
			lb->source_count = row + 1;
	}
	return 0;
}

int lb_apply_adopt(struct lb *lb, struct err *err)
{
	int r = adopt_rows(lb);

	return r < 0 ? err_set(err, r, "cannot read the pinned backends: %s", strerror(-r)) : 0;
}

static int bump_generation(struct lb *lb, struct err *err)
{
	struct lb_control control = { .abi_version = LB_ABI_VERSION,
				      .generation = ++lb->generation };
	__u32 zero = 0;

	if (!control.generation) /* 0 means "never checked" in an entry */
		control.generation = lb->generation = 1;
	return put(lb, LB_MAP_CONTROL, &zero, &control, "lb_control", err);
}

int lb_apply_defaults(struct lb *lb, struct err *err)
{
	return bump_generation(lb, err);
}

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
	r = put(lb, LB_MAP_SOURCES, &lb->source_count, &lb->sources[lb->source_count],
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

		if (is_v6(&config->snat_addresses[i]) != ipv6)
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

static int fill_sources(struct lb *lb, const struct lb_next_hop *hop, bool ipv6,
			struct lb_backend *kernel, struct err *err)
{
	int row;
	int r = configured_sources(lb, ipv6, &kernel->source_first, &kernel->source_count, err);

	if (r)
		return r < 0 ? r : 0;
	if (addr_is_any(&hop->source) || is_v6(&hop->source) != ipv6)
		return 0; /* keep what the row has: the route may come back */
	row = source_row(lb, &hop->source, err);
	if (row < 0)
		return row;
	kernel->source_first = (__u16)row;
	kernel->source_count = 1;
	return 0;
}

/* ---- backend rows ---- */

/* Not by its id: that moves when a configuration without ids loses a backend. */
static uint32_t find_row(const struct lb *lb, const struct backend *backend, uint32_t table)
{
	for (uint32_t row = 1; row < lb->row_count; row++) {
		const struct lb_backend *kernel = &lb->rows[row].kernel;

		if (lb->rows[row].used && kernel->service == table &&
		    kernel->port == htons(backend->port) &&
		    !memcmp(kernel->addr, &backend->address, sizeof(kernel->addr)))
			return row;
	}
	return 0;
}

static uint32_t free_row(const struct lb *lb)
{
	for (uint32_t row = 1; row < lb->row_count; row++)
		if (!lb->rows[row].used)
			return row;
	return 0;
}

static int write_row(struct lb *lb, uint32_t row, const struct lb_backend *kernel, bool *changed,
		     struct err *err)
{
	int r;

	if (!memcmp(&lb->rows[row].kernel, kernel, sizeof(*kernel)))
		return 0;
	r = put(lb, LB_MAP_BACKENDS, &row, kernel, "a backend", err);
	if (r < 0)
		return r;
	lb->rows[row].kernel = *kernel;
	*changed = true;
	return 0;
}

/* Puts backend into its row, which it gets if it has none. */
static int apply_backend(struct lb *lb, const struct backend *backend, uint32_t table,
			 bool *changed, uint32_t *ret_row, struct err *err)
{
	uint32_t row = find_row(lb, backend, table);
	struct lb_backend kernel;
	int r;

	if (row) {
		kernel = lb->rows[row].kernel;
		/* Back after it was cut off: what was cut stays cut. */
		if (kernel.state == LB_BACKEND_CUT && backend->state != BACKEND_RESET)
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
	/* Who is to be cut stays until no slot names it any more: cut_backend. */
	if (backend->state != BACKEND_RESET || kernel.state == LB_BACKEND_UNUSED)
		kernel.state = LB_BACKEND_ACTIVE;
	r = fill_sources(lb, &lb->rows[row].hop, is_v6(&backend->address), &kernel, err);
	if (r < 0)
		return r;
	r = write_row(lb, row, &kernel, changed, err);
	if (r < 0)
		return r;
	lb->rows[row].used = true;
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
	r = put(lb, LB_MAP_BACKEND_COUNTS, &zero, total, "retired counters", err);
	memset(counts, 0, (size_t)cpus * sizeof(*counts));
	if (r == 0)
		r = put(lb, LB_MAP_BACKEND_COUNTS, &row, counts, "a backend's counters", err);
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

static int apply_reals(struct lb *lb, uint32_t row, const struct service *service, struct err *err)
{
	struct lb_service_key key;
	int r = 0;

	if (service->tcp_port_count) {
		real_key(&lb->rows[row].kernel, IPPROTO_TCP, &key);
		r = put(lb, LB_MAP_REALS, &key, &row, "a backend's address", err);
	}
	if (r == 0 && service->udp_port_count) {
		real_key(&lb->rows[row].kernel, IPPROTO_UDP, &key);
		r = put(lb, LB_MAP_REALS, &key, &row, "a backend's address", err);
	}
	return r;
}

static void remove_reals(struct lb *lb, uint32_t row)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (size_t i = 0; i < sizeof(protos); i++) {
		struct lb_service_key key;
		__u32 owner;

		real_key(&lb->rows[row].kernel, protos[i], &key);
		/* Two services may share a server: the key is its last writer's. */
		if (bpf_map_lookup_elem(lb->maps[LB_MAP_REALS], &key, &owner) == 0 && owner == row)
			bpf_map_delete_elem(lb->maps[LB_MAP_REALS], &key);
	}
}

static int retire_row(struct lb *lb, uint32_t row, bool *changed, struct err *err)
{
	struct lb_backend kernel = lb->rows[row].kernel;
	int r;

	remove_reals(lb, row);
	kernel.state = LB_BACKEND_UNUSED;
	r = write_row(lb, row, &kernel, changed, err);
	if (r < 0)
		return r;
	lb->rows[row].used = false;
	return retire_counts(lb, row, err);
}

/* ---- slot tables ---- */

static void service_key(const struct addr *address, uint16_t port, uint8_t proto,
			struct lb_service_key *key)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->addr, address, sizeof(key->addr));
	key->port = htons(port);
	key->proto = proto;
}

/* The table row that a running instance already uses for this service, by one of its addresses. */
static int adopted_table(struct lb *lb, const struct service *service, bool ipv6)
{
	uint8_t proto = service->tcp_port_count ? IPPROTO_TCP : IPPROTO_UDP;
	uint16_t port = service->tcp_port_count	  ? service->tcp_ports[0]
			: service->udp_port_count ? service->udp_ports[0]
						  : 0;

	for (size_t i = 0; i < service->address_count; i++) {
		struct lb_service_key key;
		struct lb_service value;

		if (is_v6(&service->addresses[i]) != ipv6)
			continue;
		service_key(&service->addresses[i], port, proto, &key);
		if (bpf_map_lookup_elem(lb->maps[LB_MAP_SERVICES], &key, &value) == 0 &&
		    value.table < LB_MAX_SERVICES && !lb->tables[value.table].name)
			return (int)value.table;
	}
	return -1;
}

/* The row of lb_tables for one family of service. */
static int table_row(struct lb *lb, const struct service *service, bool ipv6, struct err *err)
{
	int row = -1;

	for (int i = 0; i < LB_MAX_SERVICES; i++)
		if (lb->tables[i].name && lb->tables[i].ipv6 == ipv6 &&
		    !strcmp(lb->tables[i].name, service->name))
			return i;
	if (lb->adopted)
		row = adopted_table(lb, service, ipv6);
	for (int i = 0; row < 0 && i < LB_MAX_SERVICES; i++)
		if (!lb->tables[i].name)
			row = i;
	if (row < 0)
		return err_set(err, -ENOSPC,
			       "cannot add service %s: at most %d address families of services",
			       service->name, LB_MAX_SERVICES);
	lb->tables[row].name = strdup(service->name);
	if (!lb->tables[row].name)
		return err_set(err, -ENOMEM, "cannot add service %s: out of memory", service->name);
	lb->tables[row].ipv6 = ipv6;
	lb->tables[row].signature = 0;
	return row;
}

static int swap_table(struct lb *lb, uint32_t row, uint32_t *slots, uint32_t size, struct err *err)
{
	LIBBPF_OPTS(bpf_map_create_opts, opts, .map_flags = BPF_F_INNER_MAP);
	uint32_t *keys = malloc(size * sizeof(*keys));
	__u32 count = size;
	int fd = -1;
	int r;

	if (!keys)
		return err_set(err, -ENOMEM, "cannot fill a slot table: out of memory");
	for (uint32_t i = 0; i < size; i++)
		keys[i] = i;
	fd = bpf_map_create(BPF_MAP_TYPE_ARRAY, "lb_slots", sizeof(__u32), sizeof(__u32), size,
			    &opts);
	if (fd < 0) {
		r = err_set(err, -errno, "cannot create a slot table of %u: %s", size,
			    strerror(errno));
		goto out;
	}
	if (bpf_map_update_batch(fd, keys, slots, &count, NULL) < 0) {
		r = err_set(err, -errno, "cannot fill a slot table: %s", strerror(errno));
		goto out;
	}
	r = put(lb, LB_MAP_TABLES, &row, &fd, "a slot table", err);
out:
	if (fd >= 0)
		close(fd);
	free(keys);
	return r;
}

static uint64_t backend_identity(const struct backend *backend)
{
	return hash_bytes(&backend->address, sizeof(backend->address), backend->port);
}

/* Builds and swaps the table if what it is made of has changed. */
static int apply_table(struct lb *lb, uint32_t row, const struct service *service,
		       const uint32_t *backend_rows, struct err *err)
{
	struct slot_weight *weights = calloc(service->backend_count + 1, sizeof(*weights));
	struct lb_table *table = &lb->tables[row];
	uint32_t *slots = NULL;
	uint64_t signature;
	size_t count = 0;
	int r = -ENOMEM;

	if (!weights)
		goto out;
	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];

		if (backend->state != BACKEND_ACTIVE || !backend->weight ||
		    is_v6(&backend->address) != table->ipv6)
			continue;
		weights[count++] = (struct slot_weight){
			.identity = backend_identity(backend),
			.value = backend_rows[i],
			.weight = backend->weight,
		};
	}
	signature = hash_bytes(weights, count * sizeof(*weights), service->table_size) | 1;
	if (signature == table->signature) {
		r = 0;
		goto out;
	}
	slots = calloc(service->table_size, sizeof(*slots));
	if (!slots)
		goto out;
	r = slot_table_maglev(weights, count, slots, service->table_size);
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
	free(weights);
	return r;
}

/* ---- services and port sets ---- */

static int apply_service_ports(struct lb *lb, const struct service *service, const uint16_t *ports,
			       size_t count, uint8_t proto, const int tables[2], struct err *err)
{
	for (size_t i = 0; i < service->address_count; i++) {
		bool ipv6 = is_v6(&service->addresses[i]);
		struct lb_service value = {
			.table = (__u32)tables[ipv6],
			.table_size = service->table_size,
			.nat = service->nat == CONFIG_NAT_FULL ? LB_NAT_FULL : LB_NAT_DESTINATION,
		};

		for (size_t k = 0; k < count; k++) {
			struct lb_service_key key;
			int r;

			service_key(&service->addresses[i], ports[k], proto, &key);
			r = put(lb, LB_MAP_SERVICES, &key, &value, "a service address", err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The addresses of one family of service under which a client may have asked. */
static int apply_vips(struct lb *lb, const struct service *service, bool ipv6, uint32_t table,
		      struct err *err)
{
	struct lb_vips vips = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < service->address_count; i++) {
		if (is_v6(&service->addresses[i]) != ipv6)
			continue;
		for (size_t k = 0; k < service->tcp_port_count && n < LB_MAX_VIPS; k++)
			service_key(&service->addresses[i], service->tcp_ports[k], IPPROTO_TCP,
				    &vips.vip[n++]);
		for (size_t k = 0; k < service->udp_port_count && n < LB_MAX_VIPS; k++)
			service_key(&service->addresses[i], service->udp_ports[k], IPPROTO_UDP,
				    &vips.vip[n++]);
	}
	return put(lb, LB_MAP_VIPS, &table, &vips, "a service's addresses", err);
}

static void set_ports(uint64_t *words, const uint16_t *ports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bitset_set(words, ports[i]);
}

static void collect_ports(const struct lb *lb, const struct model *model, struct lb_ports *ports)
{
	for (size_t i = 0; i < model->service_count; i++) {
		const struct service *service = &model->services[i];
		uint64_t *from[LB_PROTOS] = { (uint64_t *)ports->from[LB_TCP],
					      (uint64_t *)ports->from[LB_UDP] };
		bool used[LB_PROTOS] = { service->tcp_port_count > 0, service->udp_port_count > 0 };

		set_ports((uint64_t *)ports->service[LB_TCP], service->tcp_ports,
			  service->tcp_port_count);
		set_ports((uint64_t *)ports->service[LB_UDP], service->udp_ports,
			  service->udp_port_count);
		for (int p = 0; p < LB_PROTOS; p++) {
			const uint16_t *own = p == LB_TCP ? service->tcp_ports : service->udp_ports;
			size_t own_count = p == LB_TCP ? service->tcp_port_count
						       : service->udp_port_count;

			if (!used[p])
				continue;
			for (uint32_t port = lb->options.port_first; port <= lb->options.port_last;
			     port++)
				bitset_set((uint64_t *)ports->to[p], port);
			if (service->nat == CONFIG_NAT_FULL)
				continue;
			for (size_t b = 0; b < service->backend_count; b++) {
				if (service->backends[b].port)
					bitset_set(from[p], service->backends[b].port);
				else
					set_ports(from[p], own, own_count);
			}
		}
	}
	for (int p = 0; p < LB_PROTOS; p++)
		for (int w = 0; w < LB_PORT_WORDS; w++)
			ports->to[p][w] |= ports->service[p][w];
}

static void drop_passthrough(const struct config_ebpf *config, struct lb_ports *ports)
{
	for (size_t i = 0; i < config->passthrough_port_count; i++)
		for (int p = 0; p < LB_PROTOS; p++) {
			bitset_clear((uint64_t *)ports->to[p], config->passthrough_ports[i]);
			bitset_clear((uint64_t *)ports->from[p], config->passthrough_ports[i]);
		}
}

static int write_ports(struct lb *lb, const struct model *model, struct err *err)
{
	struct lb_ports *ports = calloc(1, sizeof(*ports));
	__u32 zero = 0;
	int r;

	if (!ports)
		return err_set(err, -ENOMEM, "cannot build the port sets: out of memory");
	collect_ports(lb, model, ports);
	drop_passthrough(lb->options.config, ports);
	r = put(lb, LB_MAP_PORTS, &zero, ports, "the port sets", err);
	free(ports);
	return r;
}

static bool model_serves(const struct model *model, const struct lb_service_key *key)
{
	uint16_t port = ntohs(key->port);

	for (size_t i = 0; i < model->service_count; i++) {
		const struct service *service = &model->services[i];
		const uint16_t *ports = key->proto == IPPROTO_TCP ? service->tcp_ports
								  : service->udp_ports;
		size_t count = key->proto == IPPROTO_TCP ? service->tcp_port_count
							 : service->udp_port_count;

		for (size_t a = 0; a < service->address_count; a++) {
			if (memcmp(key->addr, &service->addresses[a], sizeof(key->addr)) != 0)
				continue;
			for (size_t p = 0; p < count; p++)
				if (ports[p] == port)
					return true;
		}
	}
	return false;
}

static int remove_services(struct lb *lb, const struct model *model, struct err *err)
{
	struct lb_service_key key;
	struct lb_service_key next;
	void *from = NULL;

	while (bpf_map_get_next_key(lb->maps[LB_MAP_SERVICES], from, &next) == 0) {
		if (!model_serves(model, &next)) {
			if (bpf_map_delete_elem(lb->maps[LB_MAP_SERVICES], &next) < 0 &&
			    errno != ENOENT)
				return err_set(err, -errno, "cannot remove a service address: %s",
					       strerror(errno));
			continue; /* from the last one that stays */
		}
		key = next;
		from = &key;
	}
	return 0;
}

static void release_tables(struct lb *lb, const struct model *model)
{
	for (__u32 row = 0; row < LB_MAX_SERVICES; row++) {
		if (!lb->tables[row].name || model_service(model, lb->tables[row].name))
			continue;
		bpf_map_delete_elem(lb->maps[LB_MAP_TABLES], &row);
		free(lb->tables[row].name);
		memset(&lb->tables[row], 0, sizeof(lb->tables[row]));
	}
}

/* ---- the whole ---- */

static bool has_family(const struct service *service, bool ipv6)
{
	for (size_t i = 0; i < service->address_count; i++)
		if (is_v6(&service->addresses[i]) == ipv6)
			return true;
	return false;
}

/* After the tables: a new connection in between would find its slot's backend closed. */
static int cut_backends(struct lb *lb, const struct service *service, const uint32_t *rows,
			bool *changed, struct err *err)
{
	for (size_t i = 0; i < service->backend_count; i++) {
		struct lb_backend kernel = lb->rows[rows[i]].kernel;
		int r;

		if (service->backends[i].state != BACKEND_RESET)
			continue;
		kernel.state = LB_BACKEND_CUT;
		r = write_row(lb, rows[i], &kernel, changed, err);
		if (r < 0)
			return r;
		remove_reals(lb, rows[i]);
	}
	return 0;
}

static int apply_service(struct lb *lb, const struct service *service, bool *keep, bool *changed,
			 struct err *err)
{
	uint32_t *rows = calloc(service->backend_count + 1, sizeof(*rows));
	int tables[2];
	int r = -ENOMEM;

	if (!rows)
		return err_set(err, r, "cannot apply service %s: out of memory", service->name);
	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		tables[ipv6] = 0;
		if (!has_family(service, ipv6))
			continue;
		r = tables[ipv6] = table_row(lb, service, ipv6, err);
		if (r < 0)
			goto out;
	}
	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];

		r = apply_backend(lb, backend, (uint32_t)tables[is_v6(&backend->address)], changed,
				  &rows[i], err);
		if (r == 0 && backend->state != BACKEND_RESET)
			r = apply_reals(lb, rows[i], service, err);
		if (r < 0)
			goto out;
		keep[rows[i]] = true;
	}
	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		if (!has_family(service, ipv6))
			continue;
		r = apply_vips(lb, service, ipv6, (uint32_t)tables[ipv6], err);
		if (r == 0)
			r = apply_table(lb, (uint32_t)tables[ipv6], service, rows, err);
		if (r < 0)
			goto out;
	}
	r = cut_backends(lb, service, rows, changed, err);
	if (r < 0)
		goto out;
	r = apply_service_ports(lb, service, service->tcp_ports, service->tcp_port_count,
				IPPROTO_TCP, tables, err);
	if (r == 0)
		r = apply_service_ports(lb, service, service->udp_ports, service->udp_port_count,
					IPPROTO_UDP, tables, err);
out:
	free(rows);
	return r;
}

static int replace_program(struct lb *lb, const struct model *model, struct err *err)
{
	struct lb_features want = lb_features_of(model);
	int r;

	if (lb_features_equal(&lb->features, &want))
		return 0;
	r = lb_program_load(lb, &want, err);
	if (r < 0)
		return r;
	return lb->link_count ? lb_attach(lb, err) : 0;
}

int lb_apply(struct lb *lb, const struct model *model, struct err *err)
{
	bool *keep = calloc(lb->row_count, sizeof(*keep));
	bool changed = false;
	int r;

	if (!keep)
		return err_set(err, -ENOMEM, "cannot apply the model: out of memory");
	r = replace_program(lb, model, err);
	for (size_t i = 0; r == 0 && i < model->service_count; i++)
		r = apply_service(lb, &model->services[i], keep, &changed, err);
	if (r == 0)
		r = write_ports(lb, model, err);
	if (r == 0)
		r = remove_services(lb, model, err);
	for (uint32_t row = 1; r == 0 && row < lb->row_count; row++)
		if (lb->rows[row].used && !keep[row])
			r = retire_row(lb, row, &changed, err);
	if (r == 0)
		release_tables(lb, model);
	/* Flows must notice what did change, also when the rest failed. */
	if (changed) {
		int bumped = bump_generation(lb, r == 0 ? err : NULL);

		r = r == 0 ? bumped : r;
	}
	free(keep);
	return r;
}

int lb_set_next_hop(struct lb *lb, uint32_t row, const struct lb_next_hop *hop, struct err *err)
{
	struct lb_row *r = &lb->rows[row];
	struct lb_backend kernel = r->kernel;
	bool changed = false;
	int error;

	if (!r->used)
		return err_set(err, -ENOENT, "cannot set a next hop: row %u is not in use", row);
	r->hop = *hop;
	memset(&kernel.hop, 0, sizeof(kernel.hop));
	kernel.tags = 0;
	if (hop->resolved) {
		kernel.hop = hop->hop;
		kernel.tags = hop->tags;
	}
	error = fill_sources(lb, hop, !addr_is_v4((const struct addr *)kernel.addr), &kernel, err);
	if (error == 0)
		error = write_row(lb, row, &kernel, &changed, err);
	if (error == 0 && changed)
		error = bump_generation(lb, err);
	return error;
}
