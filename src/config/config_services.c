#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/index.h"
#include "config_build.h"

#define QUIC_ID_MAX 20 /* RFC 9000 section 17.2 */

struct value build_service_value(struct build *build, struct item *item, const char *name,
				 const char *common)
{
	const struct item *own = item_at(item, name);

	if (own->node)
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
			.has_server_id = item_at(entry, "server_id")->node,
			.server_id = (uint32_t)item_value(entry, "server_id").number,
		};
		if (item_at(entry, "name")->node)
			service->backends[i].name = build_text(build,
							       item_at(entry, "name")->value.text);
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

static bool is_tunnel(const struct config_service *service)
{
	return service->forwarding == CONFIG_DSR_IPIP || service->forwarding == CONFIG_DSR_GUE;
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

		if (item->node && !has[v4] && !(has[1] && is_tunnel(service)))
			complain(build->complaints, node_place(item->node),
				 "services[].backends[].address: %s is IPv%d, but the service has "
				 "no IPv%d address; add one to 'addresses'",
				 addr_format(address, text), v4 ? 4 : 6, v4 ? 4 : 6);
	}
}

static bool has_port(const uint16_t *ports, size_t count, uint16_t port)
{
	for (size_t i = 0; i < count; i++)
		if (ports[i] == port || !ports[i])
			return true;
	return false;
}

/* Where packets are not rewritten, and where any port is served, the port is the client's. */
static void check_ports(struct build *build, const struct config_service *service,
			const struct item *backends)
{
	bool dsr = service->forwarding >= CONFIG_DSR_IPIP;
	bool any = (service->tcp_port_count && !service->tcp_ports[0]) ||
		   (service->udp_port_count && !service->udp_ports[0]);

	for (size_t i = 0; (dsr || any) && i < service->backend_count; i++) {
		const struct item *item = item_at(&backends->below[i], "port");
		uint16_t port = service->backends[i].port;

		if (!item->node)
			continue;
		if (any && !dsr)
			complain(build->complaints, node_place(item->node),
				 "backends[].port: a service of any port leaves the client's port "
				 "as it is; delete this one");
		else if (!has_port(service->tcp_ports, service->tcp_port_count, port) &&
			 !has_port(service->udp_ports, service->udp_port_count, port))
			complain(build->complaints, node_place(item->node),
				 "backends[].port: DSR does not rewrite packets, so the backend "
				 "listens on the service's own port; delete this one");
	}
}

/* Is the server id of backend i among those that were seen? */
static bool is_seen(const struct index *seen, const struct config_service *service, size_t i)
{
	uint32_t id = service->backends[i].server_id;
	struct index_walk walk = index_find(seen, hash_mix64(id));
	uint32_t other;

	while (index_next(&walk, &other))
		if (service->backends[other].server_id == id)
			return true;
	return false;
}

static void check_server_ids(struct build *build, const struct config_service *service,
			     const struct item *backends)
{
	struct index seen = { 0 };

	for (size_t i = 0; i < service->backend_count; i++) {
		const struct config_backend *backend = &service->backends[i];
		const struct item *item = item_at(&backends->below[i], "server_id");

		if (!item->node)
			continue;
		if (!service->quic.enabled)
			complain(build->complaints, node_place(item->node),
				 "backends[].server_id: the service has no 'quic'; add it, or "
				 "delete "
				 "this");
		else if (service->quic.length < 4 &&
			 backend->server_id >> (8 * service->quic.length))
			complain(build->complaints, node_place(item->node),
				 "backends[].server_id: %u does not fit into %u bytes; see "
				 "quic.server_id_length",
				 backend->server_id, service->quic.length);
		/* With several of one id, all but the first are told. */
		if (is_seen(&seen, service, i))
			complain(build->complaints, node_place(item->node),
				 "backends[].server_id: %u is another backend's",
				 backend->server_id);
		else if (index_put(&seen, hash_mix64(backend->server_id), (uint32_t)i) < 0)
			build->failed = true;
	}
	index_done(&seen);
}

static enum config_forwarding forwarding_of(struct build *build, struct item *item)
{
	bool dsr = item_value(build->root, "ebpf.xdp.dsr.enabled").number;

	if (item && item_at(item, "mode")->node)
		dsr = item_value(item, "mode").number;
	if (!item)
		return (enum config_forwarding)item_value(build->root, dsr ? "ebpf.xdp.dsr.encap"
									   : "ebpf.xdp.nat")
			.number;
	return (enum config_forwarding)(
		       dsr ? build_service_value(build, item, "encap", "ebpf.xdp.dsr.encap")
			   : build_service_value(build, item, "nat", "ebpf.xdp.nat"))
		.number;
}

/* What is written and means nothing is a misunderstanding. */
static void check_forwarding(struct build *build, struct item *item,
			     const struct config_service *service)
{
	bool dsr = service->forwarding >= CONFIG_DSR_IPIP;
	const struct item *nat = item_at(item, "nat");
	const struct item *encap = item_at(item, "encap");

	if (dsr && nat->node)
		complain(build->complaints, node_key_place(nat->node),
			 "services[].nat: the service's mode is dsr, which rewrites nothing; set "
			 "mode: nat, or delete this");
	if (!dsr && encap->node)
		complain(build->complaints, node_key_place(encap->node),
			 "services[].encap: the service's mode is nat, which wraps nothing; set "
			 "mode: dsr, or delete this");
}

/* A service's own timeout, else the common one; 0 where it is switched off. */
static uint64_t affinity_of(struct build *build, struct item *item, const char *name,
			    const char *common)
{
	struct item *own = item ? item_at(item, name) : NULL;
	struct item *from = own && own->node ? own : item_at(build->root, common);

	return from->node && item_value(from, "enabled").number ? item_value(from, "timeout").number
								: 0;
}

static void build_affinity(struct build *build, struct item *item, struct config_service *service)
{
	service->tcp_affinity_ns = affinity_of(build, item, "connection_affinity",
					       "ebpf.xdp.connection_affinity");
	service->udp_affinity_ns = affinity_of(build, item, "session_affinity",
					       "ebpf.xdp.protocols.udp.session_affinity");
	if (!service->udp_affinity_ns)
		service->udp_affinity_ns = service->tcp_affinity_ns;
}

static void build_limits(struct build *build, struct item *item, struct config_service *service)
{
	struct item *own = item ? item_at(item, "limits") : NULL;
	struct item *from = own && own->node ? own : item_at(build->root, "ebpf.xdp.limits");

	service->limits = (struct config_limits){
		.new_per_second = (uint32_t)item_value(from, "new_connections").number,
		.new_per_second_per_source =
			(uint32_t)item_value(from, "new_connections_per_source").number,
		.syn_cookies = item_value(from, "syn_cookies").number,
	};
}

static void build_quic(struct build *build, struct item *item, struct config_service *service)
{
	struct item *quic = item_at(item, "quic");

	if (!quic->node || !item_value(quic, "enabled").number)
		return;
	service->quic = (struct config_quic){
		.enabled = true,
		.offset = (uint8_t)item_value(quic, "server_id_offset").number,
		.length = (uint8_t)item_value(quic, "server_id_length").number,
	};
	if (service->quic.offset + service->quic.length > QUIC_ID_MAX)
		complain(build->complaints, node_key_place(quic->node),
			 "services[].quic: connection ids have at most %d bytes, and the server id "
			 "ends behind them; lower server_id_offset or server_id_length",
			 QUIC_ID_MAX);
	if (!service->udp_port_count)
		complain(build->complaints, node_key_place(quic->node),
			 "services[].quic: QUIC is UDP; give the service protocol: udp");
}

/* What every service has, the implicit one (item: NULL) as well. */
static void build_common(struct build *build, struct item *item, struct config_service *service)
{
	service->forwarding = forwarding_of(build, item);
	build_affinity(build, item, service);
	build_limits(build, item, service);
	build_health(build, item, service);
}

static void build_explicit(struct build *build, struct item *item, struct config_service *service)
{
	const struct item *protocol = item_at(item, "protocol");
	const struct item *ports = item_at(item, "ports");
	const struct item *backends = item_at(item, "backends");
	const struct item *name = item_at(item, "name");

	service->name = build_text(build, name->node ? name->value.text : "");
	service->algorithm = (enum config_algorithm)build_service_value(
				     build, item, "algorithm", "ebpf.xdp.load_balancing.algorithm")
				     .number;
	service->table_size =
		(uint32_t)build_service_value(build, item, "maglev_table_size",
					      "ebpf.xdp.load_balancing.maglev_table_size")
			.number;
	build_addresses(build, item_at(item, "addresses"), service);
	if (build_has_word(protocol, 0, true))
		service->tcp_ports = build_ports(build, ports, &service->tcp_port_count);
	if (build_has_word(protocol, 1, false))
		service->udp_ports = build_ports(build, ports, &service->udp_port_count);
	build_common(build, item, service);
	check_forwarding(build, item, service);
	build_quic(build, item, service);
	service->complex_routing = build_has_word(item_at(item, "needs"), 0, false);
	service->websocket = build_has_word(item_at(item, "needs"), 1, false);
	service->allow = build_nets(build, item_at(item, "allow"), &service->allow_count);
	service->deny = build_nets(build, item_at(item, "deny"), &service->deny_count);
	build_backends(build, backends, service);
	check_families(build, service, backends);
	check_ports(build, service, backends);
	check_server_ids(build, service, backends);
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
	if (item_value(root, "ebpf.xdp.protocols.tcp.enabled").number)
		service->tcp_ports = build_ports(build,
						 item_at(root, "ebpf.xdp.protocols.tcp.ports"),
						 &service->tcp_port_count);
	if (item_value(root, "ebpf.xdp.protocols.udp.enabled").number)
		service->udp_ports = build_ports(build,
						 item_at(root, "ebpf.xdp.protocols.udp.ports"),
						 &service->udp_port_count);
	build_common(build, NULL, service);
	build_backends(build, item_at(root, "ebpf.backends"), service);
	check_ports(build, service, item_at(root, "ebpf.backends"));
	check_server_ids(build, service, item_at(root, "ebpf.backends"));
}

static bool has_implicit(struct item *root)
{
	return item_at(root, "ebpf.backends")->node ||
	       item_at(root, "ebpf.xdp.protocols.tcp.ports")->node ||
	       item_at(root, "ebpf.xdp.protocols.udp.ports")->node;
}

/* Only where packets are sent on as they are do they need no memory. */
static void check_conntrack(struct build *build)
{
	struct config *config = build->config;
	const struct item *enabled = item_at(build->root, "ebpf.conntrack.enabled");
	bool nat = !config->service_count, counts = false;

	if (item_value(build->root, "ebpf.conntrack.enabled").number || !enabled->node)
		return;
	for (size_t i = 0; i < config->service_count; i++) {
		nat |= config->services[i].forwarding < CONFIG_DSR_IPIP;
		counts |= config->services[i].algorithm == CONFIG_LEAST_CONNECTIONS;
	}
	if (nat)
		complain(build->complaints, node_place(enabled->node),
			 "ebpf.conntrack.enabled: NAT needs the connection table; make it true, or "
			 "delete the key");
	else if (counts)
		complain(build->complaints, node_place(enabled->node),
			 "ebpf.conntrack.enabled: least_connections counts what the connection "
			 "table holds; make it true, or take another algorithm");
	config->ebpf.stateless = !nat;
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
	check_conntrack(build);
	if (!build->failed)
		build_unique(build, items);
out:
	free(items);
}
