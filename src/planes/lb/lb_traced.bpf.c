/* lb_traced.bpf.c - lb.bpf.c with an event for each packet: loaded while somebody traces. */
#define LB_TRACED 1
#include "lb.bpf.c"
