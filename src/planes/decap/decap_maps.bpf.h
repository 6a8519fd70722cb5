/* decap_maps.bpf.h - the maps and load-time constants of the unwrapping program (decap_abi.h says
 * who writes what), and the frame's bounds. */
#ifndef DECAP_MAPS_BPF_H
#define DECAP_MAPS_BPF_H

#include <stdbool.h>

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

#include "abi/decap_abi.h"

/* Set before load. */
const volatile __u16 decap_const_gue_port = DECAP_GUE_PORT; /* host order */

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_VIPS);
	__type(key, struct decap_addr);
	__type(value, __u8);
} decap_vips SEC(".maps");

/* Addresses that outer packets for this host are sent to. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, DECAP_MAX_OWN);
	__type(key, struct decap_addr);
	__type(value, __u8);
} decap_own SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct decap_control);
} decap_control SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, DECAP_COUNTER_COUNT);
	__type(key, __u32);
	__type(value, struct decap_count);
} decap_counters SEC(".maps");

/* In assembly, because clang may turn such a read into one of a 32-bit number, which the verifier
 * takes for no pointer. */
static __always_inline void *frame_start(const struct xdp_md *ctx)
{
	void *start;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(start)
		     : "r"(ctx), "i"(__builtin_offsetof(struct xdp_md, data)));
	return start;
}

static __always_inline void *frame_end(const struct xdp_md *ctx)
{
	void *end;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(end)
		     : "r"(ctx), "i"(__builtin_offsetof(struct xdp_md, data_end)));
	return end;
}

static __always_inline __u32 frame_length(const struct xdp_md *ctx)
{
	return frame_end(ctx) - frame_start(ctx);
}

#endif
