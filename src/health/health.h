/* health.h - checks backends and says which are healthy.
 * Layer: health.  Threads: control thread only.  Blocks: no.
 *
 * Every backend of a model has a record here, found again after a reload by service, address and
 * port.  What the records know is laid over a model before it is applied: health, connections to
 * cut, and what slow start withholds. */
#ifndef LOOM_HEALTH_H
#define LOOM_HEALTH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "model/model.h"
#include "sys/loop.h"

#define HEALTH_ERROR_LEN 160

struct health;

/* What a model should get laid over it has changed (health_overlay); called from the loop, never
 * from within a function below. */
typedef void (*health_changed_fn)(void *ctx);

/* changed is called with ctx.  0 or -ENOMEM. */
int health_open(struct health **ret, struct loop *loop, health_changed_fn changed, void *ctx,
		struct err *err);
/* Does a check of config go through a tunnel?  That takes sockets which are opened at start, while
 * there is the privilege for them; without them such backends are not checked, which the log says.
 */
bool health_wants_tunnels(const struct config *config);
int health_open_tunnels(struct health *health, struct err *err);
/* NULL is fine.  Before loop_free. */
void health_close(struct health *health);

/* Makes records for what is new in next.  starting: the backends were in use before, so no slow
 * start for them.  Then lays over next what is known. 0, or -ENOMEM: next is of no use. */
int health_overlay(struct health *health, const struct config *config, struct model *next,
		   bool starting, struct err *err);
/* model is in force, by config: both are borrowed until the next call, which is made before either
 * is freed.  Records of backends that are gone go, checks follow the configuration. */
void health_follow(struct health *health, const struct config *config, const struct model *model);

/* For people. */
struct health_state {
	enum backend_health state;
	int64_t since_wall_s; /* when state became what it is, or the record was made */
	char last_error[HEALTH_ERROR_LEN]; /* of the last check that failed; "" */
	int64_t last_error_wall_s;
	const char *type; /* "tcp", "http" ... */
	char upstream[64];
	uint16_t port;	 /* that is checked */
	uint32_t streak; /* results in a row against state */
	uint32_t needed; /* so many change it */
	uint64_t checks;
	uint64_t failures;
	uint64_t falls;
	uint64_t last_ns; /* how long the last check took */
};

/* False: it is not checked. */
bool health_find(const struct health *health, const char *service, const struct backend *backend,
		 struct health_state *ret);

struct health_totals {
	uint64_t targets; /* backends that are checked */
	uint64_t in_flight;
	uint64_t waiting;   /* due, but too many are in flight */
	uint64_t succeeded; /* checks */
	uint64_t failed;
	uint64_t rises; /* unhealthy to healthy */
	uint64_t falls; /* to unhealthy */
};

void health_totals(const struct health *health, struct health_totals *ret);

const char *health_name(enum backend_health state);

#endif
