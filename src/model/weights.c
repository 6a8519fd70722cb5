#include "weights.h"

#include "slot_table.h"

bool backend_accepts(const struct backend *backend)
{
	return backend->state == BACKEND_ACTIVE && backend->weight &&
	       backend->health != BACKEND_UNHEALTHY;
}

bool backend_is_cut(const struct backend *backend)
{
	return backend->state == BACKEND_RESET || backend->unhealthy_cut || backend->drained;
}

static bool has_share(const struct backend *backend)
{
	return backend->state == BACKEND_ACTIVE && backend->weight;
}

bool service_panics(const struct service *service)
{
	size_t all = 0;
	size_t healthy = 0;

	for (size_t i = 0; i < service->backend_count; i++) {
		all += has_share(&service->backends[i]);
		healthy += backend_accepts(&service->backends[i]);
	}
	return healthy < all && healthy * 100 < all * service->min_healthy_percent;
}

/* Weight over load, in a scale that leaves SLOT_WEIGHT_MAX for the emptiest. */
static uint32_t by_load(const struct backend *backend, uint64_t least)
{
	uint64_t share = (uint64_t)backend->weight * 65536 / (backend->load + 1);
	uint64_t weight = share / least;

	return weight < 1 ? 1 : weight > SLOT_WEIGHT_MAX ? SLOT_WEIGHT_MAX : (uint32_t)weight;
}

static uint64_t largest_share(const struct service *service)
{
	uint64_t largest = 0;

	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];
		uint64_t share = (uint64_t)backend->weight * 65536 / (backend->load + 1);

		if (has_share(backend) && share > largest)
			largest = share;
	}
	return largest / 1024 + 1;
}

void service_weights(const struct service *service, uint32_t *weights)
{
	bool panic = service_panics(service);
	uint64_t least = largest_share(service);

	for (size_t i = 0; i < service->backend_count; i++) {
		const struct backend *backend = &service->backends[i];
		uint64_t weight = backend->weight;

		weights[i] = 0;
		if (!(panic ? has_share(backend) : backend_accepts(backend)))
			continue;
		if (service->algorithm == CONFIG_LEAST_CONNECTIONS)
			weight = by_load(backend, least);
		weight = weight * (1000 - backend->withheld_permille) / 1000;
		weights[i] = weight ? (uint32_t)weight : 1;
	}
}
