/* lb_abi.h - the bytes that the load balancer's program and its control plane share.
 * Layer: abi.  The layouts are the contract: maps outlive both sides (they are pinned), so a change
 * of any layout below bumps LB_ABI_VERSION.
 *
 * Who writes what: lb_apply.c writes lb_services, lb_vips, lb_tables, lb_backends, lb_sources,
 * lb_ports and lb_control; lb.bpf.c writes lb_conns4, lb_conns6, the counters and the ring buffer;
 * lb_sweep.c deletes what expired from the connection tables. */
#ifndef LOOM_LB_ABI_H
#define LOOM_LB_ABI_H

#include "abi.h"

#define LB_ABI_VERSION 1

#define LB_MAX_SERVICES	  4096 /* rows of lb_tables: a service takes one per address family */
#define LB_MAX_SOURCES	  256
#define LB_MAX_INTERFACES 16
#define LB_PORT_WORDS	  1024 /* 65,536 bits */
#define LB_SLOT_EMPTY	  0    /* in a slot table; row 0 of lb_backends is never used */

/* Index of a protocol in the port sets. */
enum lb_proto {
	LB_TCP,
	LB_UDP,
	LB_PROTOS,
};

/* An address as the maps hold it: IPv6, or IPv4 as ::ffff:a.b.c.d. */
struct lb_addr {
	__be32 word[4];
};
ABI_SIZE(struct lb_addr, 16);

/* How to hand a frame to the next station. */
struct lb_hop {
	__u8 dmac[6];
	__u8 smac[6];
	__u32 ifindex; /* where to send from; 0: unknown, ask the FIB */
	__be16 tci[2]; /* VLAN tags, outer first; how many: the tags byte beside the hop */
};
ABI_SIZE(struct lb_hop, 20);

/* A row's or connection's number of VLAN tags and whether the outer one is 802.1ad. */
#define LB_TAGS_MASK	 0x03
#define LB_TAGS_OUTER_AD 0x04

/* lb_conns4, lb_conns6: one entry per direction.  The key is the packet as it arrives; the value is
 * what it becomes.  Keys are hashed whole: the zero bytes stay zero. */
struct lb_key4 {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u8 proto; /* IPPROTO_TCP, IPPROTO_UDP */
	__u8 zero[3];
};
ABI_SIZE(struct lb_key4, 16);

struct lb_key6 {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 proto;
	__u8 zero[3];
};
ABI_SIZE(struct lb_key6, 40);

enum lb_state {
	LB_STATE_NONE, /* UDP: no handshake */
	LB_STATE_SYN_SENT,
	LB_STATE_SYN_RECV,
	LB_STATE_ESTABLISHED,
	LB_STATE_FIN_WAIT,
	LB_STATE_TIME_WAIT,
	LB_STATE_CLOSED, /* a RST was seen */
	LB_STATES,
};

enum lb_flow_flags {
	LB_FLOW_REPLY = 1 << 0,	       /* this entry is the backend's direction */
	LB_FLOW_FIN_CLIENT = 1 << 1,   /* the client has sent its FIN */
	LB_FLOW_FIN_BACKEND = 1 << 2,  /* the backend has sent its FIN */
	LB_FLOW_CLIENT_FIRST = 1 << 3, /* the client closed first: the backend keeps no TIME_WAIT */
	LB_FLOW_PICKED_UP = 1 << 4,    /* began with neither SYN nor known state */
};

/* Connections count time in 2^30 ns of CLOCK_MONOTONIC: a shift where seconds would be a division.
 */
#define LB_TICK_SHIFT 30

/* What both families share of a connection entry. */
struct lb_flow {
	__u32 seen;	  /* last use, in LB_TICKs */
	__u32 touched;	  /* when the other half was last looked after, in LB_TICKs */
	__u32 generation; /* lb_control.generation this entry was last checked against */
	__u32 backend;	  /* row of lb_backends */
	struct lb_hop hop;
	__u8 state; /* enum lb_state */
	__u8 flags; /* enum lb_flow_flags */
	__u8 tags;  /* LB_TAGS_* of hop */
	__u8 zero;
	__u32 incarnation; /* of the backend row: rows are used again */
	__be16 sport;
	__be16 dport;
};
ABI_SIZE(struct lb_flow, 48);

struct lb_conn4 {
	struct lb_flow flow;
	__be32 saddr;
	__be32 daddr;
	__u16 ip_delta; /* to add to the header checksum, TTL included: RFC 1624 */
	__u16 l4_delta; /* to add to TCP's or UDP's */
	__u32 created;	/* in LB_TICKs */
};
ABI_SIZE(struct lb_conn4, 64);

struct lb_conn6 {
	struct lb_flow flow;
	__be32 saddr[4];
	__be32 daddr[4];
	__u16 zero;
	__u16 l4_delta;
	__u32 created; /* in LB_TICKs */
};
ABI_SIZE(struct lb_conn6, 88);

/* lb_services: hash. */
struct lb_service_key {
	__be32 addr[4]; /* IPv6, or IPv4 as ::ffff:a.b.c.d */
	__be16 port;
	__u8 proto;
	__u8 zero;
};
ABI_SIZE(struct lb_service_key, 20);

enum lb_nat {
	LB_NAT_FULL,	    /* source and destination rewritten */
	LB_NAT_DESTINATION, /* the client's address is kept */
};

struct lb_service {
	__u32 table;	  /* row of lb_tables */
	__u32 table_size; /* slots in it */
	__u8 nat;	  /* enum lb_nat */
	__u8 zero[3];
};
ABI_SIZE(struct lb_service, 12);

/* lb_vips: array, by row of lb_tables: under which addresses a service may have been asked, for as
 * many as fit. Unused ones have proto 0. */
#define LB_MAX_VIPS 8
struct lb_vips {
	struct lb_service_key vip[LB_MAX_VIPS];
};
ABI_SIZE(struct lb_vips, 160);

/* lb_backends: array. */
enum lb_backend_state {
	LB_BACKEND_UNUSED, /* flows that still name this row start anew */
	LB_BACKEND_ACTIVE, /* in slot tables or not, its flows go on */
	LB_BACKEND_CUT,	   /* its TCP flows are reset, its UDP flows start anew */
};

struct lb_backend {
	__be32 addr[4];
	struct lb_hop hop;
	__u32 id;	    /* the API's */
	__u32 incarnation;  /* grows whenever the row gets another backend */
	__u16 source_first; /* rows of lb_sources for full NAT */
	__u16 source_count;
	__be16 port;   /* 0: the port the client used */
	__u8 state;    /* enum lb_backend_state */
	__u8 tags;     /* LB_TAGS_* of hop */
	__u32 service; /* row of lb_tables it belongs to */
};
ABI_SIZE(struct lb_backend, 56);

/* lb_reals: hash; who may answer.  Key: struct lb_service_key of the backend; value: its row of
 * lb_backends. */

/* lb_ports: one element.  The first question about any packet. */
struct lb_ports {
	__u64 to[LB_PROTOS]
		[LB_PORT_WORDS]; /* destination ports of services and of NAT's source range */
	__u64 from[LB_PROTOS]
		  [LB_PORT_WORDS]; /* source ports of backends that answer the client's address */
	__u64 service[LB_PROTOS][LB_PORT_WORDS]; /* ports of services: never a NAT source port */
};
ABI_SIZE(struct lb_ports, 49152);

/* lb_control: one element. */
struct lb_control {
	__u32 abi_version;
	__u32 generation; /* grows after any change that an established flow must notice */
};
ABI_SIZE(struct lb_control, 8);

/* Why a packet ended as it did: rows of lb_counters (per CPU).  Append only.
 * X(NAME, metric value, action, help) */
#define LB_COUNTERS(X)                                                                        \
	X(NOT_IP, "not_ip", PASS, "Neither IPv4 nor IPv6, or an unreadable header")           \
	X(NOT_OURS, "not_ours", PASS, "No service on this port")                              \
	X(NO_SERVICE, "no_service", PASS, "A served port, but not on this address")           \
	X(FRAGMENT, "fragment", PASS, "A fragment, left to the stack")                        \
	X(NO_BACKEND, "no_backend", PASS, "The service has no backend to send to")            \
	X(MALFORMED, "malformed", DROP, "For a service, but a header does not fit")           \
	X(TTL_EXPIRED, "ttl_expired", DROP, "TTL or hop limit ran out")                       \
	X(NO_ROUTE, "no_route", DROP, "No route to the backend or client")                    \
	X(NO_NEIGHBOUR, "no_neighbour", DROP, "The next hop's link-layer address is unknown") \
	X(NO_PORT, "no_port", DROP, "No free source port for NAT")                            \
	X(MAP_FULL, "map_full", DROP, "The connection table took no entry")                   \
	X(LOST_REPLY, "lost_reply", DROP, "A backend's answer whose connection is unknown")   \
	X(FLOW_ENDED, "flow_ended", DROP, "For a connection that was cut with its backend")   \
	X(TX_ERROR, "tx_error", DROP, "The frame could not be prepared for sending")          \
	X(RESET, "reset", TX, "TCP resets sent to clients of a cut backend")                  \
	X(PICKED_UP, "picked_up", NONE, "Connections taken up mid-stream")                    \
	X(REBUILT, "rebuilt", NONE, "Lost halves of connections rebuilt")                     \
	X(RESELECTED, "reselected", NONE, "Flows moved because their backend has gone")       \
	X(PORT_CLASH, "port_clash", NONE, "Source ports skipped because they were taken")     \
	X(EVENT_LOST, "event_lost", NONE, "Events the full ring buffer did not take")         \
	X(NO_FLOW, "no_flow", PASS, "A reset for a connection that is unknown")

enum lb_action {
	LB_ACTION_NONE, /* noted beside another verdict */
	LB_ACTION_PASS,
	LB_ACTION_DROP,
	LB_ACTION_TX,
};

enum lb_counter {
#define LB_COUNTER_ENUM(name, value, action, help) LB_##name,
	LB_COUNTERS(LB_COUNTER_ENUM)
#undef LB_COUNTER_ENUM
		LB_COUNTER_COUNT,
};

/* lb_counters: per-CPU array. */
struct lb_count {
	__u64 packets;
	__u64 bytes; /* frame lengths as received */
};
ABI_SIZE(struct lb_count, 16);

/* lb_backend_counts: per-CPU array, by row of lb_backends.  What is forwarded is counted here
 * alone; totals are sums over the rows. */
struct lb_backend_count {
	__u64 to_packets;
	__u64 to_bytes;
	__u64 from_packets;
	__u64 from_bytes;
	__u64 connections; /* begun or picked up */
};
ABI_SIZE(struct lb_backend_count, 40);

/* lb_events: ring buffer. */
enum lb_event_kind {
	LB_EVENT_LOST_REPLY = 1, /* a backend answered, its half of the connection is missing */
};

struct lb_event {
	__u32 kind;
	__u32 family;	    /* AF_INET, AF_INET6 */
	struct lb_key6 key; /* the packet's tuple; IPv4 in mapped form */
};
ABI_SIZE(struct lb_event, 48);

#endif
