/* model_places.h - who has what in a model: which service an address or an id, which backend a
 * server. Layer: model.  Threads: one owner.  Blocks: no.
 *
 * Kept while thousands of backends are added.  Without it (NULL) a question looks through all
 * services. */
#ifndef LOOM_MODEL_PLACES_H
#define LOOM_MODEL_PLACES_H

#include "base/index.h"
#include "model.h"

/* All zeroes is empty. */
struct model_places {
	struct index addresses; /* of services; rows are numbers of services */
	struct index ids;	/* of backends; the same */
	struct index servers; /* of a service's backends, by address and port; rows are their ids */
};

void model_places_done(struct model_places *places);
/* 0 or -ENOMEM. */
int model_places_add_service(struct model_places *places, const struct model *model, size_t number);
int model_places_add_backend(struct model_places *places, const struct model *model,
			     const struct service *service, const struct backend *backend);

/* The service with a backend of that id, or NULL. */
const struct service *model_places_owner(const struct model *model,
					 const struct model_places *places, uint32_t id);
/* The service's backend with the same address and port, or NULL. */
const struct backend *model_places_twin(const struct model *model,
					const struct model_places *places,
					const struct service *service,
					const struct backend *backend);
/* A service that clients reach at address, or NULL. */
const struct service *model_places_service(const struct model *model,
					   const struct model_places *places,
					   const struct addr *address);
/* The numbers of those that may be, for index_next. */
struct index_walk model_places_services(const struct model_places *places,
					const struct addr *address);

#endif
