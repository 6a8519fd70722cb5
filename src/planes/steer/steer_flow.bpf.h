/* steer_flow.bpf.h - generation: flows of UDP stay with the member that has them. */
#ifndef STEER_FLOW_BPF_H
#define STEER_FLOW_BPF_H

#include "steer_plan.bpf.h"

#define FLOW_TOUCH_NS 1000000000ull /* a flow's time is noted as often */

static __always_inline bool flow_key(const struct sk_reuseport_md *ctx, struct steer_flow_key *key)
{
	__be32 addr[8];

	if (!packet_addresses(ctx, addr) || bpf_skb_load_bytes(ctx, 0, &key->sport, 2))
		return false;
	__builtin_memcpy(key->saddr, &addr[0], sizeof(key->saddr));
	__builtin_memcpy(key->daddr, &addr[4], sizeof(key->daddr));
	key->zero = 0;
	return true;
}

static __always_inline bool flow_is_alive(const struct steer_flow *flow, __u64 now)
{
	return !steer_const.flow_timeout_ns || now - flow->used_ns < steer_const.flow_timeout_ns;
}

/* The member that a known flow is with; the plan's for a new one, which flow_note is to note. */
static __always_inline __u32 flow_choose(struct sk_reuseport_md *ctx,
					 const volatile struct steer_table *table,
					 struct steer_decision *is)
{
	struct steer_flow_key key;
	struct steer_flow *flow;
	__u64 now;

	is->reason = STEER_COUNT_SHORT;
	if (!flow_key(ctx, &key))
		return STEER_NOBODY;
	is->reason = STEER_COUNT_FLOW_NEW;
	flow = bpf_map_lookup_elem(&steer_flows, &key);
	now = bpf_ktime_get_coarse_ns();
	if (flow && flow_is_alive(flow, now)) {
		__u32 slot = index_below(flow->slot, STEER_MAX_SLOTS);

		if (flow->cookie && table->cookies[slot] == flow->cookie) {
			if (now - flow->used_ns >= FLOW_TOUCH_NS ||
			    now - flow->used_ns >= steer_const.flow_timeout_ns / 8)
				flow->used_ns = now;
			is->reason = STEER_COUNT_FLOW_KEPT;
			return slot;
		}
		is->reason = STEER_COUNT_FLOW_MOVED;
	}
	return plan_slot(table, ctx->hash);
}

/* Is it to be noted who gets this flow? */
static __always_inline bool flow_is_unknown(const struct steer_decision *is)
{
	return steer_const.policy == STEER_GENERATION && steer_const.udp &&
	       (is->reason == STEER_COUNT_FLOW_NEW || is->reason == STEER_COUNT_FLOW_MOVED);
}

/* A flow that flow_choose did not find is slot's from now on.  Outside the policy's reach, that is
 * the kernel's choice: a flow stays where it is when the policy is put in force. */
static __always_inline void flow_note(struct sk_reuseport_md *ctx, __u32 slot)
{
	struct steer_flow_key key;
	struct steer_flow flow = { .slot = slot };

	if (slot >= STEER_MAX_SLOTS || !flow_key(ctx, &key))
		return;
	flow.cookie = table_in_force()->cookies[index_below(slot, STEER_MAX_SLOTS)];
	flow.used_ns = bpf_ktime_get_coarse_ns();
	if (flow.cookie && bpf_map_update_elem(&steer_flows, &key, &flow, BPF_ANY))
		count(STEER_COUNT_FLOW_FULL);
}

#endif
