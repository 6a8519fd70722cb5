/* steer_abi.h - bytes shared by the socket steering's programs and their user space.
 * Layer: abi.  A change of any layout bumps STEER_ABI_VERSION: maps outlive programs.
 *
 * One set of maps per group, pinned below one directory; one program per group, specialised to its
 * policy by struct steer_const (.rodata).  All a program is told at run time stands in two mapped
 * arrays: .data.control, whose stores are single words, and .data.tables, of which one half is
 * written while the other one is in force. */
#ifndef LOOM_STEER_ABI_H
#define LOOM_STEER_ABI_H

#include "abi.h"
#include "wg_demux_abi.h"

#define STEER_ABI_VERSION 1

#define STEER_MAX_SLOTS 256  /* members of a group, leaving ones included */
#define STEER_PLAN_SIZE 4096 /* entries a flow's hash is scaled to */
#define STEER_MAX_CPUS	1024
#define STEER_VSHARDS	256    /* WireGuard: the top 8 bits of a receiver index */
#define STEER_NOBODY	0xffff /* in tables: nobody, the kernel's hash decides */
#define STEER_VSHARD_OVERRIDES                                             \
	0x8000 /* ored to a vshard's slot: rx_index_to_slot has some of it \
		*/

/* How far the group's policy is in force.  0, an empty map's value, is plain Linux. */
enum steer_mode {
	STEER_FALLBACK, /* returns at once */
	STEER_OBSERVE,	/* counts what the kernel chooses */
	STEER_SHADOW,	/* counts what the policy would choose as well, and where they differ */
	STEER_CANARY,	/* the policy chooses for flows below steer_control.canary */
	STEER_ENFORCE,	/* the policy chooses */
};

enum steer_policy {
	STEER_HASH, /* the kernel's, among all; with STEER_RESTRICTED by the plan */
	STEER_WEIGHTED,
	STEER_RANDOM,
	STEER_LEAST_LOADED,
	STEER_SOURCE_HASH,
	STEER_CPU_LOCAL,
	STEER_WIREGUARD,
	STEER_QUIC,
	STEER_BYTES,
	STEER_GENERATION,
};

/* .data.control, one word a fact: user space stores words, the program loads them. */
struct steer_control {
	__u32 abi_version;
	__u32 mode;	  /* enum steer_mode */
	__u32 canary;	  /* of 2^32: flows whose mixed hash is below are the policy's */
	__u32 active;	  /* 0 or 1: which of steer_tables is in force */
	__u32 restricted; /* 1: some members may not be chosen: even STEER_HASH goes by the plan */
	__u32 held;	  /* 1: some slots stand in socks_held, not in socks */
	__u32 salt[2];	  /* of the programs that are loaded over these maps */
	__u32 zero[8];
};
ABI_SIZE(struct steer_control, 64);

/* A member as the program meets it in the kernel's array of the group. */
struct steer_member {
	__u64 cookie; /* SO_COOKIE; 0: no member */
	__u16 slot;
	__u16 flags;  /* STEER_MEMBER_* */
	__u32 weight; /* least_loaded: queues are compared per weight; 0: not chosen */
};
ABI_SIZE(struct steer_member, 16);

#define STEER_MEMBER_ELIGIBLE 0x1 /* may get new flows */
#define STEER_MEMBER_HELD     0x2 /* its socket stands in socks_held (a sockmap) */

/* One half of .data.tables: everything that follows from the members, compiled by model/. */
struct steer_table {
	__u32 member_count;
	__u32 zero;
	struct steer_member members[STEER_MAX_SLOTS]; /* in the order of the kernel's group array */
	__u16 plan[STEER_PLAN_SIZE];		      /* slots of new flows */
	__u16 cpus[STEER_MAX_CPUS];		      /* cpu_local: each CPU's slot */
	__u16 vshards[STEER_VSHARDS];	  /* wireguard; STEER_NOBODY: single indices alone */
	__u16 identity[STEER_MAX_SLOTS];  /* quic, bytes: an identity in the packet to its slot */
	__u64 cookies[STEER_MAX_SLOTS];	  /* SO_COOKIE by slot; 0: nobody */
	__u8 slot_flags[STEER_MAX_SLOTS]; /* STEER_MEMBER_* by slot */
};
ABI_SIZE(struct steer_table,
	 8 + 16 * 256 + 2 * 4096 + 2 * 1024 + 2 * 256 + 2 * 256 + 8 * 256 + 256);

struct steer_tables {
	struct steer_table half[2];
};

/* .rodata: set before load, and what does not follow from it is not in the program. */
struct steer_const {
	__u32 policy;	  /* enum steer_policy */
	__u8 udp;	  /* the group's protocol; TCP else */
	__u8 reads_group; /* kernel memory may be read: CAP_PERFMON, BTF, bpf_rdonly_cast */
	__u8 migrates;	  /* attached as BPF_SK_REUSEPORT_SELECT_OR_MIGRATE */
	__u8 traced;	  /* steer_events exists: every matching decision is told */
	__u16 offset;	  /* quic: of the slot within the connection id; bytes: in the payload */
	__u8 length;	  /* 1 to 4 bytes, read big endian */
	__u8 shift;	  /* then shifted right ... */
	__u32 mask;	  /* ... and masked */
	__u64 salt;	  /* source_hash, wireguard */
	__u64 flow_timeout_ns; /* generation */
	/* Traced: flows of this source alone; 0: all. */
	__be32 trace_address[4]; /* IPv4 as ::ffff:a.b.c.d */
	__be16 trace_port;
	__u16 trace_sample; /* one in so many; 0, 1: all */
	__u8 without_held;  /* there is no socks_held: a sockmap takes CAP_NET_ADMIN */
	__u8 zero8[3];
	__u32 zero[2];
};
ABI_SIZE(struct steer_const, 64);

/* Row of steer_members, a per-CPU array by slot; row STEER_MAX_SLOTS: whom nobody knows. */
struct steer_member_count {
	__u64 kernel_packets;	/* the kernel's hash chose it, and it got them */
	__u64 kernel_bytes;	/* of payload and transport header, GRO trains as one packet */
	__u64 selected_packets; /* the program chose it, and it got them */
	__u64 selected_bytes;
	__u64 shadow_packets; /* the policy would have chosen it */
	__u64 migrated;	      /* connections it took over from a listener that closed */
};
ABI_SIZE(struct steer_member_count, 48);

/* Row of steer_counters (per CPU), metric name and help.  Append only.  The program leaves SELECTED
 * alone: it is the sum of steer_members' selected_packets, which user space adds up. */
#define STEER_COUNTERS(X)                                                                      \
	X(KERNEL, "Left to the kernel's hash as the mode says")                                \
	X(SELECTED, "Sent to the member that the policy chose")                                \
	X(SHADOW_SAME, "The policy would have chosen as the kernel did")                       \
	X(SHADOW_OTHER, "The policy would have chosen another member than the kernel")         \
	X(SHADOW_UNKNOWN, "The policy or the kernel chose none that is known")                 \
	X(CANARY_OUT, "Flows outside the canary's share, left to the kernel's hash")           \
	X(MIGRATED, "Connections given to another listener when theirs closed")                \
	X(NO_SLOT, "Fallback: the plan names no member")                                       \
	X(SLOT_EMPTY, "Fallback: the chosen member's socket is gone")                          \
	X(SLOT_FOREIGN, "Fallback: the chosen socket is of another group, protocol or family") \
	X(SHORT, "Fallback: the packet ends before what the policy reads")                     \
	X(NOT_MINE, "Fallback: the packet is not of the kind that the policy steers")          \
	X(INDEX_MISS, "Fallback: nobody owns the index or identity in the packet")             \
	X(NO_GROUP, "Fallback: the kernel's group could not be read")                          \
	X(HANDSHAKE, "WireGuard initiations, by source address")                               \
	X(INDEX, "Steered by the virtual shard, connection id or bytes in the packet")         \
	X(INDEX_OVERRIDE, "Steered by rx_index_to_slot")                                       \
	X(FLOW_NEW, "generation: flows begun")                                                 \
	X(FLOW_KEPT, "generation: packets of known flows")                                     \
	X(FLOW_MOVED, "generation: flows whose member had gone, given to another")             \
	X(FLOW_FULL, "generation: flows that found no room in the table")                      \
	X(TRACE_LOST, "Decisions that found no room in the trace's buffer")

enum steer_counter {
#define STEER_COUNTER_ENUM(name, help) STEER_COUNT_##name,
	STEER_COUNTERS(STEER_COUNTER_ENUM)
#undef STEER_COUNTER_ENUM
		STEER_COUNTERS_END
};

/* steer_flows: LRU hash of policy generation.  IPv4 as ::ffff:a.b.c.d. */
struct steer_flow_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__u16 zero;
};
ABI_SIZE(struct steer_flow_key, 36);

struct steer_flow {
	__u64 cookie;  /* of the member: a slot may be another one's by now */
	__u64 used_ns; /* bpf_ktime_get_coarse_ns or bpf_ktime_get_ns */
	__u16 slot;
	__u16 zero[3];
};
ABI_SIZE(struct steer_flow, 24);

/* steer_events: ring buffer, one a decision, while somebody traces. */
struct steer_event {
	__u64 at_ns; /* CLOCK_MONOTONIC */
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 hash;	   /* the kernel's */
	__u16 kernel_slot; /* whom the kernel's hash chooses; STEER_NOBODY: unknown */
	__u16 policy_slot; /* whom the policy chooses; STEER_NOBODY: nobody */
	__u16 chosen_slot; /* who gets it */
	__u16 reason;	   /* enum steer_counter: why */
	__u32 length;
	__u8 mode;
	__u8 udp;
	__u8 migrated;
	__u8 zero;
	__u32 word;  /* the first 4 bytes of the payload; 0 for TCP */
	__u32 index; /* what the policy read: receiver index, identity */
};
ABI_SIZE(struct steer_event, 72);

/* The maps' names, which are the pins' names as well:
 *   .data.control  array, mapped		.data.tables  array, mapped
 *   socks	    REUSEPORT_SOCKARRAY [STEER_MAX_SLOTS]: identity; one socket a slot
 *   socks_held	    SOCKMAP: sockets that somebody else's sockarray holds already
 *   steer_members  PERCPU_ARRAY [STEER_MAX_SLOTS + 1]
 *   steer_counters PERCPU_ARRAY [STEER_COUNTERS_END]
 *   rx_index_to_slot HASH u32 (as on the wire, read little endian) -> u32 slot: wireguard
 *   steer_flows    LRU_HASH: generation
 *   steer_events   RINGBUF: traced */
#define STEER_EVENTS_BYTES (1 << 20)

#define STEER_INLINE static inline __attribute__((always_inline, unused))

/* The whole address, unlike wg_source_hash: two hosts of a /64 are two sources. */
STEER_INLINE __u32 steer_source_hash(const __be32 *addr, __u64 salt)
{
	__u64 high = (__u64)addr[0] << 32 | addr[1];
	__u64 low = (__u64)addr[2] << 32 | addr[3];

	if (high)
		low ^= wg_mix(high, ~salt);
	return wg_mix(low, salt) >> 32;
}

/* The plan's entry that a hash names. */
STEER_INLINE __u32 steer_plan_entry(__u32 hash)
{
	return hash / ((1ull << 32) / STEER_PLAN_SIZE);
}

#endif
