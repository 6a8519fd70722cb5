/* health_internal.h - records and their order, seen only by health's own files.
 * Layer: health. */
#ifndef LOOM_HEALTH_INTERNAL_H
#define LOOM_HEALTH_INTERNAL_H

#include "health.h"
#include "health_heap.h"
#include "health_verdict.h"
#include "probe.h"

/* A backend of a service. */
struct health_record {
	struct health *health;
	char *service; /* owned; with address and port what the record is found by */
	struct addr address;
	uint16_t port;
	bool seen;    /* health_follow: the model has it */
	bool leaving; /* it was removed; what comes back in its place is another */

	/* From the configuration. */
	const struct config_check *check; /* borrowed; NULL: it is not checked */
	char upstream[64];
	uint16_t check_port;
	struct probe_route route;
	enum config_on_unhealthy on_unhealthy;
	uint64_t drain_timeout_ns;
	uint64_t slow_start_ns;

	/* When to look at it: its next check, or the end of the one that runs. */
	struct health_timer timer;
	struct health_record *next_waiting;
	bool waiting;
	uint64_t begun_ns; /* of the check that runs */
	struct probe probe;

	struct health_verdict verdict;
	int64_t since_wall_s;
	char last_error[HEALTH_ERROR_LEN];
	int64_t last_error_wall_s;
	uint64_t last_ns;
	uint64_t changed_ns;	/* when it fell or rose */
	uint64_t slow_since_ns; /* 0: slow start is over */
};

struct health {
	struct probe_env env;
	health_changed_fn changed;
	void *ctx;
	struct loop_timer *check_timer;	 /* the loop's; for heap */
	struct loop_timer *share_timer;	 /* the loop's; steps of slow start, drains that end */
	struct loop_timer *change_timer; /* the loop's; verdicts that come together are told once */
	struct health_record **records;	 /* owned; sorted */
	size_t count;
	struct health_heap heap; /* of records' timers */
	struct health_record *waiting_first;
	struct health_record **waiting_last;
	uint32_t in_flight;
	uint32_t in_flight_max;
	uint64_t seed;
	const struct config *config; /* borrowed; whose checks are in the records */
	struct health_totals totals;
};

/* health_target.c: what the configuration says.  guess: the service's index in the model, nearly
 * always that in the configuration. */
const struct config_service *health_service_config(const struct config *config, const char *name,
						   size_t guess);
const struct config_upstream *health_upstream(const struct config *config,
					      const struct config_service *service);
/* Do its checks go through a tunnel? */
bool health_tunnelled(const struct config_upstream *upstream, const struct service *service);
struct probe_route health_route(const struct config *config, const struct model *model,
				const struct config_upstream *upstream,
				const struct service *service, const struct backend *backend);
uint16_t health_port(const struct config_upstream *upstream, const struct service *service,
		     const struct backend *backend);

/* health.c: NULL if there is none. */
const struct health_record *health_record(const struct health *health, const char *service,
					  const struct backend *backend);

/* health_schedule.c: who is checked when. */
int health_schedule_open(struct health *health);
/* record->check is set, anew or for the first time. */
void health_schedule_add(struct health *health, struct health_record *record);
/* Its check, if one runs, ends without result; there is no next. */
void health_schedule_remove(struct health *health, struct health_record *record);
/* Arms the timer for what comes first. */
void health_schedule_arm(struct health *health);

/* health.c: a check has ended. */
void health_take(struct health_record *record, bool ok, const char *error);

#endif
