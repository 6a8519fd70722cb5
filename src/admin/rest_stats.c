#include "rest.h"

#include <errno.h>

#include "base/clock.h"
#include "observe/metrics.h"

void rest_health(struct call *call)
{
	reply_json(call->reply, 200, json_pack("{s:s}", "status", "ok"));
}

void rest_ready(struct call *call)
{
	const struct control *control = call->control;
	struct control_readiness readiness = { .ready = false };

	control->readiness(control->ctx, &readiness);
	if (readiness.ready)
		reply_json(call->reply, 200, json_pack("{s:b}", "ready", true));
	else
		reply_json(call->reply, 503,
			   json_pack("{s:b, s:s}", "ready", false, "reason", readiness.reason));
}

/* A scrape is answered even while the data path is not there: the daemon's own metrics tell why. */
void rest_metrics(struct call *call)
{
	const struct control *control = call->control;
	struct lb_snapshot *snapshot = NULL;
	struct metrics_input input = {
		.version = LOOM_VERSION,
		.uptime_ns = control->uptime_ns(control->ctx),
		.reloads_succeeded = control->reloads(control->ctx, true),
		.reloads_failed = control->reloads(control->ctx, false),
		.last_reload_wall_s = control->last_reload_wall_s(control->ctx),
		.model = control->model(control->ctx),
	};
	struct health_totals health = { 0 };
	struct steer_view *steer = NULL;
	int r;

	if (control->steer && control->steer->view(control->steer->ctx, NULL, &steer, NULL) < 0)
		steer = NULL;
	input.steer = steer;
	if (control->snapshot(control->ctx, &snapshot, NULL) < 0)
		snapshot = NULL;
	input.snapshot = snapshot;
	if (control->health_totals)
		control->health_totals(control->ctx, &health);
	input.health = &health;
	r = metrics_render(&input, &call->reply->body);
	lb_snapshot_free(snapshot);
	steer_view_free(steer);
	if (r < 0) {
		reply_errno(call->reply, r, NULL, NULL);
		return;
	}
	call->reply->status = 200;
	call->reply->content_type = "text/plain; version=0.0.4; charset=utf-8";
}

static json_t *states_json(const struct lb_snapshot *snapshot)
{
	json_t *states = json_object();

	for (int i = 0; i < LB_STATES; i++)
		json_object_set_new(states, lb_state_name((enum lb_state)i),
				    json_integer((json_int_t)snapshot->connections_by_state[i]));
	return states;
}

static json_t *reasons_json(const struct lb_snapshot *snapshot)
{
	json_t *reasons = json_object();

	for (int i = 0; i < LB_COUNTER_COUNT; i++) {
		enum lb_counter counter = (enum lb_counter)i;
		const struct lb_count *count = &snapshot->reasons[i];

		json_object_set_new(reasons, lb_counter_name(counter),
				    json_pack("{s:s, s:I, s:I}", "action",
					      metrics_action_name(lb_counter_action(counter)),
					      "packets", (json_int_t)count->packets, "bytes",
					      (json_int_t)count->bytes));
	}
	return reasons;
}

static json_t *map_json(uint64_t entries, uint64_t max)
{
	return json_pack("{s:I, s:I}", "entries", (json_int_t)entries, "max_entries",
			 (json_int_t)max);
}

static json_t *maps_json(const struct lb_snapshot *s)
{
	return json_pack("{s:o, s:o, s:o}", "connections",
			 map_json(s->connection_entries, s->connection_entries_max), "backends",
			 map_json(s->backend_rows, s->backend_rows_max), "services",
			 map_json(s->service_rows, s->service_rows_max));
}

static json_t *sweep_json(const struct lb_snapshot *s)
{
	return json_pack("{s:I, s:I, s:f, s:I}", "count", (json_int_t)s->sweeps_total, "expired",
			 (json_int_t)s->sweep_expired_total, "last_duration_seconds",
			 (double)s->sweep_last_ns / NSEC_PER_SEC, "repairs",
			 (json_int_t)s->repairs_total);
}

static json_t *interfaces_json(const struct lb_snapshot *snapshot)
{
	json_t *interfaces = json_array();

	for (size_t i = 0; i < snapshot->interface_count; i++) {
		const struct lb_interface_stats *interface = &snapshot->interfaces[i];

		json_array_append_new(interfaces,
				      json_pack("{s:s, s:s, s:I}", "name", interface->name, "mode",
						interface->mode, "program_id",
						(json_int_t)interface->program_id));
	}
	return interfaces;
}

static json_t *stats_json(const struct lb_snapshot *s, uint64_t uptime_ns)
{
	return json_pack("{s:{s:I, s:I, s:I}, s:{s:I, s:I}, s:{s:I, s:I, s:o}, s:o, s:o, s:o, s:o, "
			 "s:f, s:s}",
			 "packets", "forward", (json_int_t)s->packets_forward, "drop",
			 (json_int_t)s->packets_drop, "pass", (json_int_t)s->packets_pass, "bytes",
			 "rx", (json_int_t)s->bytes_rx, "tx", (json_int_t)s->bytes_tx,
			 "connections", "active", (json_int_t)s->connections_active, "total",
			 (json_int_t)s->connections_total, "by_state", states_json(s), "reasons",
			 reasons_json(s), "maps", maps_json(s), "sweep", sweep_json(s),
			 "interfaces", interfaces_json(s), "uptime_seconds",
			 (double)uptime_ns / NSEC_PER_SEC, "version", LOOM_VERSION);
}

void rest_stats(struct call *call)
{
	const struct control *control = call->control;
	struct lb_snapshot *snapshot = NULL;
	struct err err = { 0 };
	int r = control->snapshot(control->ctx, &snapshot, &err);

	if (r < 0) {
		reply_errno(call->reply, r, &err, NULL);
		return;
	}
	reply_json(call->reply, 200, stats_json(snapshot, control->uptime_ns(control->ctx)));
	lb_snapshot_free(snapshot);
}
