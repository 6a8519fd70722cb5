/* The families of the load balancer. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "metrics_internal.h"
#include "model/weights.h"

/* A backend's label and its counts: rows that would print the same labels are one, since a series
 * given twice makes Prometheus refuse the whole scrape. */
struct row {
	struct lb_backend_stats stats;
	uint32_t weight;
	bool up;
	bool healthy;
	char backend[ADDR_PORT_TEXT_LEN];
};

const char *metrics_action_name(enum lb_action action)
{
	switch (action) {
	case LB_ACTION_PASS:
		return "pass";
	case LB_ACTION_DROP:
		return "drop";
	case LB_ACTION_TX:
		return "tx";
	case LB_ACTION_NONE:
		break;
	}
	return "none";
}

static void sample_backend(struct scrape *s, const struct row *row, const char *direction,
			   uint64_t value)
{
	buf_printf(s->out, "%s", s->name);
	metrics_label(s, "{", "backend", row->backend);
	metrics_label(s, ",", "service", row->stats.service);
	if (direction)
		metrics_label(s, ",", "direction", direction);
	buf_append(s->out, "}", 1);
	metrics_value(s, value);
}

static void print_packets(struct scrape *s)
{
	metrics_sample_of(s, "action", "forward", s->snapshot->packets_forward);
	metrics_sample_of(s, "action", "drop", s->snapshot->packets_drop);
	metrics_sample_of(s, "action", "pass", s->snapshot->packets_pass);
}

static void print_packets_by_reason(struct scrape *s)
{
	for (int i = 0; i < LB_COUNTER_COUNT; i++) {
		enum lb_counter counter = (enum lb_counter)i;

		buf_printf(s->out, "%s", s->name);
		metrics_label(s, "{", "action", metrics_action_name(lb_counter_action(counter)));
		metrics_label(s, ",", "reason", lb_counter_name(counter));
		buf_append(s->out, "}", 1);
		metrics_value(s, s->snapshot->reasons[i].packets);
	}
}

static void print_errors(struct scrape *s)
{
	for (int i = 0; i < LB_COUNTER_COUNT; i++)
		if (lb_counter_action((enum lb_counter)i) == LB_ACTION_DROP)
			metrics_sample_of(s, "type", lb_counter_name((enum lb_counter)i),
					  s->snapshot->reasons[i].packets);
}

static void print_bytes(struct scrape *s)
{
	metrics_sample_of(s, "direction", "rx", s->snapshot->bytes_rx);
	metrics_sample_of(s, "direction", "tx", s->snapshot->bytes_tx);
}

static void print_connections_active(struct scrape *s)
{
	metrics_sample(s, s->snapshot->connections_active);
}

static void print_connections_total(struct scrape *s)
{
	metrics_sample(s, s->snapshot->connections_total);
}

static void print_connections(struct scrape *s)
{
	for (int i = 0; i < LB_STATES; i++)
		metrics_sample_of(s, "state", lb_state_name((enum lb_state)i),
				  s->snapshot->connections_by_state[i]);
}

/* Both directions, so that the sum over the backends is what was forwarded. */
static void print_backend_packets(struct scrape *s)
{
	for (size_t i = 0; i < s->row_count; i++)
		sample_backend(s, &s->rows[i], NULL,
			       s->rows[i].stats.to_packets + s->rows[i].stats.from_packets);
}

static void print_backend_packets_by_direction(struct scrape *s)
{
	for (size_t i = 0; i < s->row_count; i++) {
		sample_backend(s, &s->rows[i], "to", s->rows[i].stats.to_packets);
		sample_backend(s, &s->rows[i], "from", s->rows[i].stats.from_packets);
	}
}

static void print_backend_bytes(struct scrape *s)
{
	for (size_t i = 0; i < s->row_count; i++) {
		sample_backend(s, &s->rows[i], "to", s->rows[i].stats.to_bytes);
		sample_backend(s, &s->rows[i], "from", s->rows[i].stats.from_bytes);
	}
}

static void print_backend_active(struct scrape *s)
{
	for (size_t i = 0; i < s->row_count; i++)
		sample_backend(s, &s->rows[i], NULL, s->rows[i].stats.connections_active);
}

static void print_backend_total(struct scrape *s)
{
	for (size_t i = 0; i < s->row_count; i++)
		sample_backend(s, &s->rows[i], NULL, s->rows[i].stats.connections_total);
}

static void print_backend_up(struct scrape *s)
{
	for (size_t i = 0; i < s->row_count; i++)
		sample_backend(s, &s->rows[i], NULL, s->rows[i].up);
}

static void print_backend_weight(struct scrape *s)
{
	for (size_t i = 0; i < s->row_count; i++)
		sample_backend(s, &s->rows[i], NULL, s->rows[i].weight);
}

static void print_backend_healthy(struct scrape *s)
{
	for (size_t i = 0; i < s->row_count; i++)
		sample_backend(s, &s->rows[i], NULL, s->rows[i].healthy);
}

static void print_health_checks(struct scrape *s)
{
	metrics_sample_of(s, "result", "success",
			  s->input->health ? s->input->health->succeeded : 0);
	metrics_sample_of(s, "result", "failure", s->input->health ? s->input->health->failed : 0);
}

static void print_transitions(struct scrape *s)
{
	metrics_sample_of(s, "to", "healthy", s->input->health ? s->input->health->rises : 0);
	metrics_sample_of(s, "to", "unhealthy", s->input->health ? s->input->health->falls : 0);
}

static void print_panic(struct scrape *s)
{
	const struct model *model = s->input->model;

	for (size_t i = 0; model && i < model->service_count; i++)
		metrics_sample_of(s, "service", model->services[i].name,
				  service_panics(&model->services[i]));
}

static void print_map_entries(struct scrape *s)
{
	metrics_sample_of(s, "map", "connections", s->snapshot->connection_entries);
	metrics_sample_of(s, "map", "backends", s->snapshot->backend_rows);
	metrics_sample_of(s, "map", "services", s->snapshot->service_rows);
}

static void print_map_max(struct scrape *s)
{
	metrics_sample_of(s, "map", "connections", s->snapshot->connection_entries_max);
	metrics_sample_of(s, "map", "backends", s->snapshot->backend_rows_max);
	metrics_sample_of(s, "map", "services", s->snapshot->service_rows_max);
}

static void print_sweeps(struct scrape *s)
{
	metrics_sample(s, s->snapshot->sweeps_total);
}

static void print_sweep_expired(struct scrape *s)
{
	metrics_sample(s, s->snapshot->sweep_expired_total);
}

static void print_sweep_duration(struct scrape *s)
{
	metrics_sample_seconds(s, s->snapshot->sweep_last_ns);
}

static void print_repairs(struct scrape *s)
{
	metrics_sample(s, s->snapshot->repairs_total);
}

static void print_interfaces(struct scrape *s)
{
	for (size_t i = 0; i < s->snapshot->interface_count; i++) {
		const struct lb_interface_stats *interface = &s->snapshot->interfaces[i];

		buf_printf(s->out, "%s", s->name);
		metrics_label(s, "{", "interface", interface->name);
		metrics_label(s, ",", "mode", interface->mode);
		buf_append(s->out, "}", 1);
		metrics_value(s, 1);
	}
}

const struct metric metrics_lb[] = {
	{ "loom_ebpf_packets_total", METRIC_COUNTER, METRIC_DATA_PATH, "action",
	  "Packets seen, by what became of them: forward, drop or pass (left to the stack)",
	  print_packets },
	{ "loom_ebpf_packets_by_reason_total", METRIC_COUNTER, METRIC_DATA_PATH, "action, reason",
	  "Packets that were not simply forwarded, by reason", print_packets_by_reason },
	{ "loom_ebpf_errors_total", METRIC_COUNTER, METRIC_DATA_PATH, "type",
	  "Packets dropped, by reason", print_errors },
	{ "loom_ebpf_bytes_total", METRIC_COUNTER, METRIC_DATA_PATH, "direction",
	  "Bytes of frames received (rx) and sent (tx)", print_bytes },
	{ "loom_ebpf_connections_active", METRIC_GAUGE, METRIC_DATA_PATH, "",
	  "Connections, counted from the table by the last sweep", print_connections_active },
	{ "loom_ebpf_connections_total", METRIC_COUNTER, METRIC_DATA_PATH, "", "Connections begun",
	  print_connections_total },
	{ "loom_ebpf_connections", METRIC_GAUGE, METRIC_DATA_PATH, "state",
	  "Connections by state, counted from the table by the last sweep", print_connections },
	{ "loom_ebpf_backend_packets_total", METRIC_COUNTER, METRIC_DATA_PATH, "backend, service",
	  "Packets forwarded to a backend and from it", print_backend_packets },
	{ "loom_ebpf_backend_packets_by_direction_total", METRIC_COUNTER, METRIC_DATA_PATH,
	  "backend, service, direction", "Packets forwarded to a backend, or from it",
	  print_backend_packets_by_direction },
	{ "loom_ebpf_backend_bytes_total", METRIC_COUNTER, METRIC_DATA_PATH,
	  "backend, service, direction", "Bytes of frames to a backend and from it",
	  print_backend_bytes },
	{ "loom_ebpf_backend_connections_active", METRIC_GAUGE, METRIC_DATA_PATH,
	  "backend, service", "Connections of a backend, counted from the table by the last sweep",
	  print_backend_active },
	{ "loom_ebpf_backend_connections_total", METRIC_COUNTER, METRIC_DATA_PATH,
	  "backend, service", "Connections begun or picked up for a backend", print_backend_total },
	{ "loom_ebpf_backend_up", METRIC_GAUGE, METRIC_DATA_PATH, "backend, service",
	  "1 while the next hop to a backend is resolved, 0 otherwise", print_backend_up },
	{ "loom_ebpf_backend_weight", METRIC_GAUGE, METRIC_DATA_PATH, "backend, service",
	  "A backend's weight; 0 while it gets no new connections", print_backend_weight },
	{ "loom_ebpf_backend_healthy", METRIC_GAUGE, METRIC_DATA_PATH, "backend, service",
	  "0 while health checks find a backend unhealthy, 1 otherwise", print_backend_healthy },
	{ "loom_ebpf_backend_transitions_total", METRIC_COUNTER, METRIC_DATA_PATH, "to",
	  "Changes of backends' health, to unhealthy or back to healthy", print_transitions },
	{ "loom_ebpf_health_checks_total", METRIC_COUNTER, METRIC_DATA_PATH, "result",
	  "Health checks, by result: success or failure", print_health_checks },
	{ "loom_ebpf_service_panic", METRIC_GAUGE, METRIC_DATA_PATH, "service",
	  "1 while a service has too few healthy backends and uses all, 0 otherwise", print_panic },
	{ "loom_ebpf_map_entries", METRIC_GAUGE, METRIC_DATA_PATH, "map",
	  "Entries in use; a NAT connection takes two", print_map_entries },
	{ "loom_ebpf_map_max_entries", METRIC_GAUGE, METRIC_DATA_PATH, "map",
	  "Entries there is room for", print_map_max },
	{ "loom_ebpf_sweeps_total", METRIC_COUNTER, METRIC_DATA_PATH, "",
	  "Complete sweeps of the connection table", print_sweeps },
	{ "loom_ebpf_sweep_expired_total", METRIC_COUNTER, METRIC_DATA_PATH, "",
	  "Connection table entries that sweeps removed", print_sweep_expired },
	{ "loom_ebpf_sweep_duration_seconds", METRIC_GAUGE, METRIC_DATA_PATH, "",
	  "How long the last complete sweep took", print_sweep_duration },
	{ "loom_ebpf_repairs_total", METRIC_COUNTER, METRIC_DATA_PATH, "",
	  "Lost halves of connections that the daemon put back", print_repairs },
	{ "loom_ebpf_interface_info", METRIC_GAUGE, METRIC_DATA_PATH, "interface, mode",
	  "Always 1; where the program is attached and how", print_interfaces },
};

const size_t metrics_lb_count = sizeof(metrics_lb) / sizeof(metrics_lb[0]);

static int row_compare(const void *a, const void *b)
{
	const struct row *x = a;
	const struct row *y = b;
	int order = strcmp(x->stats.service, y->stats.service);

	return order ? order : strcmp(x->backend, y->backend);
}

/* Rows stand together that are one service's: with thousands of services the last one is asked
 * first. */
static const struct backend *find_backend(const struct scrape *s, uint32_t id,
					  struct service **ret_service)
{
	const struct backend *backend = s->asked ? service_backend(s->asked, id) : NULL;

	if (backend) {
		*ret_service = s->asked;
		return backend;
	}
	return s->input->model ? model_backend(s->input->model, id, ret_service) : NULL;
}

/* A backend with port 0 answers on the client's port: it is called by its address alone. */
static void row_init(struct scrape *s, struct row *row, const struct lb_backend_stats *stats)
{
	struct service *service = NULL;
	const struct backend *backend = find_backend(s, stats->id, &service);
	bool used = backend && backend_accepts(backend);

	/* Asked once a service: there may be thousands of backends. */
	if (service && service != s->asked) {
		s->asked = service;
		s->panics = service_panics(service);
	}
	if (backend && backend->state == BACKEND_ACTIVE)
		used |= s->panics;

	row->stats = *stats;
	row->stats.service[sizeof(row->stats.service) - 1] = '\0';
	row->up = stats->hop_state == LB_HOP_RESOLVED;
	row->healthy = !backend || backend->health != BACKEND_UNHEALTHY;
	row->weight = used ? backend->weight : 0;
	if (stats->port)
		addr_port_format(&stats->address, stats->port, row->backend);
	else
		addr_format(&stats->address, row->backend);
}

static void row_add(struct row *sum, const struct row *other)
{
	sum->stats.to_packets += other->stats.to_packets;
	sum->stats.to_bytes += other->stats.to_bytes;
	sum->stats.from_packets += other->stats.from_packets;
	sum->stats.from_bytes += other->stats.from_bytes;
	sum->stats.connections_total += other->stats.connections_total;
	sum->stats.connections_active += other->stats.connections_active;
	sum->weight += other->weight;
	sum->up |= other->up;
	sum->healthy |= other->healthy;
}

int metrics_lb_rows(struct scrape *s)
{
	const struct lb_snapshot *snapshot = s->snapshot;
	size_t last = 0;

	if (!snapshot || snapshot->backend_count == 0)
		return 0;
	s->rows = calloc(snapshot->backend_count, sizeof(*s->rows));
	if (!s->rows)
		return -ENOMEM;
	for (size_t i = 0; i < snapshot->backend_count; i++)
		row_init(s, &s->rows[i], &snapshot->backends[i]);
	qsort(s->rows, snapshot->backend_count, sizeof(*s->rows), row_compare);
	for (size_t i = 1; i < snapshot->backend_count; i++) {
		if (row_compare(&s->rows[last], &s->rows[i]) == 0)
			row_add(&s->rows[last], &s->rows[i]);
		else
			s->rows[++last] = s->rows[i];
	}
	s->row_count = last + 1;
	return 0;
}

static const char doc_labels[] =
	"\n"
	"`backend` is the backend's address and port (`10.0.1.10:8080`), or its address alone "
	"where it\n"
	"answers on the port the client used; `service` tells two services' backends of one "
	"address\n"
	"apart.  `direction` of a backend is `to` or `from` it.  `map` is `connections`, "
	"`backends` or\n"
	"`services`.\n"
	"\n"
	"## Reasons\n"
	"\n"
	"Values of `reason`; those with action `drop` are the values of `type` of\n"
	"`loom_ebpf_errors_total`.  Action `none` notes something beside a packet's verdict.\n"
	"\n"
	"| reason | action | meaning |\n"
	"|---|---|---|\n";

void metrics_lb_doc(struct buf *out)
{
	buf_append(out, doc_labels, sizeof(doc_labels) - 1);
	for (int i = 0; i < LB_COUNTER_COUNT; i++) {
		enum lb_counter counter = (enum lb_counter)i;

		buf_printf(out, "| `%s` | %s | %s |\n", lb_counter_name(counter),
			   metrics_action_name(lb_counter_action(counter)),
			   lb_counter_help(counter));
	}
}
