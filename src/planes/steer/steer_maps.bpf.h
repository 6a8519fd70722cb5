/* steer_maps.bpf.h - the steering program's maps and what it is told (steer_abi.h says by whom). */
#ifndef STEER_MAPS_BPF_H
#define STEER_MAPS_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/steer_abi.h"

const volatile struct steer_const steer_const;
volatile struct steer_control steer_control SEC(".data.control");
volatile struct steer_tables steer_tables SEC(".data.tables");

/* 8-byte values: reading a slot by bpf(2) tells its socket's cookie. */
struct {
	__uint(type, BPF_MAP_TYPE_REUSEPORT_SOCKARRAY);
	__uint(max_entries, STEER_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} socks SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_SOCKMAP);
	__uint(max_entries, STEER_MAX_SLOTS);
	__type(key, __u32);
	__type(value, __u64);
} socks_held SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_MAX_SLOTS + 1);
	__type(key, __u32);
	__type(value, struct steer_member_count);
} steer_members SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, STEER_COUNTERS_END);
	__type(key, __u32);
	__type(value, __u64);
} steer_counters SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 131072); /* sized before load */
	__type(key, __u32);
	__type(value, __u32);
} rx_index_to_slot SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 65536); /* sized before load */
	__type(key, struct steer_flow_key);
	__type(value, struct steer_flow);
} steer_flows SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, STEER_EVENTS_BYTES);
} steer_events SEC(".maps");

/* One packet's way through the program. */
struct steer_decision {
	__u32 kernel; /* slot that the kernel's hash chooses; STEER_NOBODY: unknown, or not asked */
	__u32 policy; /* slot that the policy chooses; STEER_NOBODY: nobody */
	__u32 reason; /* enum steer_counter: why the policy did */
	__u32 index;  /* what the policy read in the packet */
	bool asked;   /* kernel is known, or known to be unknown */
};

/* An index whose bounds the verifier sees right where it is used: older ones forget what was
 * compared before.  size: a power of two. */
static __always_inline __u32 index_below(__u32 index, __u32 size)
{
	barrier_var(index);
	return index & (size - 1);
}

static __always_inline const volatile struct steer_table *table_in_force(void)
{
	return &steer_tables.half[steer_control.active & 1];
}

static __always_inline void count(__u32 counter)
{
	__u64 *packets = bpf_map_lookup_elem(&steer_counters, &counter);

	if (packets)
		++*packets;
}

/* Row of a member; of the unknown one for STEER_NOBODY. */
static __always_inline struct steer_member_count *counts_of(__u32 slot)
{
	__u32 row = slot < STEER_MAX_SLOTS ? slot : STEER_MAX_SLOTS;

	return bpf_map_lookup_elem(&steer_members, &row);
}

#endif
