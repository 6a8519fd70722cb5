/* lb.h - the load balancer's plane: opening, adopting, attaching, letting go.
 * Layer: planes.  Threads: control thread only.  Blocks: system calls that do not wait.
 *
 * An instance lives in a directory of a BPF filesystem: its maps and one link per interface are
 * pinned there and go on without any process.  lb_open takes over what it finds. */
#ifndef LOOM_LB_H
#define LOOM_LB_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/lb_abi.h"
#include "base/addr.h"
#include "base/err.h"
#include "config/config.h"
#include "model/changes.h"
#include "model/model.h"
#include "planes/plane.h"

struct lb;

/* What a program is specialised to.  Compared as bytes. */
struct lb_features {
	bool ipv4;
	bool ipv6;
	bool udp;
	bool nat_full;
	bool nat_destination;
	bool ipip;
	bool gue;
	bool l2;
	bool outer6; /* IPv4 in IPv6 */
	bool stateless;
	bool turns;
	bool affinity;
	uint32_t affinity_ticks; /* the shortest */
	bool quic;
	bool filter;
	bool limits;
	bool cookies;
	bool any_port;
	bool local;
	bool echo;
	bool trace; /* not of the model: lb_trace.h */
	uint16_t mss_max;
	uint32_t icmp_interval_ns;
	__be32 outer4;
	uint32_t outer4_hosts;
	__be32 outer_net6[4];
	uint32_t outer6_hosts;
	__be16 gue_port;
};

struct lb_options {
	const char *pin_dir; /* on a BPF filesystem; exists */
	const struct config_ebpf *config;
	uint16_t port_first; /* NAT source ports, host order */
	uint16_t port_last;
	bool trial; /* take nothing over and leave nothing: would the rest succeed? */
};

/* Loads the program for model's features over the pinned maps of options->pin_dir, or over new
 * ones.  Nothing is attached and nothing is written yet.  options and what it points to are
 * borrowed for the plane's life.  Connections of an older layout are brought over: lb_migrate.c.
 * Returns 0; -EPROTO: pinned by an incompatible version (nothing touched); the kernel's error. */
int lb_open(struct lb **ret, const struct lb_options *options, const struct model *model,
	    struct err *err);

/* What was taken over and model's services do not have (any more): backends that a file lost while
 * no daemon ran.  They are appended to changes, as removed or reset, so that their connections may
 * end.  0 or -ENOMEM.  Before lb_apply. */
int lb_leftovers(struct lb *lb, const struct model *model, struct model_changes *changes);

/* Can this machine do what config asks for?  Touches nothing.  0 or -EINVAL with a sentence. */
int lb_check_config(const struct config_ebpf *config, struct err *err);

/* A new configuration (borrowed from now on): timeouts and interfaces count from the next sweep and
 * lb_attach, sizes of maps stay what they are. */
void lb_set_config(struct lb *lb, const struct config_ebpf *config);

/* Were pinned maps taken over (true) or made (false)? */
bool lb_adopted(const struct lb *lb);

/* Makes the maps equal model: additions first, so that no service goes unanswered; then, once no
 * CPU uses what it saw before, removals.  Replaces the program if the model needs another
 * specialisation.  On error the data path serves the previous state, or a mixture in which every
 * service is served; calling again repairs it. */
int lb_apply(struct lb *lb, const struct model *model, struct err *err);

/* After lb_attach: what began in maps of an older layout while they were brought over follows, and
 * they go. */
void lb_settle(struct lb *lb);

/* Attaches to every configured interface, or updates the pinned links to this program.  What is
 * attached to interfaces that are not configured any more is detached. */
int lb_attach(struct lb *lb, struct err *err);

/* Next hop of a backend row, as user space found it. */
struct lb_next_hop {
	bool resolved;
	bool unreachable; /* there is no route, or the neighbour does not answer */
	struct lb_hop hop;
	uint8_t tags;
	uint16_t mtu; /* 0: unknown */
	char interface[16];
	struct addr source; /* the address this host prefers towards the backend; any: unknown */
};

/* Writes a next hop; established flows notice at their next packet.  0 or the kernel's error. */
int lb_set_next_hop(struct lb *lb, uint32_t row, const struct lb_next_hop *hop, struct err *err);

/* The MTU of an attached interface, for what goes back to clients; established flows notice a
 * change at their next packet.  0 or the kernel's error. */
int lb_set_link(struct lb *lb, uint32_t ifindex, uint32_t mtu, struct err *err);
/* The attached interfaces' indices; returns how many. */
size_t lb_attached(const struct lb *lb, uint32_t ifindexes[LB_MAX_INTERFACES]);

/* One step of the sweep that ages connections, counts them and repairs lost halves: at most about 2
 * ms.  Returns whether the pass is complete (the next call begins another). */
bool lb_sweep_step(struct lb *lb);
/* A complete pass began and ended since `since` (a value of lb_sweep_passes) and found no
 * connection of backend id that still lives. */
bool lb_backend_idle(const struct lb *lb, uint32_t id, uint64_t since);
uint64_t lb_sweep_passes(const struct lb *lb);
/* How long the last complete pass took, pauses included. */
uint64_t lb_sweep_duration_ns(const struct lb *lb);

/* A descriptor (or -errno) that is readable when the program has something to say; lb_events_read
 * handles it (-errno if the ring is broken).  True in *ret_sweep: a sweep should start at once. */
int lb_events_open(struct lb *lb);
int lb_events_read(struct lb *lb, bool *ret_sweep);

/* Lets go: the data path stays (PLANE_KEEP), or goes without a trace.  NULL is fine. */
void lb_close(struct lb *lb, enum plane_exit how);

/* Removes what an instance left in pin_dir, with no lb open.  -ENOENT if there is nothing. */
int lb_detach_pinned(const char *pin_dir, struct err *err);

#endif
