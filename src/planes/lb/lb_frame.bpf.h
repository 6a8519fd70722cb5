/* lb_frame.bpf.h - where a frame begins and ends. */
#ifndef LB_FRAME_BPF_H
#define LB_FRAME_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

/* The frame's first byte and the one after its last.  In assembly, because clang may merge two
 * reads of such a field into one and copy it as the 32-bit number that its type says, which the
 * verifier takes for no pointer. */
static __always_inline void *frame_start(const struct xdp_md *ctx)
{
	void *start;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(start)
		     : "r"(ctx), "i"(__builtin_offsetof(struct xdp_md, data)));
	return start;
}

static __always_inline void *frame_end(const struct xdp_md *ctx)
{
	void *end;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(end)
		     : "r"(ctx), "i"(__builtin_offsetof(struct xdp_md, data_end)));
	return end;
}

static __always_inline __u64 frame_length(const struct xdp_md *ctx)
{
	return frame_end(ctx) - frame_start(ctx);
}

#endif
