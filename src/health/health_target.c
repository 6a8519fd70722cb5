/* What the configuration says of how a backend is checked: by which upstream, at which port, by
 * which way. */
#include <string.h>

#include "health_internal.h"

/* Models keep the order of their configuration, so that the guess is nearly always right. */
const struct config_service *health_service_config(const struct config *config, const char *name,
						   size_t guess)
{
	if (guess < config->service_count && !strcmp(config->services[guess].name, name))
		return &config->services[guess];
	for (size_t i = 0; i < config->service_count; i++)
		if (!strcmp(config->services[i].name, name))
			return &config->services[i];
	return NULL;
}

const struct config_upstream *health_upstream(const struct config *config,
					      const struct config_service *service)
{
	if (!service || !service->health.upstream)
		return NULL;
	for (size_t i = 0; i < config->upstream_count; i++)
		if (!strcmp(config->upstreams[i].name, service->health.upstream))
			return &config->upstreams[i];
	return NULL;
}

/* Where only MAC addresses change there is nothing to wrap: such backends are checked by address.
 */
bool health_tunnelled(const struct config_upstream *upstream, const struct service *service)
{
	return upstream->check.through_tunnel &&
	       (service->forwarding == CONFIG_DSR_IPIP || service->forwarding == CONFIG_DSR_GUE);
}

/* An address of a service that backend serves: of its own family if there is one. */
static const struct addr *vip_of(const struct service *service, const struct backend *backend)
{
	for (size_t i = 0; i < service->address_count; i++)
		if (addr_is_v4(&service->addresses[i]) == addr_is_v4(&backend->address))
			return &service->addresses[i];
	return service->address_count ? &service->addresses[0] : NULL;
}

static bool is_service_address(const struct model *model, const struct addr *address)
{
	for (size_t i = 0; i < model->service_count; i++)
		if (!model->services[i].implicit &&
		    addr_list_has(model->services[i].addresses, model->services[i].address_count,
				  address))
			return true;
	return false;
}

/* An address of this host, of vip's family, that is not a service's. */
static struct addr source_for(const struct model *model, const struct addr *vip)
{
	for (size_t i = 0; i < model->local_count; i++)
		if (addr_is_v4(&model->local[i]) == addr_is_v4(vip) &&
		    !is_service_address(model, &model->local[i]))
			return model->local[i];
	return (struct addr){ { 0 } };
}

struct probe_route health_route(const struct config *config, const struct model *model,
				const struct config_upstream *upstream,
				const struct service *service, const struct backend *backend)
{
	const struct addr *vip = vip_of(service, backend);
	struct probe_route route = { .tunnelled = vip && health_tunnelled(upstream, service) };

	if (!route.tunnelled)
		return route;
	route.forwarding = service->forwarding;
	route.vip = *vip;
	route.gue_port = config->ebpf.gue_port;
	if (addr_is_v4(vip) != addr_is_v4(&backend->address))
		route.source = source_for(model, vip);
	return route;
}

uint16_t health_port(const struct config_upstream *upstream, const struct service *service,
		     const struct backend *backend)
{
	const struct config_check *check = &upstream->check;
	bool udp = check->type == CONFIG_CHECK_UDP || check->type == CONFIG_CHECK_DNS;

	for (size_t i = 0; !health_tunnelled(upstream, service) && i < upstream->backend_count; i++)
		if (upstream->backends[i].port &&
		    addr_equal(&upstream->backends[i].address, &backend->address))
			return upstream->backends[i].port;
	if (check->port)
		return check->port;
	if (backend->port && !health_tunnelled(upstream, service))
		return backend->port;
	if (service->udp_port_count && (udp || !service->tcp_port_count))
		return service->udp_ports[0];
	return service->tcp_port_count ? service->tcp_ports[0] : 0;
}
