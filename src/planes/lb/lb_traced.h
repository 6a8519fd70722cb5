/* lb_traced.h - the traced program behind the other one's skeleton, so that all code knows one.
 * Layer: planes. */
#ifndef LOOM_LB_TRACED_H
#define LOOM_LB_TRACED_H

struct lb_bpf;

/* As lb_bpf__open(): NULL with errno, or what lb_bpf__destroy() frees.  It has these maps beside:
 * lb_trace, lb_trace_filter, lb_trace_counts. */
struct lb_bpf *lb_traced_open(void);

#endif
