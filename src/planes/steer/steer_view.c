#include "steer_view.h"

#include <stdlib.h>

void steer_view_free(struct steer_view *view)
{
	if (!view)
		return;
	for (size_t i = 0; i < view->group_count; i++)
		free(view->groups[i].members);
	free(view->groups);
	free(view);
}

const char *steer_member_state_name(enum steer_member_state state)
{
	switch (state) {
	case STEER_QUARANTINED:
		return "quarantined";
	case STEER_ACTIVE:
		return "active";
	case STEER_DRAINING:
		return "draining";
	case STEER_DRAINED:
		break;
	}
	return "drained";
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

/* The enumerators in lower case: a test holds the two together. */
static const char *const counter_names[STEER_COUNTERS_END] = {
	[STEER_COUNT_KERNEL] = "kernel",
	[STEER_COUNT_SELECTED] = "selected",
	[STEER_COUNT_SHADOW_SAME] = "shadow_same",
	[STEER_COUNT_SHADOW_OTHER] = "shadow_other",
	[STEER_COUNT_SHADOW_UNKNOWN] = "shadow_unknown",
	[STEER_COUNT_CANARY_OUT] = "canary_out",
	[STEER_COUNT_MIGRATED] = "migrated",
	[STEER_COUNT_NO_SLOT] = "no_slot",
	[STEER_COUNT_SLOT_EMPTY] = "slot_empty",
	[STEER_COUNT_SLOT_FOREIGN] = "slot_foreign",
	[STEER_COUNT_SHORT] = "short",
	[STEER_COUNT_NOT_MINE] = "not_mine",
	[STEER_COUNT_INDEX_MISS] = "index_miss",
	[STEER_COUNT_NO_GROUP] = "no_group",
	[STEER_COUNT_HANDSHAKE] = "handshake",
	[STEER_COUNT_INDEX] = "index",
	[STEER_COUNT_INDEX_OVERRIDE] = "index_override",
	[STEER_COUNT_FLOW_NEW] = "flow_new",
	[STEER_COUNT_FLOW_KEPT] = "flow_kept",
	[STEER_COUNT_FLOW_MOVED] = "flow_moved",
	[STEER_COUNT_FLOW_FULL] = "flow_full",
	[STEER_COUNT_TRACE_LOST] = "trace_lost",
};

static const char *const counter_helps[STEER_COUNTERS_END] = {
#define STEER_COUNTER_HELP(name, help) [STEER_COUNT_##name] = help,
	STEER_COUNTERS(STEER_COUNTER_HELP)
#undef STEER_COUNTER_HELP
};

const char *steer_counter_name(enum steer_counter counter)
{
	return (unsigned int)counter < STEER_COUNTERS_END ? counter_names[counter] : "unknown";
}

const char *steer_counter_help(enum steer_counter counter)
{
	return (unsigned int)counter < STEER_COUNTERS_END ? counter_helps[counter] : "";
}

bool steer_counter_is_fallback(enum steer_counter counter)
{
	return counter >= STEER_COUNT_NO_SLOT && counter <= STEER_COUNT_NO_GROUP;
}
