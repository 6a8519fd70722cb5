/* steer_truth_abi.h - the rows that the socket iterators write.
 * Layer: abi.  Nothing is pinned: program and reader are of one build, the size is the contract. */
#ifndef LOOM_STEER_TRUTH_ABI_H
#define LOOM_STEER_TRUTH_ABI_H

#include "abi.h"

#define STEER_TRUTH_V6ONLY    0x1u
#define STEER_TRUTH_CONNECTED 0x2u  /* UDP */
#define STEER_TRUTH_INANY     0x4u  /* the group is bound to the wildcard address */
#define STEER_TRUTH_HAS_CONNS 0x8u  /* the group has had connected members */
#define STEER_TRUTH_CLASSIC   0x10u /* its program is classic BPF, which has no id */

#define STEER_TRUTH_NO_INDEX 0xffffu

/* One socket that is in a reuseport group. */
struct steer_truth_row {
	__u64 group;	/* equal for members of one group; changes when the kernel makes the group's
			 * array larger, at 129, 257, ... members */
	__u64 inode;	/* 0: no descriptor any more */
	__u64 cookie;	/* 0: never asked for, on kernels before 5.12 */
	__be32 addr[4]; /* bound to: IPv6, or IPv4 as ::ffff:a.b.c.d */
	__u16 port;	/* host order */
	__u8 family;
	__u8 protocol; /* IPPROTO_TCP or IPPROTO_UDP */
	__u8 state;    /* TCP_LISTEN, or of UDP TCP_CLOSE or TCP_ESTABLISHED */
	__u8 flags;    /* STEER_TRUTH_* */
	__u16 index;   /* in the group, now; STEER_TRUTH_NO_INDEX: not known */
	__u16 members;
	__u16 closed_members; /* that still have requests to migrate (tcp_migrate_req) */
	__u16 cpu_members;    /* with SO_INCOMING_CPU: the kernel's hash then looks at CPUs */
	__u16 zero;
	__s32 incoming_cpu; /* this one's; without SO_INCOMING_CPU that of its last packet */
	__u32 ifindex;	    /* bound to; 0: any */
	__u32 program_id;   /* attached to the group; 0: none, or classic */
	__u32 program_type; /* BPF_PROG_TYPE_* */
	__u32 group_id;	    /* the kernel's reuseport_id; 0: never asked for */
	__u32 uid;
	__u32 queue;	   /* TCP: connections to accept; UDP: bytes to read */
	__u32 queue_limit; /* TCP: of listen(2); UDP: SO_RCVBUF */
	__u32 requests;	   /* TCP: handshakes under way */
	__u32 drops;	   /* TCP: accept queue full; UDP: datagrams */
};
ABI_SIZE(struct steer_truth_row, 96);

/* One descriptor of such a socket. */
struct steer_truth_file {
	__u64 inode;
	__s32 pid; /* of the kernel's first PID namespace */
	__s32 fd;
};
ABI_SIZE(struct steer_truth_file, 16);

#endif
