/* world.h - the real program, loaded with small maps into a network namespace of its own, and what
 * a test needs to send it packets and to see what became of them.
 *
 * The usual world, after world_reset(): full NAT at VIP port 80 and 8080 (TCP and UDP), destination
 * NAT at VIP_KEEP port 80; one backend for each, on port 8000, reached through the interface the
 * clients come from.  Rows and addresses: below. */
#ifndef TEST_WORLD_H
#define TEST_WORLD_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stdint.h>

#include "abi/lb_abi.h"
#include "packet.h"

#define CLIENT4	  "203.0.113.5"
#define VIP4	  "192.0.2.10"
#define KEEP4	  "192.0.2.20"
#define BACKEND4  "10.0.1.10"
#define SPARE4	  "10.0.1.11"
#define SOURCE4	  "10.0.1.1"
#define CLIENT6	  "2001:db8:c::5"
#define VIP6	  "2001:db8::10"
#define KEEP6	  "2001:db8::20"
#define BACKEND6  "2001:db8:b::10"
#define SPARE6	  "2001:db8:b::11"
#define SOURCE6	  "2001:db8:b::1"
#define DIRECT4	  "192.0.2.30" /* DSR: world_direct() */
#define DIRECT6	  "2001:db8::30"
#define OUTER4	  "172.16.0.0" /* outer sources: OUTER_HOSTS are the flow's */
#define OUTER6	  "fd99:1:2:3::"
#define PORT_GUE  6080
#define PORT_REAL 8000

#define OUTER_HOSTS 0xffff

enum world_row {
	ROW_NONE, /* of lb_backends: never used */
	ROW_BACKEND4,
	ROW_BACKEND6,
	ROW_SPARE4,
	ROW_SPARE6,
	ROWS = 16,
};

enum world_table {
	TABLE_4,
	TABLE_6,
	TABLE_KEEP4,
	TABLE_KEEP6,
	TABLE_EMPTY,
	TABLE_DIRECT4,
	TABLE_DIRECT6,
	TABLES,
};

#define WORLD_SLOTS	  7
#define WORLD_PORT_FIRST  1024
#define WORLD_PORT_LAST	  32767
#define WORLD_CONNECTIONS 4096

/* Descriptions to begin with. */
#define TCP4 \
	.from = CLIENT4, .to = VIP4, .proto = IPPROTO_TCP, .sport = 40000, .dport = 80, .flags = ACK
#define TCP6 \
	.from = CLIENT6, .to = VIP6, .proto = IPPROTO_TCP, .sport = 40000, .dport = 80, .flags = ACK
#define UDP4 .from = CLIENT4, .to = VIP4, .proto = IPPROTO_UDP, .sport = 40000, .dport = 80
#define UDP6 .from = CLIENT6, .to = VIP6, .proto = IPPROTO_UDP, .sport = 40000, .dport = 80

struct lb_bpf;

struct world {
	struct lb_bpf *bpf;
	uint32_t lan; /* where clients and, usually, backends are */
	uint32_t far; /* another interface */
	/* The program is the traced one, and each packet's event is held against what became of it.
	 */
	bool traced;
	uint32_t trace_bytes; /* of its ring buffer; 0: enough */
	bool untold;	      /* events are left to the test: world_trace_event */
};
extern struct world world;

/* A namespace with two veth pairs, "lan" and "far"; gone with the process. */
void world_enter_namespace(void);
/* ip(8) in the namespace: what an operator would type. */
void world_ip(const char *arguments);
void world_forwarding(bool on);
/* Routes to the backends' networks through "far"; the usual backends are its neighbours. */
void world_routes(bool there);
/* specialise may set constants and sizes before the program is loaded. */
void world_open(void (*specialise)(struct lb_bpf *bpf));
void world_close(void);
void world_reset(void);
/* For cmocka. */
int world_setup(void **state);
int world_teardown(void **state);
int world_test_setup(void **state);

void world_service(const char *addr, uint16_t port, uint8_t proto, enum lb_mode mode,
		   uint32_t table);
void world_slots(uint32_t table, uint32_t row);
void world_slot(uint32_t table, uint32_t slot, uint32_t row);
struct lb_service world_service_of(const char *addr, uint16_t port, uint8_t proto);
void world_set_service(const char *addr, uint16_t port, uint8_t proto,
		       const struct lb_service *service);
/* DSR at DIRECT4 and DIRECT6 port 80, TCP and UDP.  in6: IPv4 goes to the IPv6 backend. */
void world_direct(enum lb_mode mode, bool in6);
/* ICMP errors of this host: as if none had been sent lately, or too many. */
void world_quiet(bool quiet);
void world_link_mtu(uint32_t ifindex, uint32_t mtu);
void world_real(const char *addr, uint16_t port, uint8_t proto, uint32_t row);
struct lb_backend world_backend(uint32_t row);
void world_set_backend(uint32_t row, const struct lb_backend *backend);
void world_set_backend_state(uint32_t row, enum lb_backend_state state);
void world_set_hop(struct lb_hop *hop, uint32_t ifindex, uint64_t dmac);
void world_serve_port(uint8_t proto, uint16_t port, bool from);
void world_source(uint32_t row, const char *addr);
void world_next_generation(void);
/* Events in the ring buffer since the last call; the last one's content. */
int world_events(struct lb_event *ret_last);

/* The connection entry that p would find. */
bool flow_read(const struct packet *p, struct lb_flow *ret);
void flow_write(const struct packet *p, const struct lb_flow *flow);
bool flow_remove(const struct packet *p);
/* As if nothing had come for so many ticks. */
void flow_age(const struct packet *p, uint32_t ticks);
uint32_t flow_count(void);
/* Every entry gets this state, and these flags beside those it has. */
void flow_set_all(enum lb_state state, uint8_t flags);

struct outcome {
	uint32_t verdict;
	uint8_t frame[PACKET_ROOM];
	size_t length;
	int64_t packets[LB_COUNTER_COUNT]; /* what the counters rose by */
	int64_t bytes[LB_COUNTER_COUNT];
	struct lb_backend_count backends[ROWS]; /* the same */
};

void world_run(uint32_t ifindex, const void *frame, size_t length, struct outcome *ret);
/* Adds sign times what the counters hold. */
void world_counters(struct outcome *ret, int64_t sign);
/* What the traced program tells; zeroes: all. */
void world_trace_filter(const struct lb_trace_filter *filter);
/* The next event; false: there is none. */
bool world_trace_event(struct lb_trace_event *ret);
struct lb_trace_count world_trace_count(void);
/* The same without a look at the counters. */
void world_run_fast(uint32_t ifindex, const void *frame, size_t length, struct outcome *ret);

#endif
