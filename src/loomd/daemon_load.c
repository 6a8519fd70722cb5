/* LEAST_CONNECTIONS: the counts of the last sweep become loads of the model, when that matters. */
#include <stdlib.h>

#include "base/log.h"
#include "daemon_internal.h"
#include "model/weights.h"

/* Shares that differ by less are the same: a new table moves flows that have no entry. */
#define NOTICEABLE_PERCENT 5

static bool follows_load(const struct model *model)
{
	for (size_t i = 0; i < model->service_count; i++)
		if (model->services[i].algorithm == CONFIG_LEAST_CONNECTIONS)
			return true;
	return false;
}

static void set_loads(struct service *service, const struct lb_snapshot *snapshot)
{
	for (size_t i = 0; i < snapshot->backend_count; i++) {
		struct backend *backend = service_backend(service, snapshot->backends[i].id);

		if (backend)
			backend->load = snapshot->backends[i].connections_active;
	}
}

/* Does any backend's share of the whole differ noticeably? */
static bool shares_differ(const uint32_t *a, const uint32_t *b, size_t count)
{
	uint64_t sum_a = 0;
	uint64_t sum_b = 0;

	for (size_t i = 0; i < count; i++) {
		sum_a += a[i];
		sum_b += b[i];
	}
	if (!sum_a || !sum_b)
		return sum_a != sum_b;
	for (size_t i = 0; i < count; i++) {
		double share_a = (double)a[i] / (double)sum_a;
		double share_b = (double)b[i] / (double)sum_b;
		double larger = share_a > share_b ? share_a : share_b;
		double apart = share_a > share_b ? share_a - share_b : share_b - share_a;

		if (apart * 100 > larger * NOTICEABLE_PERCENT)
			return true;
	}
	return false;
}

/* Sets next's loads.  Returns whether the service's table should be made anew; if not, loads are
 * what they were. */
static bool reload_service(const struct service *now, struct service *next,
			   const struct lb_snapshot *snapshot)
{
	uint32_t *before = calloc(now->backend_count + 1, sizeof(*before));
	uint32_t *after = calloc(now->backend_count + 1, sizeof(*after));
	bool differ = false;

	if (before && after) {
		service_weights(now, before);
		set_loads(next, snapshot);
		service_weights(next, after);
		differ = shares_differ(before, after, now->backend_count);
	}
	for (size_t i = 0; !differ && i < now->backend_count; i++)
		next->backends[i].load = now->backends[i].load;
	free(before);
	free(after);
	return differ;
}

void daemon_follow_load(struct daemon *daemon)
{
	const struct model *current = daemon->current;
	struct lb_snapshot *snapshot = NULL;
	struct model *next = NULL;
	struct err err = { 0 };
	bool differ = false;

	/* What fails here is tried again after the next pass. */
	if (!follows_load(current) || lb_snapshot_take(daemon->lb, &snapshot, NULL) < 0 ||
	    model_copy(current, &next) < 0)
		goto out;
	for (size_t i = 0; i < current->service_count; i++)
		if (current->services[i].algorithm == CONFIG_LEAST_CONNECTIONS)
			differ |= reload_service(&current->services[i], &next->services[i],
						 snapshot);
	if (!differ)
		goto out;
	if (daemon_commit_observed(daemon, next, &err) < 0)
		log_error("cannot follow the backends' loads: %s", err.text);
	next = NULL;
out:
	model_free(next);
	lb_snapshot_free(snapshot);
}
