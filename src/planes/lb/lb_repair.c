/* Puts back a reply half whose loss the program noticed.
 *
 * The program itself rebuilds a half at the next packet of the other side; but when the backend
 * speaks and the client is silent, only the client's half knows where the packet belongs, under a
 * key the backend's packet does not tell. The sweep passes every entry anyway, so it looks. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "base/clock.h"
#include "lb_csum.h"
#include "lb_internal.h"

/* The entry that undoes (key, forward). */
static void reply_of(const struct lb_key6 *key, const struct lb_conn6 *forward,
		     struct lb_conn6 *reply)
{
	memset(reply, 0, sizeof(*reply));
	reply->flow = forward->flow;
	reply->flow.flags ^= LB_FLOW_REPLY;
	reply->flow.generation =
		0; /* checked at its first packet, which asks the FIB for the way back */
	memset(&reply->flow.hop, 0, sizeof(reply->flow.hop));
	reply->flow.tags = 0;
	reply->flow.mtu = LB_MTU_ANY;
	reply->flow.seen = reply->flow.touched = (__u32)(clock_now_ns() >> LB_TICK_SHIFT);
	reply->flow.sport = key->dport;
	reply->flow.dport = key->sport;
	memcpy(reply->saddr, key->daddr, sizeof(reply->saddr));
	memcpy(reply->daddr, key->saddr, sizeof(reply->daddr));
	reply->created = forward->created;
}

static __u32 address_sum(const struct lb_key6 *key, const struct lb_conn6 *conn)
{
	__u32 sum = 0;

	for (int i = 0; i < 4; i++)
		sum += csum_diff32(key->saddr[i], conn->saddr[i]) +
		       csum_diff32(key->daddr[i], conn->daddr[i]);
	return sum;
}

static int put_reply(struct lb *lb, const struct lb_key6 *key, struct lb_conn6 *conn, bool ipv6)
{
	__u32 addresses = address_sum(key, conn);
	__u32 ports = csum_diff16(key->sport, conn->flow.sport) +
		      csum_diff16(key->dport, conn->flow.dport);
	struct lb_key4 key4 = { .saddr = key->saddr[3],
				.daddr = key->daddr[3],
				.sport = key->sport,
				.dport = key->dport,
				.proto = key->proto };
	struct lb_conn4 conn4 = { .flow = conn->flow,
				  .saddr = conn->saddr[3],
				  .daddr = conn->daddr[3],
				  .created = conn->created };

	conn->l4_delta = conn4.l4_delta = csum_fold(addresses + ports);
	conn4.ip_delta = csum_fold(addresses + CSUM_TTL_DELTA);
	if (ipv6)
		return bpf_map_update_elem(lb->maps[LB_MAP_CONNS6], key, conn, BPF_NOEXIST);
	return bpf_map_update_elem(lb->maps[LB_MAP_CONNS4], &key4, &conn4, BPF_NOEXIST);
}

void lb_repair_match(struct lb *lb, const struct lb_key6 *key, const struct lb_conn6 *conn,
		     bool ipv6)
{
	struct lb_key6 reply_key = { .sport = conn->flow.dport,
				     .dport = conn->flow.sport,
				     .proto = key->proto };
	struct lb_conn6 reply;

	memcpy(reply_key.saddr, conn->daddr, sizeof(reply_key.saddr));
	memcpy(reply_key.daddr, conn->saddr, sizeof(reply_key.daddr));
	for (size_t i = 0; i < lb->pending_count; i++) {
		if (memcmp(&lb->pending[i].key, &reply_key, sizeof(reply_key)) != 0)
			continue;
		reply_of(key, conn, &reply);
		if (put_reply(lb, &reply_key, &reply, ipv6) == 0)
			lb->repairs++;
		lb->pending[i] = lb->pending[--lb->pending_count];
		return;
	}
}

/* ---- the ring buffer that asks for it ---- */

static int on_event(void *ctx, void *data, size_t size)
{
	const struct lb_event *event = data;
	struct lb *lb = ctx;

	if (size < sizeof(*event) || event->kind != LB_EVENT_LOST_REPLY)
		return 0;
	for (size_t i = 0; i < lb->pending_count; i++)
		if (!memcmp(&lb->pending[i].key, &event->key, sizeof(event->key)))
			return 0;
	/* What does not fit is asked for again: the backend sends again. */
	if (lb->pending_count < LB_MAX_PENDING) {
		lb->pending[lb->pending_count].key = event->key;
		lb->pending_count++;
	}
	return 0;
}

static int open_ring(struct lb *lb)
{
	if (lb->ring)
		return 0;
	lb->ring = ring_buffer__new(lb->maps[LB_MAP_EVENTS], on_event, lb, NULL);
	return lb->ring ? 0 : -errno;
}

int lb_events_open(struct lb *lb)
{
	int r = open_ring(lb);

	return r < 0 ? r : ring_buffer__epoll_fd(lb->ring);
}

int lb_events_read(struct lb *lb, bool *ret_sweep)
{
	int r = open_ring(lb);

	*ret_sweep = false;
	if (r == 0)
		r = ring_buffer__consume(lb->ring);
	*ret_sweep = lb->pending_count > 0;
	return r < 0 ? r : 0;
}
