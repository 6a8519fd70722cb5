/* vlan_tag.bpf.c - a switch that puts its access port's frames into VLAN 7, on kernels that have no
 * VLAN devices.  Between a host and the balancer: what the host sends gets the tag, what comes back
 * must have it. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#define VLAN_ID 7

struct tagged {
	unsigned char macs[12];
	__be16 tpid;
	__be16 tci;
};

/* 0: the access port's, 1: the trunk's interface index. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} ports SEC(".maps");

static __always_inline int send_to(__u32 port)
{
	__u32 *ifindex = bpf_map_lookup_elem(&ports, &port);

	return ifindex ? bpf_redirect(*ifindex, 0) : XDP_DROP;
}

SEC("xdp")
int from_access(struct xdp_md *ctx)
{
	struct tagged *frame;
	unsigned char macs[12];

	if (bpf_xdp_adjust_head(ctx, -4))
		return XDP_DROP;
	frame = (void *)(long)ctx->data;
	if ((void *)frame + 4 + sizeof(macs) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	__builtin_memcpy(macs, (void *)frame + 4, sizeof(macs));
	__builtin_memcpy(frame->macs, macs, sizeof(macs));
	frame->tpid = bpf_htons(ETH_P_8021Q);
	frame->tci = bpf_htons(VLAN_ID);
	return send_to(1);
}

SEC("xdp")
int from_trunk(struct xdp_md *ctx)
{
	struct tagged *frame = (void *)(long)ctx->data;
	unsigned char macs[12];

	if ((void *)(frame + 1) > (void *)(long)ctx->data_end)
		return XDP_DROP;
	if (frame->tpid != bpf_htons(ETH_P_8021Q) || (bpf_ntohs(frame->tci) & 0xfff) != VLAN_ID)
		return XDP_DROP;
	__builtin_memcpy(macs, frame->macs, sizeof(macs));
	__builtin_memcpy((void *)frame + 4, macs, sizeof(macs));
	return bpf_xdp_adjust_head(ctx, 4) ? XDP_DROP : send_to(0);
}

char _license[] SEC("license") = "GPL";
