/* lb_stats.h - the only code that reads the load balancer's maps for people.
 * Layer: planes.  Threads: control thread.  Blocks: no; a page of connections costs tens of
 * microseconds. */
#ifndef LOOM_LB_STATS_H
#define LOOM_LB_STATS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/lb_abi.h"
#include "base/addr.h"
#include "base/err.h"

struct lb;

struct lb_backend_stats {
	uint32_t id;
	char service[64];
	struct addr address;
	uint16_t port;	     /* host order; 0: as the client's */
	uint64_t to_packets; /* client to backend */
	uint64_t to_bytes;
	uint64_t from_packets; /* backend to client */
	uint64_t from_bytes;
	uint64_t connections_total;
	uint64_t connections_active; /* counted from the table by the last sweep */
	enum lb_hop_state {
		LB_HOP_RESOLVING,
		LB_HOP_RESOLVED,
		LB_HOP_UNREACHABLE,
	} hop_state;
	char hop_interface[16]; /* "" while unknown */
	uint8_t hop_mac[6];
	struct addr source; /* NAT source address; all zero while unknown */
};

struct lb_interface_stats {
	char name[16];
	const char *mode; /* "native", "generic" */
	uint32_t program_id;
};

/* One reading of everything; free with lb_snapshot_free. */
struct lb_snapshot {
	uint64_t packets_forward;
	uint64_t packets_drop;
	uint64_t packets_pass;
	uint64_t bytes_rx;
	uint64_t bytes_tx;
	struct lb_count reasons[LB_COUNTER_COUNT];
	uint64_t connections_total;
	uint64_t connections_active;		  /* by the last sweep */
	uint64_t connections_by_state[LB_STATES]; /* by the last sweep; UDP stands under
						     LB_STATE_NONE */
	uint64_t connection_entries;		  /* table entries; NAT takes two a connection */
	uint64_t connection_entries_max;
	uint64_t backend_rows;
	uint64_t backend_rows_max;
	uint64_t service_rows; /* address-port-protocol triples */
	uint64_t service_rows_max;
	uint64_t sweeps_total;
	uint64_t sweep_expired_total;
	uint64_t sweep_last_ns; /* how long the last complete sweep took */
	uint64_t repairs_total; /* lost halves put back by user space */
	struct lb_backend_stats *backends;
	size_t backend_count;
	struct lb_interface_stats interfaces[LB_MAX_INTERFACES];
	size_t interface_count;
};

int lb_snapshot_take(struct lb *lb, struct lb_snapshot **ret, struct err *err);
void lb_snapshot_free(struct lb_snapshot *snapshot);
/* One backend without its counters: reads nothing from the kernel.  False: it has no row. */
bool lb_backend_look(const struct lb *lb, uint32_t id, struct lb_backend_stats *ret);

/* Metric and JSON names. */
const char *lb_counter_name(enum lb_counter counter);
const char *lb_counter_help(enum lb_counter counter);
enum lb_action lb_counter_action(enum lb_counter counter);
const char *lb_state_name(enum lb_state state); /* "udp", "syn_sent", "established", ... */
/* -EINVAL if no state is called so. */
int lb_state_parse(const char *name, enum lb_state *ret);

#define LB_AGE_UNKNOWN UINT64_MAX

struct lb_connection {
	uint8_t proto; /* IPPROTO_TCP, IPPROTO_UDP */
	struct addr client;
	uint16_t client_port;
	struct addr vip;
	uint16_t vip_port;
	struct addr backend;
	uint16_t backend_port;
	uint32_t backend_id; /* 0: the backend has gone */
	struct addr source;  /* as the backend sees the client */
	uint16_t source_port;
	enum lb_state state;
	uint64_t idle_ns;
	uint64_t age_ns; /* LB_AGE_UNKNOWN: opened by a SYN cookie */
};

struct lb_connection_filter {
	bool has_client;
	struct addr_net client;
	bool has_backend;
	uint32_t backend_id;
	bool has_state;
	enum lb_state state;
};

/* Where a listing stands.  {0} is the beginning; done is set after the last page. */
struct lb_cursor {
	uint8_t family; /* 0: IPv4's table, 1: IPv6's */
	bool done;
	uint32_t bucket;
	uint32_t skip;	    /* entries from there on that were seen already */
	uint32_t max_visit; /* at most about so many entries are looked at in one call; 0: 65,536 */
};

/* Up to `room` connections that match, from cursor on; fewer than room do not mean the end: look at
 * cursor->done. A connection that comes or goes meanwhile may be listed or not; others are listed
 * once. Returns how many, or -errno. */
int lb_connections_list(struct lb *lb, const struct lb_connection_filter *filter,
			struct lb_cursor *cursor, struct lb_connection *connections, size_t room);

#endif
