/* lb_spread.bpf.h - hands packets to other CPUs, where an interface has too few queues.
 *
 * All packets of a flow go to one CPU, so that they keep their order.  lb_main_cpu balances them
 * there. Both maps belong to the loaded program, and are filled before it is attached
 * (lb_spread.c). */
#ifndef LB_SPREAD_BPF_H
#define LB_SPREAD_BPF_H

#include "lb_select.bpf.h"

struct {
	__uint(type, BPF_MAP_TYPE_CPUMAP);
	__uint(max_entries, 1); /* sized before load */
	__type(key, __u32);
	__type(value, struct bpf_cpumap_val);
} lb_cpus SEC(".maps");

/* A flow's hash picks a slot, which names its CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, LB_SPREAD_SLOTS);
	__type(key, __u32);
	__type(value, __u32);
} lb_cpu_slots SEC(".maps");

/* Fragments beyond the first have no ports: all of them go by their addresses. */
static __always_inline __u64 spread_hash_ipv4(void *data, void *end, __u32 l3)
{
	struct iphdr *ip = data + l3;
	struct ports *ports;
	__u64 hash;

	if ((void *)(ip + 1) > end)
		return 0;
	hash = mix64((__u64)ip->saddr << 32 | ip->daddr);
	ports = (void *)ip + ip->ihl * 4u;
	if ((ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP) ||
	    ip->frag_off & bpf_htons(LB_IP_MF | LB_IP_OFFSET) || (void *)(ports + 1) > end)
		return hash;
	return mix64(hash ^ ((__u32)ports->source << 16 | ports->dest));
}

/* So do those with extension headers. */
static __always_inline __u64 spread_hash_ipv6(void *data, void *end, __u32 l3)
{
	struct ipv6hdr *ip = data + l3;
	struct ports *ports = (void *)(ip + 1);
	__u64 hash = 0;

	if ((void *)(ip + 1) > end)
		return 0;
	for (int i = 0; i < 4; i++)
		hash = mix64(hash ^ ((__u64)ip->saddr.in6_u.u6_addr32[i] << 32 |
				     ip->daddr.in6_u.u6_addr32[i]));
	if ((ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP) || (void *)(ports + 1) > end)
		return hash;
	return mix64(hash ^ ((__u32)ports->source << 16 | ports->dest));
}

SEC("?xdp")
int lb_spread(struct xdp_md *ctx)
{
	void *data = frame_start(ctx);
	void *end = frame_end(ctx);
	struct packet p = {};
	__u64 hash = 0;
	__u32 slot;
	__u32 *cpu;
	__be16 type;

	type = parse_ethernet(data, end, &p);
	if (type == bpf_htons(ETH_P_IP))
		hash = spread_hash_ipv4(data, end, p.l3);
	else if (type == bpf_htons(ETH_P_IPV6))
		hash = spread_hash_ipv6(data, end, p.l3);
	slot = hash % LB_SPREAD_SLOTS;
	cpu = bpf_map_lookup_elem(&lb_cpu_slots, &slot);
	return cpu ? (int)bpf_redirect_map(&lb_cpus, *cpu, XDP_PASS) : XDP_PASS;
}

#endif
