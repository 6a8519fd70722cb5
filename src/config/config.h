/* config.h - loom.yaml, parsed and checked.
 * Layer: config.  Threads: one owner; a loaded config is read-only.  Blocks: reads files. */
#ifndef LOOM_CONFIG_H
#define LOOM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "config_steer.h"

enum config_xdp_mode {
	CONFIG_XDP_NATIVE,
	CONFIG_XDP_GENERIC,
	CONFIG_XDP_OFFLOAD,
};

enum config_algorithm {
	CONFIG_MAGLEV,		  /* by flow hash, consistent */
	CONFIG_ROUND_ROBIN,	  /* in turn, weights ignored but for 0 */
	CONFIG_WEIGHTED,	  /* in turn, by weight */
	CONFIG_LEAST_CONNECTIONS, /* in turn, by weight and active connections */
	CONFIG_SOURCE_HASH,	  /* by client address, consistent */
};

/* As the configuration writes it. */
const char *config_algorithm_name(enum config_algorithm algorithm);

/* How packets reach the backends: services[].mode, .nat, .encap in one. */
enum config_forwarding {
	CONFIG_NAT_FULL,
	CONFIG_NAT_DESTINATION,
	CONFIG_DSR_IPIP,
	CONFIG_DSR_GUE,
	CONFIG_DSR_L2,
};

/* What becomes of an unhealthy backend's connections. */
enum config_on_unhealthy {
	CONFIG_UNHEALTHY_KEEP,	/* they go on */
	CONFIG_UNHEALTHY_DRAIN, /* they go on until drain_timeout, then are reset */
	CONFIG_UNHEALTHY_RESET, /* they are reset at once */
};

enum config_map_type {
	CONFIG_MAP_HASH,
	CONFIG_MAP_LRU_HASH,
	CONFIG_MAP_PERCPU_ARRAY,
};

struct config_backend {
	uint32_t id; /* unique over all services; never 0 */
	struct addr address;
	uint16_t port;	 /* host order; 0: the port the client used */
	uint32_t weight; /* 0 .. 65535; 0: no new connections */
	char *name;	 /* label for people; NULL */
	bool has_server_id;
	uint32_t server_id; /* QUIC: in the connection ids that this backend gives */
};

/* services[].health, or ebpf.health_integration for the implicit service and as the default of what
 * others leave open. */
struct config_health {
	char *upstream; /* whose check decides; NULL: health is not looked at */
	enum config_on_unhealthy on_unhealthy;
	uint64_t drain_timeout_ns; /* on_unhealthy: drain; 0: for ever */
	uint32_t
		min_healthy_percent; /* of backends with weight; with fewer healthy, all are used */
	uint64_t slow_start_ns; /* a backend that has become healthy, or is new, gets its full share
				   after so long; 0: at once */
};

/* QUIC connection ids: byte offset and length (1 to 4) of the server id within the id. */
struct config_quic {
	bool enabled;
	uint8_t offset;
	uint8_t length;
};

struct config_limits {
	uint32_t new_per_second;	    /* 0: no limit */
	uint32_t new_per_second_per_source; /* IPv6: per /64 */
	bool syn_cookies; /* answer SYNs beyond a limit with cookies (default true) */
};

struct config_service {
	char *name;    /* "default" for the implicit one */
	bool implicit; /* ebpf.backends + protocols.*.ports, on the interface's own addresses */
	struct addr *addresses; /* none if implicit */
	size_t address_count;
	uint16_t *tcp_ports; /* host order; ranges written out; {0}: any port */
	size_t tcp_port_count;
	uint16_t *udp_ports;
	size_t udp_port_count;
	enum config_algorithm algorithm;
	uint32_t table_size; /* a prime */
	enum config_forwarding forwarding;
	uint64_t tcp_affinity_ns; /* connection_affinity; 0: none */
	uint64_t udp_affinity_ns; /* session_affinity, else connection_affinity; 0: none */
	struct config_quic quic;
	struct config_limits limits;
	struct addr_net *allow; /* sources; none: all */
	size_t allow_count;
	struct addr_net *deny;
	size_t deny_count;
	bool complex_routing; /* services[].needs: with the same word in ebpf.xdp.fallback its new
			       */
	bool websocket;	      /* flows go to the local stack */
	struct config_health health;
	struct config_backend *backends;
	size_t backend_count;
};

enum config_check_type {
	CONFIG_CHECK_TCP,
	CONFIG_CHECK_HTTP,
	CONFIG_CHECK_HTTPS,
	CONFIG_CHECK_UDP,
	CONFIG_CHECK_DNS,
};

/* upstreams[].check */
struct config_check {
	enum config_check_type type;
	uint64_t interval_ns;
	uint64_t timeout_ns;
	uint32_t jitter_permille; /* of interval */
	uint32_t rise;		  /* successes in a row that make a backend healthy */
	uint32_t fall;		  /* failures in a row that make it unhealthy */
	uint64_t
		flap_window_ns; /* each fall within it doubles rise, up to 8 times; 0: no damping */
	uint16_t port;		/* 0: the backend's, or the service's first */
	bool through_tunnel;	/* encapsulated as the service's packets are (DSR) */
	char *path;		/* HTTP: default "/" */
	char *host;		/* HTTP: Host and SNI; NULL: the address */
	char *method;		/* HTTP: default "GET" */
	uint16_t status_first;	/* HTTP: accepted; default 200 .. 399 */
	uint16_t status_last;
	bool verify_tls;  /* HTTPS; default false */
	char *send;	  /* TCP, UDP: bytes to send; NULL: none (TCP: connect alone) */
	char *expect;	  /* TCP, UDP, HTTP: text that the answer must contain; NULL: any */
	char *query;	  /* DNS: name, default "." */
	char *query_type; /* DNS: "A", "AAAA", "NS", "SOA"; default "NS" */
};

/* upstreams[] */
struct config_upstream {
	char *name;
	struct config_check check;
	/* If there are any: check these ports instead of the services' backends' of the same
	 * address. */
	struct config_backend *backends;
	size_t backend_count;
};

/* ebpf.xdp.programs[] */
struct config_program {
	char *name;
	char *path;
	char *section;
};

/* ebpf.xdp.routes[], in order; the first that matches counts */
struct config_route {
	uint16_t *ports; /* none: every port; written out */
	size_t port_count;
	bool tcp; /* match.protocol; default both */
	bool udp;
	bool balance; /* action: load_balance; else pass */
};

struct config_tcp_timeouts {
	uint64_t established_ns;
	uint64_t syn_sent_ns;
	uint64_t syn_recv_ns;
	uint64_t fin_wait_ns;
	uint64_t time_wait_ns;
};

/* ebpf: */
struct config_ebpf {
	bool enabled;	   /* ebpf.enabled and ebpf.xdp.enabled */
	char **interfaces; /* names; at least one if enabled */
	size_t interface_count;
	enum config_xdp_mode mode;
	bool generic_fallback; /* native may become generic */
	char *pin_path;	       /* default /sys/fs/bpf/loom; the instance's directory lies below */

	struct addr *snat_addresses; /* none: the address the route to a backend prefers */
	size_t snat_address_count;
	uint16_t snat_port_first; /* 0: chosen at start, clear of ip_local_port_range */
	uint16_t snat_port_last;

	uint32_t max_connections;
	enum config_map_type connections_type; /* HASH or LRU_HASH */
	uint64_t timeout_ns;		       /* UDP, and what has no timeout of its own */
	struct config_tcp_timeouts tcp;
	uint64_t sweep_interval_ns;
	uint32_t max_backends;
	uint32_t max_affinities; /* maps.affinity.max_entries */
	uint32_t max_fragments;	 /* maps.fragments.max_entries */
	uint32_t max_sources;	 /* maps.sources.max_entries: sources whose rate is known */
	uint32_t stats_entries; /* maps.stats.max_entries: at least as many counters as there are */
	uint32_t batch_size;
	uint32_t ring_buffer_size; /* bytes */
	uint16_t *passthrough_ports;
	size_t passthrough_port_count;

	bool stateless; /* conntrack.enabled: false; all services are DSR */
	bool hybrid;	/* ebpf.mode */
	struct config_route *routes;
	size_t route_count;
	bool fallback_limit;	 /* fallback: connection_limit_exceeded */
	bool fallback_complex;	 /* fallback: complex_routing; also packets the program finds no way
				    for */
	bool fallback_websocket; /* fallback: websocket */

	struct addr_net
		outer4; /* dsr.source: outer source addresses of IPIP, one an address family */
	struct addr_net outer6;
	uint16_t gue_port; /* dsr.gue_port; default 6080 */
	bool icmp_echo; /* xdp.icmp.echo: answer echo requests to service addresses; default true */
	uint32_t icmp_rate; /* xdp.icmp.rate: "too big" answers a second per CPU; default 1000 */
	bool mss_clamp;	    /* xdp.mss_clamp: off, auto (by MTU) ... */
	uint16_t mss_max;   /* ... or a number; 0: by MTU alone */

	uint16_t *cpu_affinity; /* xdp.cpu_affinity; none: all, where the interface puts them */
	size_t cpu_affinity_count;
	struct config_program *programs;
	size_t program_count;
};

/* admin: */
struct config_admin {
	struct addr listen;
	uint16_t port;	  /* 0: no TCP listener */
	char *socket;	  /* path of the UNIX socket; NULL: /run/loom/INSTANCE.sock; "": none */
	char *bearer;	  /* admin.auth.bearer; NULL if not set */
	char *basic_user; /* admin.auth.basic */
	char *basic_password;
};

struct config {
	char *instance;	 /* default "default"; [a-z0-9_-]{1,32} */
	char *state_dir; /* default /var/lib/loom */
	int log_level;	 /* enum log_level */
	struct config_ebpf ebpf;
	struct config_admin admin;
	struct config_service *services; /* the implicit one first, if there is one */
	size_t service_count;
	struct config_upstream *upstreams;
	size_t upstream_count;
	struct config_steering steering;
};

/* Reads files in order (later override; named lists append) and checks everything.
 * paths	borrowed; "-" is standard input
 * complaints	every "file:line:column: error: ..." with its line and caret, newline-terminated;
 * may be empty Returns 0 with *ret owned by the caller (config_free); -EINVAL if there are
 * complaints; -ENOMEM.  *ret is NULL on error.  Needs no privileges and asks the machine nothing
 * but the files, the environment and who the users in steering.join.users are. */
int config_load(const char *const *paths, size_t count, struct config **ret,
		struct buf *complaints);

/* The same for text in memory; name stands for the file in complaints. */
int config_load_text(const char *name, const char *text, size_t len, struct config **ret,
		     struct buf *complaints);

void config_free(struct config *config);

/* JSON Schema (draft 2020-12) of everything config_load accepts, from the tables it checks with. */
int config_print_schema(struct buf *out);

/* The KEYS section of loom.yaml(5) in mdoc(7), from the same tables. */
int config_print_man(struct buf *out);

#endif
