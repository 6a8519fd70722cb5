/* Lists of ports, networks and words. */
#include <string.h>

#include "config_build.h"

/* Each port once, in the order of the list: what is listed twice has been complained about, and
 * must not grow here. */
static size_t add_ports(uint64_t *seen, const struct item *entry, uint16_t *ports)
{
	const struct value *value = &entry->value;
	bool single = entry->key->type == KEY_PORT;
	uint32_t first = single ? (uint32_t)value->number : value->first;
	uint32_t last = single ? (uint32_t)value->number : value->last;
	size_t count = 0;

	for (uint32_t port = first; entry->node && port <= last; port++) {
		if (seen[port / 64] >> port % 64 & 1)
			continue;
		seen[port / 64] |= 1ull << port % 64;
		if (ports)
			ports[count] = (uint16_t)port;
		count++;
	}
	return count;
}

uint16_t *build_ports(struct build *build, const struct item *list, size_t *ret_count)
{
	uint64_t seen[65536 / 64] = { 0 };
	uint16_t *ports;
	size_t total = 0;

	*ret_count = 0;
	if (!list->node || list->count == 0)
		return NULL;
	for (size_t i = 0; total < 65535 && i < list->count; i++)
		total += add_ports(seen, &list->below[i], NULL);
	if (seen[0] & 1 && list->count > 1)
		complain(build->complaints, node_place(list->node),
			 "ports: 'any' stands alone; delete the others");
	ports = build_array(build, total, sizeof(*ports));
	memset(seen, 0, sizeof(seen));
	for (size_t i = 0; ports && *ret_count < total; i++)
		*ret_count += add_ports(seen, &list->below[i], ports + *ret_count);
	return ports;
}

struct addr_net *build_nets(struct build *build, const struct item *list, size_t *ret_count)
{
	struct addr_net *nets;

	*ret_count = 0;
	if (!list->node || list->count == 0)
		return NULL;
	nets = build_array(build, list->count, sizeof(*nets));
	for (size_t i = 0; nets && i < list->count; i++)
		if (list->below[i].node)
			nets[(*ret_count)++] = list->below[i].value.net;
	return nets;
}

bool build_has_word(const struct item *list, uint64_t word, bool otherwise)
{
	for (size_t i = 0; list->node && i < list->count; i++)
		if (list->below[i].node && list->below[i].value.number == word)
			return true;
	return !list->node && otherwise;
}
