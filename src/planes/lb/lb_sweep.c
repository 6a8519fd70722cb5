/* Ages connections, counts them and finds lost halves, in passes over the tables cut into short
 * steps.
 *
 * Counting from the table itself is what keeps the numbers true: LRU evictions tell nobody. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "lb_internal.h"

#define STEP_NS (2 * NSEC_PER_MSEC)
/* Nothing of the kernel's: a connection that was reset needs no memory of it (as nf_conntrack's 10
 * s). */
#define CLOSED_NS (10 * NSEC_PER_SEC)
#define MIN_BATCH 256

union any_key {
	struct lb_key4 v4;
	struct lb_key6 v6;
};

union any_conn {
	struct lb_conn4 v4;
	struct lb_conn6 v6;
};

static int sweep_resize(struct lb_sweep *sweep, uint32_t room)
{
	void *keys = realloc(sweep->keys, room * sizeof(union any_key));
	void *values;

	if (!keys)
		return -ENOMEM;
	sweep->keys = keys;
	values = realloc(sweep->values, room * sizeof(union any_conn));
	if (!values)
		return -ENOMEM;
	sweep->values = values;
	sweep->room = room;
	return 0;
}

int lb_sweep_init(struct lb *lb)
{
	uint32_t room = lb->options.config->batch_size;

	lb->sweep.active = calloc(lb->row_count, sizeof(*lb->sweep.active));
	if (!lb->sweep.active)
		return -ENOMEM;
	return sweep_resize(&lb->sweep, room < MIN_BATCH ? MIN_BATCH : room);
}

void lb_sweep_done(struct lb *lb)
{
	free(lb->sweep.active);
	free(lb->sweep.keys);
	free(lb->sweep.values);
}

static uint64_t timeout_of(const struct config_ebpf *config, const struct lb_flow *flow)
{
	switch ((enum lb_state)flow->state) {
	case LB_STATE_SYN_SENT:
		return config->tcp.syn_sent_ns;
	case LB_STATE_SYN_RECV:
		return config->tcp.syn_recv_ns;
	case LB_STATE_ESTABLISHED:
		return config->tcp.established_ns;
	case LB_STATE_FIN_WAIT:
		return config->tcp.fin_wait_ns;
	case LB_STATE_TIME_WAIT:
		return config->tcp.time_wait_ns;
	case LB_STATE_CLOSED:
		return CLOSED_NS;
	default:
		return config->timeout_ns;
	}
}

static bool is_cut(const struct lb *lb, const struct lb_flow *flow)
{
	return flow->backend < lb->row_count &&
	       lb->rows[flow->backend].kernel.state == LB_BACKEND_CUT;
}

static bool has_expired(const struct lb *lb, const struct lb_flow *flow, uint64_t now)
{
	/* Who has not spoken to a cut backend for so long is reset by whichever backend gets the
	 * next packet. */
	uint64_t timeout = is_cut(lb, flow) ? CLOSED_NS : timeout_of(lb->options.config, flow);
	uint64_t seen = (uint64_t)flow->seen << LB_TICK_SHIFT;

	return now > seen && now - seen > timeout + ((uint64_t)lb_touch_ticks(lb) << LB_TICK_SHIFT);
}

/* A connection that still wants its backend. */
static bool is_live(const struct lb_flow *flow)
{
	return flow->state != LB_STATE_TIME_WAIT && flow->state != LB_STATE_CLOSED;
}

/* Was it used since the batch was read? */
static void expire(struct lb *lb, int fd, const void *key, uint32_t seen)
{
	union any_conn conn;

	if (bpf_map_lookup_elem(fd, key, &conn) < 0 || conn.v4.flow.seen != seen)
		return;
	if (bpf_map_delete_elem(fd, key) == 0)
		lb->sweep_expired++;
}

static void visit(struct lb *lb, int fd, const void *key, const void *value, uint64_t now)
{
	const struct lb_flow *flow = value; /* first in either family */
	struct lb_sweep *sweep = &lb->sweep;
	struct lb_key6 key6;
	struct lb_conn6 conn6;

	sweep->entries++;
	if (has_expired(lb, flow, now)) {
		expire(lb, fd, key, flow->seen);
		return;
	}
	if (flow->flags & LB_FLOW_REPLY)
		return;
	if (flow->state < LB_STATES)
		sweep->states[flow->state]++;
	if (flow->backend < lb->row_count && is_live(flow) &&
	    flow->incarnation == lb->rows[flow->backend].kernel.incarnation)
		sweep->active[flow->backend]++;
	if (!lb->pending_count)
		return;
	if (sweep->family == 0) {
		lb_entry_widen(key, value, &key6, &conn6);
		lb_repair_match(lb, &key6, &conn6, false);
	} else {
		lb_repair_match(lb, key, value, true);
	}
}

static void begin(struct lb_sweep *sweep, uint32_t rows, uint64_t now)
{
	memset(sweep->active, 0, rows * sizeof(*sweep->active));
	memset(sweep->states, 0, sizeof(sweep->states));
	sweep->entries = 0;
	sweep->family = 0;
	sweep->token = 0;
	sweep->running = true;
	sweep->started_ns = now;
}

static void finish(struct lb *lb)
{
	struct lb_sweep *sweep = &lb->sweep;

	for (uint32_t row = 0; row < lb->row_count; row++)
		lb->rows[row].active = sweep->active[row];
	memcpy(lb->states, sweep->states, sizeof(lb->states));
	lb->entries = sweep->entries;
	lb->sweep_last_ns = clock_now_ns() - sweep->started_ns;
	lb->sweep_passes++;
	lb->pending_count = 0; /* a whole pass has looked for them */
	sweep->running = false;
}

/* Reads and visits one batch.  Returns whether the family's table has more. */
static bool sweep_batch(struct lb *lb)
{
	struct lb_sweep *sweep = &lb->sweep;
	int fd = lb->maps[sweep->family == 0 ? LB_MAP_CONNS4 : LB_MAP_CONNS6];
	size_t key_size = sweep->family == 0 ? sizeof(struct lb_key4) : sizeof(struct lb_key6);
	size_t value_size = sweep->family == 0 ? sizeof(struct lb_conn4) : sizeof(struct lb_conn6);
	uint64_t now = clock_now_ns();
	uint32_t in = sweep->token;
	uint32_t out = 0;
	__u32 count = sweep->room;
	int r = 0;

	if (bpf_map_lookup_batch(fd, in ? &in : NULL, &out, sweep->keys, sweep->values, &count,
				 NULL) < 0)
		r = -errno;
	if (r == -ENOSPC) /* one bucket holds more than the batch does */
		return sweep_resize(sweep, sweep->room * 2) == 0;
	if (r < 0 && r != -ENOENT)
		return false;
	for (__u32 i = 0; i < count; i++)
		visit(lb, fd, (char *)sweep->keys + i * key_size,
		      (char *)sweep->values + i * value_size, now);
	sweep->token = out;
	return r == 0 && out;
}

bool lb_sweep_step(struct lb *lb)
{
	struct lb_sweep *sweep = &lb->sweep;
	uint64_t start = clock_now_ns();

	if (!sweep->running)
		begin(sweep, lb->row_count, start);
	while (sweep->family < 2) {
		if (!sweep_batch(lb)) {
			sweep->family++;
			sweep->token = 0;
		}
		if (sweep->family < 2 && clock_now_ns() - start >= STEP_NS)
			return false;
	}
	finish(lb);
	return true;
}

uint64_t lb_sweep_duration_ns(const struct lb *lb)
{
	return lb->sweep_last_ns;
}

uint64_t lb_sweep_passes(const struct lb *lb)
{
	return lb->sweep_passes;
}

bool lb_backend_idle(const struct lb *lb, uint32_t id, uint64_t since)
{
	struct index_walk walk;
	uint32_t row;

	/* The pass that was under way at `since` may have missed what began after it passed by. */
	if (lb->sweep_passes < since + 2)
		return false;
	walk = lb_rows_by_id(lb, id);
	while (index_next(&walk, &row))
		if (lb->rows[row].kernel.id == id && lb->rows[row].active)
			return false;
	return true;
}
