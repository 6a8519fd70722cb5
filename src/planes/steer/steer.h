/* steer.h - what the kernel holds of one steering group: its program and its maps.
 * Layer: planes.  Threads: control thread only.  Blocks: bpf(2) and setsockopt(2); loading a
 * program takes a few milliseconds.
 *
 * A kernel group is one address family's: a steering group for "*" has two of these.  The program
 * hangs on the sockets themselves and the maps on the program: both outlive whoever made them, and
 * the pins let the next one find them.  Needs CAP_BPF; reads_group CAP_PERFMON; a sockmap
 * CAP_NET_ADMIN (kernel-facts section 1). */
#ifndef LOOM_STEER_H
#define LOOM_STEER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/steer_abi.h"
#include "base/err.h"
#include "planes/plane.h"

/* What the program is specialised to. */
struct steer_policy_options {
	enum steer_policy policy;
	uint16_t offset;
	uint8_t length;
	uint8_t shift;
	uint32_t mask;
	uint64_t flow_timeout_ns;
	uint32_t max_flows;
	uint32_t max_indices;
};

struct steer_options {
	const char *pin_dir; /* borrowed for the call; NULL: nothing is pinned (tests, probes) */
	bool udp;
	bool reads_group;
	bool migrates;
	bool holds; /* a sockmap for sockets that others hold: CAP_NET_ADMIN */
	struct steer_policy_options policy;
};

struct steer;

/* Takes over what is pinned below pin_dir, or makes it; loads the program, attached to nothing.  A
 * taken over group keeps its mode and its plan.  Errors: -EPERM (err names the capability), the
 * verifier's, -EBADMSG: what is pinned is of another layout (it is left alone). */
int steer_open(struct steer **ret, const struct steer_options *options, struct err *err);
/* NULL is fine.  PLANE_DETACH: the pins go and the mode falls back; detaching from sockets is the
 * caller's, before. */
void steer_close(struct steer *steer, enum plane_exit how);

bool steer_adopted(const struct steer *steer);

/* Another policy's program over the same maps.  The one that is loaded stays on any error.  The
 * caller attaches it (steer_attach). */
int steer_load(struct steer *steer, const struct steer_policy_options *policy, struct err *err);
/* The same program with the trace's events, or without. */
int steer_load_traced(struct steer *steer, const struct steer_const *filter, struct err *err);
uint32_t steer_program_id(const struct steer *steer);
int steer_program_fd(const struct steer *steer);
const struct steer_policy_options *steer_policy(const struct steer *steer);
/* The trace's ring buffer; -1: not traced. */
int steer_events_fd(const struct steer *steer);

/* For the group that socket (any member, borrowed) belongs to. */
int steer_attach(struct steer *steer, int socket, struct err *err);
/* Whatever is attached there; nothing attached is no error. */
int steer_detach(int socket, struct err *err);

/* How far the policy is in force: one store each, seen by the next packet. */
void steer_set_mode(struct steer *steer, enum steer_mode mode, uint16_t canary_permille);
enum steer_mode steer_mode(const struct steer *steer);
uint16_t steer_canary_permille(const struct steer *steer);

/* The half that is not in force is written, then put in force: readers see one or the other. */
void steer_write(struct steer *steer, const struct steer_table *table, bool restricted);
const struct steer_table *steer_table(const struct steer *steer);

/* Gives a socket (borrowed) a slot.  *ret_held: somebody's sockarray has it already, so it stands
 * in a sockmap.  -EBUSY: even that is refused; -EINVAL: not a bound, listening SO_REUSEPORT socket;
 * -EEXIST: the slot is taken. */
int steer_put(struct steer *steer, uint16_t slot, int socket, bool *ret_held, struct err *err);
/* Is that socket (SO_COOKIE) in the slot?  Of those in the sockarray. */
bool steer_has(const struct steer *steer, uint16_t slot, uint64_t cookie);
/* Empties the slot; an empty one is no error. */
void steer_take(struct steer *steer, uint16_t slot);

/* rx_index_to_slot.  -ENODEV: the policy has none; -ENOSPC. */
int steer_index_put(struct steer *steer, uint32_t index, uint16_t slot);
int steer_index_remove(struct steer *steer, uint32_t index);
/* For those who work out what the program does. */
uint64_t steer_salt(const struct steer *steer);

/* STEER_NOBODY: nobody's. */
uint16_t steer_index_owner(const struct steer *steer, uint32_t index);
uint64_t steer_index_count(const struct steer *steer);
/* Adds to each vshard how many it has; walks the map. */
void steer_index_vshards(const struct steer *steer, uint32_t counts[STEER_VSHARDS]);

/* Sums over CPUs. */
int steer_counters(const struct steer *steer, uint64_t counters[STEER_COUNTERS_END]);
int steer_member_counters(const struct steer *steer, uint16_t slot, struct steer_member_count *ret);

/* One store into a pinned group's control, whoever runs or does not.  -ENOENT: nothing is pinned.
 */
int steer_fallback_pinned(const char *pin_dir, struct err *err);
/* Removes the pins below pin_dir; missing ones are no error. */
void steer_unpin(const char *pin_dir);

#endif
