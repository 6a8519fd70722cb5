#include "health/health.h"

#include "model/weights.h"
#include "rest.h"

/* A verdict is told once it is in force: whoever reads "unhealthy" here can count on new
 * connections going elsewhere. */
static bool find(const struct control *control, const char *service, const struct backend *backend,
		 struct health_state *ret)
{
	if (backend && control->health && control->health(control->ctx, service, backend, ret)) {
		bool down = backend->health == BACKEND_UNHEALTHY;

		if (down != (ret->state == BACKEND_UNHEALTHY))
			ret->state = backend->health;
		return true;
	}
	*ret = (struct health_state){ .state = BACKEND_UNCHECKED };
	return false;
}

static json_t *since_json(int64_t wall_s)
{
	return wall_s ? json_integer(wall_s) : json_null();
}

json_t *rest_health_json(const struct control *control, const char *service,
			 const struct backend *backend)
{
	struct health_state its;

	find(control, service, backend, &its);
	return json_pack("{s:s, s:o, s:s?, s:I, s:I}", "state", health_name(its.state), "since",
			 since_json(its.since_wall_s), "last_error",
			 its.last_error[0] ? its.last_error : NULL, "checks",
			 (json_int_t)its.checks, "falls", (json_int_t)its.falls);
}

static json_t *backend_json(const struct service *service, const struct backend *backend,
			    const struct health_state *its)
{
	char address[ADDR_TEXT_LEN];

	return json_pack("{s:I, s:s, s:s, s:i, s:s, s:s, s:i, s:s, s:o, s:s?, s:o, s:I, s:I, s:I, "
			 "s:I, s:I, s:f, s:i, s:b}",
			 "id", (json_int_t)backend->id, "service", service->name, "address",
			 addr_format(&backend->address, address), "port", (int)backend->port,
			 "upstream", its->upstream, "type", its->type, "check_port", (int)its->port,
			 "state", health_name(its->state), "since", since_json(its->since_wall_s),
			 "last_error", its->last_error[0] ? its->last_error : NULL, "last_error_at",
			 since_json(its->last_error_wall_s), "checks", (json_int_t)its->checks,
			 "failures", (json_int_t)its->failures, "falls", (json_int_t)its->falls,
			 "streak", (json_int_t)its->streak, "needed", (json_int_t)its->needed,
			 "last_check_seconds", (double)its->last_ns / 1e9, "withheld_permille",
			 (int)backend->withheld_permille, "cut", (int)backend->unhealthy_cut);
}

static json_t *service_json(const struct service *service)
{
	static const char *const names[] = { [CONFIG_UNHEALTHY_KEEP] = "keep",
					     [CONFIG_UNHEALTHY_DRAIN] = "drain",
					     [CONFIG_UNHEALTHY_RESET] = "reset" };
	size_t usable = 0;

	for (size_t i = 0; i < service->backend_count; i++)
		usable += backend_accepts(&service->backends[i]);
	return json_pack("{s:s, s:b, s:I, s:I, s:s, s:I}", "name", service->name, "panic",
			 (int)service_panics(service), "backends",
			 (json_int_t)service->backend_count, "usable", (json_int_t)usable,
			 "on_unhealthy", names[service->on_unhealthy], "min_healthy_percent",
			 (json_int_t)service->min_healthy_percent);
}

static json_t *totals_json(const struct control *control)
{
	struct health_totals totals = { 0 };

	if (control->health_totals)
		control->health_totals(control->ctx, &totals);
	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "backends",
			 (json_int_t)totals.targets, "in_flight", (json_int_t)totals.in_flight,
			 "waiting", (json_int_t)totals.waiting, "succeeded",
			 (json_int_t)totals.succeeded, "failed", (json_int_t)totals.failed, "rises",
			 (json_int_t)totals.rises, "falls", (json_int_t)totals.falls);
}

void rest_ebpf_health(struct call *call)
{
	const struct model *model = call->control->model(call->control->ctx);
	json_t *services = json_array();
	json_t *backends = json_array();
	struct health_state its;

	for (size_t i = 0; i < model->service_count; i++) {
		const struct service *service = &model->services[i];

		json_array_append_new(services, service_json(service));
		for (size_t j = 0; j < service->backend_count; j++)
			if (find(call->control, service->name, &service->backends[j], &its))
				json_array_append_new(
					backends,
					backend_json(service, &service->backends[j], &its));
	}
	reply_json(call->reply, 200,
		   json_pack("{s:o, s:o, s:o}", "checks", totals_json(call->control), "services",
			     services, "backends", backends));
}
