/* Decisions of a group's program, as JSON lines: the program is another one meanwhile. */
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "admin/steer_trace_json.h"
#include "base/clock.h"
#include "base/log.h"
#include "steering_internal.h"

#define TICK_NS	      (20 * NSEC_PER_MSEC)
#define PENDING_BYTES (1024 * 1024ul)

struct steering_trace {
	struct group *group;
	struct stream *stream;
	struct ring_buffer *rings[STEERING_PARTS]; /* owned */
	struct loop_timer *timer;
	struct buf text;
	uint64_t end_ns;
	uint64_t limit; /* 0: none */
	uint64_t written;
	uint64_t seen_before, lost_before;
	int64_t wall_offset_ns;
};

static int on_event(void *ctx, void *data, size_t size)
{
	struct steering_trace *trace = ctx;
	struct steer_event event;

	if (size < sizeof(struct steer_event))
		return 0;
	if (trace->limit && trace->written >= trace->limit)
		return -ECANCELED;
	memcpy(&event, data, sizeof(event));
	steer_trace_json_decision(&trace->text, &event,
				  (int64_t)event.at_ns + trace->wall_offset_ns);
	trace->written++;
	return 0;
}

/* What the group's programs decided so far, and of what nobody was told. */
static void totals_of(const struct group *group, uint64_t *ret_seen, uint64_t *ret_lost)
{
	uint64_t counters[STEER_COUNTERS_END];

	*ret_seen = *ret_lost = 0;
	for (size_t p = 0; p < STEERING_PARTS; p++) {
		if (!group->parts[p].steer || steer_counters(group->parts[p].steer, counters) < 0)
			continue;
		*ret_seen += counters[STEER_COUNT_KERNEL] + counters[STEER_COUNT_SELECTED] +
			     counters[STEER_COUNT_CANARY_OUT] + counters[STEER_COUNT_MIGRATED];
		for (int i = STEER_COUNT_NO_SLOT; i <= STEER_COUNT_NO_GROUP; i++)
			*ret_seen += counters[i];
		*ret_lost += counters[STEER_COUNT_TRACE_LOST];
	}
}

static int64_t wall_offset(void)
{
	struct timespec wall;

	clock_gettime(CLOCK_REALTIME, &wall);
	return (int64_t)wall.tv_sec * (int64_t)NSEC_PER_SEC + wall.tv_nsec -
	       (int64_t)clock_now_ns();
}

static void pump(struct steering_trace *trace)
{
	trace->text.len = 0;
	if (stream_pending(trace->stream) < PENDING_BYTES)
		for (size_t p = 0; p < STEERING_PARTS; p++)
			if (trace->rings[p])
				ring_buffer__consume(trace->rings[p]);
	if (trace->text.len)
		stream_write(trace->stream, trace->text.data, trace->text.len);
}

void steering_trace_end(struct steering *steering, const char *why)
{
	struct steering_trace *trace = steering->trace;
	struct steer_trace_totals totals;
	struct err err = { 0 };

	if (!trace)
		return;
	steering->trace = NULL;
	pump(trace);
	trace->text.len = 0;
	totals_of(trace->group, &totals.seen, &totals.lost);
	totals.seen -= trace->seen_before;
	totals.lost -= trace->lost_before;
	totals.sent = trace->written;
	totals.matched = totals.sent + totals.lost;
	steer_trace_json_end(&trace->text, why, &totals);
	if (trace->text.data)
		stream_write(trace->stream, trace->text.data, trace->text.len);
	stream_end(trace->stream);
	if (parts_load(trace->group, &trace->group->policy, &err) < 0)
		log_error("group %s: cannot end a trace: %s", trace->group->name, err.text);
	for (size_t p = 0; p < STEERING_PARTS; p++)
		ring_buffer__free(trace->rings[p]);
	loop_disarm(trace->timer);
	buf_done(&trace->text);
	if (steering->admin_soon)
		steering->admin_soon(steering->admin_ctx);
	steering->trace_timer = trace->timer;
	free(trace);
}

void steering_end_streams(struct steering *steering)
{
	if (steering)
		steering_trace_end(steering, "shutdown");
}

static void on_tick(void *ctx)
{
	struct steering *steering = ctx;
	struct steering_trace *trace = steering->trace;

	if (!trace)
		return;
	pump(trace);
	if (steering->admin_soon)
		steering->admin_soon(steering->admin_ctx);
	if (stream_broken(trace->stream))
		steering_trace_end(steering, "client");
	else if (trace->limit && trace->written >= trace->limit)
		steering_trace_end(steering, "limit");
	else if (clock_now_ns() >= trace->end_ns)
		steering_trace_end(steering, "duration");
	else
		loop_arm(trace->timer, TICK_NS);
}

static int open_rings(struct steering_trace *trace, struct err *err)
{
	for (size_t p = 0; p < STEERING_PARTS; p++) {
		const struct steer *steer = trace->group->parts[p].steer;

		if (!steer)
			continue;
		trace->rings[p] = ring_buffer__new(steer_events_fd(steer), on_event, trace, NULL);
		if (!trace->rings[p])
			return err_set(err, -errno, "cannot read the trace: %s", strerror(errno));
	}
	return 0;
}

int steering_trace_start(struct group *group, const struct steer_trace_request *request,
			 struct stream **ret, struct err *err)
{
	struct steering *steering = group->steering;
	struct steer_const filter = { .trace_sample = request->sample };
	struct steering_trace *trace;
	int r = 0;

	if (steering->trace)
		return err_set(err, -EBUSY, "cannot trace: somebody traces group %s already",
			       steering->trace->group->name);
	if (!group->parts[0].steer && !group->parts[1].steer)
		return err_set(err, -ENOENT, "cannot trace: group %s has no members", group->name);
	memcpy(filter.trace_address, &request->source, sizeof(filter.trace_address));
	filter.trace_port = htons(request->source_port);
	trace = calloc(1, sizeof(*trace));
	if (trace)
		trace->stream = stream_new();
	if (!trace || !trace->stream) {
		free(trace);
		return err_set(err, -ENOMEM, "cannot trace: out of memory");
	}
	trace->group = group;
	trace->limit = request->limit;
	trace->end_ns = clock_now_ns() + request->duration_ns;
	trace->timer = steering->trace_timer;
	buf_init(&trace->text);
	if (!trace->timer)
		r = loop_add_timer(steering->loop, on_tick, steering, &trace->timer);
	steering->trace_timer = trace->timer;
	if (r == 0)
		r = parts_load_traced(group, &filter, err);
	if (r == 0)
		r = open_rings(trace, err);
	if (r < 0) {
		parts_load(group, &group->policy, NULL);
		for (size_t p = 0; p < STEERING_PARTS; p++)
			ring_buffer__free(trace->rings[p]);
		stream_end(trace->stream);
		stream_close(trace->stream);
		free(trace);
		return r;
	}
	totals_of(group, &trace->seen_before, &trace->lost_before);
	trace->wall_offset_ns = wall_offset();
	steering->trace = trace;
	loop_arm(trace->timer, TICK_NS);
	*ret = trace->stream;
	return 0;
}
