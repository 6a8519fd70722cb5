// SPDX-License-Identifier: GPL-2.0-only
/* pass.bpf.c - for the hosts' ends of veth pairs: what XDP sends them is lost without a program
 * there. */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
