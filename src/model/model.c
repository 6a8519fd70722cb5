#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitset.h"
#include "model_places.h"

/* ---- owning ---- */

static void service_done(struct service *service)
{
	free(service->name);
	free(service->addresses);
	free(service->tcp_ports);
	free(service->udp_ports);
	free(service->allow);
	free(service->deny);
	free(service->backends);
}

void model_free(struct model *model)
{
	if (!model)
		return;
	for (size_t i = 0; i < model->service_count; i++)
		service_done(&model->services[i]);
	free(model->services);
	free(model->local);
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
	to->allow = copy_list(from->allow, from->allow_count, sizeof(*to->allow));
	to->deny = copy_list(from->deny, from->deny_count, sizeof(*to->deny));
	to->backends = copy_list(from->backends, from->backend_count, sizeof(*to->backends));
	if (to->name && to->addresses && to->tcp_ports && to->udp_ports && to->allow && to->deny &&
	    to->backends)
		return 0;
	service_done(to);
	memset(to, 0, sizeof(*to));
	return -ENOMEM;
}

static struct model *model_alloc(size_t services, const struct addr *local, size_t local_count)
{
	struct model *model = calloc(1, sizeof(*model));

	if (!model)
		return NULL;
	model->services = calloc(services + 1, sizeof(*model->services));
	model->local = copy_list(local, local_count, sizeof(*local));
	model->local_count = local_count;
	if (model->services && model->local)
		return model;
	model_free(model);
	return NULL;
}

int model_copy(const struct model *model, struct model **ret)
{
	struct model *copy = model_alloc(model->service_count, model->local, model->local_count);

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

/* Where id is in the service's list, or would be. */
static size_t backend_place(const struct service *service, uint32_t id)
{
	size_t first = 0;
	size_t end = service->backend_count;

	while (first < end) {
		size_t middle = first + (end - first) / 2;

		if (service->backends[middle].id < id)
			first = middle + 1;
		else
			end = middle;
	}
	return first;
}

struct backend *service_backend(const struct service *service, uint32_t id)
{
	size_t at = backend_place(service, id);

	return at < service->backend_count && service->backends[at].id == id
		       ? &service->backends[at]
		       : NULL;
}

struct backend *model_backend(const struct model *model, uint32_t id, struct service **ret_service)
{
	for (size_t i = 0; i < model->service_count; i++) {
		struct backend *backend = service_backend(&model->services[i], id);

		if (!backend)
			continue;
		if (ret_service)
			*ret_service = &model->services[i];
		return backend;
	}
	return NULL;
}

/* Of n ids, one of 1 to n + 1 is free: which are taken is noted in one pass. */
uint32_t model_free_id(const struct model *model)
{
	size_t count = 0;
	uint64_t *taken;
	uint32_t id = 1;

	for (size_t i = 0; i < model->service_count; i++)
		count += model->services[i].backend_count;
	taken = calloc(count / 64 + 1, sizeof(*taken));
	for (size_t i = 0; taken && i < model->service_count; i++)
		for (size_t k = 0; k < model->services[i].backend_count; k++)
			if (model->services[i].backends[k].id <= count)
				bitset_set(taken, model->services[i].backends[k].id);
	while (taken ? id <= count && bitset_test(taken, id) : !!model_backend(model, id, NULL))
		id++;
	free(taken);
	return id;
}

static const char *const state_names[] = { "active", "draining", "removed", "reset" };

const char *backend_state_name(enum backend_state state)
{
	return state <= BACKEND_RESET ? state_names[state] : "unknown";
}

int backend_state_parse(const char *name, enum backend_state *ret)
{
	for (int i = BACKEND_ACTIVE; i <= BACKEND_RESET; i++) {
		if (strcmp(name, state_names[i]) != 0)
			continue;
		*ret = (enum backend_state)i;
		return 0;
	}
	return -EINVAL;
}

/* ---- backends ---- */

/* Can packets for one of the service's addresses reach a backend at address?  A tunnel over IPv6
 * carries IPv4, too. */
static bool has_family(const struct service *service, const struct addr *address)
{
	bool tunnel = service->forwarding == CONFIG_DSR_IPIP ||
		      service->forwarding == CONFIG_DSR_GUE;

	for (size_t i = 0; i < service->address_count; i++)
		if (addr_is_v4(&service->addresses[i]) == addr_is_v4(address) ||
		    (tunnel && !addr_is_v4(address)))
			return true;
	return false;
}

/* "10.0.1.10:8080", or the address alone where the port is the client's. */
static const char *backend_text(const struct backend *backend, char *text)
{
	return backend->port ? addr_port_format(&backend->address, backend->port, text)
			     : addr_format(&backend->address, text);
}

/* Whether packets to it would leave this host and not come back. */
static int check_address(const struct model *model, const struct model_places *places,
			 const struct backend *backend, struct err *err)
{
	const struct service *service;
	char text[ADDR_PORT_TEXT_LEN];

	backend_text(backend, text);
	if (!addr_is_unicast(&backend->address))
		return err_set(err, -EINVAL,
			       "cannot add backend %s: packets cannot be sent there; give it the "
			       "address of a server",
			       text);
	if (addr_list_has(model->local, model->local_count, &backend->address))
		return err_set(err, -EINVAL,
			       "cannot add backend %s: the address is this host's own; Loom "
			       "forwards to other hosts",
			       text);
	service = model_places_service(model, places, &backend->address);
	return service ? err_set(err, -EINVAL,
				 "cannot add backend %s: clients reach service %s at this address; "
				 "Loom forwards to other hosts",
				 text, service->name)
		       : 0;
}

static int check_backend(const struct model *model, const struct model_places *places,
			 const struct service *service, const struct backend *backend,
			 struct err *err)
{
	const struct service *owner = model_places_owner(model, places, backend->id);
	const struct backend *twin = model_places_twin(model, places, service, backend);
	char text[ADDR_PORT_TEXT_LEN];

	backend_text(backend, text);
	if (!backend->id)
		return err_set(err, -EINVAL, "cannot add backend %s: id 0 is none; ids begin at 1",
			       text);
	if (backend->weight > BACKEND_WEIGHT_MAX)
		return err_set(err, -EINVAL,
			       "cannot add backend %s: weight %u is too large; at most %u", text,
			       backend->weight, BACKEND_WEIGHT_MAX);
	if (owner)
		return err_set(err, -EEXIST,
			       "cannot add backend %s: id %u is taken in service %s; leave it out "
			       "for the next free one",
			       text, backend->id, owner->name);
	if (twin)
		return err_set(err, -EEXIST,
			       "cannot add backend %s: service %s has it as backend %u; change "
			       "that one",
			       text, service->name, twin->id);
	return check_address(model, places, backend, err);
}

static int restore(struct model *model, struct model_places *places, struct service *service,
		   const struct backend *backend, struct err *err)
{
	char text[ADDR_PORT_TEXT_LEN];
	struct backend *list;
	size_t at;
	int r = check_backend(model, places, service, backend, err);

	if (r < 0)
		return r;
	backend_text(backend, text);
	if (!service->implicit && !has_family(service, &backend->address))
		return err_set(err, -EAFNOSUPPORT,
			       "cannot add backend %s: service %s has no %s address; give it one",
			       text, service->name,
			       addr_is_v4(&backend->address) ? "IPv4" : "IPv6");
	list = realloc(service->backends, (service->backend_count + 1) * sizeof(*list));
	if (list)
		service->backends = list;
	if (!list || (places && model_places_add_backend(places, model, service, backend) < 0))
		return err_set(err, -ENOMEM, "cannot add backend %s: out of memory", text);
	at = backend_place(service, backend->id);
	memmove(&list[at + 1], &list[at], (service->backend_count - at) * sizeof(*list));
	list[at] = *backend;
	service->backend_count++;
	return 0;
}

int model_backend_restore(struct model *model, struct service *service,
			  const struct backend *backend, struct err *err)
{
	return restore(model, NULL, service, backend, err);
}

int model_backend_add(struct model *model, struct service *service, const struct backend *backend,
		      struct err *err)
{
	char text[ADDR_PORT_TEXT_LEN];

	if (service->implicit && !has_family(service, &backend->address) &&
	    addr_is_unicast(&backend->address))
		return err_set(err, -EAFNOSUPPORT,
			       "cannot add backend %s: the interface has no %s address, at which "
			       "clients would reach service %s; see 'ip address'",
			       backend_text(backend, text),
			       addr_is_v4(&backend->address) ? "IPv4" : "IPv6", service->name);
	return model_backend_restore(model, service, backend, err);
}

void model_backend_remove(struct service *service, uint32_t id)
{
	struct backend *backend = service_backend(service, id);
	size_t after;

	if (!backend)
		return;
	after = (size_t)(&service->backends[service->backend_count] - backend) - 1;
	memmove(backend, backend + 1, after * sizeof(*backend));
	service->backend_count--;
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

static int add_service(struct model *model, const struct config_service *config,
		       const struct addr *local, size_t local_count, struct err *err)
{
	struct service *service = &model->services[model->service_count];
	int r;

	if (model_service(model, config->name))
		return err_set(err, -EINVAL, "cannot serve %s twice; give each service a name",
			       config->name);
	model->service_count++;
	r = set_addresses(service, config->implicit ? local : config->addresses,
			  config->implicit ? local_count : config->address_count);
	service->name = strdup(config->name);
	service->tcp_ports = copy_list(config->tcp_ports, config->tcp_port_count, sizeof(uint16_t));
	service->udp_ports = copy_list(config->udp_ports, config->udp_port_count, sizeof(uint16_t));
	service->allow = copy_list(config->allow, config->allow_count, sizeof(*config->allow));
	service->deny = copy_list(config->deny, config->deny_count, sizeof(*config->deny));
	if (r < 0 || !service->name || !service->tcp_ports || !service->udp_ports ||
	    !service->allow || !service->deny)
		return err_set(err, -ENOMEM, "cannot build service %s: out of memory",
			       config->name);
	service->implicit = config->implicit;
	service->tcp_port_count = config->tcp_port_count;
	service->udp_port_count = config->udp_port_count;
	service->algorithm = config->algorithm;
	service->table_size = config->table_size;
	service->forwarding = config->forwarding;
	service->tcp_affinity_ns = config->tcp_affinity_ns;
	service->udp_affinity_ns = config->udp_affinity_ns;
	service->quic = config->quic;
	service->limits = config->limits;
	service->allow_count = config->allow_count;
	service->deny_count = config->deny_count;
	service->on_unhealthy = config->health.on_unhealthy;
	service->min_healthy_percent = config->health.min_healthy_percent;
	return 0;
}

static int add_backends(struct model *model, struct model_places *places, struct service *service,
			const struct config_service *config, struct err *err)
{
	int r = 0;

	for (size_t i = 0; r == 0 && i < config->backend_count; i++) {
		struct backend backend = {
			.id = config->backends[i].id,
			.address = config->backends[i].address,
			.port = config->backends[i].port,
			.weight = config->backends[i].weight,
			.origin = BACKEND_FROM_CONFIG,
			.has_server_id = config->backends[i].has_server_id,
			.server_id = config->backends[i].server_id,
		};

		if (config->backends[i].name)
			snprintf(backend.name, sizeof(backend.name), "%s",
				 config->backends[i].name);

		r = restore(model, places, service, &backend, err);
	}
	if (r < 0 && r != -ENOMEM) {
		r = -EINVAL; /* of a file there is but one thing to say: it contradicts itself */
		if (err)
			err->code = r;
	}
	return r;
}

/* A port that is in both lists; 0 if there is none. */
static uint16_t shared_port(const uint16_t *a, size_t a_count, const uint16_t *b, size_t b_count)
{
	for (size_t i = 0; i < a_count; i++)
		for (size_t k = 0; k < b_count; k++)
			if (a[i] == b[k])
				return a[i];
	return 0;
}

static int check_overlap(const struct service *a, const struct service *b, struct err *err)
{
	uint16_t tcp = shared_port(a->tcp_ports, a->tcp_port_count, b->tcp_ports,
				   b->tcp_port_count);
	uint16_t udp = shared_port(a->udp_ports, a->udp_port_count, b->udp_ports,
				   b->udp_port_count);
	char text[ADDR_PORT_TEXT_LEN];

	if (!tcp && !udp)
		return 0;
	for (size_t i = 0; i < a->address_count; i++) {
		if (!addr_list_has(b->addresses, b->address_count, &a->addresses[i]))
			continue;
		addr_port_format(&a->addresses[i], tcp ? tcp : udp, text);
		return err_set(err, -EINVAL,
			       "cannot serve both %s and %s: clients reach both at %s (%s); change "
			       "an address or a port",
			       a->name, b->name, text, tcp ? "tcp" : "udp");
	}
	return 0;
}

/* Against those before it that share an address. */
static int check_overlaps(const struct model *model, const struct model_places *places,
			  size_t number, struct err *err)
{
	const struct service *service = &model->services[number];
	int r = 0;

	for (size_t i = 0; r == 0 && i < service->address_count; i++) {
		struct index_walk walk = model_places_services(places, &service->addresses[i]);
		uint32_t other;

		while (r == 0 && index_next(&walk, &other))
			r = check_overlap(&model->services[other], service, err);
	}
	return r;
}

/* Does the configuration send new flows of service to the local stack? */
static bool goes_local(const struct config *config, const struct config_service *service)
{
	return (service->complex_routing && config->ebpf.fallback_complex) ||
	       (service->websocket && config->ebpf.fallback_websocket);
}

int model_build(const struct config *config, const struct addr *local, size_t local_count,
		struct model **ret, struct err *err)
{
	struct model *model = model_alloc(config->service_count, local, local_count);
	struct model_places places = { 0 };
	int r = 0;

	*ret = NULL;
	if (!model)
		return err_set(err, -ENOMEM, "cannot build the model: out of memory");
	for (size_t i = 0; r == 0 && i < config->service_count; i++) {
		r = add_service(model, &config->services[i], local, local_count, err);
		model->services[i].local = goes_local(config, &config->services[i]);
	}
	for (size_t i = 0; r == 0 && i < model->service_count; i++) {
		r = check_overlaps(model, &places, i, err);
		if (r == 0 && model_places_add_service(&places, model, i) < 0)
			r = err_set(err, -ENOMEM, "cannot build the model: out of memory");
	}
	/* With all services' addresses known: none of them may be a backend's. */
	for (size_t i = 0; r == 0 && i < model->service_count; i++)
		r = add_backends(model, &places, &model->services[i], &config->services[i], err);
	model_places_done(&places);
	if (r < 0) {
		model_free(model);
		return r;
	}
	*ret = model;
	return 0;
}
