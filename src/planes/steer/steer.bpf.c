/* steer.bpf.c - which socket of a SO_REUSEPORT group gets a packet or a connection.
 *
 * Never SK_DROP: what cannot be decided, or fails, is left to the kernel's hash.  Read the parts in
 * the order of the includes; choose() names the policies. */
#include "steer_maps.bpf.h"
/* Order: each part uses the ones above it. */
#include "steer_packet.bpf.h"
#include "steer_group.bpf.h"
#include "steer_plan.bpf.h"
#include "steer_load.bpf.h"
#include "steer_wg.bpf.h"
#include "steer_quic.bpf.h"
#include "steer_flow.bpf.h"
#include "steer_trace.bpf.h"

#define ENOENT 2

/* Whom the kernel's hash chooses, asked once a packet. */
static __always_inline __u32 kernel_choice(struct sk_reuseport_md *ctx, struct steer_decision *is)
{
	if (!is->asked) {
		is->kernel = group_choice(ctx);
		is->asked = true;
	}
	return is->kernel;
}

/* The kernel's own policy; the plan's for those it would send to who may not get any. */
static __always_inline __u32 choose_by_hash(struct sk_reuseport_md *ctx,
					    const volatile struct steer_table *table,
					    struct steer_decision *is)
{
	__u32 slot = kernel_choice(ctx, is);

	if (!steer_control.restricted || plan_is_eligible(table, slot)) {
		is->reason = STEER_COUNT_KERNEL;
		return slot;
	}
	return plan_slot(table, ctx->hash);
}

/* The policies that read the payload or know flows: a new connection of TCP has neither. */
static __always_inline void choose_udp(struct sk_reuseport_md *ctx,
				       const volatile struct steer_table *table,
				       struct steer_decision *is)
{
	is->reason = STEER_COUNT_NOT_MINE;
	if (!steer_const.udp)
		return;
	switch (steer_const.policy) {
	case STEER_WIREGUARD:
		is->policy = wg_choose(ctx, table, is);
		break;
	case STEER_QUIC:
		is->policy = quic_choose(ctx, table, is);
		break;
	case STEER_BYTES:
		is->policy = bytes_choose(ctx, table, is);
		break;
	case STEER_GENERATION:
		is->policy = flow_choose(ctx, table, is);
		break;
	}
}

/* Whom the policy chooses, and why. */
static __always_inline void choose(struct sk_reuseport_md *ctx, struct steer_decision *is)
{
	const volatile struct steer_table *table = table_in_force();

	is->reason = STEER_COUNT_SELECTED;
	switch (steer_const.policy) {
	case STEER_HASH:
		is->policy = choose_by_hash(ctx, table, is);
		break;
	case STEER_WEIGHTED:
		is->policy = plan_slot(table, ctx->hash);
		break;
	case STEER_RANDOM:
		is->policy = plan_slot(table, bpf_get_prandom_u32());
		break;
	case STEER_SOURCE_HASH:
		is->policy = plan_by_source(ctx, table, is);
		break;
	case STEER_CPU_LOCAL:
		is->policy = plan_by_cpu(table);
		break;
	case STEER_LEAST_LOADED:
		is->policy = load_choose(ctx, table, is);
		break;
	default:
		choose_udp(ctx, table, is);
		break;
	}
	if (is->policy >= STEER_MAX_SLOTS) {
		if (is->reason == STEER_COUNT_SELECTED || is->reason == STEER_COUNT_HANDSHAKE ||
		    flow_is_unknown(is))
			is->reason = STEER_COUNT_NO_SLOT;
		is->policy = STEER_NOBODY;
	}
}

/* Gives the packet to slot.  Returns what to count. */
static __always_inline __u32 give(struct sk_reuseport_md *ctx, __u32 slot)
{
	long r;

	if (!steer_const.without_held && steer_control.held &&
	    table_in_force()->slot_flags[index_below(slot, STEER_MAX_SLOTS)] & STEER_MEMBER_HELD)
		r = bpf_sk_select_reuseport(ctx, &socks_held, &slot, 0);
	else
		r = bpf_sk_select_reuseport(ctx, &socks, &slot, 0);
	if (r == 0)
		return STEER_COUNT_SELECTED;
	return r == -ENOENT ? STEER_COUNT_SLOT_EMPTY : STEER_COUNT_SLOT_FOREIGN;
}

/* A packet that goes where the kernel's hash sends it. */
static __always_inline void leave(struct sk_reuseport_md *ctx, struct steer_decision *is)
{
	struct steer_member_count *row = counts_of(kernel_choice(ctx, is));

	if (row) {
		row->kernel_packets++;
		row->kernel_bytes += ctx->len;
	}
}

/* The policy's choice beside the kernel's, which stands. */
static __always_inline void compare(struct sk_reuseport_md *ctx, struct steer_decision *is)
{
	struct steer_member_count *row;

	kernel_choice(ctx, is);
	choose(ctx, is);
	if (is->reason != STEER_COUNT_SELECTED && is->reason != STEER_COUNT_KERNEL)
		count(is->reason);
	if (is->policy == STEER_NOBODY || is->kernel == STEER_NOBODY)
		count(STEER_COUNT_SHADOW_UNKNOWN);
	else
		count(is->policy == is->kernel ? STEER_COUNT_SHADOW_SAME
					       : STEER_COUNT_SHADOW_OTHER);
	row = counts_of(is->policy);
	if (row)
		row->shadow_packets++;
	if (flow_is_unknown(is))
		flow_note(ctx, is->kernel);
	leave(ctx, is);
}

static __always_inline void count_selected(struct sk_reuseport_md *ctx, __u32 slot, __u32 reason)
{
	struct steer_member_count *row = counts_of(slot);

	/* STEER_COUNT_SELECTED is the sum of these rows: one lookup less. */
	if (reason != STEER_COUNT_SELECTED)
		count(reason);
	if (row) {
		row->selected_packets++;
		row->selected_bytes += ctx->len;
	}
}

/* The policy decides.  False: the kernel's hash does, for the reason that is counted. */
static __always_inline bool enforce(struct sk_reuseport_md *ctx, struct steer_decision *is)
{
	__u32 outcome;

	choose(ctx, is);
	if (is->policy == STEER_NOBODY || is->reason == STEER_COUNT_KERNEL)
		return false;
	outcome = give(ctx, is->policy);
	if (outcome != STEER_COUNT_SELECTED) {
		if (is->reason != STEER_COUNT_SELECTED)
			count(is->reason);
		is->reason = outcome;
		return false;
	}
	if (flow_is_unknown(is))
		flow_note(ctx, is->policy);
	count_selected(ctx, is->policy, is->reason);
	return true;
}

/* A flow outside the canary: a generation's is noted, so that it stays when the share grows. */
static __always_inline void leave_out(struct sk_reuseport_md *ctx, struct steer_decision *is)
{
	is->reason = STEER_COUNT_CANARY_OUT;
	if (steer_const.policy != STEER_GENERATION || !steer_const.udp)
		return;
	flow_choose(ctx, table_in_force(), is);
	if (flow_is_unknown(is))
		flow_note(ctx, kernel_choice(ctx, is));
	is->reason = STEER_COUNT_CANARY_OUT;
}

/* A connection whose listener closed: anybody who may get new ones, by chance, or one neighbour
 * would get them all.  Returns the slot. */
static __always_inline __u32 migrate(struct sk_reuseport_md *ctx, struct steer_decision *is)
{
	struct steer_member_count *row;
	__u32 outcome = STEER_COUNT_NO_SLOT;

	is->policy = plan_slot(table_in_force(), bpf_get_prandom_u32());
	if (is->policy < STEER_MAX_SLOTS)
		outcome = give(ctx, is->policy);
	is->reason = outcome == STEER_COUNT_SELECTED ? STEER_COUNT_MIGRATED : outcome;
	count(is->reason);
	if (outcome != STEER_COUNT_SELECTED)
		return STEER_NOBODY;
	row = counts_of(is->policy);
	if (row)
		row->migrated++;
	return is->policy;
}

/* Returns the slot that gets the packet; STEER_NOBODY: nobody knows. */
static __always_inline __u32 steer_packet(struct sk_reuseport_md *ctx, struct steer_decision *is,
					  __u32 mode)
{
	if (mode == STEER_SHADOW) {
		compare(ctx, is);
		return is->kernel;
	}
	if (mode == STEER_CANARY && plan_mix(ctx->hash) >= steer_control.canary)
		leave_out(ctx, is);
	else if (mode >= STEER_CANARY && enforce(ctx, is))
		return is->policy;
	count(is->reason);
	leave(ctx, is);
	return is->kernel;
}

/* Everything but what steer() does on the spot. */
__noinline int steer_at_length(struct sk_reuseport_md *ctx, __u32 mode)
{
	struct steer_decision is = {
		.kernel = STEER_NOBODY,
		.policy = STEER_NOBODY,
		.reason = STEER_COUNT_KERNEL,
	};
	bool migrated = false;
	__u32 chosen = STEER_NOBODY;

	if (steer_const.migrates && ctx->migrating_sk) {
		migrated = true;
		if (mode >= STEER_CANARY)
			chosen = migrate(ctx, &is);
	} else {
		chosen = steer_packet(ctx, &is, mode);
	}
	if (steer_const.traced) {
		if (!migrated)
			kernel_choice(ctx, &is);
		trace(ctx, &is, mode, chosen, migrated);
	}
	return SK_PASS;
}

/* Is the short way worth its instructions? */
static __always_inline bool is_short(void)
{
	return !steer_const.traced && steer_const.policy != STEER_HASH &&
	       steer_const.policy != STEER_GENERATION;
}

/* The short way for what nearly every packet is: the policy is in force, and it works.  Anything
 * else starts again at length, where it is counted. */
static __always_inline int steer(struct sk_reuseport_md *ctx)
{
	struct steer_decision is = { .policy = STEER_NOBODY };
	__u32 mode = steer_control.mode;
	__u32 slot;

	if (mode == STEER_FALLBACK || mode > STEER_ENFORCE)
		return SK_PASS;
	if (is_short() && mode == STEER_ENFORCE && !(steer_const.migrates && ctx->migrating_sk) &&
	    (steer_const.without_held || !steer_control.held)) {
		choose(ctx, &is);
		slot = is.policy;
		if (slot < STEER_MAX_SLOTS && bpf_sk_select_reuseport(ctx, &socks, &slot, 0) == 0) {
			count_selected(ctx, is.policy, is.reason);
			return SK_PASS;
		}
	}
	return steer_at_length(ctx, mode);
}

SEC("sk_reuseport")
int steer_select(struct sk_reuseport_md *ctx)
{
	return steer(ctx);
}

SEC("sk_reuseport/migrate")
int steer_select_migrate(struct sk_reuseport_md *ctx)
{
	return steer(ctx);
}

SEC("sk_reuseport")
int wg_select(struct sk_reuseport_md *ctx)
{
	return steer(ctx);
}

SEC("sk_reuseport/migrate")
int wg_select_migrate(struct sk_reuseport_md *ctx)
{
	return steer(ctx);
}

char LICENSE[] SEC("license") = "GPL";
