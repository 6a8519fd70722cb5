/* What the admin API asks, answered by the daemon. */
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "backends.h"
#include "base/clock.h"
#include "daemon_internal.h"

static const struct config *control_config(void *ctx)
{
	return ((struct daemon *)ctx)->config;
}

static const struct model *control_model(void *ctx)
{
	return ((struct daemon *)ctx)->current;
}

static void control_readiness(void *ctx, struct control_readiness *ret)
{
	struct daemon *daemon = ctx;

	memset(ret, 0, sizeof(*ret));
	ret->ready = daemon->lb ? daemon->serving : daemon->steering != NULL;
	if (ret->ready)
		return;
	if (!daemon->lb)
		snprintf(ret->reason, sizeof(ret->reason),
			 "ebpf is not enabled in the configuration");
	else if (!daemon->serving)
		snprintf(ret->reason, sizeof(ret->reason), "the data path is not attached yet");
}

static uint64_t control_uptime_ns(void *ctx)
{
	return clock_now_ns() - ((struct daemon *)ctx)->started_ns;
}

static uint64_t control_reloads(void *ctx, bool succeeded)
{
	struct daemon *daemon = ctx;

	return succeeded ? daemon->reloads_ok : daemon->reloads_failed;
}

static int64_t control_last_reload(void *ctx)
{
	return ((struct daemon *)ctx)->last_reload_wall_s;
}

/* Copy, change, commit: a change that fails anywhere leaves everything as it was. */
static int control_add(void *ctx, const struct backend_request *request, uint32_t *ret_id,
		       struct err *err)
{
	struct daemon *daemon = ctx;
	struct model *next;
	int r = model_copy(daemon->current, &next);

	if (r < 0)
		return err_set(err, r, "cannot add a backend: out of memory");
	r = backends_add(next, request, ret_id, err);
	if (r < 0) {
		model_free(next);
		return r;
	}
	return daemon_commit(daemon, next, err);
}

static int control_patch(void *ctx, uint32_t id, const struct backend_patch *patch, struct err *err)
{
	struct daemon *daemon = ctx;
	struct model *next;
	int r = model_copy(daemon->current, &next);

	if (r < 0)
		return err_set(err, r, "cannot change backend %u: out of memory", id);
	r = backends_patch(next, id, patch, err);
	if (r < 0) {
		model_free(next);
		return r;
	}
	return daemon_commit(daemon, next, err);
}

static int control_remove(void *ctx, uint32_t id, const struct backend_removal *removal,
			  struct err *err)
{
	struct daemon *daemon = ctx;
	struct model *next;
	int r = model_copy(daemon->current, &next);

	if (r < 0)
		return err_set(err, r, "cannot remove backend %u: out of memory", id);
	r = backends_remove(next, id, removal, err);
	if (r < 0) {
		model_free(next);
		return r;
	}
	return daemon_commit(daemon, next, err);
}

static int control_reload(void *ctx, bool reset, struct buf *complaints, struct buf *report,
			  struct err *err)
{
	return daemon_reload(ctx, reset, complaints, report, err);
}

static int control_snapshot(void *ctx, struct lb_snapshot **ret, struct err *err)
{
	struct daemon *daemon = ctx;

	if (!daemon->lb)
		return err_set(err, -ENODEV, "there is no data path: ebpf is not enabled");
	return lb_snapshot_take(daemon->lb, ret, err);
}

static bool control_backend_look(void *ctx, uint32_t id, struct lb_backend_stats *ret)
{
	struct daemon *daemon = ctx;

	return daemon->lb && lb_backend_look(daemon->lb, id, ret);
}

static int control_connections(void *ctx, const struct lb_connection_filter *filter,
			       struct lb_cursor *cursor, struct lb_connection *connections,
			       size_t room)
{
	struct daemon *daemon = ctx;

	if (!daemon->lb)
		return -ENODEV;
	return lb_connections_list(daemon->lb, filter, cursor, connections, room);
}

static bool control_health(void *ctx, const char *service, const struct backend *backend,
			   struct health_state *ret)
{
	return health_find(((struct daemon *)ctx)->health, service, backend, ret);
}

static void control_health_totals(void *ctx, struct health_totals *ret)
{
	health_totals(((struct daemon *)ctx)->health, ret);
}

static int control_trace(void *ctx, const struct trace_request *request, struct stream **ret,
			 struct err *err)
{
	return daemon_trace_start(ctx, request, ret, err);
}

void daemon_control_init(struct daemon *daemon)
{
	daemon->control = (struct control){
		.ctx = daemon,
		.config = control_config,
		.model = control_model,
		.readiness = control_readiness,
		.uptime_ns = control_uptime_ns,
		.reloads = control_reloads,
		.last_reload_wall_s = control_last_reload,
		.backend_add = control_add,
		.backend_patch = control_patch,
		.backend_remove = control_remove,
		.reload = control_reload,
		.snapshot = control_snapshot,
		.backend_look = control_backend_look,
		.connections = control_connections,
		.trace = control_trace,
		.health = control_health,
		.health_totals = control_health_totals,
		.steer = daemon->steering ? steering_control(daemon->steering) : NULL,
	};
}
