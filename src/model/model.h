/* model.h - what ought to be: services and their backends, from configuration and the changes made
 * since. Layer: model.  Pure: no system calls, no clock.  Threads: one owner. */
#ifndef LOOM_MODEL_H
#define LOOM_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/err.h"
#include "config/config.h"

enum backend_state {
	BACKEND_ACTIVE,	  /* gets new connections by weight */
	BACKEND_DRAINING, /* no new connections; stays in the model (PATCH state=draining) */
	BACKEND_REMOVED, /* deleted: no new connections; leaves when the last connection ended or at
			    its deadline */
	BACKEND_RESET,	 /* deleted by force or past its deadline: its connections are cut */
};

#define BACKEND_WEIGHT_MAX 65535

/* What the health checks say. */
enum backend_health {
	BACKEND_UNCHECKED, /* as good as healthy */
	BACKEND_HEALTHY,
	BACKEND_UNHEALTHY,
};

enum backend_origin {
	BACKEND_FROM_CONFIG,
	BACKEND_FROM_API,
};

struct backend {
	uint32_t id;
	struct addr address;
	uint16_t port; /* host order; 0: the port the client used */
	uint32_t weight;
	enum backend_state state;
	enum backend_origin origin;
	int64_t deadline_wall_s; /* BACKEND_REMOVED: when it becomes BACKEND_RESET; DRAINING: when
				    its connections are cut; 0: never */
	bool has_server_id;
	uint32_t server_id;
	char name[64]; /* label for people; "" */

	/* What was observed: neither configured nor saved. */
	bool drained; /* draining, and its deadline has passed: its connections are cut */
	enum backend_health health;
	bool unhealthy_cut;	    /* unhealthy, and its connections are to be reset */
	uint16_t withheld_permille; /* of its weight, by slow start; 0: it gets all */
	uint64_t load;		    /* active connections, for LEAST_CONNECTIONS */
};

struct service {
	char *name;
	bool implicit;		/* its addresses are the interface's own: they come and go */
	struct addr *addresses; /* sorted, unique */
	size_t address_count;
	uint16_t *tcp_ports;
	size_t tcp_port_count;
	uint16_t *udp_ports;
	size_t udp_port_count;
	enum config_algorithm algorithm;
	uint32_t table_size;
	enum config_forwarding forwarding;
	uint64_t tcp_affinity_ns;
	uint64_t udp_affinity_ns;
	struct config_quic quic;
	struct config_limits limits;
	struct addr_net *allow;
	size_t allow_count;
	struct addr_net *deny;
	size_t deny_count;
	bool local; /* new flows go to the local stack: fallback and services[].needs */
	enum config_on_unhealthy on_unhealthy;
	uint32_t min_healthy_percent;
	struct backend *backends; /* sorted by id */
	size_t backend_count;
};

struct model {
	struct service *services; /* in configured order */
	size_t service_count;
	struct addr *local; /* the interface's own addresses: no backend may have one */
	size_t local_count;
};

/* The services of config; local (borrowed) are the interface's own addresses, for the implicit
 * service. Returns 0, -ENOMEM, or -EINVAL with err naming what contradicts (two services of one
 * name, or on one address, port and protocol; a backend that is a local or a service's address, or
 * that is there twice). */
int model_build(const struct config *config, const struct addr *local, size_t local_count,
		struct model **ret, struct err *err);
void model_free(struct model *model);
int model_copy(const struct model *model, struct model **ret);

struct service *model_service(const struct model *model, const char *name);
/* The backend of service with id; NULL if it has none. */
struct backend *service_backend(const struct service *service, uint32_t id);
/* The backend with id and, if ret_service, its service; NULL if there is none. */
struct backend *model_backend(const struct model *model, uint32_t id, struct service **ret_service);
/* The lowest id no backend has, from 1. */
uint32_t model_free_id(const struct model *model);
/* Adds a copy of backend to service.  -EEXIST: its id, or its address and port within the service,
 * is taken; -EAFNOSUPPORT: no address of the service has its family; -EINVAL: no packet can be sent
 * there, it is an address of this host or of a service, or id or weight is out of range; -ENOMEM.
 * On error model is as it was.  Pointers to the service's backends do not outlive the call. */
int model_backend_add(struct model *model, struct service *service, const struct backend *backend,
		      struct err *err);
/* The same for one that was configured or accepted before: an implicit service takes it even while
 * the interface has no address of its family, as it does at boot or while a lease is renewed. */
int model_backend_restore(struct model *model, struct service *service,
			  const struct backend *backend, struct err *err);
void model_backend_remove(struct service *service, uint32_t id);

/* Text of the enums, as in JSON. */
const char *backend_state_name(enum backend_state state);
/* -EINVAL if no state is called so. */
int backend_state_parse(const char *name, enum backend_state *ret);

#endif
