/* Reads maps for people. */
#include "lb_stats.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "lb_internal.h"

static const struct {
	const char *name;
	enum lb_action action;
	const char *help;
} counters[LB_COUNTER_COUNT] = {
#define LB_COUNTER_ROW(counter, value, verdict, text) \
	[LB_##counter] = { value, LB_ACTION_##verdict, text },
	LB_COUNTERS(LB_COUNTER_ROW)
#undef LB_COUNTER_ROW
};

static const char *const state_names[LB_STATES] = {
	[LB_STATE_NONE] = "udp",	  [LB_STATE_SYN_SENT] = "syn_sent",
	[LB_STATE_SYN_RECV] = "syn_recv", [LB_STATE_ESTABLISHED] = "established",
	[LB_STATE_FIN_WAIT] = "fin_wait", [LB_STATE_TIME_WAIT] = "time_wait",
	[LB_STATE_CLOSED] = "closed",
};

const char *lb_counter_name(enum lb_counter counter)
{
	return counters[counter].name;
}

const char *lb_counter_help(enum lb_counter counter)
{
	return counters[counter].help;
}

enum lb_action lb_counter_action(enum lb_counter counter)
{
	return counters[counter].action;
}

const char *lb_state_name(enum lb_state state)
{
	return state < LB_STATES ? state_names[state] : "unknown";
}

int lb_state_parse(const char *name, enum lb_state *ret)
{
	for (int i = 0; i < LB_STATES; i++)
		if (!strcmp(name, state_names[i])) {
			*ret = i;
			return 0;
		}
	return -EINVAL;
}

/* A row's sum over the CPUs; cpus is its buffer. */
static int sum_count(int fd, uint32_t row, struct lb_count *cpus, int n, struct lb_count *sum)
{
	if (bpf_map_lookup_elem(fd, &row, cpus) < 0)
		return -errno;
	memset(sum, 0, sizeof(*sum));
	for (int i = 0; i < n; i++) {
		sum->packets += cpus[i].packets;
		sum->bytes += cpus[i].bytes;
	}
	return 0;
}

static struct lb_backend_count sum_backend(const struct lb_backend_count *cpus, int n)
{
	struct lb_backend_count sum = { 0 };

	for (int i = 0; i < n; i++) {
		sum.to_packets += cpus[i].to_packets;
		sum.to_bytes += cpus[i].to_bytes;
		sum.from_packets += cpus[i].from_packets;
		sum.from_bytes += cpus[i].from_bytes;
		sum.connections += cpus[i].connections;
	}
	return sum;
}

static int collect_reasons(struct lb *lb, struct lb_snapshot *s, int cpus)
{
	struct lb_count *buffer = calloc((size_t)cpus, sizeof(*buffer));
	int r = buffer ? 0 : -ENOMEM;

	for (uint32_t i = 0; r == 0 && i < LB_COUNTER_COUNT; i++) {
		r = sum_count(lb->maps[LB_MAP_COUNTERS], i, buffer, cpus, &s->reasons[i]);
		if (r < 0)
			break;
		switch (counters[i].action) {
		case LB_ACTION_PASS:
			s->packets_pass += s->reasons[i].packets;
			s->bytes_rx += s->reasons[i].bytes;
			break;
		case LB_ACTION_DROP:
			s->packets_drop += s->reasons[i].packets;
			s->bytes_rx += s->reasons[i].bytes;
			break;
		case LB_ACTION_TX:
			s->packets_forward += s->reasons[i].packets;
			s->bytes_rx += s->reasons[i].bytes;
			s->bytes_tx += s->reasons[i].bytes;
			break;
		default:
			break;
		}
	}
	free(buffer);
	return r;
}

static void fill_backend(const struct lb *lb, const struct lb_row *row,
			 const struct lb_backend_count *sum, struct lb_backend_stats *b)
{
	const char *service = lb->tables[row->kernel.service].name;

	b->id = row->kernel.id;
	snprintf(b->service, sizeof(b->service), "%s", service ? service : "");
	memcpy(&b->address, row->kernel.addr, sizeof(b->address));
	b->port = ntohs(row->kernel.port);
	b->to_packets = sum->to_packets;
	b->to_bytes = sum->to_bytes;
	b->from_packets = sum->from_packets;
	b->from_bytes = sum->from_bytes;
	b->connections_total = sum->connections;
	b->connections_active = row->active;
	b->hop_state = row->hop.resolved      ? LB_HOP_RESOLVED
		       : row->hop.unreachable ? LB_HOP_UNREACHABLE
					      : LB_HOP_RESOLVING;
	snprintf(b->hop_interface, sizeof(b->hop_interface), "%s", row->hop.interface);
	memcpy(b->hop_mac, row->hop.hop.dmac, sizeof(b->hop_mac));
	if (row->kernel.source_count)
		memcpy(&b->source, &lb->sources[row->kernel.source_first], sizeof(b->source));
}

/* Row 0 holds what removed backends counted. */
static void collect_row(const struct lb *lb, uint32_t row, const struct lb_backend_count *sum,
			struct lb_snapshot *s)
{
	if (row && !lb->rows[row].used)
		return;
	s->packets_forward += sum->to_packets + sum->from_packets;
	s->bytes_rx += sum->to_bytes + sum->from_bytes;
	s->bytes_tx += sum->to_bytes + sum->from_bytes;
	s->connections_total += sum->connections;
	if (!row)
		return;
	s->connections_active += lb->rows[row].active;
	fill_backend(lb, &lb->rows[row], sum, &s->backends[s->backend_count++]);
}

#define COUNTS_BATCH 256u

/* The counters of the rows, up to the last in use. */
static int collect_rows(struct lb *lb, struct lb_snapshot *s, uint32_t end, int cpus,
			struct lb_backend_count *values)
{
	int fd = lb->maps[LB_MAP_BACKEND_COUNTS];
	uint32_t keys[COUNTS_BATCH];
	uint32_t token = 0;
	uint32_t row = 0;

	while (row < end) {
		__u32 count = COUNTS_BATCH;
		int r = bpf_map_lookup_batch(fd, row ? &token : NULL, &token, keys, values, &count,
					     NULL);

		if (r < 0 && errno != ENOENT)
			return -errno;
		for (__u32 i = 0; i < count && keys[i] < end; i++) {
			struct lb_backend_count sum = sum_backend(&values[i * (size_t)cpus], cpus);

			collect_row(lb, keys[i], &sum, s);
		}
		row += count;
		if (r < 0 || !count)
			break; /* the end of the map */
	}
	return 0;
}

static int collect_backends(struct lb *lb, struct lb_snapshot *s, int cpus)
{
	struct lb_backend_count *values = calloc((size_t)cpus * COUNTS_BATCH, sizeof(*values));
	uint32_t end = 1;
	size_t count = 0;
	int r = -ENOMEM;

	for (uint32_t row = 1; row < lb->row_count; row++) {
		if (!lb->rows[row].used)
			continue;
		count++;
		end = row + 1;
	}
	s->backends = calloc(count + 1, sizeof(*s->backends));
	if (s->backends && values)
		r = collect_rows(lb, s, end, cpus, values);
	free(values);
	return r;
}

bool lb_backend_look(const struct lb *lb, uint32_t id, struct lb_backend_stats *ret)
{
	static const struct lb_backend_count none;
	struct index_walk walk = lb_rows_by_id(lb, id);
	uint32_t row;

	while (index_next(&walk, &row)) {
		if (lb->rows[row].kernel.id != id)
			continue;
		memset(ret, 0, sizeof(*ret));
		fill_backend(lb, &lb->rows[row], &none, ret);
		return true;
	}
	return false;
}

static uint64_t map_max(int fd)
{
	struct bpf_map_info info = { 0 };
	__u32 size = sizeof(info);

	return bpf_obj_get_info_by_fd(fd, &info, &size) == 0 ? info.max_entries : 0;
}

static uint64_t count_services(const struct lb *lb)
{
	struct lb_service_key key;
	struct lb_service_key next;
	void *from = NULL;
	uint64_t n = 0;

	while (n < 65536 && bpf_map_get_next_key(lb->maps[LB_MAP_SERVICES], from, &next) == 0) {
		key = next;
		from = &key;
		n++;
	}
	return n;
}

static void collect_state(struct lb *lb, struct lb_snapshot *s)
{
	uint64_t max4 = map_max(lb->maps[LB_MAP_CONNS4]);
	uint64_t max6 = map_max(lb->maps[LB_MAP_CONNS6]);
	struct bpf_prog_info info = { 0 };
	__u32 size = sizeof(info);

	memcpy(s->connections_by_state, lb->states, sizeof(s->connections_by_state));
	s->connection_entries = lb->entries;
	/* A table of one entry is no table: its family is not served. */
	s->connection_entries_max = (max4 > 1 ? max4 : 0) + (max6 > 1 ? max6 : 0);
	s->backend_rows = s->backend_count;
	s->backend_rows_max = lb->row_count - 1;
	s->service_rows = count_services(lb);
	s->service_rows_max = map_max(lb->maps[LB_MAP_SERVICES]);
	s->sweeps_total = lb->sweep_passes;
	s->sweep_expired_total = lb->sweep_expired;
	s->sweep_last_ns = lb->sweep_last_ns;
	s->repairs_total = lb->repairs;
	bpf_obj_get_info_by_fd(lb_program_fd(lb), &info, &size);
	for (size_t i = 0; i < lb->link_count; i++) {
		struct lb_interface_stats *interface = &s->interfaces[s->interface_count++];

		snprintf(interface->name, sizeof(interface->name), "%s", lb->links[i].name);
		interface->mode = lb->links[i].generic ? "generic" : "native";
		interface->program_id = info.id;
	}
}

int lb_snapshot_take(struct lb *lb, struct lb_snapshot **ret, struct err *err)
{
	struct lb_snapshot *s = calloc(1, sizeof(*s));
	int cpus = libbpf_num_possible_cpus();
	int r;

	*ret = NULL;
	if (!s)
		return err_set(err, -ENOMEM, "cannot read the counters: out of memory");
	r = cpus < 0 ? cpus : collect_reasons(lb, s, cpus);
	if (r == 0)
		r = collect_backends(lb, s, cpus);
	if (r < 0) {
		lb_snapshot_free(s);
		return err_set(err, r, "cannot read the counters: %s", strerror(-r));
	}
	collect_state(lb, s);
	*ret = s;
	return 0;
}

void lb_snapshot_free(struct lb_snapshot *snapshot)
{
	if (!snapshot)
		return;
	free(snapshot->backends);
	free(snapshot);
}
