/* decap.h - the backend's half of direct server return: unwraps what a balancer encapsulated.
 * Layer: planes.  Threads: one.  Blocks: bpf(2), netlink(7), and while another process changes the
 * same pins.
 *
 * All of it is pinned below one directory: maps, the program, and a link for each interface.  No
 * process has to stay. */
#ifndef LOOM_DECAP_H
#define LOOM_DECAP_H

#include <net/if.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/decap_abi.h"
#include "base/addr.h"
#include "base/err.h"

struct decap_setup {
	const char *pin_dir; /* all borrowed */
	const char *const *interfaces;
	size_t interface_count; /* 1..DECAP_MAX_INTERFACES */
	const struct addr *vips;
	size_t vip_count; /* 1..DECAP_MAX_VIPS */
	bool generic;
	uint16_t gue_port;
};

/* Makes it so.  What was set up there before serves until each link takes the new program with its
 * own maps, in one step; counters go on.  Interfaces that setup does not name are let go last.
 * On failure what was there before is in force again.  -EBUSY: another XDP program; -ENODEV;
 * -EOPNOTSUPP: a mode that the driver lacks, or another one than the link has; bpf(2)'s errors. */
int decap_apply(const struct decap_setup *setup, struct err *err);

/* Detaches and unpins everything, and removes the directory.  *ret_count: links there were; nothing
 * there is no error. */
int decap_detach(const char *pin_dir, size_t *ret_count, struct err *err);

struct decap_link {
	char name[IFNAMSIZ];
	bool generic;
	bool gone; /* the interface is not there any more, or in another namespace */
};

struct decap_state {
	struct decap_link links[DECAP_MAX_INTERFACES];
	size_t link_count;
	struct addr vips[DECAP_MAX_VIPS]; /* sorted */
	size_t vip_count;
	uint16_t gue_port;
	struct decap_count counts[DECAP_COUNTER_COUNT];
};

/* -ENOENT: nothing is set up there. */
int decap_read(const char *pin_dir, struct decap_state *ret, struct err *err);

/* Of a counter: "ipip", "unwrap", a sentence. */
const char *decap_counter_name(enum decap_counter counter);
const char *decap_counter_action(enum decap_counter counter);
const char *decap_counter_help(enum decap_counter counter);

#endif
