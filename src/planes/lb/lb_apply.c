/* The only code that writes the load balancer's maps (the connection tables aside: lb_sweep.c,
 * lb_repair.c).
 *
 * Order is everything here.  Additions: backend rows, then tables that name them, then services,
 * then the port sets that let packets in.  Removals the other way round.  A program on another CPU
 * may hold a table it looked up just before the swap; replacing inner maps waits for those, once
 * for a batch (kernel/bpf/syscall.c, maybe_wait_bpf_programs).  That is what makes a removal final
 * when lb_apply returns; what only adds needs no swap and waits for nobody (lb_apply_tables.c). */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/membarrier.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "lb_apply_internal.h"
#include "model/weights.h"

int apply_put(struct lb *lb, enum lb_map map, const void *key, const void *value, const char *what,
	      struct err *err)
{
	if (bpf_map_update_elem(lb->maps[map], key, value, BPF_ANY) == 0)
		return 0;
	return err_set(err, -errno, "cannot write %s: %s%s", what, strerror(errno),
		       errno == E2BIG ? "; the map is full: raise maps.backends.max_entries" : "");
}

/* ---- what was there before ---- */

static int adopt_rows(struct lb *lb)
{
	for (uint32_t row = 1; row < lb->row_count; row++) {
		struct lb_row *r = &lb->rows[row];

		if (bpf_map_lookup_elem(lb->maps[LB_MAP_BACKENDS], &row, &r->kernel) < 0)
			return -errno;
		if (r->kernel.state != LB_BACKEND_UNUSED && apply_adopt_row(lb, row) < 0)
			return -ENOMEM;
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

static bool service_has(const struct service *service, const struct lb_backend *kernel)
{
	for (size_t i = 0; i < service->backend_count; i++)
		if (htons(service->backends[i].port) == kernel->port &&
		    !memcmp(&service->backends[i].address, kernel->addr, sizeof(kernel->addr)))
			return true;
	return false;
}

static int table_leftovers(struct lb *lb, const struct service *service, uint32_t table,
			   struct model_changes *changes)
{
	for (uint32_t row = 1; row < lb->row_count; row++) {
		const struct lb_backend *kernel = &lb->rows[row].kernel;
		struct backend backend = { .id = kernel->id,
					   .port = ntohs(kernel->port),
					   .origin = BACKEND_FROM_API };
		int r;

		if (!lb->rows[row].used || kernel->service != table || service_has(service, kernel))
			continue;
		memcpy(&backend.address, kernel->addr, sizeof(backend.address));
		backend.state = kernel->state == LB_BACKEND_CUT ? BACKEND_RESET : BACKEND_REMOVED;
		r = model_changes_add(changes, service->name, CHANGE_ADDED, &backend);
		if (r < 0)
			return r;
	}
	return 0;
}

int lb_leftovers(struct lb *lb, const struct model *model, struct model_changes *changes)
{
	for (size_t i = 0; lb->adopted && i < model->service_count; i++)
		for (int ipv6 = 0; ipv6 < 2; ipv6++) {
			int table = apply_adopted_table(lb, &model->services[i], ipv6);
			int r = 0;

			if (table >= 0)
				r = table_leftovers(lb, &model->services[i], (uint32_t)table,
						    changes);
			if (r < 0)
				return r;
		}
	return 0;
}

static int bump_generation(struct lb *lb, struct err *err)
{
	struct lb_control control = { .abi_version = LB_ABI_VERSION,
				      .generation = ++lb->generation };
	__u32 zero = 0;

	if (!control.generation) /* 0 means "never checked" in an entry */
		control.generation = lb->generation = 1;
	return apply_put(lb, LB_MAP_CONTROL, &zero, &control, "lb_control", err);
}

int lb_apply_defaults(struct lb *lb, struct err *err)
{
	return bump_generation(lb, err);
}

/* ---- the whole ---- */

static bool has_family(const struct service *service, bool ipv6)
{
	for (size_t i = 0; i < service->address_count; i++)
		if (apply_is_v6(&service->addresses[i]) == ipv6)
			return true;
	return false;
}

/* The rows of lb_tables that a service's families use; -1: none. */
static int service_tables(struct lb *lb, const struct service *service, int tables[2],
			  struct err *err)
{
	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		tables[ipv6] = -1;
		if (!has_family(service, ipv6))
			continue;
		tables[ipv6] = apply_table_row(lb, service, ipv6, err);
		if (tables[ipv6] < 0)
			return tables[ipv6];
		lb->tables[tables[ipv6]].serial = lb->serial;
	}
	return 0;
}

/* The table that a backend's row names as its own; 0 while the service has no address for it. */
static uint32_t home_table(const struct service *service, const struct backend *backend,
			   const int tables[2])
{
	bool ipv6 = apply_is_v6(&backend->address);

	if (tables[ipv6] >= 0)
		return (uint32_t)tables[ipv6];
	return tables[0] >= 0 && apply_reaches(service, false, backend) ? (uint32_t)tables[0] : 0;
}

static int service_backends(struct lb *lb, const struct service *service, const int tables[2],
			    uint32_t *rows, bool *keep, bool *changed, struct err *err)
{
	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];
		int r = apply_backend(lb, backend, home_table(service, backend, tables), changed,
				      &rows[i], err);

		if (r == 0 && !backend_is_cut(backend) && !apply_is_direct(service))
			r = apply_reals(lb, rows[i], service, err);
		if (r < 0)
			return r;
		keep[rows[i]] = true;
	}
	return 0;
}

/* A service whose rows and tables are made, and whose new tables may wait to be swapped. */
struct job {
	const struct service *service; /* borrowed; NULL: nothing is left to do */
	uint32_t *rows;		       /* owned; of its backends */
	int tables[2];
};

/* Everything that packets may find before they are led there. */
static int prepare_service(struct lb *lb, const struct service *service, bool *keep, bool *changed,
			   struct job *job, struct err *err)
{
	int *tables = job->tables;
	int r = service_tables(lb, service, tables, err);

	if (r < 0 || apply_is_unchanged(lb, service, tables, keep))
		return r;
	apply_forget(lb, tables);
	job->rows = calloc(service->backend_count + 1, sizeof(*job->rows));
	if (!job->rows)
		return err_set(err, -ENOMEM, "cannot apply service %s: out of memory",
			       service->name);
	r = service_backends(lb, service, tables, job->rows, keep, changed, err);
	if (r == 0)
		r = apply_filters(lb, service, tables, err);
	if (r == 0)
		r = apply_server_ids(lb, service, tables, job->rows, err);
	for (int ipv6 = 0; r == 0 && ipv6 < 2; ipv6++) {
		if (tables[ipv6] < 0)
			continue;
		r = apply_vips(lb, service, ipv6, (uint32_t)tables[ipv6], err);
		if (r == 0)
			r = apply_table(lb, (uint32_t)tables[ipv6], service, job->rows, err);
	}
	job->service = service;
	return r;
}

static int finish_service(struct lb *lb, const struct job *job, bool *changed, struct err *err)
{
	int r = apply_states(lb, job->service, job->rows, changed, err);

	if (r == 0)
		r = apply_service_ports(lb, job->service, job->tables, err);
	if (r == 0)
		apply_remember(lb, job->service, job->tables, job->rows);
	return r;
}

static int replace_program(struct lb *lb, const struct model *model, struct err *err)
{
	struct lb_features want = lb_features_of(lb->options.config, model, &lb->features);
	int r;

	want.trace = lb->features.trace;
	if (lb_features_equal(&lb->features, &want) && !lb_spread_changed(lb))
		return 0;
	r = lb_program_load(lb, &want, err);
	if (r < 0)
		return r;
	return lb->link_count ? lb_attach(lb, err) : 0;
}

/* In two rounds, so that the tables of all services are swapped together: each swap waits. */
static int apply_services(struct lb *lb, const struct model *model, bool *keep, bool *changed,
			  struct err *err)
{
	struct job *jobs = calloc(model->service_count + 1, sizeof(*jobs));
	int r = 0;

	if (!jobs)
		return err_set(err, -ENOMEM, "cannot apply the services: out of memory");
	for (size_t i = 0; r == 0 && i < model->service_count; i++)
		r = prepare_service(lb, &model->services[i], keep, changed, &jobs[i], err);
	if (r == 0)
		r = apply_swaps(lb, err);
	apply_swaps_drop(lb);
	for (size_t i = 0; r == 0 && i < model->service_count; i++)
		if (jobs[i].service)
			r = finish_service(lb, &jobs[i], changed, err);
	for (size_t i = 0; i < model->service_count; i++)
		free(jobs[i].rows);
	free(jobs);
	return r;
}

static int retire_rows(struct lb *lb, const bool *keep, bool *changed, struct err *err)
{
	int r = 0;

	for (uint32_t row = 1; r == 0 && row < lb->row_count; row++)
		if (lb->rows[row].used && !keep[row])
			r = apply_retire_row(lb, row, changed, err);
	return r;
}

/* What services are asked under changes seldom: then all their keys are looked through. */
static int remove_services(struct lb *lb, const struct model *model, uint64_t endpoints,
			   struct err *err)
{
	int r = lb->endpoints ? 0 : apply_remove_services(lb, model, err);

	if (r == 0)
		lb->endpoints = endpoints;
	return r;
}

/* This command of membarrier(2) is one RCU grace period, kernel/sched/membarrier.c; a program on
 * another CPU runs within one.  With one CPU none runs beside us. */
static void wait_for_programs(void)
{
	syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0);
}

int lb_apply(struct lb *lb, const struct model *model, struct err *err)
{
	uint64_t endpoints = apply_endpoints_of(model);
	bool *keep = calloc(lb->row_count, sizeof(*keep));
	bool changed = false;
	int r;

	if (!keep)
		return err_set(err, -ENOMEM, "cannot apply the model: out of memory");
	apply_keys_begin(lb);
	lb->serial++;
	lb->apply_again = false;
	lb->must_wait = false;
	if (endpoints != lb->endpoints)
		lb->endpoints = 0;
	r = replace_program(lb, model, err);
	if (r == 0)
		r = apply_services(lb, model, keep, &changed, err);
	if (r == 0)
		r = apply_ports(lb, model, err);
	if (r == 0)
		r = remove_services(lb, model, endpoints, err);
	if (r == 0)
		r = apply_keys_end(lb, err);
	if (r == 0)
		r = retire_rows(lb, keep, &changed, err);
	if (r == 0 && lb->apply_again)
		r = apply_services(lb, model, keep, &changed, err);
	if (r == 0)
		apply_release_tables(lb, model);
	/* Flows must notice what did change, also when the rest failed. */
	if (changed) {
		int bumped = bump_generation(lb, r == 0 ? err : NULL);

		r = r == 0 ? bumped : r;
	}
	if (lb->must_wait)
		wait_for_programs();
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
	kernel.mtu = 0;
	if (hop->resolved) {
		kernel.hop = hop->hop;
		kernel.tags = hop->tags;
		kernel.mtu = hop->mtu;
	}
	error = apply_fill_sources(lb, hop, !addr_is_v4((const struct addr *)kernel.addr), &kernel,
				   err);
	if (error == 0)
		error = apply_write_row(lb, row, &kernel, &changed, err);
	if (error == 0 && changed)
		error = bump_generation(lb, err);
	return error;
}

int lb_set_link(struct lb *lb, uint32_t ifindex, uint32_t mtu, struct err *err)
{
	struct lb_link_info info = { .mtu = mtu && mtu < LB_MTU_ANY ? mtu : LB_MTU_ANY };
	struct lb_link_info known = { 0 };

	if (bpf_map_lookup_elem(lb->maps[LB_MAP_LINKS], &ifindex, &known) == 0 &&
	    known.mtu == info.mtu)
		return 0;
	if (bpf_map_update_elem(lb->maps[LB_MAP_LINKS], &ifindex, &info, BPF_ANY) < 0)
		return err_set(err, -errno, "cannot note the MTU of interface %u: %s", ifindex,
			       strerror(errno));
	return bump_generation(lb, err);
}
