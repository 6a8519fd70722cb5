// SPDX-License-Identifier: GPL-2.0-only
/* blast.bpf.c - generator, receiver and the two simplest balancers of the packet rate benchmark. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "blast.h"

#define L4_AT (ETH_HLEN + sizeof(struct iphdr))

/* Odd, so that flows come in a scattered order and each once a turn. */
#define SCATTER 0x9e3779b97f4a7c15ull

struct blast_order order;
struct blast_place places[BLAST_CPUS];

/* The receiver's expectation and the forwarder's next station. */
const volatile __be16 receive_port;
const volatile __u32 forward_ifindex;
const volatile __u8 forward_dmac[ETH_ALEN];
const volatile __u8 forward_smac[ETH_ALEN];

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, BLAST_COUNT_ROWS);
	__type(key, __u32);
	__type(value, __u64);
} counts SEC(".maps");

static __always_inline __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* A live frame's page comes back as its receiver left it: every byte is written again. */
SEC("xdp")
int blast_send(struct xdp_md *ctx)
{
	__u64 *to = (void *)(long)ctx->data;
	const __u64 *from = (const void *)order.frame;
	struct blast_place *place = &places[bpf_get_smp_processor_id() & (BLAST_CPUS - 1)];
	__u64 flow = (place->next++ * SCATTER) & order.mask;
	__u32 saddr = bpf_htonl(order.saddr + (flow & order.client_mask));
	__u16 sport = bpf_htons(order.sport + (flow >> order.client_bits));
	__u32 vary = (saddr & 0xffff) + (saddr >> 16);
	__u8 *frame = (void *)to;

	if ((void *)to + BLAST_FRAME_SIZE > (void *)(long)ctx->data_end)
		return XDP_ABORTED;
#pragma unroll
	for (int i = 0; i < 7; i++)
		to[i] = from[i];
	*(__u32 *)&to[7] = *(const __u32 *)&from[7];

	__builtin_memcpy(frame + ETH_HLEN + offsetof(struct iphdr, saddr), &saddr, 4);
	*(__u16 *)(frame + ETH_HLEN + offsetof(struct iphdr, check)) = fold(order.ip_sum + vary);
	*(__u16 *)(frame + L4_AT) = sport;
	if (order.l4_check_at == 6)
		*(__u16 *)(frame + L4_AT + 6) = fold(order.l4_sum + vary + sport);
	else
		*(__u16 *)(frame + L4_AT + 16) = fold(order.l4_sum + vary + sport);
	return bpf_redirect(order.ifindex, 0);
}

SEC("xdp")
int blast_receive(struct xdp_md *ctx)
{
	const struct ethhdr *eth = (void *)(long)ctx->data;
	const struct iphdr *ip = (const void *)(eth + 1);
	void *end = (void *)(long)ctx->data_end;
	const __be16 *ports;
	__u32 row;
	__u64 *count;

	if ((void *)(ip + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	if (ip->protocol == IPPROTO_IPIP)
		ip++;
	ports = (const void *)(ip + 1);
	if ((void *)(ports + 2) > end)
		return XDP_PASS;
	if (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP)
		return XDP_PASS;
	row = ports[1] == receive_port ? BLAST_RECEIVED : BLAST_STRAY;
	count = bpf_map_lookup_elem(&counts, &row);
	if (count)
		++*count;
	return XDP_DROP;
}

/* Lets a veth pair hand redirected frames to the stack. */
SEC("xdp")
int blast_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

/* The least that forwarding can be: other addresses in front, and out. */
SEC("xdp")
int blast_forward(struct xdp_md *ctx)
{
	struct ethhdr *eth = (void *)(long)ctx->data;

	if ((void *)(eth + 1) > (void *)(long)ctx->data_end || eth->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
#pragma unroll
	for (int i = 0; i < ETH_ALEN; i++) {
		eth->h_dest[i] = forward_dmac[i];
		eth->h_source[i] = forward_smac[i];
	}
	return bpf_redirect(forward_ifindex, 0);
}

char _license[] SEC("license") = "GPL";
