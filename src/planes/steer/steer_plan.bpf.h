/* steer_plan.bpf.h - policies that go by a hash or a number: through the plan to a slot. */
#ifndef STEER_PLAN_BPF_H
#define STEER_PLAN_BPF_H

#include "steer_packet.bpf.h"

/* STEER_NOBODY, too. */
static __always_inline __u32 plan_slot(const volatile struct steer_table *table, __u32 hash)
{
	return table->plan[steer_plan_entry(hash)];
}

/* Bits that have nothing to do with those that choose a member: murmur3's last steps. */
static __always_inline __u32 plan_mix(__u32 hash)
{
	hash ^= hash >> 16;
	hash *= 0x85ebca6b;
	hash ^= hash >> 13;
	hash *= 0xc2b2ae35;
	return hash ^ hash >> 16;
}

static __always_inline __u32 plan_by_source(struct sk_reuseport_md *ctx,
					    const volatile struct steer_table *table,
					    struct steer_decision *is)
{
	__be32 addr[4];

	if (!packet_source(ctx, addr)) {
		is->reason = STEER_COUNT_SHORT;
		return STEER_NOBODY;
	}
	return plan_slot(table, steer_source_hash(addr, steer_const.salt));
}

static __always_inline __u32 plan_by_cpu(const volatile struct steer_table *table)
{
	__u32 cpu = bpf_get_smp_processor_id();

	return cpu < STEER_MAX_CPUS ? table->cpus[index_below(cpu, STEER_MAX_CPUS)] : STEER_NOBODY;
}

static __always_inline bool plan_is_eligible(const volatile struct steer_table *table, __u32 slot)
{
	return slot < STEER_MAX_SLOTS &&
	       table->slot_flags[index_below(slot, STEER_MAX_SLOTS)] & STEER_MEMBER_ELIGIBLE;
}

#endif
