/* lb_trace.h - what became of single packets: the traced program, and what it says.
 * Layer: planes.  Threads: control thread.  Blocks: start and stop load a program, about 0.2 s.
 *
 * One trace at a time.  While there is none, the program that is attached knows nothing of tracing.
 * A change of the model leaves a trace as it is. */
#ifndef LOOM_LB_TRACE_H
#define LOOM_LB_TRACE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "abi/lb_abi.h"
#include "base/addr.h"
#include "base/err.h"

struct lb;

/* Loads the traced program and replaces the other one through the links: no packet is lost.
 * Returns 0; -EBUSY: somebody traces already; the kernel's error (nothing is traced then). */
int lb_trace_start(struct lb *lb, const struct lb_trace_filter *filter, struct err *err);

/* What the trace has seen until now, summed over the CPUs. */
void lb_trace_totals(const struct lb *lb, struct lb_trace_count *ret);

/* Puts the untraced program back.  *ret_totals, if not NULL: what the trace had seen.  On error
 * (-errno with a sentence logged) the traced program stays, without a reader: it costs a little.
 * Nothing happens if nobody traces. */
int lb_trace_stop(struct lb *lb, struct lb_trace_count *ret_totals);

bool lb_trace_active(const struct lb *lb);

/* An event with its names; all borrowed for the call. */
struct lb_trace_packet {
	const struct lb_trace_event *event;
	int64_t time_ns;       /* since 1970 */
	const char *interface; /* where it came in; "" if that has gone */
	const char *service;   /* NULL: none */
	bool has_backend;      /* and where it is: */
	struct addr backend;
	uint16_t backend_port; /* host order; 0: as the client's */
};

/* Returns whether more events are welcome. */
typedef bool lb_trace_fn(void *ctx, const struct lb_trace_packet *packet);

/* Hands waiting events to fn, oldest first, for at most budget_ns or until fn wants no more.
 * Returns how many, or -errno if the ring buffer is broken. */
int lb_trace_read(struct lb *lb, lb_trace_fn *fn, void *ctx, uint64_t budget_ns);

/* "forward", "answer" (sent something back in the packet's place), "pass", "drop". */
const char *lb_trace_action(const struct lb_trace_event *event);
/* "forwarded" or the counter's name, and what it means. */
const char *lb_trace_reason(const struct lb_trace_event *event);
const char *lb_trace_help(const struct lb_trace_event *event);
/* NULL: not forwarded. */
const char *lb_trace_mode(const struct lb_trace_event *event);

#endif
