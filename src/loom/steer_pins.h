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

/* What a group's pins say. */
struct steer_pinned {
	char name[64];
	struct steer_control control;
	uint32_t members;  /* of the table in force */
	uint32_t eligible; /* of these, that may be chosen */
	uint64_t counters[STEER_COUNTERS_END];
	bool has_table;
	bool has_counters;
};

/* PIN_PATH/steer@INSTANCE; pin_path and instance may be NULL: the defaults. */
void steer_pins_dir(const char *pin_path, const char *instance, char dir[STEER_PINS_DIR_LEN]);

/* Calls fn for each group below dir, in the order of their names.  error: 0 or why pinned could not
 * be filled beyond its name.  Returns 0, -ENOENT (no such directory), fn's first negative return or
 * another -errno. */
typedef int steer_pins_fn(void *ctx, const struct steer_pinned *pinned, const struct err *error);
int steer_pins_each(const char *dir, steer_pins_fn *fn, void *ctx, struct err *err);

/* -ENOENT: not pinned; -EPROTO: of another layout than this tool's; bpf(2)'s errors. */
int steer_pins_read(const char *dir, const char *group, struct steer_pinned *ret, struct err *err);

/* Stores STEER_FALLBACK, one word, in the group's control map.  *ret_before: the mode that was.
 * Errors as steer_pins_read; nothing is changed then. */
int steer_pins_fallback(const char *dir, const char *group, enum steer_mode *ret_before,
			struct err *err);

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
