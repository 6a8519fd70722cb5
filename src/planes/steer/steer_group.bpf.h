/* steer_group.bpf.h - the kernel's own group: its members, their queues, and whom its hash chooses.
 *
 * reuseport_select_sock_by_hash (net/core/sock_reuseport.c) is done again here, step by step: a
 * program that selects nothing leaves the packet to exactly that. */
#ifndef STEER_GROUP_BPF_H
#define STEER_GROUP_BPF_H

#include "steer_struct.bpf.h"

#define GROUP_TCP_ESTABLISHED 1

static __always_inline const struct sock *group_sock(const void *object)
{
	return bpf_rdonly_cast(object, bpf_core_type_id_kernel(struct sock));
}

static __always_inline const struct sock_reuseport *group_of(const struct sk_reuseport_md *ctx)
{
	if (!ctx->sk)
		return NULL;
	return group_sock(ctx->sk)->sk_reuseport_cb;
}

/* Where the kernel's array of the members begins. */
static __always_inline __u64 group_socks(const struct sk_reuseport_md *ctx)
{
	return kernel_word(&group_sock(ctx->sk)->sk_reuseport_cb) +
	       bpf_core_field_offset(struct sock_reuseport, socks);
}

/* Member number i. */
static __always_inline const struct sock *group_member(__u64 socks, __u32 i)
{
	return group_sock((const void *)kernel_word((const void *)(socks + sizeof(void *) * i)));
}

static __always_inline __u64 group_cookie(const struct sock *sock)
{
	return sock->__sk_common.skc_cookie.counter;
}

/* A socket's row in the table, by its cookie, when the order is not what the table says: a member
 * has just come or gone.  STEER_MAX_SLOTS: not one of ours. */
__noinline __u32 group_search(__u64 cookie)
{
	const volatile struct steer_table *table = table_in_force();
	__u32 i;

	for (i = 0; i < STEER_MAX_SLOTS; i++)
		if (table->members[i].cookie == cookie)
			break;
	return cookie ? i : STEER_MAX_SLOTS;
}

/* The row of the kernel's member number i, whose cookie this is; NULL: not one of ours. */
static __always_inline const volatile struct steer_member *
group_row(const volatile struct steer_table *table, __u32 i, __u64 cookie)
{
	const volatile struct steer_member *row = &table->members[index_below(i, STEER_MAX_SLOTS)];

	if (row->cookie != cookie || !cookie) {
		i = group_search(cookie);
		if (i >= STEER_MAX_SLOTS)
			return NULL;
		row = &table->members[index_below(i, STEER_MAX_SLOTS)];
	}
	return row;
}

static __always_inline __u32 group_slot(__u32 i, __u64 cookie)
{
	const volatile struct steer_member *row = group_row(table_in_force(), i, cookie);

	return row ? row->slot : STEER_NOBODY;
}

struct group_walk {
	__u64 socks; /* of the kernel's array */
	__u32 i;
	__u32 num;
	__u32 cpu; /* that members are to have as their SO_INCOMING_CPU; any: all do */
	__u32 slot;
	bool any;
	bool found; /* slot is the first member's that is not connected */
};

/* bpf_loop's body: returns 1 at the end. */
static long group_step(__u32 step, struct group_walk *walk)
{
	const struct sock *sock = group_member(walk->socks, walk->i);

	walk->i = walk->i + 1 >= walk->num ? 0 : walk->i + 1;
	if (sock->__sk_common.skc_state == GROUP_TCP_ESTABLISHED)
		return 0;
	if (walk->any || (__u32)sock->__sk_common.skc_incoming_cpu == walk->cpu) {
		walk->slot = group_slot(0, group_cookie(sock));
		return 1;
	}
	if (!walk->found)
		walk->slot = group_slot(0, group_cookie(sock));
	walk->found = true;
	return 0;
}

/* From the hash's member on: the first whose SO_INCOMING_CPU is here, else the first that is not
 * connected. */
__noinline __u32 group_walk(struct sk_reuseport_md *ctx, __u32 from)
{
	struct group_walk walk = {
		.i = from,
		.cpu = bpf_get_smp_processor_id(),
		.slot = STEER_NOBODY,
	};
	const struct sock_reuseport *group;

	/* Before Linux 6.8 the verifier judges functions that nobody calls. */
	if (!reads_group)
		return walk.slot;
	group = group_of(ctx);
	if (!group)
		return walk.slot;
	walk.socks = group_socks(ctx);
	walk.num = group->num_socks;
	walk.any = !bpf_core_field_exists(group->incoming_cpu) || !group->incoming_cpu;
	bpf_loop(walk.num, group_step, &walk, 0);
	return walk.slot;
}

/* Whom the kernel's hash chooses.  Counts NO_GROUP. */
static __always_inline __u32 group_choice(struct sk_reuseport_md *ctx)
{
	const struct sock_reuseport *group;
	const struct sock *sock;
	__u32 i;

	if (!reads_group) {
		const volatile struct steer_table *table = table_in_force();

		const volatile struct steer_member *row;

		i = (__u64)ctx->hash * table->member_count >> 32;
		row = &table->members[index_below(i, STEER_MAX_SLOTS)];
		return i < STEER_MAX_SLOTS && row->cookie ? row->slot : STEER_NOBODY;
	}
	group = group_of(ctx);
	if (!group || !group->num_socks)
		goto fail;
	i = (__u64)ctx->hash * group->num_socks >> 32;
	sock = group_member(group_socks(ctx), i);
	if (sock->__sk_common.skc_state == GROUP_TCP_ESTABLISHED ||
	    (bpf_core_field_exists(group->incoming_cpu) && group->incoming_cpu))
		return group_walk(ctx, i);
	return group_slot(i, group_cookie(sock));
fail:
	count(STEER_COUNT_NO_GROUP);
	return STEER_NOBODY;
}

#endif
