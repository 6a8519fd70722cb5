#include "lb_trace.h"

#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <net/if.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "lb_internal.h"

#include "planes/lb/lb.skel.h"

#define RING_BYTES (1u << 20) /* about 5,000 events; ring_buffer_size if that is more */
/* The clock is looked at once in so many events. */
#define EVENTS_A_LOOK 16

enum trace_map {
	TRACE_RING,
	TRACE_FILTER,
	TRACE_COUNTS,
	TRACE_MAPS,
};

static const char *const map_names[TRACE_MAPS] = {
	[TRACE_RING] = "lb_trace",
	[TRACE_FILTER] = "lb_trace_filter",
	[TRACE_COUNTS] = "lb_trace_counts",
};

struct lb_trace {
	int maps[TRACE_MAPS]; /* owned; -1 before the program is loaded */
	struct ring_buffer *ring;
	struct lb_trace_count *cpus; /* owned; room for one of each */
	int cpu_count;
	bool attached;	 /* when it began: an interface may go meanwhile */
	int64_t wall_ns; /* what CLOCK_REALTIME is ahead of CLOCK_MONOTONIC */

	/* Of the lb_trace_read under way: */
	struct lb *lb;
	lb_trace_fn *fn;
	void *ctx;
	uint64_t end_ns;
	int count;
	uint32_t ifindex; /* whose name interface has */
	char interface[IF_NAMESIZE];
};

/* ---- names ---- */

static bool is_forwarded(const struct lb_trace_event *event)
{
	return event->counter >= LB_COUNTER_COUNT;
}

const char *lb_trace_action(const struct lb_trace_event *event)
{
	switch (event->verdict) {
	case XDP_PASS:
		return "pass";
	case XDP_TX:
	case XDP_REDIRECT:
		/* Errors of the network are the only packets sent on that have a counter. */
		return is_forwarded(event) || event->counter == LB_ICMP_ERROR ? "forward"
									      : "answer";
	default:
		return "drop";
	}
}

const char *lb_trace_reason(const struct lb_trace_event *event)
{
	return is_forwarded(event) ? "forwarded" : lb_counter_name(event->counter);
}

const char *lb_trace_help(const struct lb_trace_event *event)
{
	if (!is_forwarded(event))
		return lb_counter_help(event->counter);
	return event->flags & LB_TRACE_REPLY ? "Sent to the client" : "Sent to the backend";
}

const char *lb_trace_mode(const struct lb_trace_event *event)
{
	static const char *const names[LB_MODES] = {
		[LB_MODE_NAT_FULL] = "nat_full",
		[LB_MODE_NAT_DESTINATION] = "nat_destination",
		[LB_MODE_IPIP] = "ipip",
		[LB_MODE_GUE] = "gue",
		[LB_MODE_L2] = "l2",
	};

	return is_forwarded(event) && event->mode < LB_MODES ? names[event->mode] : NULL;
}

/* ---- maps ---- */

static void trace_free(struct lb_trace *trace)
{
	if (!trace)
		return;
	ring_buffer__free(trace->ring);
	for (int i = 0; i < TRACE_MAPS; i++)
		if (trace->maps[i] >= 0)
			close(trace->maps[i]);
	free(trace->cpus);
	free(trace);
}

static struct lb_trace *trace_new(struct lb *lb)
{
	struct lb_trace *trace = calloc(1, sizeof(*trace));
	struct timespec wall;

	if (!trace)
		return NULL;
	for (int i = 0; i < TRACE_MAPS; i++)
		trace->maps[i] = -1;
	trace->lb = lb;
	trace->attached = lb->link_count > 0;
	trace->cpu_count = libbpf_num_possible_cpus();
	trace->cpus = trace->cpu_count > 0 ? calloc((size_t)trace->cpu_count, sizeof(*trace->cpus))
					   : NULL;
	if (!trace->cpus) {
		trace_free(trace);
		return NULL;
	}
	clock_gettime(CLOCK_REALTIME, &wall);
	trace->wall_ns = (int64_t)wall.tv_sec * (int64_t)NSEC_PER_SEC + wall.tv_nsec -
			 (int64_t)clock_now_ns();
	return trace;
}

int lb_trace_prepare(struct lb *lb, struct lb_bpf *bpf, struct err *err)
{
	uint32_t size = lb->options.config->ring_buffer_size;
	int r = 0;

	for (int i = 0; i < TRACE_MAPS; i++) {
		struct bpf_map *map = bpf_object__find_map_by_name(bpf->obj, map_names[i]);

		if (lb->trace->maps[i] >= 0)
			r |= bpf_map__reuse_fd(map, lb->trace->maps[i]);
		else if (i == TRACE_RING)
			r |= bpf_map__set_max_entries(map, size > RING_BYTES ? size : RING_BYTES);
	}
	return r ? err_set(err, -EINVAL, "cannot prepare the traced program's maps") : 0;
}

/* Keeps the maps of the program just loaded: they stay when a change of the model loads another. */
static int take_maps(struct lb *lb, const struct lb_trace_filter *filter, struct err *err)
{
	struct lb_trace *trace = lb->trace;
	__u32 zero = 0;

	for (int i = 0; i < TRACE_MAPS; i++) {
		trace->maps[i] = dup(bpf_object__find_map_fd_by_name(lb->bpf->obj, map_names[i]));
		if (trace->maps[i] < 0)
			return err_set(err, -errno, "cannot keep map %s: %s", map_names[i],
				       strerror(errno));
	}
	if (bpf_map_update_elem(trace->maps[TRACE_FILTER], &zero, filter, BPF_ANY) < 0)
		return err_set(err, -errno, "cannot set the trace's filter: %s", strerror(errno));
	return 0;
}

/* ---- events ---- */

static void find_names(struct lb_trace *trace, struct lb_trace_packet *packet)
{
	const struct lb_trace_event *event = packet->event;
	const struct lb *lb = trace->lb;

	if (event->ifindex != trace->ifindex) {
		trace->ifindex = event->ifindex;
		if (!if_indextoname(event->ifindex, trace->interface))
			trace->interface[0] = '\0';
	}
	packet->interface = trace->interface;
	if (event->table < LB_MAX_SERVICES)
		packet->service = lb->tables[event->table].name;
	/* The row may have got another backend since. */
	if (!event->backend || event->row >= lb->row_count || !lb->rows[event->row].used ||
	    lb->rows[event->row].kernel.id != event->backend)
		return;
	packet->has_backend = true;
	memcpy(&packet->backend, lb->rows[event->row].kernel.addr, sizeof(packet->backend));
	packet->backend_port = ntohs(lb->rows[event->row].kernel.port);
}

/* A negative answer ends ring_buffer__consume after this event. */
static int on_event(void *ctx, void *data, size_t size)
{
	struct lb_trace *trace = ctx;
	struct lb_trace_packet packet = { .event = data };

	if (size < sizeof(*packet.event))
		return 0;
	packet.time_ns = (int64_t)packet.event->time_ns + trace->wall_ns;
	find_names(trace, &packet);
	trace->count++;
	if (!trace->fn(trace->ctx, &packet))
		return -ECANCELED;
	if (trace->count % EVENTS_A_LOOK == 0 && clock_now_ns() >= trace->end_ns)
		return -ECANCELED;
	return 0;
}

int lb_trace_read(struct lb *lb, lb_trace_fn *fn, void *ctx, uint64_t budget_ns)
{
	struct lb_trace *trace = lb->trace;
	int r;

	if (!trace || !trace->ring)
		return 0;
	trace->fn = fn;
	trace->ctx = ctx;
	trace->end_ns = clock_now_ns() + budget_ns;
	trace->count = 0;
	trace->ifindex = 0; /* interfaces come and go, and change their names */
	trace->interface[0] = '\0';
	r = ring_buffer__consume(trace->ring);
	return r < 0 && r != -ECANCELED ? r : trace->count;
}

void lb_trace_totals(const struct lb *lb, struct lb_trace_count *ret)
{
	const struct lb_trace *trace = lb->trace;
	__u32 zero = 0;

	memset(ret, 0, sizeof(*ret));
	if (!trace || trace->maps[TRACE_COUNTS] < 0 ||
	    bpf_map_lookup_elem(trace->maps[TRACE_COUNTS], &zero, trace->cpus) < 0)
		return;
	for (int i = 0; i < trace->cpu_count; i++) {
		ret->seen += trace->cpus[i].seen;
		ret->matched += trace->cpus[i].matched;
		ret->sent += trace->cpus[i].sent;
		ret->lost += trace->cpus[i].lost;
	}
}

/* ---- life ---- */

bool lb_trace_active(const struct lb *lb)
{
	return lb->trace != NULL;
}

/* Loads the program with or without tracing and puts it where the other one is. */
static int swap_program(struct lb *lb, bool trace, const struct lb_trace_filter *filter,
			struct err *err)
{
	struct lb_features features = lb->features;
	int r;

	features.trace = trace;
	r = lb_program_load(lb, &features, err);
	if (r == 0 && trace)
		r = take_maps(lb, filter, err);
	if (r == 0 && lb->trace->attached)
		r = lb_attach(lb, err);
	return r;
}

static int open_ring(struct lb_trace *trace, struct err *err)
{
	trace->ring = ring_buffer__new(trace->maps[TRACE_RING], on_event, trace, NULL);
	return trace->ring ? 0
			   : err_set(err, -errno, "cannot read the trace's ring buffer: %s",
				     strerror(errno));
}

int lb_trace_start(struct lb *lb, const struct lb_trace_filter *filter, struct err *err)
{
	int r;

	if (lb->trace)
		return err_set(err, -EBUSY,
			       "cannot trace: somebody else does, and there is one trace at a "
			       "time; wait for it to end");
	lb->trace = trace_new(lb);
	if (!lb->trace)
		return err_set(err, -ENOMEM, "cannot trace: out of memory");
	r = swap_program(lb, true, filter, err);
	if (r == 0)
		r = open_ring(lb->trace, err);
	if (r < 0) {
		err_prefix(err, "cannot trace");
		lb_trace_stop(lb, NULL);
	}
	return r;
}

int lb_trace_stop(struct lb *lb, struct lb_trace_count *ret_totals)
{
	struct err err = { 0 };
	int r = 0;

	if (ret_totals)
		lb_trace_totals(lb, ret_totals);
	if (!lb->trace)
		return 0;
	if (lb->features.trace)
		r = swap_program(lb, false, NULL, &err);
	if (r < 0)
		log_error("cannot end a trace: %s; the traced program stays until loomd starts "
			  "anew",
			  err.text);
	trace_free(lb->trace);
	lb->trace = NULL;
	return r;
}
