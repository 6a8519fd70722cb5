/* steer_wg.bpf.h - WireGuard: whose session a message belongs to (abi/wg_demux_abi.h). */
#ifndef STEER_WG_BPF_H
#define STEER_WG_BPF_H

#include "abi/wg_demux_abi.h"
#include "steer_plan.bpf.h"

static __always_inline __u32 wg_owner(const volatile struct steer_table *table, __u32 index,
				      struct steer_decision *is)
{
	__u16 entry = table->vshards[wg_vshard(index)];
	__u32 slot = wg_entry_slot(entry);

	is->index = index;
	is->reason = STEER_COUNT_INDEX;
	if (entry & WG_ENTRY_OVERRIDES) {
		__u32 *moved = bpf_map_lookup_elem(&rx_index_to_slot, &index);

		if (moved) {
			is->reason = STEER_COUNT_INDEX_OVERRIDE;
			slot = *moved;
		}
	}
	if (slot >= STEER_MAX_SLOTS)
		is->reason = STEER_COUNT_INDEX_MISS;
	return slot;
}

static __always_inline __u32 wg_choose(struct sk_reuseport_md *ctx,
				       const volatile struct steer_table *table,
				       struct steer_decision *is)
{
	__u32 head[WG_HEAD_BYTES / 4];
	__be32 addr[4];
	__u32 index = 0;

	is->reason = STEER_COUNT_SHORT;
	if (!packet_words(ctx, head, WG_HEAD_BYTES / 4))
		return STEER_NOBODY;
	switch (wg_classify((const __u8 *)head, ctx->len - PACKET_UDP_HEADER, &index)) {
	case WG_INDEX:
		return wg_owner(table, index, is);
	case WG_HANDSHAKE:
		if (!packet_source(ctx, addr))
			return STEER_NOBODY;
		is->reason = STEER_COUNT_HANDSHAKE;
		return plan_slot(table, wg_source_hash(addr, steer_const.salt));
	default:
		is->reason = STEER_COUNT_NOT_MINE;
		return STEER_NOBODY;
	}
}

#endif
