/* What checks and time say of backends becomes a change of the model like any other. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>

#include "backends.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon_internal.h"
#include "model/weights.h"

/* After a failure; the kernel refused for a reason that may last. */
#define RETRY_NS    NSEC_PER_SEC
#define DESCRIPTORS 16384
#define DEADLINE_NS (20 * NSEC_PER_MSEC)

static void commit_observed(struct daemon *daemon)
{
	uint64_t begun = clock_now_ns();
	struct err err = { 0 };
	struct model *next;
	int r = model_copy(daemon->current, &next);

	if (r == 0)
		r = daemon_commit_observed(daemon, next, &err);
	else
		err_set(&err, r, "out of memory");
	daemon->health_cost_ns = clock_now_ns() - begun;
	if (r == 0)
		return;
	log_error("cannot apply what health checks say: %s; trying again", err.text);
	loop_arm_sooner(daemon->health_timer, RETRY_NS);
}

static void on_health_timer(void *ctx)
{
	commit_observed(ctx);
}

/* Verdicts take half of the time at most, however many there are. */
static void on_changed(void *ctx)
{
	struct daemon *daemon = ctx;

	loop_arm_sooner(daemon->health_timer, daemon->health_cost_ns);
}

/* Deadlines are whole seconds of the wall clock: the last one before is looked at closely, so that
 * what the API calls due is done. */
static void arm_deadline(struct daemon *daemon)
{
	int64_t deadline = backends_next_deadline(daemon->current);
	int64_t left = deadline - clock_wall_s();

	if (!deadline)
		loop_disarm(daemon->deadline_timer);
	else if (left > 1)
		loop_arm(daemon->deadline_timer, (uint64_t)(left - 1) * NSEC_PER_SEC);
	else
		loop_arm(daemon->deadline_timer, left > 0 ? DEADLINE_NS : 0);
}

static void on_deadline(void *ctx)
{
	struct daemon *daemon = ctx;

	if (backends_next_deadline(daemon->current) > clock_wall_s())
		arm_deadline(daemon);
	else
		commit_observed(daemon);
}

/* The usual soft limit of 1024 is for programs that use select(2). */
static void allow_descriptors(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit) < 0 || limit.rlim_cur >= DESCRIPTORS)
		return;
	limit.rlim_cur = limit.rlim_max < DESCRIPTORS ? limit.rlim_max : DESCRIPTORS;
	(void)setrlimit(RLIMIT_NOFILE, &limit); /* fewer checks run at a time */
}

int daemon_health_open(struct daemon *daemon, struct err *err)
{
	int r;

	allow_descriptors();
	r = loop_add_timer(daemon->loop, on_health_timer, daemon, &daemon->health_timer);

	if (r == 0)
		r = loop_add_timer(daemon->loop, on_deadline, daemon, &daemon->deadline_timer);
	if (r < 0)
		return err_set(err, r, "cannot prepare health checks: out of memory");
	r = health_open(&daemon->health, daemon->loop, on_changed, daemon, err);
	if (r < 0)
		return r;
	/* Serving unchecked backends beats not serving. */
	if (health_wants_tunnels(daemon->config) && health_open_tunnels(daemon->health, err) < 0)
		log_error("%s", err->text);
	if (r == 0)
		r = health_overlay(daemon->health, daemon->config, daemon->current, true, err);
	if (r == 0)
		daemon_health_follow(daemon);
	return r;
}

int daemon_health_overlay(struct daemon *daemon, struct model *next, struct err *err)
{
	return daemon->health ? health_overlay(daemon->health, daemon->config, next, false, err)
			      : 0;
}

void daemon_health_follow(struct daemon *daemon)
{
	if (!daemon->health)
		return;
	health_follow(daemon->health, daemon->config, daemon->current);
	arm_deadline(daemon);
}

static size_t healthy_count(const struct service *service)
{
	size_t count = 0;

	for (size_t i = 0; i < service->backend_count; i++)
		count += backend_accepts(&service->backends[i]);
	return count;
}

/* Models mostly have the same services in the same order. */
static const struct service *same_service(const struct model *model, const char *name, size_t guess)
{
	if (guess < model->service_count && !strcmp(model->services[guess].name, name))
		return &model->services[guess];
	return model_service(model, name);
}

void daemon_health_compare(const struct model *old, const struct model *new)
{
	for (size_t i = 0; i < new->service_count; i++) {
		const struct service *now = &new->services[i];
		const struct service *was = same_service(old, now->name, i);
		bool panicked = was && service_panics(was);

		if (service_panics(now) == panicked)
			continue;
		if (panicked)
			log_notice("service %s has enough healthy backends again: the others are "
				   "left out; healthy=%zu",
				   now->name, healthy_count(now));
		else
			log_warning("service %s has too few healthy backends: all are used, "
				    "healthy or not; healthy=%zu min_healthy=%u%%",
				    now->name, healthy_count(now), now->min_healthy_percent);
	}
}
