/* lb_count.bpf.h - what happened, per CPU. */
#ifndef LB_COUNT_BPF_H
#define LB_COUNT_BPF_H

#include "lb_frame.bpf.h"
#include "lb_maps.bpf.h"
#include "lb_note.bpf.h"

static __always_inline void count_event(enum lb_counter counter)
{
	__u32 row = counter;
	struct lb_count *count = bpf_map_lookup_elem(&lb_counters, &row);

	if (count)
		count->packets++;
}

/* bytes: the frame's length as received. */
static __always_inline void count_packet(__u32 counter, __u64 bytes)
{
	struct lb_count *count = bpf_map_lookup_elem(&lb_counters, &counter);

	note_counter(counter);
	if (count) {
		count->packets++;
		count->bytes += bytes;
	}
}

/* Counts the packet, its length unchanged, under counter and returns verdict. */
static __always_inline int count_verdict(const struct xdp_md *ctx, __u32 counter, int verdict)
{
	count_packet(counter, frame_length(ctx));
	return verdict;
}

static __always_inline int pass(const struct xdp_md *ctx, enum lb_counter counter)
{
	return count_verdict(ctx, counter, XDP_PASS);
}

static __always_inline int drop(const struct xdp_md *ctx, enum lb_counter counter)
{
	return count_verdict(ctx, counter, XDP_DROP);
}

static __always_inline void count_forward(__u32 backend, bool reply, __u64 bytes)
{
	struct lb_backend_count *count = bpf_map_lookup_elem(&lb_backend_counts, &backend);

	if (!count)
		return;
	if (reply) {
		count->from_packets++;
		count->from_bytes += bytes;
	} else {
		count->to_packets++;
		count->to_bytes += bytes;
	}
}

static __always_inline void count_connection(__u32 backend)
{
	struct lb_backend_count *count = bpf_map_lookup_elem(&lb_backend_counts, &backend);

	note_new();
	if (count)
		count->connections++;
}

#endif
