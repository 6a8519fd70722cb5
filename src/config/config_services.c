#include <stdlib.h>
#include <string.h>

#include "config_build.h"

/* What may be left open by a service, with the key below ebpf.xdp that then speaks for it. */
static struct value service_value(struct build *build, struct item *item, const char *name,
				  const char *common)
{
	const struct item *own = item_at(item, name);

	if (own->node && !own->value.later)
		return own->value;
	return item_value(build->root, common);
}

static void build_backends(struct build *build, const struct item *list,
			   struct config_service *service)
{
	if (!list->node || list->count == 0)
		return;
	service->backends = build_array(build, list->count, sizeof(*service->backends));
	service->backend_count = service->backends ? list->count : 0;
	for (size_t i = 0; i < service->backend_count; i++) {
		struct item *entry = &list->below[i];

		service->backends[i] = (struct config_backend){
			.id = (uint32_t)item_value(entry, "id").number,
			.address = item_value(entry, "address").net.addr,
			.port = (uint16_t)item_value(entry, "port").number,
			.weight = (uint32_t)item_value(entry, "weight").number,
		};
	}
}

static void build_addresses(struct build *build, const struct item *list,
			    struct config_service *service)
{
	service->addresses = build_array(build, list->count, sizeof(*service->addresses));
	for (size_t i = 0; service->addresses && list->node && i < list->count; i++)
		if (list->below[i].node)
			service->addresses[service->address_count++] =
				list->below[i].value.net.addr;
}

/* Does "protocol" name this one?  tcp if it is not given. */
static bool speaks(const struct item *list, uint64_t protocol)
{
	for (size_t i = 0; list->node && i < list->count; i++)
		if (list->below[i].node && list->below[i].value.number == protocol)
			return true;
	return !list->node && protocol == 0;
}

/* A backend whose family the service has no address of would never get a packet. */
static void check_families(struct build *build, const struct config_service *service,
			   const struct item *backends)
{
	bool has[2] = { false, false };
	char text[ADDR_TEXT_LEN];

	for (size_t i = 0; i < service->address_count; i++)
		has[addr_is_v4(&service->addresses[i])] = true;
	for (size_t i = 0; (has[0] || has[1]) && i < service->backend_count; i++) {
		const struct addr *address = &service->backends[i].address;
		const struct item *item = item_at(&backends->below[i], "address");
		bool v4 = addr_is_v4(address);

		if (item->node && !has[v4])
			complain(build->complaints, node_place(item->node),
				 "services[].backends[].address: %s is IPv%d, but the service has "
				 "no IPv%d address; add one to 'addresses'",
				 addr_format(address, text), v4 ? 4 : 6, v4 ? 4 : 6);
	}
}

static void build_explicit(struct build *build, struct item *item, struct config_service *service)
{
	const struct item *protocol = item_at(item, "protocol");
	const struct item *ports = item_at(item, "ports");
	const struct item *backends = item_at(item, "backends");
	const struct item *name = item_at(item, "name");

	service->name = build_text(build, name->node ? name->value.text : "");
	service->algorithm = (enum config_algorithm)service_value(
				     build, item, "algorithm", "ebpf.xdp.load_balancing.algorithm")
				     .number;
	service->table_size = (uint32_t)service_value(build, item, "maglev_table_size",
						      "ebpf.xdp.load_balancing.maglev_table_size")
				      .number;
	service->forwarding = (enum config_forwarding)service_value(build, item, "nat", "ebpf.xdp.nat").number;
	build_addresses(build, item_at(item, "addresses"), service);
	if (speaks(protocol, 0))
		service->tcp_ports = build_ports(build, ports, &service->tcp_port_count);
	if (speaks(protocol, 1))
		service->udp_ports = build_ports(build, ports, &service->udp_port_count);
	build_backends(build, backends, service);
	check_families(build, service, backends);
}

static void build_implicit(struct build *build, struct config_service *service)
{
	struct item *root = build->root;

	service->implicit = true;
	service->name = build_text(build, "default");
	service->algorithm =
		(enum config_algorithm)item_value(root, "ebpf.xdp.load_balancing.algorithm").number;
	service->table_size =
		(uint32_t)item_value(root, "ebpf.xdp.load_balancing.maglev_table_size").number;
	service->forwarding = (enum config_forwarding)item_value(root, "ebpf.xdp.nat").number;
	if (item_value(root, "ebpf.xdp.protocols.tcp.enabled").number)
		service->tcp_ports = build_ports(build,
						 item_at(root, "ebpf.xdp.protocols.tcp.ports"),
						 &service->tcp_port_count);
	if (item_value(root, "ebpf.xdp.protocols.udp.enabled").number)
		service->udp_ports = build_ports(build,
						 item_at(root, "ebpf.xdp.protocols.udp.ports"),
						 &service->udp_port_count);
	build_backends(build, item_at(root, "ebpf.backends"), service);
}

static bool has_implicit(struct item *root)
{
	return item_at(root, "ebpf.backends")->node ||
	       item_at(root, "ebpf.xdp.protocols.tcp.ports")->node ||
	       item_at(root, "ebpf.xdp.protocols.udp.ports")->node;
}

void build_services(struct build *build)
{
	struct config *config = build->config;
	struct item *list = item_at(build->root, "services");
	size_t explicit_count = list->node ? list->count : 0;
	bool implicit = has_implicit(build->root);
	const struct item **items = build_array(build, explicit_count + 1, sizeof(*items));

	config->services = build_array(build, explicit_count + 1, sizeof(*config->services));
	if (!items || !config->services)
		goto out;
	if (implicit) {
		items[0] = NULL;
		build_implicit(build, &config->services[config->service_count++]);
	}
	for (size_t i = 0; i < explicit_count; i++) {
		items[config->service_count] = &list->below[i];
		build_explicit(build, &list->below[i], &config->services[config->service_count++]);
	}
	if (!build->failed)
		build_unique(build, items);
out:
	free(items);
}
