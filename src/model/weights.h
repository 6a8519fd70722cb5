/* weights.h - which backends of a service get new connections, and how many.
 * Layer: model.  Pure.  Threads: any. */
#ifndef LOOM_WEIGHTS_H
#define LOOM_WEIGHTS_H

#include "model.h"

/* Does backend get new connections at all, panic aside? */
bool backend_accepts(const struct backend *backend);
/* Are its connections to be reset? */
bool backend_is_cut(const struct backend *backend);
/* Too few healthy backends: all that have weight are used, healthy or not. */
bool service_panics(const struct service *service);
/* weights[i]: the share of service->backends[i], from weight, state, health, slow start and, for
 * LEAST_CONNECTIONS, load; 0: none.  At most SLOT_WEIGHT_MAX. */
void service_weights(const struct service *service, uint32_t *weights);

#endif
