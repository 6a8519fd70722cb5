#include "health.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "health_internal.h"
#include "model/weights.h"

/* Verdicts that come within so long are told together. */
#define CHANGE_NS (3 * NSEC_PER_MSEC)

/* ---- records ---- */

static int compare(const char *service, const struct addr *address, uint16_t port,
		   const struct health_record *record)
{
	int order = strcmp(service, record->service);

	if (!order)
		order = addr_compare(address, &record->address);
	return order ? order : (int)port - (int)record->port;
}

static int compare_records(const void *a, const void *b)
{
	const struct health_record *x = *(struct health_record *const *)a;

	return compare(x->service, &x->address, x->port, *(struct health_record *const *)b);
}

/* Among the first `count` records, which are sorted.  Models are gone through in nearly that order:
 * *guess is where the next one is looked for first. */
static struct health_record *find(const struct health *health, size_t count, const char *service,
				  const struct backend *backend, size_t *guess)
{
	size_t low = 0;

	if (*guess < count &&
	    !compare(service, &backend->address, backend->port, health->records[*guess]))
		return health->records[(*guess)++];

	while (low < count) {
		size_t middle = low + (count - low) / 2;
		struct health_record *record = health->records[middle];
		int order = compare(service, &backend->address, backend->port, record);

		if (!order) {
			*guess = middle + 1;
			return record;
		}
		if (order < 0)
			count = middle;
		else
			low = middle + 1;
	}
	return NULL;
}

const struct health_record *health_record(const struct health *health, const char *service,
					  const struct backend *backend)
{
	size_t guess = 0;

	return find(health, health->count, service, backend, &guess);
}

static void record_free(struct health_record *record)
{
	if (!record)
		return;
	health_schedule_remove(record->health, record);
	free(record->service);
	free(record);
}

static struct health_record *record_new(struct health *health, const char *service,
					const struct backend *backend)
{
	struct health_record *record = calloc(1, sizeof(*record));

	if (!record)
		return NULL;
	record->health = health;
	record->service = strdup(service);
	record->address = backend->address;
	record->port = backend->port;
	record->since_wall_s = clock_wall_s();
	if (record->service)
		return record;
	free(record);
	return NULL;
}

static int add(struct health *health, struct health_record *record)
{
	struct health_record **records;

	records = realloc(health->records, (health->count + 1) * sizeof(*records));
	if (!records)
		return -ENOMEM;
	health->records = records;
	if (health_heap_reserve(&health->heap, health->count + 1) < 0)
		return -ENOMEM;
	records[health->count++] = record;
	return 0;
}

static void set_policy(struct health_record *record, const struct config_service *config)
{
	record->drain_timeout_ns = config ? config->health.drain_timeout_ns : 0;
	record->slow_start_ns = config ? config->health.slow_start_ns : 0;
}

/* ---- laying over ---- */

static bool cut_now(const struct health_record *record, enum config_on_unhealthy on_unhealthy,
		    uint64_t now)
{
	if (record->verdict.state != BACKEND_UNHEALTHY)
		return false;
	if (on_unhealthy == CONFIG_UNHEALTHY_DRAIN)
		return record->drain_timeout_ns &&
		       now - record->changed_ns >= record->drain_timeout_ns;
	return on_unhealthy == CONFIG_UNHEALTHY_RESET;
}

static void lay_over(struct health_record *record, const struct service *service,
		     struct backend *backend, bool checked)
{
	uint64_t now = clock_now_ns();

	if (record->slow_since_ns && now - record->slow_since_ns >= record->slow_start_ns)
		record->slow_since_ns = 0;
	backend->health = checked ? record->verdict.state : BACKEND_UNCHECKED;
	backend->unhealthy_cut = checked && cut_now(record, service->on_unhealthy, now);
	backend->withheld_permille = 0;
	if (record->slow_since_ns)
		backend->withheld_permille = health_withheld(record->slow_start_ns,
							     now - record->slow_since_ns);
}

static void forget_verdict(struct health_record *record)
{
	memset(&record->verdict, 0, sizeof(record->verdict));
	record->last_error[0] = '\0';
	record->last_error_wall_s = 0;
	record->since_wall_s = clock_wall_s();
}

static int overlay_service(struct health *health, const struct config *config,
			   const struct service *service, size_t index, size_t known, bool starting)
{
	const struct config_service *its = health_service_config(config, service->name, index);
	bool checked = health_upstream(config, its) != NULL;
	size_t guess = 0;

	for (size_t i = 0; i < service->backend_count; i++) {
		struct backend *backend = &service->backends[i];
		struct health_record *record = find(health, known, service->name, backend, &guess);

		if (!record) {
			record = record_new(health, service->name, backend);
			if (!record || add(health, record) < 0) {
				record_free(record);
				return -ENOMEM;
			}
			record->slow_since_ns = starting ? 0 : clock_now_ns();
		} else if (record->leaving && backend->state < BACKEND_REMOVED) {
			forget_verdict(record);
			record->leaving = false;
			record->slow_since_ns = clock_now_ns();
		}
		set_policy(record, its);
		lay_over(record, service, backend, checked);
	}
	if (!service_panics(service))
		return 0;
	/* All are used, whatever the checks say: then health is no reason to cut either. */
	for (size_t i = 0; i < service->backend_count; i++)
		service->backends[i].unhealthy_cut = false;
	return 0;
}

static bool wants_http(const struct config *config)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		if (config->upstreams[i].check.type == CONFIG_CHECK_HTTP ||
		    config->upstreams[i].check.type == CONFIG_CHECK_HTTPS)
			return true;
	return false;
}

#define FEW 64

/* Brings those after the first `known` records to their places among them. */
static void sort_new(struct health *health, size_t known)
{
	struct health_record **records = health->records;

	if (health->count - known > FEW) {
		qsort(records, health->count, sizeof(*records), compare_records);
		return;
	}
	for (size_t i = known; i < health->count; i++) {
		struct health_record *record = records[i];
		size_t low = 0;
		size_t high = i;

		while (low < high) {
			size_t middle = low + (high - low) / 2;

			if (compare_records(&records[middle], &record) < 0)
				low = middle + 1;
			else
				high = middle;
		}
		memmove(&records[low + 1], &records[low],
			(i - low) * sizeof(struct health_record *));
		records[low] = record;
	}
}

int health_overlay(struct health *health, const struct config *config, struct model *next,
		   bool starting, struct err *err)
{
	size_t known = health->count;
	int r = 0;

	if (!health->env.http && wants_http(config))
		r = probe_http_open(&health->env.http, health->env.loop, err);
	for (size_t i = 0; r == 0 && i < next->service_count; i++)
		r = overlay_service(health, config, &next->services[i], i, known, starting);
	if (health->count > known)
		sort_new(health, known);
	return r < 0 ? err_set(err, r, "cannot check backends: out of memory") : 0;
}

/* ---- following ---- */

static void set_check(struct health *health, struct health_record *record,
		      const struct config_upstream *upstream, uint16_t port)
{
	const struct config_check *check = upstream && port ? &upstream->check : NULL;

	if (record->check == check && record->check_port == port)
		return;
	/* By another configuration the same backend keeps its verdict. */
	if (!record->check || !check)
		forget_verdict(record);
	health_schedule_remove(health, record);
	record->check = check;
	record->check_port = port;
	snprintf(record->upstream, sizeof(record->upstream), "%s", upstream ? upstream->name : "");
	if (check)
		health_schedule_add(health, record);
}

static void follow_service(struct health *health, const struct config *config,
			   const struct model *model, size_t index)
{
	const struct service *service = &model->services[index];
	const struct config_upstream *upstream =
		health_upstream(config, health_service_config(config, service->name, index));
	size_t guess = 0;

	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];
		struct health_record *record = find(health, health->count, service->name, backend,
						    &guess);

		if (!record)
			continue;
		record->seen = true;
		record->on_unhealthy = service->on_unhealthy;
		if (backend->state >= BACKEND_REMOVED) {
			/* Nobody asks it any more; what was known of it stands until it is gone. */
			health_schedule_remove(health, record);
			record->check = NULL;
			record->leaving = true;
		} else if (upstream &&
			   (health->env.tunnel || !health_tunnelled(upstream, service))) {
			set_check(health, record, upstream,
				  health_port(upstream, service, backend));
			record->route = health_route(config, model, upstream, service, backend);
		} else {
			set_check(health, record, NULL, 0);
		}
	}
}

static void forget_gone(struct health *health)
{
	size_t kept = 0;

	for (size_t i = 0; i < health->count; i++) {
		if (health->records[i]->seen)
			health->records[kept++] = health->records[i];
		else
			record_free(health->records[i]);
	}
	health->count = kept;
	for (size_t i = 0; i < kept; i++)
		health->records[i]->seen = false;
}

/* When record's overlay changes by the passing of time alone; 0: never. */
static uint64_t next_change(const struct health_record *record, uint64_t now)
{
	uint64_t step = health_step(record->slow_start_ns);

	if (record->slow_since_ns && step)
		return record->slow_since_ns + ((now - record->slow_since_ns) / step + 1) * step;
	if (record->verdict.state == BACKEND_UNHEALTHY &&
	    record->on_unhealthy == CONFIG_UNHEALTHY_DRAIN && record->drain_timeout_ns &&
	    now - record->changed_ns < record->drain_timeout_ns)
		return record->changed_ns + record->drain_timeout_ns;
	return 0;
}

static void arm_share(struct health *health)
{
	uint64_t now = clock_now_ns();
	uint64_t first = 0;

	for (size_t i = 0; i < health->count; i++) {
		uint64_t due = next_change(health->records[i], now);

		if (due && (!first || due < first))
			first = due;
	}
	if (first)
		loop_arm(health->share_timer, first > now ? first - now : 0);
	else
		loop_disarm(health->share_timer);
}

void health_follow(struct health *health, const struct config *config, const struct model *model)
{
	if (config != health->config && !health->env.tunnel && health_wants_tunnels(config))
		log_warning(
			"backends are not checked through tunnels: loomd has no sockets for it; "
			"restart it with cap_net_raw");
	health->config = config;
	for (size_t i = 0; i < model->service_count; i++)
		follow_service(health, config, model, i);
	forget_gone(health);
	arm_share(health);
	health_schedule_arm(health);
}

/* ---- results ---- */

static void tell(struct health *health)
{
	loop_arm_sooner(health->change_timer, CHANGE_NS);
}

static void say(const struct health_record *record, const char *why)
{
	char text[ADDR_PORT_TEXT_LEN];

	addr_port_format(&record->address, record->check_port, text);
	if (record->verdict.state == BACKEND_UNHEALTHY)
		log_notice(
			"backend %s of service %s is unhealthy: %s; upstream=%s checks_to_rise=%u",
			text, record->service, why, record->upstream,
			health_verdict_rise(&record->verdict, record->check));
	else
		log_notice("backend %s of service %s is healthy again; upstream=%s", text,
			   record->service, record->upstream);
}

void health_take(struct health_record *record, bool ok, const char *error)
{
	struct health *health = record->health;
	enum backend_health was = record->verdict.state;
	uint64_t now = clock_now_ns();

	if (ok)
		health->totals.succeeded++;
	else
		health->totals.failed++;
	if (!ok) {
		snprintf(record->last_error, sizeof(record->last_error), "%s", error);
		record->last_error_wall_s = clock_wall_s();
	}
	if (!health_verdict_take(&record->verdict, record->check, ok, now))
		return;
	record->since_wall_s = clock_wall_s();
	record->changed_ns = now;
	if (was == BACKEND_UNCHECKED && ok)
		return; /* it is used already */
	if (ok)
		health->totals.rises++;
	else
		health->totals.falls++;
	record->slow_since_ns = ok && record->slow_start_ns ? now : 0;
	say(record, error);
	tell(health);
}

static void on_change(void *ctx)
{
	struct health *health = ctx;

	health->changed(health->ctx);
}

/* ---- opening ---- */

int health_open(struct health **ret, struct loop *loop, health_changed_fn changed, void *ctx,
		struct err *err)
{
	struct health *health = calloc(1, sizeof(*health));
	int r = health ? 0 : -ENOMEM;

	*ret = NULL;
	if (r == 0) {
		health->env.loop = loop;
		health->changed = changed;
		health->ctx = ctx;
		r = health_schedule_open(health);
	}
	if (r == 0)
		r = loop_add_timer(loop, on_change, health, &health->change_timer);
	if (r == 0)
		r = loop_add_timer(loop, on_change, health, &health->share_timer);
	if (r < 0) {
		free(health); /* timers that were made stay disarmed */
		return err_set(err, r, "cannot prepare health checks: out of memory");
	}
	*ret = health;
	return 0;
}

bool health_wants_tunnels(const struct config *config)
{
	for (size_t i = 0; i < config->upstream_count; i++)
		if (config->upstreams[i].check.through_tunnel)
			return true;
	return false;
}

int health_open_tunnels(struct health *health, struct err *err)
{
	return probe_tunnel_open(&health->env.tunnel, health->env.loop, err);
}

void health_close(struct health *health)
{
	if (!health)
		return;
	for (size_t i = 0; i < health->count; i++)
		record_free(health->records[i]);
	free(health->records);
	health_heap_done(&health->heap);
	loop_disarm(health->check_timer);
	loop_disarm(health->share_timer);
	loop_disarm(health->change_timer);
	probe_http_close(health->env.http);
	probe_tunnel_close(health->env.tunnel);
	free(health);
}
