/* steer_load.bpf.h - least_loaded: the members' queues, read where they are.
 *
 * TCP: connections that wait to be accepted.  UDP: bytes that wait to be read; the kernel gives
 * them back in lots of a quarter of the buffer while the reader lags behind, so that a busy member
 * looks a little fuller than it is. */
#ifndef STEER_LOAD_BPF_H
#define STEER_LOAD_BPF_H

#include "steer_group.bpf.h"
#include "steer_plan.bpf.h"

#define LOAD_ALL     64 /* members of which each is looked at; two of more */
#define LOAD_AT_ONCE 8	/* the kernel's array has room for 128 members at least */

struct load_best {
	__u64 queue;
	__u64 weight; /* 0: nobody yet */
	__u32 rank;   /* between equals the lower one */
	__u32 slot;
	__u32 planned; /* the plan's slot: the first among equals, so that idle members are weighted
			*/
	__u32 hash;
};

static __always_inline __u32 load_queue(const struct sock *sock)
{
	return steer_const.udp ? (__u32)sock->sk_backlog.rmem_alloc.counter : sock->sk_ack_backlog;
}

static __always_inline void load_consider(struct load_best *best,
					  const volatile struct steer_table *table, __u32 i,
					  const void *member)
{
	const struct sock *sock = group_sock(member);
	const volatile struct steer_member *row = group_row(table, i, group_cookie(sock));
	__u64 queue, weight, mine, theirs;
	__u32 rank;

	if (!row || !(row->flags & STEER_MEMBER_ELIGIBLE))
		return;
	weight = row->weight;
	queue = load_queue(sock);
	mine = queue * best->weight;
	theirs = best->queue * weight;
	if (!weight || mine > theirs)
		return;
	rank = row->slot == best->planned ? 0 : 1 | (best->hash ^ i * 0x9e3779b1) * 0x85ebca6b;
	if (best->weight && mine == theirs && rank >= best->rank)
		return;
	best->queue = queue;
	best->weight = weight;
	best->rank = rank;
	best->slot = row->slot;
}

/* All of them.  False: they cannot be read. */
static __always_inline bool load_of_all(struct load_best *best,
					const volatile struct steer_table *table, __u64 socks,
					__u32 num)
{
	const void *members[LOAD_AT_ONCE];
	__u32 from, i;

	for (from = 0; from < LOAD_ALL && from < num; from += LOAD_AT_ONCE) {
		if (bpf_probe_read_kernel(members, sizeof(members),
					  (const void *)(socks + sizeof(*members) * from)))
			return false;
#pragma unroll
		for (i = 0; i < LOAD_AT_ONCE; i++)
			if (from + i < num)
				load_consider(best, table, from + i, members[i]);
	}
	return true;
}

/* Two by chance: nearly as good, whatever their number. */
static __always_inline bool load_of_two(struct load_best *best,
					const volatile struct steer_table *table, __u64 socks,
					__u32 num)
{
	__u32 i;

	for (i = 0; i < 2; i++) {
		__u32 at = (__u64)bpf_get_prandom_u32() * num >> 32;
		const void *member = group_member(socks, at);

		if (!member)
			return false;
		load_consider(best, table, at, member);
	}
	return true;
}

static __always_inline __u32 load_choose(struct sk_reuseport_md *ctx,
					 const volatile struct steer_table *table,
					 struct steer_decision *is)
{
	struct load_best best = {
		.slot = STEER_NOBODY,
		.planned = plan_slot(table, ctx->hash),
		.hash = ctx->hash,
	};
	const struct sock_reuseport *group = NULL;
	__u64 socks;
	__u32 num;

	if (steer_const.reads_group)
		group = group_of(ctx);
	if (!group)
		goto fail;
	num = group->num_socks;
	socks = group_socks(ctx);
	if (num <= LOAD_ALL ? !load_of_all(&best, table, socks, num)
			    : !load_of_two(&best, table, socks, num))
		goto fail;
	return best.slot;
fail:
	is->reason = STEER_COUNT_NO_GROUP;
	return STEER_NOBODY;
}

#endif
