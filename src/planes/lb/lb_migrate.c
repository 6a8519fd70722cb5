/* Connections of an older layout are brought over, entry by entry, while the old program goes on
 * with the old maps.
 *
 * The old maps' pins step aside (NAME~); the new maps take their names.  A daemon that dies in
 * between leaves both, and the next one puts the old ones back.  What begins after an entry was
 * copied and before the new program is attached is copied at the end, or taken up by the program
 * itself, as any connection whose entries were lost.
 *
 * Version 1: entries knew no mode and no MTU and had an incarnation of 32 bits, rows of lb_backends
 * likewise; services had nothing but a table and a kind of NAT.  Slot tables are made anew. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "lb_internal.h"

#define BATCH 4096

struct flow_v1 {
	__u32 seen;
	__u32 touched;
	__u32 generation;
	__u32 backend;
	struct lb_hop hop;
	__u8 state;
	__u8 flags;
	__u8 tags;
	__u8 zero;
	__u32 incarnation;
	__be16 sport;
	__be16 dport;
};
ABI_SIZE(struct flow_v1, sizeof(struct lb_flow));

struct service_v1 {
	__u32 table;
	__u32 table_size;
	__u8 nat; /* as enum lb_mode begins */
	__u8 zero[3];
};
ABI_SIZE(struct service_v1, 12);

struct backend_v1 {
	__be32 addr[4];
	struct lb_hop hop;
	__u32 id;
	__u32 incarnation;
	__u16 source_first;
	__u16 source_count;
	__be16 port;
	__u8 state;
	__u8 tags;
	__u32 service;
};
ABI_SIZE(struct backend_v1, sizeof(struct lb_backend));

/* Maps of version 1, and whether their layout is still the same. */
static const struct {
	enum lb_map map;
	bool same;
} maps_v1[] = {
	{ LB_MAP_CONNS4, false },   { LB_MAP_CONNS6, false },	     { LB_MAP_SERVICES, false },
	{ LB_MAP_VIPS, true },	    { LB_MAP_TABLES, false },	     { LB_MAP_BACKENDS, false },
	{ LB_MAP_SOURCES, true },   { LB_MAP_REALS, true },	     { LB_MAP_PORTS, true },
	{ LB_MAP_COUNTERS, false }, { LB_MAP_BACKEND_COUNTS, true }, { LB_MAP_EVENTS, true },
	{ LB_MAP_CONTROL, false },
};
#define MAPS_V1 (sizeof(maps_v1) / sizeof(maps_v1[0]))

struct lb_migration {
	int old[LB_MAP_COUNT];	       /* -1: was none */
	uint8_t mode[LB_MAX_SERVICES]; /* enum lb_mode, by row of lb_tables */
	uint32_t rows;
	uint8_t *row_mode; /* owned; by row of lb_backends */
};

static void pin_of(const char *pin_dir, enum lb_map map, bool aside, char path[300])
{
	snprintf(path, 300, "%s/%s%s", pin_dir, lb_map_names[map], aside ? "~" : "");
}

bool lb_migrate_knows(uint32_t abi_version)
{
	return abi_version == 1;
}

void lb_migrate_recover(const char *pin_dir)
{
	char path[300];
	char aside[300];

	for (size_t i = 0; i < MAPS_V1; i++) {
		pin_of(pin_dir, maps_v1[i].map, true, aside);
		pin_of(pin_dir, maps_v1[i].map, false, path);
		if (access(aside, F_OK) < 0)
			continue;
		unlink(path);
		if (rename(aside, path) < 0)
			log_warning("cannot put back %s: %s", path, strerror(errno));
	}
}

static void migration_free(struct lb *lb)
{
	struct lb_migration *migration = lb->migration;

	if (!migration)
		return;
	for (int i = 0; i < LB_MAP_COUNT; i++)
		if (migration->old[i] >= 0)
			close(migration->old[i]);
	free(migration->row_mode);
	free(migration);
	lb->migration = NULL;
}

static int open_old(struct lb *lb, struct err *err)
{
	char path[300];
	char aside[300];

	for (size_t i = 0; i < MAPS_V1; i++) {
		enum lb_map map = maps_v1[i].map;
		int fd;

		pin_of(lb->options.pin_dir, map, false, path);
		fd = bpf_obj_get(path);
		if (fd < 0)
			return err_set(err, -errno,
				       "cannot open %s: %s; 'loomd detach' clears what is left",
				       path, strerror(errno));
		if (maps_v1[i].same) {
			lb->maps[map] = fd;
			continue;
		}
		lb->migration->old[map] = fd;
		pin_of(lb->options.pin_dir, map, true, aside);
		if (!lb->options.trial && rename(path, aside) < 0)
			return err_set(err, -errno, "cannot set %s aside: %s", path,
				       strerror(errno));
	}
	return 0;
}

static int read_modes(struct lb_migration *migration)
{
	struct lb_service_key key;
	struct lb_service_key next;
	struct service_v1 service;
	struct backend_v1 backend;
	void *from = NULL;

	while (bpf_map_get_next_key(migration->old[LB_MAP_SERVICES], from, &next) == 0) {
		if (bpf_map_lookup_elem(migration->old[LB_MAP_SERVICES], &next, &service) == 0 &&
		    service.table < LB_MAX_SERVICES)
			migration->mode[service.table] = service.nat;
		key = next;
		from = &key;
	}
	migration->row_mode = calloc(migration->rows, 1);
	if (!migration->row_mode)
		return -ENOMEM;
	for (uint32_t row = 1; row < migration->rows; row++)
		if (bpf_map_lookup_elem(migration->old[LB_MAP_BACKENDS], &row, &backend) == 0 &&
		    backend.service < LB_MAX_SERVICES)
			migration->row_mode[row] = migration->mode[backend.service];
	return 0;
}

int lb_migrate_begin(struct lb *lb, struct err *err)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);
	int r;

	lb->migration = calloc(1, sizeof(*lb->migration));
	if (!lb->migration)
		return err_set(err, -ENOMEM, "cannot bring connections over: out of memory");
	for (int i = 0; i < LB_MAP_COUNT; i++)
		lb->migration->old[i] = -1;
	r = open_old(lb, err);
	if (r < 0)
		return r;
	if (bpf_obj_get_info_by_fd(lb->migration->old[LB_MAP_BACKENDS], &info, &size) < 0)
		return err_set(err, -errno, "cannot inspect lb_backends: %s", strerror(errno));
	lb->migration->rows = lb->row_count = info.max_entries;
	r = read_modes(lb->migration);
	return r < 0 ? err_set(err, r, "cannot read the old backends: %s", strerror(-r)) : 0;
}

static void convert_flow(const struct lb_migration *migration, void *entry)
{
	struct flow_v1 old;
	struct lb_flow *flow = entry;

	memcpy(&old, entry, sizeof(old));
	flow->mode = old.backend < migration->rows ? migration->row_mode[old.backend]
						   : (uint8_t)LB_MODE_NAT_FULL;
	flow->incarnation = (__u16)old.incarnation;
	flow->mtu = LB_MTU_ANY;
}

/* Whole entries differ in their flow alone. */
static int copy_entries(struct lb *lb, enum lb_map map, size_t key_size, size_t value_size,
			uint64_t map_flags)
{
	char *keys = malloc(BATCH * key_size);
	char *values = malloc(BATCH * value_size);
	__u32 token = 0;
	bool first = true;
	int r = keys && values ? 0 : -ENOMEM;

	while (r == 0) {
		__u32 count = BATCH;

		if (bpf_map_lookup_batch(lb->migration->old[map], first ? NULL : &token, &token,
					 keys, values, &count, NULL) < 0)
			r = -errno;
		first = false;
		if (r < 0 && r != -ENOENT)
			break;
		for (__u32 i = 0; i < count; i++) {
			convert_flow(lb->migration, values + i * value_size);
			bpf_map_update_elem(lb->maps[map], keys + i * key_size,
					    values + i * value_size, map_flags);
		}
	}
	free(keys);
	free(values);
	return r == -ENOENT ? 0 : r;
}

static int copy_connections(struct lb *lb, uint64_t map_flags)
{
	int r = copy_entries(lb, LB_MAP_CONNS4, sizeof(struct lb_key4), sizeof(struct lb_conn4),
			     map_flags);

	return r < 0 ? r
		     : copy_entries(lb, LB_MAP_CONNS6, sizeof(struct lb_key6),
				    sizeof(struct lb_conn6), map_flags);
}

static int copy_backends(struct lb *lb)
{
	for (uint32_t row = 1; row < lb->migration->rows; row++) {
		struct lb_backend backend;
		struct backend_v1 old;

		if (bpf_map_lookup_elem(lb->migration->old[LB_MAP_BACKENDS], &row, &old) < 0)
			return -errno;
		memcpy(&backend, &old, sizeof(backend));
		backend.incarnation = (__u16)old.incarnation;
		backend.mtu = 0;
		if (bpf_map_update_elem(lb->maps[LB_MAP_BACKENDS], &row, &backend, BPF_ANY) < 0)
			return -errno;
	}
	return 0;
}

/* So that apply finds each service's table; the rest of the row it writes anew. */
static int copy_services(struct lb *lb)
{
	struct lb_service_key key;
	struct lb_service_key next;
	struct service_v1 old;
	void *from = NULL;

	while (bpf_map_get_next_key(lb->migration->old[LB_MAP_SERVICES], from, &next) == 0) {
		struct lb_service service = { 0 };

		if (bpf_map_lookup_elem(lb->migration->old[LB_MAP_SERVICES], &next, &old) == 0) {
			service.table = old.table;
			service.table_size = old.table_size;
			service.mode = old.nat;
			if (bpf_map_update_elem(lb->maps[LB_MAP_SERVICES], &next, &service,
						BPF_ANY) < 0)
				return -errno;
		}
		key = next;
		from = &key;
	}
	return 0;
}

static int copy_counters(struct lb *lb)
{
	int cpus = libbpf_num_possible_cpus();
	struct lb_count *counts = cpus > 0 ? calloc((size_t)cpus, sizeof(*counts)) : NULL;
	int old = lb->migration->old[LB_MAP_COUNTERS];

	if (!counts)
		return -ENOMEM;
	for (__u32 row = 0; bpf_map_lookup_elem(old, &row, counts) == 0; row++)
		bpf_map_update_elem(lb->maps[LB_MAP_COUNTERS], &row, counts, BPF_ANY);
	free(counts);
	return 0;
}

int lb_migrate_copy(struct lb *lb, struct err *err)
{
	struct lb_control control = { .abi_version = LB_ABI_VERSION, .generation = lb->generation };
	__u32 zero = 0;
	int r = copy_backends(lb);

	if (r == 0)
		r = copy_services(lb);
	if (r == 0)
		r = copy_counters(lb);
	if (r == 0)
		r = copy_connections(lb, BPF_ANY);
	if (r == 0 && bpf_map_update_elem(lb->maps[LB_MAP_CONTROL], &zero, &control, BPF_ANY) < 0)
		r = -errno;
	return r < 0 ? err_set(err, r, "cannot bring connections over: %s; the old data path stays",
			       strerror(-r))
		     : 0;
}

void lb_migrate_end(struct lb *lb)
{
	char path[300];
	int r;

	if (!lb->migration)
		return;
	r = copy_connections(lb, BPF_NOEXIST);
	if (r < 0)
		log_warning("connections that began a moment ago were not brought over: %s",
			    strerror(-r));
	for (size_t i = 0; i < MAPS_V1; i++) {
		pin_of(lb->options.pin_dir, maps_v1[i].map, true, path);
		unlink(path);
	}
	migration_free(lb);
	log_notice("brought the connection table over from layout version 1 to %d", LB_ABI_VERSION);
}

void lb_migrate_undo(struct lb *lb)
{
	char path[300];

	if (!lb->migration)
		return;
	for (int map = 0; !lb->options.trial && map < LB_MAP_COUNT; map++) {
		bool is_v1 = false;

		for (size_t i = 0; i < MAPS_V1; i++)
			is_v1 |= maps_v1[i].map == (enum lb_map)map;
		pin_of(lb->options.pin_dir, map, false, path);
		if (!is_v1)
			unlink(path);
	}
	if (!lb->options.trial)
		lb_migrate_recover(lb->options.pin_dir);
	migration_free(lb);
}
