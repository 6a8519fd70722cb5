/* Under which addresses and ports services are asked. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitset.h"
#include "lb_apply_internal.h"

void apply_service_key(const struct addr *address, uint16_t port, uint8_t proto,
		       struct lb_service_key *key)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->addr, address, sizeof(key->addr));
	key->port = htons(port);
	key->proto = proto;
}

int apply_service_ports(struct lb *lb, const struct service *service, const uint16_t *ports,
			size_t count, uint8_t proto, const int tables[2], struct err *err)
{
	for (size_t i = 0; i < service->address_count; i++) {
		bool ipv6 = apply_is_v6(&service->addresses[i]);
		struct lb_service value = {
			.table = (__u32)tables[ipv6],
			.table_size = service->table_size,
			.mode = service->forwarding == CONFIG_NAT_FULL ? LB_MODE_NAT_FULL : LB_MODE_NAT_DESTINATION,
		};

		for (size_t k = 0; k < count; k++) {
			struct lb_service_key key;
			int r;

			apply_service_key(&service->addresses[i], ports[k], proto, &key);
			r = apply_put(lb, LB_MAP_SERVICES, &key, &value, "a service address", err);
			if (r < 0)
				return r;
		}
	}
	return 0;
}

/* The addresses of one family of service under which a client may have asked. */
int apply_vips(struct lb *lb, const struct service *service, bool ipv6, uint32_t table,
	       struct err *err)
{
	struct lb_vips vips = { 0 };
	size_t n = 0;

	for (size_t i = 0; i < service->address_count; i++) {
		if (apply_is_v6(&service->addresses[i]) != ipv6)
			continue;
		for (size_t k = 0; k < service->tcp_port_count && n < LB_MAX_VIPS; k++)
			apply_service_key(&service->addresses[i], service->tcp_ports[k],
					  IPPROTO_TCP, &vips.vip[n++]);
		for (size_t k = 0; k < service->udp_port_count && n < LB_MAX_VIPS; k++)
			apply_service_key(&service->addresses[i], service->udp_ports[k],
					  IPPROTO_UDP, &vips.vip[n++]);
	}
	return apply_put(lb, LB_MAP_VIPS, &table, &vips, "a service's addresses", err);
}

static void set_ports(uint64_t *words, const uint16_t *ports, size_t count)
{
	for (size_t i = 0; i < count; i++)
		bitset_set(words, ports[i]);
}

static void collect_ports(const struct lb *lb, const struct model *model, struct lb_ports *ports)
{
	for (size_t i = 0; i < model->service_count; i++) {
		const struct service *service = &model->services[i];
		uint64_t *from[LB_PROTOS] = { (uint64_t *)ports->from[LB_TCP],
					      (uint64_t *)ports->from[LB_UDP] };
		bool used[LB_PROTOS] = { service->tcp_port_count > 0, service->udp_port_count > 0 };

		set_ports((uint64_t *)ports->service[LB_TCP], service->tcp_ports,
			  service->tcp_port_count);
		set_ports((uint64_t *)ports->service[LB_UDP], service->udp_ports,
			  service->udp_port_count);
		for (int p = 0; p < LB_PROTOS; p++) {
			const uint16_t *own = p == LB_TCP ? service->tcp_ports : service->udp_ports;
			size_t own_count = p == LB_TCP ? service->tcp_port_count
						       : service->udp_port_count;

			if (!used[p])
				continue;
			for (uint32_t port = lb->options.port_first; port <= lb->options.port_last;
			     port++)
				bitset_set((uint64_t *)ports->to[p], port);
			if (service->forwarding == CONFIG_NAT_FULL)
				continue;
			for (size_t b = 0; b < service->backend_count; b++) {
				if (service->backends[b].port)
					bitset_set(from[p], service->backends[b].port);
				else
					set_ports(from[p], own, own_count);
			}
		}
	}
	for (int p = 0; p < LB_PROTOS; p++)
		for (int w = 0; w < LB_PORT_WORDS; w++)
			ports->to[p][w] |= ports->service[p][w];
}

static void drop_passthrough(const struct config_ebpf *config, struct lb_ports *ports)
{
	for (size_t i = 0; i < config->passthrough_port_count; i++)
		for (int p = 0; p < LB_PROTOS; p++) {
			bitset_clear((uint64_t *)ports->to[p], config->passthrough_ports[i]);
			bitset_clear((uint64_t *)ports->from[p], config->passthrough_ports[i]);
		}
}

int apply_ports(struct lb *lb, const struct model *model, struct err *err)
{
	struct lb_ports *ports = calloc(1, sizeof(*ports));
	__u32 zero = 0;
	int r;

	if (!ports)
		return err_set(err, -ENOMEM, "cannot build the port sets: out of memory");
	collect_ports(lb, model, ports);
	drop_passthrough(lb->options.config, ports);
	r = apply_put(lb, LB_MAP_PORTS, &zero, ports, "the port sets", err);
	free(ports);
	return r;
}

static bool model_serves(const struct model *model, const struct lb_service_key *key)
{
	uint16_t port = ntohs(key->port);

	for (size_t i = 0; i < model->service_count; i++) {
		const struct service *service = &model->services[i];
		const uint16_t *ports = key->proto == IPPROTO_TCP ? service->tcp_ports
								  : service->udp_ports;
		size_t count = key->proto == IPPROTO_TCP ? service->tcp_port_count
							 : service->udp_port_count;

		for (size_t a = 0; a < service->address_count; a++) {
			if (memcmp(key->addr, &service->addresses[a], sizeof(key->addr)) != 0)
				continue;
			for (size_t p = 0; p < count; p++)
				if (ports[p] == port)
					return true;
		}
	}
	return false;
}

int apply_remove_services(struct lb *lb, const struct model *model, struct err *err)
{
	struct lb_service_key key;
	struct lb_service_key next;
	void *from = NULL;

	while (bpf_map_get_next_key(lb->maps[LB_MAP_SERVICES], from, &next) == 0) {
		if (!model_serves(model, &next)) {
			if (bpf_map_delete_elem(lb->maps[LB_MAP_SERVICES], &next) < 0 &&
			    errno != ENOENT)
				return err_set(err, -errno, "cannot remove a service address: %s",
					       strerror(errno));
			continue; /* from the last one that stays */
		}
		key = next;
		from = &key;
	}
	return 0;
}
