/* control.h - what the admin API may ask of the daemon.  loomd implements it; admin/ and its tests
 * only call. Layer: admin.  Threads: control thread only.  Blocks: changes reach the kernel before
 * the call returns.
 *
 * Each function returns 0 or -errno with a sentence in err: -ENOENT no such thing; -EEXIST taken
 * already; -EINVAL a value contradicts; -ENOSPC a table is full; -EAFNOSUPPORT wrong family; others
 * are the kernel's. */
#ifndef LOOM_CONTROL_H
#define LOOM_CONTROL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/addr.h"
#include "base/buf.h"
#include "base/err.h"
#include "config/config.h"
#include "health/health.h"
#include "model/model.h"
#include "planes/lb/lb_stats.h"
#include "control_steer.h"
#include "stream.h"

struct backend_request {
	const char *service; /* NULL: the only one, or the implicit one */
	uint32_t id;	     /* 0: the lowest free one */
	struct addr address;
	uint16_t port;
	uint32_t weight;
};

struct backend_patch {
	bool has_weight;
	uint32_t weight;
	bool has_state; /* ACTIVE or DRAINING */
	enum backend_state state;
	uint64_t deadline_s; /* DRAINING: cut what is left then; 0: never */
};

struct backend_removal {
	bool force;	     /* cut its connections now */
	uint64_t deadline_s; /* cut what is left then; 0: wait for the last one */
};

/* Packets to be told of, as trace_json.h writes them, until one of the limits is reached. */
struct trace_request {
	struct lb_trace_filter filter;
	uint64_t duration_ns;
	uint64_t limit; /* packets; 0: none */
	bool frames;	/* with what was captured of them */
};

struct control_readiness {
	bool ready;
	char reason[256]; /* "" when ready */
};

struct control {
	void *ctx; /* first argument of all */

	const struct config *(*config)(void *ctx); /* borrowed until the next call of reload */
	const struct model *(*model)(void *ctx);   /* borrowed until the next change; never NULL */
	void (*readiness)(void *ctx, struct control_readiness *ret);
	uint64_t (*uptime_ns)(void *ctx);
	uint64_t (*reloads)(void *ctx, bool succeeded); /* how many did, or did not */
	int64_t (*last_reload_wall_s)(void *ctx);	/* last success */

	int (*backend_add)(void *ctx, const struct backend_request *request, uint32_t *ret_id,
			   struct err *err);
	int (*backend_patch)(void *ctx, uint32_t id, const struct backend_patch *patch,
			     struct err *err);
	int (*backend_remove)(void *ctx, uint32_t id, const struct backend_removal *removal,
			      struct err *err);
	/* reset: forget the changes made by the API.  complaints gets the file's errors (-EINVAL),
	 * report the differences that were applied, a line each. */
	int (*reload)(void *ctx, bool reset, struct buf *complaints, struct buf *report,
		      struct err *err);

	int (*snapshot)(void *ctx, struct lb_snapshot **ret, struct err *err);
	/* One backend, without its counters.  False: the data path does not know it. */
	bool (*backend_look)(void *ctx, uint32_t id, struct lb_backend_stats *ret);
	int (*connections)(void *ctx, const struct lb_connection_filter *filter,
			   struct lb_cursor *cursor, struct lb_connection *connections,
			   size_t room);

	/* NULL as long as nothing is checked.  False: the backend is not. */
	bool (*health)(void *ctx, const char *service, const struct backend *backend,
		       struct health_state *ret);
	void (*health_totals)(void *ctx, struct health_totals *ret);

	/* *ret is written to while the caller's loop runs, and ended by the daemon; the caller lets
	 * go of it with stream_close.  -EBUSY: somebody traces already. */
	int (*trace)(void *ctx, const struct trace_request *request, struct stream **ret,
		     struct err *err);

	const struct control_steer *steer; /* NULL: no steering groups are configured */
};

#endif
