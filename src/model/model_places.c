#include "model_places.h"

#include "base/hash.h"

static uint64_t address_hash(const struct addr *address)
{
	return hash_bytes(address, sizeof(*address), 0);
}

static uint64_t server_hash(const struct model *model, const struct service *service,
			    const struct backend *backend)
{
	uint64_t number = (uint64_t)(service - model->services);

	return hash_bytes(&backend->address, sizeof(backend->address),
			  number << 16 | backend->port);
}

void model_places_done(struct model_places *places)
{
	index_done(&places->addresses);
	index_done(&places->ids);
	index_done(&places->servers);
}

int model_places_add_service(struct model_places *places, const struct model *model, size_t number)
{
	const struct service *service = &model->services[number];
	int r = 0;

	for (size_t i = 0; r == 0 && i < service->address_count; i++)
		r = index_put(&places->addresses, address_hash(&service->addresses[i]),
			      (uint32_t)number);
	return r;
}

int model_places_add_backend(struct model_places *places, const struct model *model,
			     const struct service *service, const struct backend *backend)
{
	int r = index_put(&places->ids, hash_mix64(backend->id),
			  (uint32_t)(service - model->services));

	if (r == 0)
		r = index_put(&places->servers, server_hash(model, service, backend), backend->id);
	return r;
}

const struct service *model_places_owner(const struct model *model,
					 const struct model_places *places, uint32_t id)
{
	struct service *owner = NULL;
	struct index_walk walk;
	uint32_t number;

	if (!places)
		return model_backend(model, id, &owner) ? owner : NULL;
	walk = index_find(&places->ids, hash_mix64(id));
	while (index_next(&walk, &number))
		if (service_backend(&model->services[number], id))
			return &model->services[number];
	return NULL;
}

static bool is_server(const struct backend *a, const struct backend *b)
{
	return a->port == b->port && addr_equal(&a->address, &b->address);
}

const struct backend *model_places_twin(const struct model *model,
					const struct model_places *places,
					const struct service *service,
					const struct backend *backend)
{
	struct index_walk walk;
	uint32_t id;

	for (size_t i = 0; !places && i < service->backend_count; i++)
		if (is_server(&service->backends[i], backend))
			return &service->backends[i];
	if (!places)
		return NULL;
	walk = index_find(&places->servers, server_hash(model, service, backend));
	while (index_next(&walk, &id)) {
		const struct backend *other = service_backend(service, id);

		if (other && is_server(other, backend))
			return other;
	}
	return NULL;
}

struct index_walk model_places_services(const struct model_places *places,
					const struct addr *address)
{
	return index_find(&places->addresses, address_hash(address));
}

const struct service *model_places_service(const struct model *model,
					   const struct model_places *places,
					   const struct addr *address)
{
	struct index_walk walk;
	uint32_t number;

	for (size_t i = 0; !places && i < model->service_count; i++)
		if (addr_list_has(model->services[i].addresses, model->services[i].address_count,
				  address))
			return &model->services[i];
	if (!places)
		return NULL;
	walk = model_places_services(places, address);
	while (index_next(&walk, &number))
		if (addr_list_has(model->services[number].addresses,
				  model->services[number].address_count, address))
			return &model->services[number];
	return NULL;
}
