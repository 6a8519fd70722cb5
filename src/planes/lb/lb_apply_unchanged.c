/* What the last apply made of each service, so that the next one passes over what is the same: of
 * 1,000 services one change touches one. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "lb_apply_internal.h"

static uint64_t hash_list(const void *list, size_t count, size_t size, uint64_t seed)
{
	return hash_bytes(list, count * size, seed + count);
}

/* Of all that the maps are filled from.  The configuration beside the model is not in it:
 * lb_set_config forgets everything. */
static uint64_t signature_of(const struct lb *lb, const struct service *service)
{
	struct service plain = *service;
	uint64_t h = lb->features.cookies;

	plain.name = NULL; /* found by it */
	plain.addresses = NULL;
	plain.tcp_ports = plain.udp_ports = NULL;
	plain.allow = plain.deny = NULL;
	plain.backends = NULL;
	h = hash_bytes(&plain, sizeof(plain), h);
	h = hash_list(service->addresses, service->address_count, sizeof(struct addr), h);
	h = hash_list(service->tcp_ports, service->tcp_port_count, sizeof(uint16_t), h);
	h = hash_list(service->udp_ports, service->udp_port_count, sizeof(uint16_t), h);
	h = hash_list(service->backends, service->backend_count, sizeof(struct backend), h);
	return h | 1;
}

/* Clients' networks and server ids are listed anew by each apply: apply_keys_begin. */
static bool has_keys(const struct service *service)
{
	return service->allow_count || service->deny_count || service->quic.enabled;
}

bool apply_is_unchanged(struct lb *lb, const struct service *service, const int tables[2],
			bool *keep)
{
	uint64_t signature = signature_of(lb, service);
	const struct lb_table *first = NULL;

	if (has_keys(service))
		return false;
	for (int ipv6 = 0; ipv6 < 2; ipv6++) {
		if (tables[ipv6] < 0)
			continue;
		if (lb->tables[tables[ipv6]].applied != signature)
			return false;
		if (!first)
			first = &lb->tables[tables[ipv6]];
	}
	for (size_t i = 0; first && i < first->used_count; i++)
		keep[first->used_rows[i]] = true;
	return first;
}

void apply_forget(struct lb *lb, const int tables[2])
{
	for (int ipv6 = 0; ipv6 < 2; ipv6++)
		if (tables[ipv6] >= 0)
			lb->tables[tables[ipv6]].applied = 0;
}

void apply_remember(struct lb *lb, const struct service *service, const int tables[2],
		    const uint32_t *rows)
{
	struct lb_table *first = &lb->tables[tables[0] >= 0 ? tables[0] : tables[1]];
	size_t size = service->backend_count * sizeof(*rows);
	uint32_t *copy;

	if (tables[0] < 0 && tables[1] < 0)
		return;
	copy = malloc(size + 1);
	if (!copy)
		return; /* applied in full next time */
	memcpy(copy, rows, size);
	free(first->used_rows);
	first->used_rows = copy;
	first->used_count = service->backend_count;
	for (int ipv6 = 0; ipv6 < 2; ipv6++)
		if (tables[ipv6] >= 0)
			lb->tables[tables[ipv6]].applied = signature_of(lb, service);
}

void apply_forget_all(struct lb *lb)
{
	for (size_t i = 0; i < LB_MAX_SERVICES; i++)
		lb->tables[i].applied = 0;
	lb->endpoints = 0;
}

void apply_forget_server(struct lb *lb, uint32_t row)
{
	const struct lb_backend *gone = &lb->rows[row].kernel;
	struct index_walk walk = lb_rows_of_server(lb, row);
	uint32_t other;

	while (index_next(&walk, &other)) {
		const struct lb_backend *kernel = &lb->rows[other].kernel;

		if (other == row || !lb->rows[other].used || kernel->port != gone->port ||
		    memcmp(kernel->addr, gone->addr, sizeof(kernel->addr)) != 0)
			continue;
		lb->tables[kernel->service].applied = 0;
		lb->apply_again = true;
	}
}

uint64_t apply_endpoints_of(const struct model *model)
{
	uint64_t h = model->service_count;

	for (size_t i = 0; i < model->service_count; i++) {
		const struct service *s = &model->services[i];

		h = hash_list(s->addresses, s->address_count, sizeof(struct addr), h);
		h = hash_list(s->tcp_ports, s->tcp_port_count, sizeof(uint16_t), h);
		h = hash_list(s->udp_ports, s->udp_port_count, sizeof(uint16_t), h);
	}
	return h | 1;
}
