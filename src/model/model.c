#include "model.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- owning ---- */

static void service_done(struct service *service)
{
	free(service->name);
	free(service->addresses);
	free(service->tcp_ports);
	free(service->udp_ports);
	free(service->backends);
}

void model_free(struct model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->service_count; i++)
		service_done(&model->services[i]);
	free(model->services);
	free(model);
}

/* A copy of count elements; never NULL on success, so that empty lists need no care. */
static void *copy_list(const void *list, size_t count, size_t size)
{
	void *copy = malloc(count ? count * size : 1);

	if (copy && count)
		memcpy(copy, list, count * size);
	return copy;
}

static int service_copy(const struct service *from, struct service *to)
{
	*to = *from;
	to->name = strdup(from->name);
	to->addresses = copy_list(from->addresses, from->address_count, sizeof(*to->addresses));
	to->tcp_ports = copy_list(from->tcp_ports, from->tcp_port_count, sizeof(*to->tcp_ports));
	to->udp_ports = copy_list(from->udp_ports, from->udp_port_count, sizeof(*to->udp_ports));
	to->backends = copy_list(from->backends, from->backend_count, sizeof(*to->backends));
	if (to->name && to->addresses && to->tcp_ports && to->udp_ports && to->backends)
		return 0;
	service_done(to);
	memset(to, 0, sizeof(*to));
	return -ENOMEM;
}

static struct model *model_alloc(size_t services)
{
	struct model *model = calloc(1, sizeof(*model));

	if (!model)
		return NULL;
	model->services = calloc(services + 1, sizeof(*model->services));
	if (!model->services) {
		free(model);
		return NULL;
	}
	return model;
}

int model_copy(const struct model *model, struct model **ret)
{
	struct model *copy = model_alloc(model->service_count);

	*ret = NULL;
	if (!copy)
		return -ENOMEM;
	for (size_t i = 0; i < model->service_count; i++) {
		if (service_copy(&model->services[i], &copy->services[i]) < 0) {
			model_free(copy);
			return -ENOMEM;
		}
		copy->service_count++;
	}
	*ret = copy;
	return 0;
}

/* ---- finding ---- */

struct service *model_service(const struct model *model, const char *name)
{
	for (size_t i = 0; i < model->service_count; i++)
		if (!strcmp(model->services[i].name, name))
			return &model->services[i];
	return NULL;
}

struct backend *model_backend(const struct model *model, uint32_t id, struct service **ret_service)
{
	for (size_t s = 0; s < model->service_count; s++)
		for (size_t i = 0; i < model->services[s].backend_count; i++) {
			if (model->services[s].backends[i].id != id)
				continue;
			if (ret_service)
				*ret_service = &model->services[s];
			return &model->services[s].backends[i];
		}
	return NULL;
}

uint32_t model_free_id(const struct model *model)
{
	uint32_t id = 1;

	while (model_backend(model, id, NULL))
		id++;
	return id;
}

const char *backend_state_name(enum backend_state state)
{
	static const char *const names[] = { "active", "draining", "removed", "reset" };

	return state <= BACKEND_RESET ? names[state] : "unknown";
}

/* ---- backends ---- */

static bool has_family(const struct service *service, const struct addr *address)
{
	for (size_t i = 0; i < service->address_count; i++)
		if (addr_is_v4(&service->addresses[i]) == addr_is_v4(address))
			return true;
	return false;
}

static int check_backend(const struct model *model, const struct service *service,
			 const struct backend *backend, struct err *err)
{
	char text[ADDR_PORT_TEXT_LEN];

	addr_port_format(&backend->address, backend->port, text);
	if (!addr_is_unicast(&backend->address))
		return err_set(err, -EINVAL, "cannot add backend %s: packets cannot be sent there",
			       text);
	if (!backend->id || model_backend(model, backend->id, NULL))
		return err_set(
			err, -EEXIST,
			"cannot add backend %s: id %u is taken; leave it out for the next free one",
			text, backend->id);
	for (size_t i = 0; i < service->backend_count; i++)
		if (service->backends[i].port == backend->port &&
		    addr_equal(&service->backends[i].address, &backend->address))
			return err_set(err, -EEXIST,
				       "cannot add backend %s: service %s has it as %u", text,
				       service->name, service->backends[i].id);
	if (!has_family(service, &backend->address))
		return err_set(err, -EAFNOSUPPORT,
			       "cannot add backend %s: service %s has no %s address", text,
			       service->name, addr_is_v4(&backend->address) ? "IPv4" : "IPv6");
	return 0;
}

int model_backend_add(struct model *model, struct service *service, const struct backend *backend,
		      struct err *err)
{
	struct backend *list;
	size_t at = 0;
	int r = check_backend(model, service, backend, err);

	if (r < 0)
		return r;
	list = realloc(service->backends, (service->backend_count + 1) * sizeof(*list));
	if (!list)
		return err_set(err, -ENOMEM, "cannot add a backend: out of memory");
	service->backends = list;
	while (at < service->backend_count && list[at].id < backend->id)
		at++;
	memmove(&list[at + 1], &list[at], (service->backend_count - at) * sizeof(*list));
	list[at] = *backend;
	service->backend_count++;
	return 0;
}

void model_backend_remove(struct service *service, uint32_t id)
{
	for (size_t i = 0; i < service->backend_count; i++) {
		if (service->backends[i].id != id)
			continue;
		service->backend_count--;
		memmove(&service->backends[i], &service->backends[i + 1],
			(service->backend_count - i) * sizeof(*service->backends));
		return;
	}
}

/* ---- from configuration ---- */

static int compare_addresses(const void *a, const void *b)
{
	return addr_compare(a, b);
}

static int set_addresses(struct service *service, const struct addr *list, size_t count)
{
	size_t n = 0;

	service->addresses = copy_list(list, count, sizeof(*list));
	if (!service->addresses)
		return -ENOMEM;
	qsort(service->addresses, count, sizeof(*list), compare_addresses);
	for (size_t i = 0; i < count; i++)
		if (!n || !addr_equal(&service->addresses[n - 1], &service->addresses[i]))
			service->addresses[n++] = service->addresses[i];
	service->address_count = n;
	return 0;
}

static int add_backends(struct model *model, struct service *service,
			const struct config_service *config, const struct addr *local,
			size_t local_count, struct err *err)
{
	for (size_t i = 0; i < config->backend_count; i++) {
		struct backend backend = {
			.id = config->backends[i].id,
			.address = config->backends[i].address,
			.port = config->backends[i].port,
			.weight = config->backends[i].weight,
			.origin = BACKEND_FROM_CONFIG,
		};
		int r;

		for (size_t k = 0; k < local_count; k++)
			if (addr_equal(&local[k], &backend.address))
				return err_set(err, -EINVAL,
					       "cannot use backend %u: its address is this host's "
					       "own; Loom "
					       "forwards to other hosts",
					       backend.id);
		r = model_backend_add(model, service, &backend, err);
		if (r < 0)
			return r;
	}
	return 0;
}

static int add_service(struct model *model, const struct config_service *config,
		       const struct addr *local, size_t local_count, struct err *err)
{
	struct service *service = &model->services[model->service_count++];
	int r = set_addresses(service, config->implicit ? local : config->addresses,
			      config->implicit ? local_count : config->address_count);

	service->name = strdup(config->name);
	service->tcp_ports = copy_list(config->tcp_ports, config->tcp_port_count, sizeof(uint16_t));
	service->udp_ports = copy_list(config->udp_ports, config->udp_port_count, sizeof(uint16_t));
	if (r < 0 || !service->name || !service->tcp_ports || !service->udp_ports)
		return err_set(err, -ENOMEM, "cannot build service %s: out of memory",
			       config->name);
	service->tcp_port_count = config->tcp_port_count;
	service->udp_port_count = config->udp_port_count;
	service->algorithm = config->algorithm;
	service->table_size = config->table_size;
	service->nat = config->nat;
	return add_backends(model, service, config, local, local_count, err);
}

static bool share_a_port(const uint16_t *a, size_t a_count, const uint16_t *b, size_t b_count)
{
	for (size_t i = 0; i < a_count; i++)
		for (size_t k = 0; k < b_count; k++)
			if (a[i] == b[k])
				return true;
	return false;
}

static int check_overlap(const struct service *a, const struct service *b, struct err *err)
{
	char text[ADDR_TEXT_LEN];

	if (!share_a_port(a->tcp_ports, a->tcp_port_count, b->tcp_ports, b->tcp_port_count) &&
	    !share_a_port(a->udp_ports, a->udp_port_count, b->udp_ports, b->udp_port_count))
		return 0;
	for (size_t i = 0; i < a->address_count; i++)
		for (size_t k = 0; k < b->address_count; k++)
			if (addr_equal(&a->addresses[i], &b->addresses[k]))
				return err_set(
					err, -EINVAL,
					"cannot serve both %s and %s: they share %s and a port",
					a->name, b->name, addr_format(&a->addresses[i], text));
	return 0;
}

int model_build(const struct config *config, const struct addr *local, size_t local_count,
		struct model **ret, struct err *err)
{
	struct model *model = model_alloc(config->service_count);
	int r = 0;

	*ret = NULL;
	if (!model)
		return err_set(err, -ENOMEM, "cannot build the model: out of memory");
	for (size_t i = 0; r == 0 && i < config->service_count; i++)
		r = add_service(model, &config->services[i], local, local_count, err);
	for (size_t i = 0; r == 0 && i < model->service_count; i++)
		for (size_t k = 0; r == 0 && k < i; k++)
			r = check_overlap(&model->services[k], &model->services[i], err);
	if (r < 0) {
		model_free(model);
		return r;
	}
	*ret = model;
	return 0;
}
