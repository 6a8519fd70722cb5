/* ns.h - what ns.c and ns.bpf.c share. */
#ifndef LOOM_BENCH_NS_H
#define LOOM_BENCH_NS_H

#include <linux/types.h>

#define NS_IPV4_BYTES 56 /* whole words that hold the headers */
#define NS_IPV6_BYTES 80

/* What the wrapper writes back after each packet, and how flows differ; in .bss. */
struct ns_order {
	__u64 frame[NS_IPV6_BYTES / 8];
	__u64 next;	   /* number of the next packet */
	__u64 mask;	   /* flows - 1 */
	__u64 verdicts[8]; /* by XDP verdict */
	__u32 saddr;	   /* last word of the first client's address, host order */
	__u32 client_mask;
	__u32 client_bits; /* flow = port << client_bits | client */
	__u32 sport;	   /* first port, host order */
};

#endif
