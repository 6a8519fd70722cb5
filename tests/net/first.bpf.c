/* first.bpf.c - a program of the user's before the balancer: it drops what comes from one port, and
 * hands the rest on. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#ifndef REFUSED_PORT
#define REFUSED_PORT 4444
#endif

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} loom_next SEC(".maps");

SEC("xdp_first")
int first(struct xdp_md *ctx)
{
	void *data = (void *)(long)ctx->data;
	void *end = (void *)(long)ctx->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct tcphdr *tcp = (void *)(ip + 1);

	if ((void *)(tcp + 1) <= end && eth->h_proto == bpf_htons(ETH_P_IP) && ip->ihl == 5 &&
	    ip->protocol == IPPROTO_TCP && tcp->source == bpf_htons(REFUSED_PORT))
		return XDP_DROP;
	bpf_tail_call(ctx, &loom_next, 0);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
