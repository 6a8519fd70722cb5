/* lb_abi.h - the bytes that the load balancer's program and its control plane share.
 * Layer: abi.  The layouts are the contract: maps outlive both sides (they are pinned), so a change
 * of any layout below bumps LB_ABI_VERSION.
 *
 * Who writes what: lb_apply*.c writes lb_services, lb_vips, lb_tables, lb_backends, lb_sources,
 * lb_server_ids, lb_filters, lb_links, lb_ports and lb_control; lb.bpf.c writes lb_conns4,
 * lb_conns6, lb_affinity, lb_fragments, the rates, the counters and the ring buffers; lb_sweep.c
 * deletes what expired from the connection tables. */
#ifndef LOOM_LB_ABI_H
#define LOOM_LB_ABI_H

#include "abi.h"

#define LB_ABI_VERSION 2

#define LB_MAX_SERVICES	    4096 /* rows of lb_tables: a service takes one per address family */
#define LB_SPREAD_SLOTS	    4096 /* rows of lb_cpu_slots */
#define LB_MAX_SOURCES	    256
#define LB_MAX_INTERFACES   16
#define LB_MAX_LINKS	    256
#define LB_MAX_FILTERS	    131072
#define LB_MAX_SERVICE_KEYS 1048576
#define LB_PORT_WORDS	    1024 /* 65,536 bits */
#define LB_SLOT_EMPTY	    0	 /* in a slot table; row 0 of lb_backends is never used */

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

/* How packets reach the backend, and whether its answers come back this way. */
enum lb_mode {
	LB_MODE_NAT_FULL,	 /* source and destination rewritten */
	LB_MODE_NAT_DESTINATION, /* the client's address is kept */
	/* Direct server return: one entry, the client's direction; answers do not pass here. */
	LB_MODE_IPIP, /* in an IP header: RFC 2003, RFC 2473 */
	LB_MODE_GUE,  /* in UDP, without a header of GUE's own: variant 1, draft-ietf-intarea-gue */
	LB_MODE_L2,   /* as it came, to the backend's MAC address */
	LB_MODES,
};

enum lb_flow_flags {
	LB_FLOW_REPLY = 1 << 0,	       /* this entry is the backend's direction */
	LB_FLOW_FIN_CLIENT = 1 << 1,   /* the client has sent its FIN */
	LB_FLOW_FIN_BACKEND = 1 << 2,  /* the backend has sent its FIN */
	LB_FLOW_CLIENT_FIRST = 1 << 3, /* the client closed first: the backend keeps no TIME_WAIT */
	LB_FLOW_PICKED_UP = 1 << 4,    /* began with neither SYN nor known state */
	LB_FLOW_OUTER6 = 1 << 5,  /* IPv4 in IPv6: the outer destination is the backend row's */
	LB_FLOW_PROXIED = 1 << 6, /* answered for the backend by a SYN cookie: numbers shift */
};

#define LB_MTU_ANY 65535

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
	__u8 state;	   /* enum lb_state */
	__u8 flags;	   /* enum lb_flow_flags */
	__u8 tags;	   /* LB_TAGS_* of hop */
	__u8 mode;	   /* enum lb_mode */
	__u16 incarnation; /* of the backend row: rows are used again */
	__u16 mtu;	   /* longest IP packet that may come for this way */
	__be16 sport;	   /* GUE: the outer ones */
	__be16 dport;
};
ABI_SIZE(struct lb_flow, 48);

struct lb_conn4 {
	struct lb_flow flow;
	__be32 saddr; /* IPIP, GUE: the outer ones; with LB_FLOW_OUTER6 saddr is the last word */
	__be32 daddr;
	__u16 ip_delta; /* to add to the header checksum, TTL included: RFC 1624 */
	__u16 l4_delta; /* to add to TCP's or UDP's */
	union {
		__u32 created;	 /* in LB_TICKs */
		__u32 seq_delta; /* LB_FLOW_PROXIED: what the client's view is ahead by */
	};
};
ABI_SIZE(struct lb_conn4, 64);

struct lb_conn6 {
	struct lb_flow flow;
	__be32 saddr[4];
	__be32 daddr[4];
	__u16 zero;
	__u16 l4_delta;
	union {
		__u32 created;
		__u32 seq_delta;
	};
};
ABI_SIZE(struct lb_conn6, 88);

/* lb_services: hash.  Asked for (address, port, protocol), then for port 0: any port.  Protocol
 * IPPROTO_ICMP with port 0 says that the address is some service's. */
struct lb_service_key {
	__be32 addr[4]; /* IPv6, or IPv4 as ::ffff:a.b.c.d */
	__be16 port;
	__u8 proto;
	__u8 zero;
};
ABI_SIZE(struct lb_service_key, 20);

/* Which slot a new flow takes. */
enum lb_pick {
	LB_PICK_FLOW,	/* by the hash of addresses and ports */
	LB_PICK_SOURCE, /* by the hash of the client's address */
	LB_PICK_TURN,	/* the next one: a counter per CPU */
};

enum lb_service_flags {
	LB_SERVICE_FILTER = 1 << 0,	/* lb_filters knows some of its clients */
	LB_SERVICE_DENY = 1 << 1,	/* clients that lb_filters does not know are refused */
	LB_SERVICE_PASS = 1 << 2,	/* new flows go to the local stack */
	LB_SERVICE_SHARED = 1 << 3,	/* the local stack may have flows of it */
	LB_SERVICE_QUIC = 1 << 4,	/* by server id, where a packet has one */
	LB_SERVICE_LIMIT_PASS = 1 << 5, /* what exceeds a limit goes to the local stack */
	LB_SERVICE_COOKIES = 1 << 6,	/* SYNs that exceed a limit are answered with a cookie */
};

struct lb_service {
	__u32 table;	      /* row of lb_tables */
	__u32 table_size;     /* slots in it */
	__u32 affinity_ticks; /* how long a client stays with its backend; 0: no affinity */
	__u32 rate_ns;	      /* least time between two new flows, on average; 0: no limit */
	__u32 source_rate_ns; /* the same for one source */
	__u8 mode;	      /* enum lb_mode */
	__u8 pick;	      /* enum lb_pick */
	__u8 flags;	      /* enum lb_service_flags */
	__u8 id_offset;	      /* LB_SERVICE_QUIC: of the server id in the connection id ... */
	__u8 id_length;	      /* ... and its bytes, 1 to 4 */
	__u8 zero[3];
};
ABI_SIZE(struct lb_service, 28);

/* lb_server_ids: hash; value: row of lb_backends. */
struct lb_server_id {
	__u32 table; /* row of lb_tables */
	__u32 id;    /* host order */
};
ABI_SIZE(struct lb_server_id, 8);

/* lb_filters: LPM trie; value: enum lb_filter. */
struct lb_filter_key {
	__u32 prefix; /* bits of what follows */
	__be32 table; /* whole in every key */
	__be32 addr[4];
};
ABI_SIZE(struct lb_filter_key, 24);

enum lb_filter {
	LB_FILTER_ALLOW = 1,
	LB_FILTER_DENY,
};

/* lb_affinity: LRU hash. */
struct lb_affinity_key {
	__be32 addr[4]; /* the client's */
	__u32 table;	/* row of lb_tables */
	__u8 proto;
	__u8 zero[3];
};
ABI_SIZE(struct lb_affinity_key, 24);

struct lb_affinity {
	__u32 backend; /* row of lb_backends */
	__u32 seen;    /* last new flow or, for UDP, packet; in LB_TICKs */
	__u16 incarnation;
	__u16 zero;
};
ABI_SIZE(struct lb_affinity, 12);

/* lb_rates (array, by row of lb_tables), lb_source_rates (LRU hash): when the next flow would be on
 * time, in ns of CLOCK_MONOTONIC: the generic cell rate algorithm (ITU-T I.371). */
struct lb_source_key {
	__be32 addr[4]; /* IPv6: the /64 */
	__u32 table;
};
ABI_SIZE(struct lb_source_key, 20);

/* lb_fragments: LRU hash; the ports that a datagram's first fragment had. */
struct lb_fragment_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be32 id;
	__u8 proto;
	__u8 zero[3];
};
ABI_SIZE(struct lb_fragment_key, 40);

struct lb_fragment {
	__be16 sport;
	__be16 dport;
	__u32 seen; /* in LB_TICKs */
};
ABI_SIZE(struct lb_fragment, 8);

/* lb_links: hash, by ifindex. */
struct lb_link_info {
	__u32 mtu;
};
ABI_SIZE(struct lb_link_info, 4);

/* lb_vips: array, by row of lb_tables: under which addresses a service may have been asked, for as
 * many as fit. Unused ones have proto 0. */
#define LB_MAX_VIPS 8
struct lb_vips {
	struct lb_service_key vip[LB_MAX_VIPS];
};
ABI_SIZE(struct lb_vips, 160);

/* lb_backends: array. */
enum lb_backend_state {
	LB_BACKEND_UNUSED,   /* flows that still name this row start anew */
	LB_BACKEND_ACTIVE,   /* its flows go on, it may get new ones */
	LB_BACKEND_CUT,	     /* its TCP flows are reset, its UDP flows start anew */
	LB_BACKEND_DRAINING, /* its flows go on, it gets no new ones */
};

struct lb_backend {
	__be32 addr[4];
	struct lb_hop hop;
	__u32 id;	    /* the API's */
	__u16 incarnation;  /* grows whenever the row gets another backend */
	__u16 mtu;	    /* of the way there; 0: unknown */
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
	X(NO_FLOW, "no_flow", PASS, "A reset for a connection that is unknown")               \
	X(TOO_BIG, "too_big", TX, "Too big for the way on: answered with an ICMP error")      \
	X(TOO_BIG_QUIET, "too_big_quiet", DROP, "The same, beyond the rate of answers")       \
	X(ICMP_ERROR, "icmp_error", TX, "ICMP errors sent on to whom they concern")           \
	X(ECHO, "echo", TX, "Echo requests to a service address, answered")                   \
	X(FRAGMENT_EARLY, "fragment_early", PASS, "A fragment whose first has not come")      \
	X(DENIED, "denied", DROP, "The client is on the service's deny list")                 \
	X(LIMITED, "limited", DROP, "New flows beyond the service's limits")                  \
	X(LIMITED_PASS, "limited_pass", PASS, "The same, left to the stack")                  \
	X(COOKIE_SENT, "cookie_sent", TX, "SYNs answered with a SYN cookie")                  \
	X(COOKIE_BAD, "cookie_bad", DROP, "ACKs that acknowledge no cookie of ours")          \
	X(COOKIE_WAIT, "cookie_wait", DROP, "Data sent before the backend had answered")      \
	X(COOKIE_OPEN, "cookie_open", NONE, "Connections opened by a SYN cookie")             \
	X(LOCAL, "local", PASS, "For a service, left to the stack by configuration")          \
	X(STATELESS, "stateless", NONE, "Packets balanced without an entry")                  \
	X(AFFINE, "affine", NONE, "New flows that went where their client was before")        \
	X(BY_SERVER_ID, "by_server_id", NONE, "New flows sent by a QUIC connection id")       \
	X(MSS_CLAMPED, "mss_clamped", NONE, "SYNs whose maximum segment size was lowered")    \
	X(TRACE_LOST, "trace_lost", NONE, "Trace events the full ring buffer did not take")   \
	X(FROM_SERVICE, "from_service", DROP, "From a service itself: answers would come back here")

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

/* lb_trace: ring buffer, written by a program loaded with lb_const_trace alone: one event a packet
 * that lb_trace_filter lets through. */
#define LB_TRACE_BYTES 128

struct lb_trace_event {
	__u64 time_ns;	/* CLOCK_MONOTONIC */
	__u32 ifindex;	/* where it came in */
	__u32 length;	/* of the frame as received */
	__u32 backend;	/* id, the API's; 0: none */
	__u32 table;	/* row of lb_tables; ~0: none */
	__u32 row;	/* of lb_backends; 0: none */
	__u16 captured; /* bytes in frame */
	__u8 verdict;	/* XDP's */
	__u8 counter;	/* enum lb_counter; LB_COUNTER_COUNT: forwarded */
	__u8 state;	/* enum lb_state after the packet; LB_STATES: it has no entry */
	__u8 flags;	/* LB_TRACE_* */
	__u8 family;	/* AF_INET, AF_INET6; 0: neither */
	__u8 proto;
	__be32 saddr[4]; /* as received; IPv4 in mapped form */
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u8 mode; /* enum lb_mode, if forwarded */
	__u8 tcp_flags;
	__u8 zero[6];
	__u8 frame[LB_TRACE_BYTES]; /* the frame's beginning as received */
};
ABI_SIZE(struct lb_trace_event, 208);

enum lb_trace_flags {
	LB_TRACE_NEW = 1 << 0,	 /* the packet began a flow */
	LB_TRACE_REPLY = 1 << 1, /* the backend's direction */
};

/* lb_trace_filter: one element; what is zero asks nothing. */
struct lb_trace_filter {
	__be32 addr[4]; /* either end, as it came or as NAT writes it, lies in addr/mask */
	__be32 mask[4];
	__u32 backend; /* id */
	__u32 sample;  /* one packet in so many; 0, 1: each */
	__be16 port;   /* either end's, as above */
	__u8 proto;    /* IPPROTO_ICMP: ICMPv6, too */
	__u8 only_drops;
};
ABI_SIZE(struct lb_trace_filter, 44);

/* lb_trace_counts: per-CPU array of one element, new with each trace. */
struct lb_trace_count {
	__u64 seen;    /* packets that came in */
	__u64 matched; /* of these, what the filter lets through, before sampling */
	__u64 sent;    /* events in the ring buffer */
	__u64 lost;    /* events it did not take */
};
ABI_SIZE(struct lb_trace_count, 32);

#endif
