/* table.h - what table.c and table.bpf.c share. */
#ifndef LOOM_BENCH_TABLE_H
#define LOOM_BENCH_TABLE_H

#include <linux/types.h>

#define TABLE_ENTRIES	  (1 << 21) /* of every table compared: twice the most flows */
#define TABLE_LOCKS	  4096
#define TABLE_BUCKET	  512 /* bytes; holds one or more groups */
#define TABLE_PART	  60  /* buckets of an inner map: below 32 KiB, kmalloc serves it */
#define TABLE_PART_BYTES  (TABLE_PART * TABLE_BUCKET + 64) /* 64: to begin at a cache line */
#define TABLE_ENTRY_BYTES 32

/* What an entry needs, IPv4.  A 64-byte one has 32 more bytes behind, for a next hop. */
struct table_entry {
	__u64 key[2]; /* both 0: free */
	__u32 seen;
	__be16 sport; /* NAT's */
	__u8 flags;
	__u8 class; /* enum table_class */
	__u32 backend;
	__u32 generation;
};

/* In the order in which entries are given up. */
enum table_class {
	TABLE_FREE,
	TABLE_HALF_OPEN,
	TABLE_ESTABLISHED,
};

enum table_lock {
	TABLE_LOCK_NONE,
	TABLE_LOCK_INSERT, /* bpf_spin_lock around the writing of an entry; a lookup checks its key
			      again */
	TABLE_LOCK_ALL,	   /* bpf_spin_lock around lookup, too */
	TABLE_LOCK_CLAIM,  /* cmpxchg on the entry's time; a lookup checks its key again */
};

enum table_choice {
	TABLE_CHOICE_NONE,
	TABLE_CHOICE_ROOM,  /* two groups a key may be in: it goes where more is free */
	TABLE_CHOICE_SPILL, /* it goes into the second when the first is full */
};

struct table_order {
	__u64 next;  /* number of the next packet */
	__u64 mask;  /* flows - 1 */
	__u64 first; /* number of the first flow */
	__u64 seed;
	__u64 found;
	__u64 lost;
	__u64 done;
	__u64 torn;
	__u64 evicted; /* full entries overwritten */
	__u32 now;
	__u32 class; /* of new entries */
};

#endif
