/* steer_maps.h - which map which program needs: the others need not be made.
 * Layer: planes. */
#ifndef LOOM_STEER_MAPS_H
#define LOOM_STEER_MAPS_H

#include <stdbool.h>
#include <string.h>

#include "abi/steer_abi.h"

/* A program that does not need a map does not refer to it once it is loaded: user space may say
 * bpf_map__set_autocreate(map, false). */
static inline bool steer_map_is_needed(const char *name, const struct steer_const *is)
{
	static const struct {
		const char *name;
		enum steer_policy policy;
	} of_policy[] = {
		{ "rx_index_to_slot", STEER_WIREGUARD },
		{ "steer_flows", STEER_GENERATION },
	};

	if (strcmp(name, "steer_events") == 0)
		return is->traced;
	if (strcmp(name, "socks_held") == 0)
		return !is->without_held;
	for (size_t i = 0; i < sizeof(of_policy) / sizeof(*of_policy); i++)
		if (strcmp(name, of_policy[i].name) == 0)
			return is->policy == of_policy[i].policy;
	return true;
}

#endif
