/* Lists connections, a page at a time, in the order of the table's buckets. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "lb_internal.h"

#define PAGE_BATCH    512
#define DEFAULT_VISIT 65536

struct page {
	struct lb *lb;
	const struct lb_connection_filter *filter;
	struct lb_connection *connections;
	size_t room;
	size_t count;
	uint64_t now;
};

/* Where the inner packet goes; its entry holds the outer ports. */
static void describe_direct(uint8_t mode, struct lb_connection *c)
{
	if (mode < LB_MODE_IPIP)
		return;
	c->backend_port = c->vip_port;
	if (mode == LB_MODE_IPIP)
		c->source_port = 0;
	if (mode != LB_MODE_L2)
		return;
	c->source = c->client;
	c->source_port = c->client_port;
}

static void describe(const struct page *page, const struct lb_key6 *key,
		     const struct lb_conn6 *conn, struct lb_connection *c)
{
	const struct lb_flow *flow = &conn->flow;
	const struct lb *lb = page->lb;
	uint64_t created = (uint64_t)conn->created << LB_TICK_SHIFT;
	uint64_t seen = (uint64_t)flow->seen << LB_TICK_SHIFT;

	memset(c, 0, sizeof(*c));
	c->proto = key->proto;
	memcpy(&c->client, key->saddr, sizeof(c->client));
	c->client_port = ntohs(key->sport);
	memcpy(&c->vip, key->daddr, sizeof(c->vip));
	c->vip_port = ntohs(key->dport);
	memcpy(&c->backend, conn->daddr, sizeof(c->backend));
	c->backend_port = ntohs(flow->dport);
	memcpy(&c->source, conn->saddr, sizeof(c->source));
	c->source_port = ntohs(flow->sport);
	describe_direct(flow->mode, c);
	if (flow->backend < lb->row_count && lb->rows[flow->backend].used &&
	    lb->rows[flow->backend].kernel.incarnation == flow->incarnation)
		c->backend_id = lb->rows[flow->backend].kernel.id;
	c->state = flow->state;
	c->idle_ns = page->now > seen ? page->now - seen : 0;
	c->age_ns = page->now > created ? page->now - created : 0;
	if (flow->flags & LB_FLOW_PROXIED) /* seq_delta is where created would be */
		c->age_ns = LB_AGE_UNKNOWN;
}

static bool matches(const struct lb_connection_filter *filter, const struct lb_connection *c)
{
	if (filter->has_client && !addr_net_contains(&filter->client, &c->client))
		return false;
	if (filter->has_backend && c->backend_id != filter->backend_id)
		return false;
	return !filter->has_state || c->state == filter->state;
}

static void visit(struct page *page, bool ipv6, const void *key, const void *value)
{
	struct lb_connection c;
	struct lb_key6 key6;
	struct lb_conn6 conn6;

	if (((const struct lb_flow *)value)->flags & LB_FLOW_REPLY)
		return;
	if (!ipv6) {
		lb_entry_widen(key, value, &key6, &conn6);
		key = &key6;
		value = &conn6;
	}
	describe(page, key, value, &c);
	if (matches(page->filter, &c))
		page->connections[page->count++] = c;
}

struct batch {
	void *keys;   /* owned */
	void *values; /* owned */
	uint32_t room;
};

static int batch_resize(struct batch *batch, uint32_t room)
{
	free(batch->keys);
	free(batch->values);
	batch->keys = malloc(room * sizeof(struct lb_key6));
	batch->values = malloc(room * sizeof(struct lb_conn6));
	batch->room = room;
	return batch->keys && batch->values ? 0 : -ENOMEM;
}

/* Reads the batch of whole buckets at cursor and visits it until the page is full.  Returns how
 * many entries were visited, or -errno. */
static int read_batch(struct page *page, struct lb_cursor *cursor, struct batch *batch)
{
	bool ipv6 = cursor->family == 1;
	int fd = page->lb->maps[ipv6 ? LB_MAP_CONNS6 : LB_MAP_CONNS4];
	size_t key_size = ipv6 ? sizeof(struct lb_key6) : sizeof(struct lb_key4);
	size_t value_size = ipv6 ? sizeof(struct lb_conn6) : sizeof(struct lb_conn4);
	uint32_t in = cursor->bucket;
	uint32_t out = 0;
	__u32 count = batch->room;
	__u32 i;
	int r = 0;

	if (bpf_map_lookup_batch(fd, in ? &in : NULL, &out, batch->keys, batch->values, &count,
				 NULL) < 0)
		r = -errno;
	if (r == -ENOSPC) /* one bucket holds more than the batch does */
		return batch->room > 1u << 20 ? r : batch_resize(batch, batch->room * 2);
	if (r < 0 && r != -ENOENT)
		return r;
	for (i = cursor->skip; i < count && page->count < page->room; i++)
		visit(page, ipv6, (char *)batch->keys + i * key_size,
		      (char *)batch->values + i * value_size);
	if (i < count) {
		cursor->skip = i;
		return (int)count;
	}
	cursor->skip = 0;
	cursor->bucket = out;
	if (r == -ENOENT || !out) {
		cursor->bucket = 0;
		cursor->family++;
		cursor->done = cursor->family == 2;
	}
	return (int)count;
}

int lb_connections_list(struct lb *lb, const struct lb_connection_filter *filter,
			struct lb_cursor *cursor, struct lb_connection *connections, size_t room)
{
	struct page page = { lb, filter, connections, room, 0, clock_now_ns() };
	uint32_t left = cursor->max_visit ? cursor->max_visit : DEFAULT_VISIT;
	struct batch batch = { 0 };
	int r = batch_resize(&batch, PAGE_BATCH);

	if (cursor->family > 1)
		cursor->done = true;
	while (r >= 0 && !cursor->done && left && page.count < page.room) {
		r = read_batch(&page, cursor, &batch);
		if (r >= 0)
			left -= (uint32_t)r < left ? (uint32_t)r : left;
	}
	free(batch.keys);
	free(batch.values);
	return r < 0 ? r : (int)page.count;
}
