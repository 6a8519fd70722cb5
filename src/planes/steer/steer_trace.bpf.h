/* steer_trace.bpf.h - one event a decision, while somebody traces. */
#ifndef STEER_TRACE_BPF_H
#define STEER_TRACE_BPF_H

#include "steer_packet.bpf.h"

/* Is the packet one that somebody wants to hear of? */
static __always_inline bool trace_matches(const struct steer_event *event)
{
	const volatile __be32 *want = steer_const.trace_address;

	if ((want[0] || want[1] || want[2] || want[3]) &&
	    (want[0] != event->saddr[0] || want[1] != event->saddr[1] ||
	     want[2] != event->saddr[2] || want[3] != event->saddr[3]))
		return false;
	if (steer_const.trace_port && steer_const.trace_port != event->sport)
		return false;
	return steer_const.trace_sample <= 1 ||
	       bpf_get_prandom_u32() % steer_const.trace_sample == 0;
}

static __always_inline void trace_packet(struct sk_reuseport_md *ctx, struct steer_event *event)
{
	__be32 addr[8];
	__be16 ports[2];

	if (packet_addresses(ctx, addr)) {
		__builtin_memcpy(event->saddr, &addr[0], sizeof(event->saddr));
		__builtin_memcpy(event->daddr, &addr[4], sizeof(event->daddr));
	}
	if (bpf_skb_load_bytes(ctx, 0, ports, sizeof(ports)) == 0) {
		event->sport = ports[0];
		event->dport = ports[1];
	}
	if (steer_const.udp)
		bpf_skb_load_bytes(ctx, PACKET_UDP_HEADER, &event->word, sizeof(event->word));
}

/* A connection that migrates brings no packet: its event has no addresses, and any filter for one
 * leaves it out. */
static __always_inline void trace(struct sk_reuseport_md *ctx, const struct steer_decision *is,
				  __u32 mode, __u32 chosen, bool migrated)
{
	struct steer_event event = {
		.hash = ctx->hash,
		.kernel_slot = is->kernel,
		.policy_slot = is->policy,
		.chosen_slot = chosen,
		.reason = is->reason,
		.length = ctx->len,
		.mode = mode,
		.udp = steer_const.udp,
		.migrated = migrated,
		.index = is->index,
	};

	if (!migrated)
		trace_packet(ctx, &event);
	if (!trace_matches(&event))
		return;
	event.at_ns = bpf_ktime_get_ns();
	if (bpf_ringbuf_output(&steer_events, &event, sizeof(event), 0))
		count(STEER_COUNT_TRACE_LOST);
}

#endif
