/* What may be there once only, and the ids that were left open. */
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "config_build.h"

#define SERVICE_ROWS_MAX 1000000 /* address, port, protocol: the data path's map of services */

/* Something that nobody else may have, and where it was said. */
struct claim {
	unsigned char key[64];
	const struct node *node;
	size_t order;
	const char *service;
};

struct claims {
	struct claim *list;
	size_t count;
};

static int compare_keys(const void *left, const void *right)
{
	const struct claim *a = left;
	const struct claim *b = right;

	return memcmp(a->key, b->key, sizeof(a->key));
}

static int compare_claims(const void *left, const void *right)
{
	const struct claim *a = left;
	const struct claim *b = right;
	int order = compare_keys(a, b);

	if (order)
		return order;
	return a->order < b->order ? -1 : 1;
}

static void claim_add(struct claims *claims, const void *key, size_t len, const struct node *node,
		      const char *service)
{
	struct claim *claim = &claims->list[claims->count];

	memset(claim, 0, sizeof(*claim));
	memcpy(claim->key, key, len);
	claim->node = node;
	claim->service = service;
	claim->order = claims->count++;
}

/* Complains about each claim of what an earlier one has; what names it. */
static void claims_settle(struct build *build, struct claims *claims,
			  void (*name)(const struct claim *claim, struct buf *out))
{
	const struct claim *first = NULL;

	if (claims->count)
		qsort(claims->list, claims->count, sizeof(*claims->list), compare_claims);
	for (size_t i = 0; i < claims->count; i++) {
		const struct claim *claim = &claims->list[i];
		struct buf what;

		if (!first || memcmp(first->key, claim->key, sizeof(claim->key)) != 0) {
			first = claim;
			continue;
		}
		buf_init(&what);
		name(claim, &what);
		complain_twice(build->complaints, node_place(claim->node),
			       what.data ? what.data : "this", node_place(first->node));
		buf_done(&what);
	}
	claims->count = 0;
}

static void name_service(const struct claim *claim, struct buf *out)
{
	buf_printf(out, "the service name '%s'", (const char *)claim->key);
}

static void name_id(const struct claim *claim, struct buf *out)
{
	uint32_t id;

	memcpy(&id, claim->key, sizeof(id));
	buf_printf(out, "the backend id %u", id);
}

struct endpoint {
	uint32_t service;
	struct addr addr;
	uint16_t port;
	uint16_t protocol;
};

static void name_backend(const struct claim *claim, struct buf *out)
{
	char text[ADDR_PORT_TEXT_LEN];
	struct endpoint e;

	memcpy(&e, claim->key, sizeof(e));
	buf_printf(out, "the backend %s of service '%s'",
		   e.port ? addr_port_format(&e.addr, e.port, text) : addr_format(&e.addr, text),
		   claim->service);
}

static void name_endpoint(const struct claim *claim, struct buf *out)
{
	char text[ADDR_PORT_TEXT_LEN];
	struct endpoint e;

	memcpy(&e, claim->key, sizeof(e));
	if (e.port)
		addr_port_format(&e.addr, e.port, text);
	else
		addr_format(&e.addr, text);
	buf_printf(out, "%s%s for %s", e.port ? "" : "any port of ", text,
		   e.protocol == IPPROTO_TCP ? "tcp" : "udp");
}

static void name_other(const struct claim *claim, struct buf *out)
{
	buf_printf(out, "%s '%s'", claim->service, (const char *)claim->key);
}

/* Names of the entries of a list that has no function yet. */
static void unique_names(struct build *build, const char *path, struct claims *claims)
{
	const struct item *list = item_at(build->root, path);

	for (size_t i = 0; list->node && i < list->count; i++) {
		const struct item *name = item_at(&list->below[i], "name");

		if (name->node)
			claim_add(claims, name->value.text, strlen(name->value.text), name->node,
				  list->key->keys->name);
	}
	claims_settle(build, claims, name_other);
}

/* What made the implicit service be there. */
static const struct node *implicit_node(struct build *build)
{
	static const char *const paths[] = { "ebpf.backends", "ebpf.xdp.protocols.tcp.ports",
					     "ebpf.xdp.protocols.udp.ports" };
	const struct node *node = NULL;

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]) && !node; i++)
		node = item_at(build->root, paths[i])->node;
	return node->key;
}

static void unique_services(struct build *build, const struct item *const *items,
			    struct claims *claims)
{
	for (size_t i = 0; i < build->config->service_count; i++) {
		const struct config_service *service = &build->config->services[i];
		const struct node *node = items[i] ? item_at((struct item *)items[i], "name")->node
						   : implicit_node(build);

		if (node)
			claim_add(claims, service->name, strlen(service->name), node,
				  service->name);
	}
	claims_settle(build, claims, name_service);
}

static const struct item *backend_items(struct build *build, const struct item *service)
{
	return service ? item_at((struct item *)service, "backends")
		       : item_at(build->root, "ebpf.backends");
}

static void unique_backends(struct build *build, const struct item *const *items,
			    struct claims *claims, bool by_id)
{
	for (size_t i = 0; i < build->config->service_count; i++) {
		const struct config_service *service = &build->config->services[i];
		const struct item *list = backend_items(build, items[i]);

		for (size_t j = 0; j < service->backend_count; j++) {
			const struct config_backend *backend = &service->backends[j];
			const struct item *item = item_at(&list->below[j],
							  by_id ? "id" : "address");
			struct endpoint e = { (uint32_t)i, backend->address, backend->port, 0 };

			if (!item->node)
				continue;
			if (by_id)
				claim_add(claims, &backend->id, sizeof(backend->id), item->node,
					  service->name);
			else
				claim_add(claims, &e, sizeof(e), item->node, service->name);
		}
	}
	claims_settle(build, claims, by_id ? name_id : name_backend);
}

static size_t endpoint_count(const struct config_service *service)
{
	return service->address_count * (service->tcp_port_count + service->udp_port_count);
}

static void claim_ports(struct claims *claims, const struct config_service *service, size_t address,
			uint16_t protocol, const struct node *node)
{
	bool tcp = protocol == IPPROTO_TCP;
	const uint16_t *ports = tcp ? service->tcp_ports : service->udp_ports;
	size_t count = tcp ? service->tcp_port_count : service->udp_port_count;

	for (size_t i = 0; i < count; i++) {
		struct endpoint e = { 0, service->addresses[address], ports[i], protocol };

		claim_add(claims, &e, sizeof(e), node, service->name);
	}
}

static void unique_endpoints(struct build *build, const struct item *const *items,
			     struct claims *claims)
{
	for (size_t i = 0; i < build->config->service_count; i++) {
		const struct config_service *service = &build->config->services[i];
		const struct item *addresses;

		if (!items[i])
			continue;
		addresses = item_at((struct item *)items[i], "addresses");
		for (size_t j = 0, valid = 0; addresses->node && j < addresses->count; j++) {
			const struct node *node = addresses->below[j].node;

			if (!node)
				continue;
			claim_ports(claims, service, valid, IPPROTO_TCP, node);
			claim_ports(claims, service, valid, IPPROTO_UDP, node);
			valid++;
		}
	}
	claims_settle(build, claims, name_endpoint);
}

/* Complains about a backend at an address of a service: what is sent there comes back. */
static void check_elsewhere(struct build *build, const struct claims *served,
			    const struct config_backend *backend, const struct node *node)
{
	struct claim key = { 0 };
	const struct claim *found;

	memcpy(key.key, &backend->address, sizeof(backend->address));
	found = bsearch(&key, served->list, served->count, sizeof(*served->list), compare_keys);
	if (found && node)
		complain(build->complaints, node_place(node),
			 "clients reach service '%s' at this address; give a backend the address "
			 "of another host",
			 found->service);
}

static void backends_elsewhere(struct build *build, const struct item *const *items,
			       struct claims *claims)
{
	const struct config *config = build->config;

	for (size_t i = 0; i < config->service_count; i++)
		for (size_t j = 0; j < config->services[i].address_count; j++)
			claim_add(claims, &config->services[i].addresses[j], sizeof(struct addr),
				  NULL, config->services[i].name);
	if (claims->count)
		qsort(claims->list, claims->count, sizeof(*claims->list), compare_claims);
	for (size_t i = 0; claims->count && i < config->service_count; i++) {
		const struct config_service *service = &config->services[i];
		const struct item *list = backend_items(build, items[i]);

		for (size_t j = 0; j < service->backend_count; j++)
			check_elsewhere(build, claims, &service->backends[j],
					item_at(&list->below[j], "address")->node);
	}
	claims->count = 0;
}

static int compare_ids(const void *left, const void *right)
{
	const uint32_t *a = left;
	const uint32_t *b = right;

	return *a < *b ? -1 : *a > *b;
}

/* A backend without an id gets the lowest one that is free, in the order of the file. */
static void number_backends(struct build *build, size_t total)
{
	uint32_t *taken = build_array(build, total, sizeof(*taken));
	struct config *config = build->config;
	size_t count = 0, next_taken = 0;
	uint32_t next = 1;

	if (!taken)
		return;
	for (size_t i = 0; i < config->service_count; i++)
		for (size_t j = 0; j < config->services[i].backend_count; j++)
			if (config->services[i].backends[j].id)
				taken[count++] = config->services[i].backends[j].id;
	qsort(taken, count, sizeof(*taken), compare_ids);
	for (size_t i = 0; i < config->service_count; i++) {
		for (size_t j = 0; j < config->services[i].backend_count; j++) {
			if (config->services[i].backends[j].id)
				continue;
			for (; next_taken < count && taken[next_taken] <= next; next_taken++)
				next += taken[next_taken] == next;
			config->services[i].backends[j].id = next++;
		}
	}
	free(taken);
}

/* Complains if there is more than the maps take; returns whether there is. */
static bool too_many(struct build *build, size_t backends, size_t endpoints)
{
	const struct item *services = item_at(build->root, "services");
	const struct item *last = item_at(build->root, "ebpf.backends");
	uint32_t max = build->config->ebpf.max_backends;

	if (backends > max)
		complain(build->complaints,
			 node_key_place(last->node ? last->node : services->node),
			 "%zu backends, but ebpf.maps.backends.max_entries is %u; raise it",
			 backends, max);
	if (endpoints > SERVICE_ROWS_MAX)
		complain(build->complaints, node_key_place(services->node),
			 "the services have %zu combinations of address, port and protocol; at "
			 "most %d are possible",
			 endpoints, SERVICE_ROWS_MAX);
	return backends > max || endpoints > SERVICE_ROWS_MAX;
}

void build_unique(struct build *build, const struct item *const *services)
{
	const struct config *config = build->config;
	struct claims claims = { 0 };
	size_t backends = 0, endpoints = 0, addresses = 0;
	size_t others = item_at(build->root, "upstreams")->count +
			item_at(build->root, "ebpf.xdp.programs")->count;

	for (size_t i = 0; i < config->service_count; i++) {
		backends += config->services[i].backend_count;
		endpoints += endpoint_count(&config->services[i]);
		addresses += config->services[i].address_count;
	}
	if (too_many(build, backends, endpoints))
		return;
	claims.list = build_array(build,
				  backends + endpoints + addresses + config->service_count + others,
				  sizeof(*claims.list));
	if (!claims.list)
		return;
	unique_services(build, services, &claims);
	unique_backends(build, services, &claims, true);
	unique_backends(build, services, &claims, false);
	unique_endpoints(build, services, &claims);
	backends_elsewhere(build, services, &claims);
	unique_names(build, "upstreams", &claims);
	unique_names(build, "ebpf.xdp.programs", &claims);
	free(claims.list);
	number_backends(build, backends);
}
