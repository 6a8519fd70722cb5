/* steer_load.bpf.h - least_loaded: the members' queues, read where they are.
 *
 * TCP: connections that wait to be accepted.  UDP: bytes that wait to be read; the kernel gives
 * them back in lots of a quarter of the buffer while the reader lags behind, so that a busy member
 * looks a little fuller than it is. */
#ifndef STEER_LOAD_BPF_H
#define STEER_LOAD_BPF_H

#include "steer_group.bpf.h"
#include "steer_plan.bpf.h"

#define LOAD_AT_ONCE 8	/* members for whom there is no call */
#define LOAD_ALL     64 /* members of which each is looked at; two of more */

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
					  const volatile struct steer_table *table, __u64 socks,
					  __u32 i)
{
	const struct sock *sock = group_member(socks, i);
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

struct load_walk {
	struct load_best best;
	__u64 socks; /* of the kernel's array */
	__u32 num;
	bool by_chance;
};

/* bpf_loop's body. */
static long load_step(__u32 i, struct load_walk *walk)
{
	if (walk->by_chance)
		i = (__u64)bpf_get_prandom_u32() * walk->num >> 32;
	load_consider(&walk->best, table_in_force(), walk->socks, i);
	return 0;
}

/* More members than are looked at on the spot; of very many two by chance, which is nearly as good
 * whatever their number. */
__noinline __u32 load_of_many(struct sk_reuseport_md *ctx)
{
	const struct sock_reuseport *group;
	struct load_walk walk = { 0 };

	/* As in group_walk. */
	if (!reads_group || steer_const.policy != STEER_LEAST_LOADED)
		return STEER_NOBODY;
	group = group_of(ctx);
	if (!group)
		return STEER_NOBODY;
	walk.best.slot = STEER_NOBODY;
	walk.best.planned = plan_slot(table_in_force(), ctx->hash);
	walk.best.hash = ctx->hash;
	walk.num = group->num_socks;
	walk.socks = group_socks(ctx);
	walk.by_chance = walk.num > LOAD_ALL;
	bpf_loop(walk.by_chance ? 2 : walk.num, load_step, &walk, 0);
	return walk.best.slot;
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
	__u32 num, i;

	if (reads_group)
		group = group_of(ctx);
	if (!group) {
		is->reason = STEER_COUNT_NO_GROUP;
		return STEER_NOBODY;
	}
	num = group->num_socks;
	if (num > LOAD_AT_ONCE)
		return load_of_many(ctx);
	socks = group_socks(ctx);
	for (i = 0; i < LOAD_AT_ONCE && i < num; i++)
		load_consider(&best, table, socks, i);
	return best.slot;
}

#endif
