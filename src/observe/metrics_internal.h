/* metrics_internal.h - what the tables of metrics are made of.
 * Layer: observe.  Threads: any.  Blocks: no. */
#ifndef LOOM_METRICS_INTERNAL_H
#define LOOM_METRICS_INTERNAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "metrics.h"

struct row;

struct scrape {
	const struct metrics_input *input;
	const struct lb_snapshot *snapshot; /* never NULL where a family needs it */
	struct row *rows;		    /* owned */
	size_t row_count;
	struct service *asked; /* whether it panics was asked last ... */
	bool panics;	       /* ... and answered so */
	struct buf *out;
	const char *name; /* of the family being printed */
};

enum metric_type {
	METRIC_COUNTER,
	METRIC_GAUGE,
};

enum metric_source {
	METRIC_DAEMON,	  /* always there */
	METRIC_DATA_PATH, /* needs a snapshot */
	METRIC_STEER,	  /* needs a view of the steering groups */
};

struct metric {
	const char *name;
	enum metric_type type;
	enum metric_source source;
	const char *labels;
	const char *help;
	void (*print)(struct scrape *s);
};

extern const struct metric metrics_lb[], metrics_steer[];
extern const size_t metrics_lb_count, metrics_steer_count;

/* Fills s->rows, once a scrape.  0 or -ENOMEM. */
int metrics_lb_rows(struct scrape *s);

/* before: "{" or ",". */
void metrics_label(struct scrape *s, const char *before, const char *label, const char *value);
void metrics_value(struct scrape *s, uint64_t value);
/* A value in seconds. */
void metrics_seconds(struct scrape *s, uint64_t ns);

/* Whole samples: without a label, and with one. */
void metrics_sample(struct scrape *s, uint64_t value);
void metrics_sample_seconds(struct scrape *s, uint64_t ns);
void metrics_sample_of(struct scrape *s, const char *label, const char *text, uint64_t value);

/* The reference's parts about labels. */
void metrics_lb_doc(struct buf *out);
void metrics_steer_doc(struct buf *out);

#endif
