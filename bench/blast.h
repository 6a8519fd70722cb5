/* blast.h - what blast.c and blast.bpf.c share. */
#ifndef LOOM_BENCH_BLAST_H
#define LOOM_BENCH_BLAST_H

#include <linux/types.h>

#define BLAST_FRAME_SIZE 60 /* 64 on a wire, less the frame check sequence */

/* The generator's orders, in .bss. */
struct blast_order {
	__u8 frame[64]; /* the template; BLAST_FRAME_SIZE bytes of it are sent */
	__u64 mask;	/* flows - 1; flows is a power of two */
	__u32 ifindex;	/* where it leaves */
	__u32 saddr;	/* first client, host order */
	__u32 client_mask;
	__u32 client_bits; /* flow = port << client_bits | client */
	__u32 ip_sum;	   /* unfolded sums, without source address and source port */
	__u32 l4_sum;
	__u16 sport; /* first port, host order */
	__u16 l4_check_at;
};

/* Each CPU sends from a place of its own in the order of flows, and on a cache line of its own. */
#define BLAST_CPUS 64

struct blast_place {
	__u64 next; /* number of the next packet: its low bits are its flow */
	__u64 unused[15];
};

enum blast_count_row {
	BLAST_RECEIVED, /* on the port it should come to */
	BLAST_STRAY,	/* TCP or UDP on another port */
	BLAST_COUNT_ROWS,
};

#endif
