/* metrics.h - every metric Loom exports, in one table: exposition and reference are both printed
 * from it.
 * Layer: observe.  Threads: any; reads what it is given.  Blocks: no. */
#ifndef LOOM_METRICS_H
#define LOOM_METRICS_H

#include <stdint.h>

#include "base/buf.h"
#include "health/health.h"
#include "model/model.h"
#include "planes/lb/lb_stats.h"
#include "planes/steer/steer_view.h"

/* What one scrape tells.  All borrowed. */
struct metrics_input {
	const char *version;
	uint64_t uptime_ns;
	uint64_t reloads_succeeded;
	uint64_t reloads_failed;
	int64_t last_reload_wall_s;	    /* last success; 0: never */
	const struct model *model;	    /* NULL: no families about the model */
	const struct health_totals *health; /* NULL: as if nothing was ever checked */
	const struct lb_snapshot *snapshot; /* NULL: the data path does not stand; its families have
					       no samples */
	const struct steer_view *steer;	    /* NULL: no families about steering */
};

/* Appends the Prometheus text exposition format, version 0.0.4.  Returns 0 or -ENOMEM. */
int metrics_render(const struct metrics_input *input, struct buf *out);

/* Appends the reference of all metrics, docs/metrics.md.  Returns 0 or -ENOMEM. */
int metrics_print_doc(struct buf *out);

/* "forward", "drop", "pass": how JSON and labels call what became of a packet; "none" where a
 * counter stands beside another verdict. */
const char *metrics_action_name(enum lb_action action);

#endif
