/* steer_template.h - the program as it is before a group's maps and constants are put in.
 * Layer: planes.  Threads: control thread only.
 *
 * libbpf takes a hundred milliseconds to fit the program to the kernel: it reads all of the
 * kernel's types.  It does so once; each group's program is a copy with other maps, which the
 * kernel alone judges (5 ms).  What a policy leaves out follows from its constants, not from the
 * template. */
#ifndef LOOM_STEER_TEMPLATE_H
#define LOOM_STEER_TEMPLATE_H

#include "steer_internal.h"

/* Maps of the program beside those that are pinned. */
enum { TEMPLATE_RODATA = STEER_MAP_COUNT, TEMPLATE_EVENTS, TEMPLATE_MAPS };

struct template;

/* The one for this kind of program, made when it is first asked for and kept to the process's end.
 * holds: there is a sockmap. */
int template_get(const struct template **ret, bool reads_group, bool migrates, bool wireguard,
		 bool holds, struct err *err);

/* A new map as the template has it; entries: 0: as many.  -errno. */
int template_make_map(const struct template *template, int map, uint32_t entries);
/* The program over these maps; -1: the policy does not need it.  Its descriptor, or -errno. */
int template_load(const struct template *template, const int maps[TEMPLATE_MAPS]);

#endif
