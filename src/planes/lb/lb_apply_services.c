/* Under which addresses and ports services are asked. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/bitset.h"
#include "base/clock.h"
#include "base/hash.h"
#include "base/index.h"
#include "lb_apply_internal.h"

static const uint8_t modes[] = {
	[CONFIG_NAT_FULL] = LB_MODE_NAT_FULL, [CONFIG_NAT_DESTINATION] = LB_MODE_NAT_DESTINATION,
	[CONFIG_DSR_IPIP] = LB_MODE_IPIP,     [CONFIG_DSR_GUE] = LB_MODE_GUE,
	[CONFIG_DSR_L2] = LB_MODE_L2,
};

void apply_service_key(const struct addr *address, uint16_t port, uint8_t proto,
		       struct lb_service_key *key)
{
	memset(key, 0, sizeof(*key));
	memcpy(key->addr, address, sizeof(key->addr));
	key->port = htons(port);
	key->proto = proto;
}

static enum lb_pick pick_of(enum config_algorithm algorithm)
{
	switch (algorithm) {
	case CONFIG_ROUND_ROBIN:
	case CONFIG_WEIGHTED:
	case CONFIG_LEAST_CONNECTIONS:
		return LB_PICK_TURN;
	case CONFIG_SOURCE_HASH:
		return LB_PICK_SOURCE;
	default:
		return LB_PICK_FLOW;
	}
}

static uint8_t flags_of(const struct lb *lb, const struct service *service, uint8_t proto)
{
	const struct config_ebpf *config = lb->options.config;
	uint8_t flags = 0;

	if (service->allow_count || service->deny_count)
		flags |= LB_SERVICE_FILTER;
	if (service->allow_count)
		flags |= LB_SERVICE_DENY;
	if (service->local)
		flags |= LB_SERVICE_PASS;
	/* Also of before a reload, of before the service, or of beyond a limit.  Without entries
	 * every packet would ask. */
	if (proto == IPPROTO_TCP && (!config->stateless || config->hybrid || service->local))
		flags |= LB_SERVICE_SHARED;
	if (service->quic.enabled && proto == IPPROTO_UDP)
		flags |= LB_SERVICE_QUIC;
	if (config->fallback_limit)
		flags |= LB_SERVICE_LIMIT_PASS;
	if (lb->features.cookies && service->limits.syn_cookies)
		flags |= LB_SERVICE_COOKIES;
	return flags;
}

static uint32_t ticks_of(uint64_t ns)
{
	uint64_t ticks = (ns + (1ull << LB_TICK_SHIFT) - 1) >> LB_TICK_SHIFT;

	return ticks > UINT32_MAX / 2 ? UINT32_MAX / 2 : (uint32_t)ticks;
}

static uint32_t interval_of(uint32_t rate)
{
	return rate ? (uint32_t)(NSEC_PER_SEC / rate) : 0;
}

static struct lb_service value_of(const struct lb *lb, const struct service *service,
				  uint32_t table, uint8_t proto)
{
	return (struct lb_service){
		.table = table,
		.table_size = service->table_size,
		.affinity_ticks = ticks_of(proto == IPPROTO_TCP ? service->tcp_affinity_ns
								: service->udp_affinity_ns),
		.rate_ns = interval_of(service->limits.new_per_second),
		.source_rate_ns = interval_of(service->limits.new_per_second_per_source),
		.mode = modes[service->forwarding],
		.pick = pick_of(service->algorithm),
		.flags = flags_of(lb, service, proto),
		.id_offset = service->quic.offset,
		.id_length = service->quic.length,
	};
}

/* In hybrid mode the first route that matches decides; what none matches is the stack's. */
static bool is_routed(const struct config_ebpf *config, uint16_t port, uint8_t proto)
{
	for (size_t i = 0; i < config->route_count; i++) {
		const struct config_route *route = &config->routes[i];
		bool match = !route->port_count || !route->ports[0];

		if (!(proto == IPPROTO_TCP ? route->tcp : route->udp))
			continue;
		for (size_t k = 0; !match && k < route->port_count; k++)
			match = route->ports[k] == port;
		if (match)
			return route->balance;
	}
	return !config->hybrid;
}

static int put_ports(struct lb *lb, const struct addr *address, const struct lb_service *value,
		     const struct service *service, uint8_t proto, struct err *err)
{
	const uint16_t *ports = proto == IPPROTO_TCP ? service->tcp_ports : service->udp_ports;
	size_t count = proto == IPPROTO_TCP ? service->tcp_port_count : service->udp_port_count;

	for (size_t k = 0; k < count; k++) {
		struct lb_service one = *value;
		struct lb_service_key key;
		int r;

		if (!is_routed(lb->options.config, ports[k], proto))
			one.flags |= LB_SERVICE_PASS;
		apply_service_key(address, ports[k], proto, &key);
		r = apply_put(lb, LB_MAP_SERVICES, &key, &one, "a service address", err);
		if (r < 0)
			return r;
	}
	return 0;
}

int apply_service_ports(struct lb *lb, const struct service *service, const int tables[2],
			struct err *err)
{
	static const uint8_t protos[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (size_t i = 0; i < service->address_count; i++) {
		const struct addr *address = &service->addresses[i];
		uint32_t table = (uint32_t)tables[apply_is_v6(address)];
		struct lb_service value;
		struct lb_service_key key;
		int r;

		for (size_t p = 0; p < sizeof(protos); p++) {
			value = value_of(lb, service, table, protos[p]);
			r = put_ports(lb, address, &value, service, protos[p], err);
			if (r < 0)
				return r;
		}
		/* That the address is a service's, for ICMP and fragments. */
		apply_service_key(address, 0, IPPROTO_ICMP, &key);
		r = apply_put(lb, LB_MAP_SERVICES, &key, &value, "a service address", err);
		if (r < 0)
			return r;
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

/* With a service of any port each packet is looked up; none is kept from NAT, whose connections
 * are found first. */
static bool set_any_port(uint64_t *to, const uint16_t *ports, size_t count)
{
	if (!count || ports[0])
		return false;
	memset(to, 0xff, LB_PORT_WORDS * sizeof(*to));
	return true;
}

/* Where answers to clients' own addresses come from. */
static void collect_from(const struct service *service, const uint16_t *own, size_t own_count,
			 uint64_t *from)
{
	for (size_t b = 0; b < service->backend_count; b++) {
		if (service->backends[b].port)
			bitset_set(from, service->backends[b].port);
		else if (own_count && !own[0])
			memset(from, 0xff, LB_PORT_WORDS * sizeof(*from));
		else
			set_ports(from, own, own_count);
	}
}

static void collect_service(const struct service *service, struct lb_ports *ports,
			    bool nat[LB_PROTOS])
{
	for (int p = 0; p < LB_PROTOS; p++) {
		const uint16_t *own = p == LB_TCP ? service->tcp_ports : service->udp_ports;
		size_t count = p == LB_TCP ? service->tcp_port_count : service->udp_port_count;

		if (!set_any_port((uint64_t *)ports->to[p], own, count))
			set_ports((uint64_t *)ports->service[p], own, count);
		if (!count || apply_is_direct(service))
			continue;
		nat[p] = true;
		if (service->forwarding != CONFIG_NAT_FULL)
			collect_from(service, own, count, (uint64_t *)ports->from[p]);
	}
}

/* Answers of flows that began when their service had another mode come as they came before. */
static void keep_ports(const struct lb *lb, struct lb_ports *ports, bool nat[LB_PROTOS])
{
	struct lb_ports *past = calloc(1, sizeof(*past));
	__u32 zero = 0;

	if (!past || bpf_map_lookup_elem(lb->maps[LB_MAP_PORTS], &zero, past) < 0) {
		free(past);
		return;
	}
	for (int p = 0; p < LB_PROTOS; p++) {
		for (int w = 0; w < LB_PORT_WORDS; w++)
			ports->from[p][w] |= past->from[p][w];
		for (uint32_t port = lb->options.port_first;
		     !nat[p] && port <= lb->options.port_last; port++)
			nat[p] = bitset_test((uint64_t *)past->to[p], port) &&
				 !bitset_test((uint64_t *)past->service[p], port);
	}
	free(past);
}

static void collect_ports(const struct lb *lb, const struct model *model, struct lb_ports *ports)
{
	bool nat[LB_PROTOS] = { false };

	for (size_t i = 0; i < model->service_count; i++)
		collect_service(&model->services[i], ports, nat);
	if (!lb->features.stateless)
		keep_ports(lb, ports, nat);
	for (int p = 0; p < LB_PROTOS; p++) {
		for (uint32_t port = lb->options.port_first;
		     nat[p] && port <= lb->options.port_last; port++)
			bitset_set((uint64_t *)ports->to[p], port);
		for (int w = 0; w < LB_PORT_WORDS; w++)
			ports->to[p][w] |= ports->service[p][w];
	}
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

static bool service_serves(const struct service *service, const struct lb_service_key *key)
{
	bool tcp = key->proto == IPPROTO_TCP;
	const uint16_t *ports = tcp ? service->tcp_ports : service->udp_ports;
	size_t count = tcp ? service->tcp_port_count : service->udp_port_count;

	for (size_t i = 0; key->proto != IPPROTO_ICMP && i < count; i++)
		if (ports[i] == ntohs(key->port))
			return true;
	return key->proto == IPPROTO_ICMP;
}

static int index_addresses(const struct model *model, struct index *index)
{
	int r = 0;

	for (size_t i = 0; i < model->service_count; i++) {
		const struct service *service = &model->services[i];

		for (size_t k = 0; r == 0 && k < service->address_count; k++)
			r = index_put(index,
				      hash_bytes(&service->addresses[k], sizeof(struct addr), 0),
				      (uint32_t)i);
	}
	return r;
}

/* by_address: rows are numbers of services. */
static bool model_serves(const struct model *model, const struct index *by_address,
			 const struct lb_service_key *key)
{
	struct index_walk walk = index_find(by_address,
					    hash_bytes(key->addr, sizeof(key->addr), 0));
	uint32_t number;

	while (index_next(&walk, &number)) {
		const struct service *service = &model->services[number];

		for (size_t a = 0; a < service->address_count; a++)
			if (!memcmp(key->addr, &service->addresses[a], sizeof(key->addr)) &&
			    service_serves(service, key))
				return true;
	}
	return false;
}

int apply_remove_services(struct lb *lb, const struct model *model, struct err *err)
{
	struct index by_address = { 0 };
	struct lb_service_key key;
	struct lb_service_key next;
	void *from = NULL;
	int r = index_addresses(model, &by_address);

	if (r < 0)
		err_set(err, r, "cannot look for services that are gone: out of memory");
	while (r == 0 && bpf_map_get_next_key(lb->maps[LB_MAP_SERVICES], from, &next) == 0) {
		if (!model_serves(model, &by_address, &next)) {
			if (bpf_map_delete_elem(lb->maps[LB_MAP_SERVICES], &next) < 0 &&
			    errno != ENOENT)
				r = err_set(err, -errno, "cannot remove a service address: %s",
					    strerror(errno));
			continue; /* from the last one that stays */
		}
		key = next;
		from = &key;
	}
	index_done(&by_address);
	return r;
}
