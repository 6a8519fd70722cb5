#include "steer_view.h"

#include <stdlib.h>

void steer_view_free(struct steer_view *view)
{
	if (!view)
		return;
	for (size_t i = 0; view->groups && i < view->group_count; i++)
		free(view->groups[i].members);
	free(view->groups);
	free(view);
}

const char *steer_policy_name(enum steer_policy policy)
{
	static const char *const names[] = {
		[STEER_HASH] = "hash",
		[STEER_WEIGHTED] = "weighted",
		[STEER_RANDOM] = "random",
		[STEER_LEAST_LOADED] = "least_loaded",
		[STEER_SOURCE_HASH] = "source_hash",
		[STEER_CPU_LOCAL] = "cpu_local",
		[STEER_WIREGUARD] = "wireguard",
		[STEER_QUIC] = "quic",
		[STEER_BYTES] = "bytes",
		[STEER_GENERATION] = "generation",
	};

	return (size_t)policy < sizeof(names) / sizeof(names[0]) ? names[policy] : NULL;
}
