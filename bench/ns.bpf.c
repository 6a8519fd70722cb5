// SPDX-License-Identifier: GPL-2.0-only
/* ns.bpf.c - the balancer's program, wrapped so that it can be timed by BPF_PROG_TEST_RUN.
 *
 * Repeating a program that rewrites its packet would time its second packet for ever: the buffer is
 * not restored.  So the wrapper calls it, counts its verdict, takes an outer header off again and
 * writes the next flow's headers back. It does so after the call: when the next packet is read,
 * these stores have long reached the cache, as a driver's have. */
#include "planes/lb/lb_flow.bpf.h"
#include "planes/lb/lb_hop.bpf.h"
#include "planes/lb/lb_icmp.bpf.h"
#include "planes/lb/lb_new.bpf.h"
#include "planes/lb/lb_reset.bpf.h"

/* The program itself becomes a function of ours. */
#pragma push_macro("SEC")
#undef SEC
#define SEC(name) __attribute__((always_inline))
#define _license  balancer_license
#include "planes/lb/lb.bpf.c"
#undef _license
#pragma pop_macro("SEC")

#include "ns.h"

/* Odd, so that flows come in a scattered order, and each once a turn. */
#define SCATTER 0x9e3779b97f4a7c15ull

const volatile bool ns_ipv6;
const volatile bool ns_pair;   /* a flow has two entries */
const volatile __u32 ns_outer; /* bytes that a tunnel puts in front */

struct ns_order order;

static __always_inline void ns_write_ipv4(void *frame, __u32 saddr, __u16 sport)
{
	__u64 *to = frame;

#pragma unroll
	for (int i = 0; i < NS_IPV4_BYTES / 8; i++)
		to[i] = order.frame[i];
	*(__u32 *)(frame + ETH_HLEN + offsetof(struct iphdr, saddr)) = saddr;
	*(__u16 *)(frame + ETH_HLEN + sizeof(struct iphdr)) = sport;
}

static __always_inline void ns_write_ipv6(void *frame, __u32 saddr, __u16 sport)
{
	__u64 *to = frame;

#pragma unroll
	for (int i = 0; i < NS_IPV6_BYTES / 8; i++)
		to[i] = order.frame[i];
	*(__u32 *)(frame + ETH_HLEN + offsetof(struct ipv6hdr, saddr) + 12) = saddr;
	*(__u16 *)(frame + ETH_HLEN + sizeof(struct ipv6hdr)) = sport;
}

static __always_inline int ns_restore(struct xdp_md *ctx, int verdict)
{
	void *frame;
	__u64 flow = (order.next++ * SCATTER) & order.mask;
	__u32 saddr = bpf_htonl(order.saddr + (flow & order.client_mask));
	__u16 sport = bpf_htons(order.sport + (flow >> order.client_bits));

	order.verdicts[verdict & 7]++;
	frame = (void *)(long)ctx->data;
	if (frame + NS_IPV6_BYTES > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
	if (ns_ipv6)
		ns_write_ipv6(frame, saddr, sport);
	else
		ns_write_ipv4(frame, saddr, sport);
	return verdict;
}

/* A packet that was not sent has no outer header. */
SEC("xdp")
int ns_balance(struct xdp_md *ctx)
{
	int verdict = lb_main(ctx);

	if (ns_outer && (verdict == XDP_TX || verdict == XDP_REDIRECT))
		bpf_xdp_adjust_head(ctx, ns_outer);
	return ns_restore(ctx, verdict);
}

static __always_inline bool key4_read(struct xdp_md *ctx, struct lb_key4 *key)
{
	void *data = (void *)(long)ctx->data;
	struct iphdr *ip = data + ETH_HLEN;
	struct ports *ports = (void *)(ip + 1);

	if (data + NS_IPV4_BYTES > (void *)(long)ctx->data_end)
		return false;
	*key = (struct lb_key4){ .saddr = ip->saddr,
				 .daddr = ip->daddr,
				 .sport = ports->source,
				 .dport = ports->dest,
				 .proto = ip->protocol };
	return true;
}

static __always_inline bool key6_read(struct xdp_md *ctx, struct lb_key6 *key)
{
	void *data = (void *)(long)ctx->data;
	struct ipv6hdr *ip = data + ETH_HLEN;
	struct ports *ports = (void *)(ip + 1);

	if (data + NS_IPV6_BYTES > (void *)(long)ctx->data_end)
		return false;
	*key = (struct lb_key6){ .sport = ports->source,
				 .dport = ports->dest,
				 .proto = ip->nexthdr };
	__builtin_memcpy(key->saddr, &ip->saddr, sizeof(key->saddr));
	__builtin_memcpy(key->daddr, &ip->daddr, sizeof(key->daddr));
	return true;
}

/* Nothing but the lookup of the packet's connection, and a glance at it: the part of the balancer
 * that is the table's and the memory's. */
SEC("xdp")
int ns_lookup(struct xdp_md *ctx)
{
	const struct lb_flow *flow = NULL;

	if (ns_ipv6) {
		struct lb_key6 key;

		if (key6_read(ctx, &key))
			flow = bpf_map_lookup_elem(&lb_conns6, &key);
	} else {
		struct lb_key4 key;

		if (key4_read(ctx, &key))
			flow = bpf_map_lookup_elem(&lb_conns4, &key);
	}
	return ns_restore(ctx, flow && flow->state < LB_STATES ? XDP_REDIRECT : XDP_DROP);
}

/* Nothing but the insertion of the one or two entries that a new flow takes. */
SEC("xdp")
int ns_insert(struct xdp_md *ctx)
{
	long r = -1;

	if (ns_ipv6) {
		struct lb_key6 key, reply;
		struct lb_conn6 conn = {};

		if (key6_read(ctx, &key)) {
			addr_copy(reply.saddr, key.daddr);
			addr_copy(reply.daddr, key.saddr);
			reply.sport = key.dport;
			reply.dport = key.sport;
			reply.proto = key.proto;
			__builtin_memset(reply.zero, 0, sizeof(reply.zero));
			r = ns_pair ? bpf_map_update_elem(&lb_conns6, &reply, &conn, BPF_NOEXIST)
				    : 0;
			r |= bpf_map_update_elem(&lb_conns6, &key, &conn, BPF_ANY);
		}
	} else {
		struct lb_conn4 conn = {};
		struct lb_key4 key;

		if (key4_read(ctx, &key)) {
			struct lb_key4 reply = { .saddr = key.daddr,
						 .daddr = key.saddr,
						 .sport = key.dport,
						 .dport = key.sport,
						 .proto = key.proto };

			r = ns_pair ? bpf_map_update_elem(&lb_conns4, &reply, &conn, BPF_NOEXIST)
				    : 0;
			r |= bpf_map_update_elem(&lb_conns4, &key, &conn, BPF_ANY);
		}
	}
	return ns_restore(ctx, r ? XDP_DROP : XDP_REDIRECT);
}

/* The same without the balancer: what the wrapper costs. */
SEC("xdp")
int ns_wrapper(struct xdp_md *ctx)
{
	return ns_restore(ctx, XDP_PASS);
}

/* And with an outer header put on and taken off: one half of that is the balancer's, the other the
 * wrapper's. */
SEC("xdp")
int ns_push_pop(struct xdp_md *ctx)
{
	if (!bpf_xdp_adjust_head(ctx, -(int)ns_outer))
		bpf_xdp_adjust_head(ctx, ns_outer);
	return ns_restore(ctx, XDP_PASS);
}

SEC("xdp")
int ns_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char ns_license[] SEC("license") = "GPL";
