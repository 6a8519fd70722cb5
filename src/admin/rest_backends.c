#include "rest.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"

/* One reading of the data path, its backends sorted by id.  All zero while there is none. */
struct reading {
	const struct control *control; /* borrowed */
	struct lb_snapshot *snapshot;  /* owned */
};

static int stats_compare(const void *a, const void *b)
{
	const struct lb_backend_stats *x = a;
	const struct lb_backend_stats *y = b;

	return x->id < y->id ? -1 : x->id > y->id;
}

static int reading_take(const struct control *control, struct reading *reading, struct err *err)
{
	int r = control->snapshot(control->ctx, &reading->snapshot, err);

	reading->control = control;
	if (r < 0) {
		reading->snapshot = NULL;
		return r;
	}
	if (reading->snapshot->backend_count)
		qsort(reading->snapshot->backends, reading->snapshot->backend_count,
		      sizeof(*reading->snapshot->backends), stats_compare);
	return 0;
}

static void reading_done(struct reading *reading)
{
	lb_snapshot_free(reading->snapshot);
}

static const struct lb_backend_stats *reading_of(const struct reading *reading, uint32_t id)
{
	struct lb_backend_stats key = { .id = id };

	if (!reading->snapshot || !reading->snapshot->backend_count)
		return NULL;
	return bsearch(&key, reading->snapshot->backends, reading->snapshot->backend_count,
		       sizeof(key), stats_compare);
}

static json_t *next_hop_json(const struct lb_backend_stats *stats)
{
	static const char *const states[] = {
		[LB_HOP_RESOLVING] = "resolving",
		[LB_HOP_RESOLVED] = "resolved",
		[LB_HOP_UNREACHABLE] = "unreachable",
	};
	char mac[sizeof("02:00:00:00:00:01")];
	bool known = stats && stats->hop_interface[0];
	const uint8_t *m = stats ? stats->hop_mac : NULL;

	if (known && stats->hop_state == LB_HOP_RESOLVED)
		snprintf(mac, sizeof(mac), "%02x:%02x:%02x:%02x:%02x:%02x", m[0], m[1], m[2], m[3],
			 m[4], m[5]);
	else
		mac[0] = '\0';
	return json_pack("{s:s, s:s?, s:s?}", "state",
			 states[stats ? stats->hop_state : LB_HOP_RESOLVING], "interface",
			 known ? stats->hop_interface : NULL, "mac", mac[0] ? mac : NULL);
}

static json_t *deadline_json(const struct backend *backend)
{
	int64_t left = backend->deadline_wall_s - clock_wall_s();

	if ((backend->state != BACKEND_REMOVED && backend->state != BACKEND_DRAINING) ||
	    backend->deadline_wall_s == 0)
		return json_null();
	return json_integer(left > 0 ? left : 0);
}

static json_t *source_json(const struct lb_backend_stats *stats)
{
	static const struct addr none;
	char text[ADDR_TEXT_LEN];

	if (!stats || addr_equal(&stats->source, &none))
		return json_null();
	return json_string(addr_format(&stats->source, text));
}

/* stats: NULL while there are none. */
static json_t *backend_json(const struct control *control, const struct backend *backend,
			    const char *service, const struct lb_backend_stats *stats)
{
	char address[ADDR_TEXT_LEN];

	return json_pack(
		"{s:I, s:s, s:s, s:i, s:I, s:s, s:s, s:o, s:o, s:o, s:o, s:I}", "id",
		(json_int_t)backend->id, "service", service, "address",
		addr_format(&backend->address, address), "port", (int)backend->port, "weight",
		(json_int_t)backend->weight, "state", backend_state_name(backend->state), "origin",
		backend->origin == BACKEND_FROM_API ? "api" : "config", "deadline_seconds",
		deadline_json(backend), "health", rest_health_json(control, service, backend),
		"next_hop", next_hop_json(stats), "source", source_json(stats),
		"connections_active", (json_int_t)(stats ? stats->connections_active : 0));
}

static void reply_service(struct reply *reply, const struct reading *reading,
			  const struct service *service)
{
	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];

		reply_item(reply, backend_json(reading->control, backend, service->name,
					       reading_of(reading, backend->id)));
	}
}

void rest_backends(struct call *call)
{
	struct reading reading = { 0 };
	struct err err = { 0 };
	int r = reading_take(call->control, &reading, &err);
	const struct model *model = call->control->model(call->control->ctx);

	if (r < 0) {
		reply_errno(call->reply, r, &err, NULL);
		return;
	}
	reply_list(call->reply, "backends");
	for (size_t i = 0; i < model->service_count; i++)
		reply_service(call->reply, &reading, &model->services[i]);
	reply_list_end(call->reply);
	reading_done(&reading);
}

static json_t *counts_json(const struct control *control, const struct lb_backend_stats *stats)
{
	char backend[ADDR_PORT_TEXT_LEN];
	struct service *service = NULL;
	const struct backend *its = model_backend(control->model(control->ctx), stats->id,
						  &service);

	return json_pack("{s:I, s:s, s:s, s:o, s:{s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I}}", "id",
			 (json_int_t)stats->id, "service", stats->service, "backend",
			 addr_port_format(&stats->address, stats->port, backend), "health",
			 rest_health_json(control, service ? service->name : "", its), "packets",
			 "to", (json_int_t)stats->to_packets, "from",
			 (json_int_t)stats->from_packets, "bytes", "to",
			 (json_int_t)stats->to_bytes, "from", (json_int_t)stats->from_bytes,
			 "connections", "active", (json_int_t)stats->connections_active, "total",
			 (json_int_t)stats->connections_total);
}

void rest_backends_stats(struct call *call)
{
	struct reading reading = { 0 };
	struct err err = { 0 };
	int r = reading_take(call->control, &reading, &err);

	if (r < 0) {
		reply_errno(call->reply, r, &err, NULL);
		return;
	}
	reply_list(call->reply, "backends");
	for (size_t i = 0; i < reading.snapshot->backend_count; i++)
		reply_item(call->reply, counts_json(call->control, &reading.snapshot->backends[i]));
	reply_list_end(call->reply);
	reading_done(&reading);
}

void rest_answer_backend(struct call *call, unsigned int status, const struct backend *backend,
			 const char *service)
{
	const struct control *control = call->control;
	struct lb_backend_stats stats;
	bool known = control->backend_look(control->ctx, backend->id, &stats);

	reply_json(call->reply, status,
		   backend_json(control, backend, service, known ? &stats : NULL));
}
