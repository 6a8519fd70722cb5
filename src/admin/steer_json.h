/* steer_json.h - a steering group as the API shows it (docs/rest-api.md).
 * Layer: admin.  Threads: any.  Blocks: no. */
#ifndef LOOM_STEER_JSON_H
#define LOOM_STEER_JSON_H

#include <jansson.h>

#include "planes/steer/steer_view.h"

/* A GROUP with its members; NULL if out of memory. */
json_t *steer_json_group(const struct steer_group_view *group);

#endif
