/* steer_pins.h - a steering group's pins, opened without loomd.
 * Layer: loom.  Threads: one owner.  Blocks: bpf(2).
 *
 * Needs CAP_BPF and the way to the pins' directory, nothing else: it is what is left when loomd is
 * dead. */
#ifndef LOOM_STEER_PINS_H
#define LOOM_STEER_PINS_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/steer_abi.h"
#include "base/err.h"

#define STEER_PINS_PATH	   "/sys/fs/bpf/loom" /* ebpf.pin_path's default */
#define STEER_PINS_DIR_LEN 512

/* A group has a set of maps for each family it serves, below GROUP/4 and GROUP/6. */
#define STEER_PINS_PARTS 3

/* What a part's pins say. */
struct steer_pinned {
	char name[64];
	char part[4]; /* "4", "6"; "": the pins stand in the group's own directory */
	bool there;
	enum steer_mode before; /* steer_pins_fallback's */
	struct steer_control control;
	uint32_t members;  /* of the table in force */
	uint32_t eligible; /* of these, that may be chosen */
	uint64_t counters[STEER_COUNTERS_END];
	bool has_table;
	bool has_counters;
};

/* PIN_PATH/steer@INSTANCE; pin_path and instance may be NULL: the defaults. */
void steer_pins_dir(const char *pin_path, const char *instance, char dir[STEER_PINS_DIR_LEN]);

/* Calls fn for each part of each group below dir, in the order of their names.  error: 0 or why
 * pinned could not be filled beyond its name.  Returns 0, -ENOENT (no such directory), fn's first
 * negative return or another -errno. */
typedef int steer_pins_fn(void *ctx, const struct steer_pinned *pinned, const struct err *error);
int steer_pins_each(const char *dir, steer_pins_fn *fn, void *ctx, struct err *err);

/* Fills the parts that are there.  -ENOENT: none is pinned; -EPROTO: of another layout than this
 * tool's; bpf(2)'s errors. */
int steer_pins_read(const char *dir, const char *group, struct steer_pinned ret[STEER_PINS_PARTS],
		    struct err *err);

/* Stores STEER_FALLBACK, one word, in the control map of each part; ret's before is the mode that
 * was.  All parts are tried; errors as steer_pins_read's, of the first that failed. */
int steer_pins_fallback(const char *dir, const char *group,
			struct steer_pinned ret[STEER_PINS_PARTS], struct err *err);

/* Whatever is pinned for the group, maps with their contents and programs with their run counts, as
 * an object by the pins' names; a pin that cannot be read says why in "error".  Owned by the
 * caller; NULL with err: there is nothing to read. */
json_t *steer_pins_dump(const char *dir, const char *group, struct err *err);

/* A loaded program as JSON; an object with "error" if it cannot be asked.  NULL: out of memory. */
json_t *steer_pins_program(uint32_t id);

/* "fallback", "observe", ... */
const char *steer_pins_mode(uint32_t mode);
/* The counter's name as the API writes it: "slot_empty". */
const char *steer_pins_counter(enum steer_counter counter, char text[32]);

#endif
