#include "backends.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

/* The named service, or the only one, or the implicit one. */
static struct service *requested_service(struct model *model, const char *name, struct err *err)
{
	struct service *service = NULL;

	if (name) {
		service = model_service(model, name);
		if (!service)
			err_set(err, -ENOENT,
				"cannot add a backend: there is no service '%s'; see GET /services",
				name);
		return service;
	}
	if (model->service_count == 1)
		return &model->services[0];
	service = model_service(model, "default");
	if (!service)
		err_set(err, -EINVAL,
			model->service_count
				? "cannot add a backend: say which service; see GET /services"
				: "cannot add a backend: no service is configured");
	return service;
}

static struct backend *same_server(struct service *service, const struct backend_request *request)
{
	for (size_t i = 0; i < service->backend_count; i++) {
		struct backend *b = &service->backends[i];

		if (b->port == request->port && addr_equal(&b->address, &request->address))
			return b;
	}
	return NULL;
}

int backends_add(struct model *model, const struct backend_request *request, uint32_t *ret_id,
		 struct err *err)
{
	struct service *service = requested_service(model, request->service, err);
	struct backend backend = {
		.id = request->id,
		.address = request->address,
		.port = request->port,
		.weight = request->weight,
		.state = BACKEND_ACTIVE,
		.origin = BACKEND_FROM_API,
	};
	struct backend *old;
	int r;

	if (!service)
		return err ? err->code : -ENOENT;
	old = same_server(service, request);
	/* Removed, but its connections live on: it comes back as what it was. */
	if (old && old->state == BACKEND_REMOVED && (!request->id || request->id == old->id)) {
		old->state = BACKEND_ACTIVE;
		old->deadline_wall_s = 0;
		old->weight = request->weight;
		*ret_id = old->id;
		return 0;
	}
	/* Cut off: the new one starts afresh under another number. */
	if (old && old->state == BACKEND_RESET && request->id != old->id) {
		backend.id = request->id ? request->id : model_free_id(model);
		model_backend_remove(service, old->id);
	}
	if (!backend.id)
		backend.id = model_free_id(model);
	r = model_backend_add(model, service, &backend, err);
	if (r == 0)
		*ret_id = backend.id;
	return r;
}

static struct backend *find(struct model *model, uint32_t id, struct err *err)
{
	struct backend *backend = model_backend(model, id, NULL);

	if (!backend)
		err_set(err, -ENOENT, "there is no backend %u; see GET /ebpf/backends", id);
	return backend;
}

int backends_patch(struct model *model, uint32_t id, const struct backend_patch *patch,
		   struct err *err)
{
	struct backend *backend = find(model, id, err);

	if (!backend)
		return -ENOENT;
	if (backend->state >= BACKEND_REMOVED)
		return err_set(
			err, -EINVAL,
			"cannot change backend %u: it is being removed; add it again to keep it",
			id);
	if (patch->has_weight)
		backend->weight = patch->weight;
	if (patch->has_state) {
		backend->state = patch->state;
		backend->deadline_wall_s = patch->deadline_s
						   ? clock_wall_s() + (int64_t)patch->deadline_s
						   : 0;
	}
	return 0;
}

int backends_remove(struct model *model, uint32_t id, const struct backend_removal *removal,
		    struct err *err)
{
	struct backend *backend = find(model, id, err);

	if (!backend)
		return -ENOENT;
	if (backend->state == BACKEND_RESET)
		return 0;
	backend->state = removal->force ? BACKEND_RESET : BACKEND_REMOVED;
	backend->deadline_wall_s = removal->deadline_s
					   ? clock_wall_s() + (int64_t)removal->deadline_s
					   : 0;
	return 0;
}

static bool expire(struct backend *backend, int64_t now_wall_s)
{
	bool passed = backend->deadline_wall_s && backend->deadline_wall_s <= now_wall_s;
	bool drained = passed && backend->state == BACKEND_DRAINING;
	bool changed = drained != backend->drained;

	backend->drained = drained;
	if (!passed || backend->state != BACKEND_REMOVED)
		return changed;
	backend->state = BACKEND_RESET;
	return true;
}

bool backends_expire(struct model *model, int64_t now_wall_s)
{
	bool any = false;

	for (size_t s = 0; s < model->service_count; s++)
		for (size_t i = 0; i < model->services[s].backend_count; i++) {
			struct backend *backend = &model->services[s].backends[i];

			any |= expire(backend, now_wall_s);
		}
	return any;
}

int64_t backends_next_deadline(const struct model *model)
{
	int64_t first = 0;

	for (size_t s = 0; s < model->service_count; s++)
		for (size_t i = 0; i < model->services[s].backend_count; i++) {
			const struct backend *backend = &model->services[s].backends[i];
			bool waits = backend->state == BACKEND_REMOVED ||
				     (backend->state == BACKEND_DRAINING && !backend->drained);

			if (waits && backend->deadline_wall_s &&
			    (!first || backend->deadline_wall_s < first))
				first = backend->deadline_wall_s;
		}
	return first;
}
