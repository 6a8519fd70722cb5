/* A trace under way: from the ring buffer into the client's stream. */
#include <errno.h>
#include <string.h>

#include "admin/trace_json.h"
#include "base/clock.h"
#include "base/log.h"
#include "daemon_internal.h"
#include "planes/lb/lb_trace.h"

/* The ring buffer is looked at so often, and emptied for so long at most: others are served, too.
 */
#define TICK_NS	  (5 * NSEC_PER_MSEC)
#define BUDGET_NS (2 * NSEC_PER_MSEC)
/* A client that does not keep up loses events, which are counted, rather than fill our memory. */
#define PENDING_BYTES (1024 * 1024ul)

static bool write_packet(void *ctx, const struct lb_trace_packet *packet)
{
	struct daemon_trace *trace = ctx;

	trace_json_packet(&trace->text, packet, trace->request.frames);
	trace->written++;
	return !trace->request.limit || trace->written < trace->request.limit;
}

/* A connection that goes on makes no descriptor readable: libmicrohttpd wants to be run. */
static void run_admin_soon(struct daemon *daemon)
{
	loop_arm(daemon->admin_timer, 0);
}

/* Events to the stream.  Returns false if there will be none any more. */
static bool pump(struct daemon *daemon, uint64_t budget_ns)
{
	struct daemon_trace *trace = &daemon->trace;
	int r;

	if (stream_pending(trace->stream) > PENDING_BYTES)
		return true;
	trace->text.len = 0;
	r = lb_trace_read(daemon->lb, write_packet, trace, budget_ns);
	if (trace->text.len) {
		stream_write(trace->stream, trace->text.data, trace->text.len);
		run_admin_soon(daemon);
	}
	if (r < 0)
		log_error("cannot read the trace: %s", strerror(-r));
	return r >= 0 && !buf_failed(&trace->text);
}

void daemon_trace_end(struct daemon *daemon, const char *why)
{
	struct daemon_trace *trace = &daemon->trace;
	struct lb_trace_count totals;

	if (!trace->stream)
		return;
	loop_disarm(daemon->trace_timer);
	lb_trace_stop(daemon->lb, &totals);
	trace->text.len = 0;
	trace_json_end(&trace->text, why, &totals, trace->written);
	if (trace->text.data)
		stream_write(trace->stream, trace->text.data, trace->text.len);
	stream_end(trace->stream);
	run_admin_soon(daemon);
	buf_done(&trace->text);
	trace->stream = NULL;
	log_info("trace ended: %s; seen=%llu sent=%llu lost=%llu", why,
		 (unsigned long long)totals.seen, (unsigned long long)trace->written,
		 (unsigned long long)totals.lost);
}

static void on_tick(void *ctx)
{
	struct daemon *daemon = ctx;
	struct daemon_trace *trace = &daemon->trace;

	if (!trace->stream)
		return;
	loop_arm(daemon->trace_timer, TICK_NS);
	if (stream_broken(trace->stream))
		daemon_trace_end(daemon, "client");
	else if (!pump(daemon, BUDGET_NS))
		daemon_trace_end(daemon, "error");
	else if (trace->request.limit && trace->written >= trace->request.limit)
		daemon_trace_end(daemon, "limit");
	else if (clock_now_ns() >= trace->end_ns)
		daemon_trace_end(daemon, "duration");
}

int daemon_trace_start(struct daemon *daemon, const struct trace_request *request,
		       struct stream **ret, struct err *err)
{
	struct daemon_trace *trace = &daemon->trace;
	int r;

	if (!daemon->lb)
		return err_set(err, -EAGAIN, "cannot trace: ebpf is not enabled");
	r = daemon->trace_timer
		    ? 0
		    : loop_add_timer(daemon->loop, on_tick, daemon, &daemon->trace_timer);
	if (r < 0)
		return err_set(err, r, "cannot trace: out of memory");
	r = lb_trace_start(daemon->lb, &request->filter, err);
	if (r < 0)
		return r;
	memset(trace, 0, sizeof(*trace));
	buf_init(&trace->text);
	trace->stream = stream_new();
	if (!trace->stream) {
		lb_trace_stop(daemon->lb, NULL);
		return err_set(err, -ENOMEM, "cannot trace: out of memory");
	}
	trace->request = *request;
	trace->end_ns = clock_now_ns() + request->duration_ns;
	loop_arm(daemon->trace_timer, TICK_NS);
	log_info("trace started");
	*ret = trace->stream;
	return 0;
}
