/* xdp_pass.bpf.c - what a host's end of a veth pair needs before frames that the other end's native
 * XDP program sends can arrive: veth delivers XDP frames only to a peer that has a program itself.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

SEC("xdp")
int xdp_pass(struct xdp_md *ctx)
{
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
