/* decap_internal.h - what the files of this folder share.
 * Layer: planes. */
#ifndef LOOM_DECAP_INTERNAL_H
#define LOOM_DECAP_INTERNAL_H

#include "planes/decap/decap.h"

#define DECAP_PATH_SIZE 320

/* Pins beside the links: constant, name. */
#define DECAP_PINS(X)                 \
	X(VIPS, "decap_vips")         \
	X(OWN, "decap_own")           \
	X(CONTROL, "decap_control")   \
	X(COUNTERS, "decap_counters") \
	X(PROGRAM, "decap_main")

enum decap_pin {
#define DECAP_PIN_ENUM(name, text) DECAP_PIN_##name,
	DECAP_PINS(DECAP_PIN_ENUM)
#undef DECAP_PIN_ENUM
		DECAP_PIN_COUNT,
};

/* decap_pins.c: names below the directory. */

/* The directory, locked against other processes: a descriptor, or -errno.  -ENOENT: there is none,
 * and err is left alone. */
int decap_pins_lock(const char *pin_dir, struct err *err);
/* -errno: ENOENT where it was never set up. */
int decap_pins_open(const char *pin_dir, enum decap_pin pin);
/* Pins fd beside what is in force. */
int decap_pins_prepare(const char *pin_dir, enum decap_pin pin, int fd, struct err *err);
/* Puts what was prepared in the place of what was in force. */
int decap_pins_commit(const char *pin_dir, struct err *err);
/* Removes what was prepared. */
void decap_pins_abandon(const char *pin_dir);
void decap_pins_remove(const char *pin_dir);

/* decap_links.c */

/* Attaches program to each interface of setup, or replaces the one that is there; then detaches the
 * rest.  On failure all links are as they were.  before: the program in force, -1: none. */
int decap_links_apply(const struct decap_setup *setup, int program, int before, struct err *err);
/* Detaches the links that setup (NULL: none) does not name; how many there were. */
size_t decap_links_detach(const char *pin_dir, const struct decap_setup *setup);
size_t decap_links_read(const char *pin_dir, struct decap_link *ret, size_t max);

#endif
