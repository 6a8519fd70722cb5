/* config.h - loom.yaml, parsed and checked.
 * Layer: config.  Threads: one owner; a loaded config is read-only.  Blocks: reads files. */
#ifndef LOOM_CONFIG_H
#define LOOM_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"

enum config_xdp_mode {
	CONFIG_XDP_NATIVE,
	CONFIG_XDP_GENERIC,
	CONFIG_XDP_OFFLOAD,
};

enum config_algorithm {
	CONFIG_MAGLEV,
	CONFIG_ROUND_ROBIN,
	CONFIG_WEIGHTED,
};

enum config_nat {
	CONFIG_NAT_FULL,
	CONFIG_NAT_DESTINATION,
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
};

struct config_service {
	char *name;    /* "default" for the implicit one */
	bool implicit; /* ebpf.backends + protocols.*.ports, on the interface's own addresses */
	struct addr *addresses; /* none if implicit */
	size_t address_count;
	uint16_t *tcp_ports; /* host order */
	size_t tcp_port_count;
	uint16_t *udp_ports;
	size_t udp_port_count;
	enum config_algorithm algorithm;
	uint32_t table_size; /* a prime */
	enum config_nat nat;
	struct config_backend *backends;
	size_t backend_count;
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
	uint32_t batch_size;
	uint32_t ring_buffer_size; /* bytes */
	uint16_t *passthrough_ports;
	size_t passthrough_port_count;
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
	char **not_in_force; /* "FILE:LINE:COL: KEY" of what is checked, but has no effect yet */
	size_t not_in_force_count;
};

/* Reads files in order (later override; named lists append) and checks everything.
 * paths	borrowed; "-" is standard input
 * complaints	every "file:line:column: error: ..." with its line and caret, newline-terminated;
 * may be empty Returns 0 with *ret owned by the caller (config_free); -EINVAL if there are
 * complaints; -ENOMEM.  *ret is NULL on error.  Needs no privileges and asks the machine nothing
 * but the files and the environment. */
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
