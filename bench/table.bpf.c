// SPDX-License-Identifier: GPL-2.0-only
/* table.bpf.c - connection tables compared: the kernel's hashes, and a set-associative one in
 * arrays.
 *
 * No packet is read: a flow's key is made of the packet's number, so that what is timed is the
 * table alone.  A group of `ways` entries is searched from the way that the hash names, nearest
 * ones first (way ^ 0, ^ 1, ...), so that a flow is mostly found in the first cache line it could
 * be in. */
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#include <bpf/bpf_helpers.h>

#include "abi/lb_abi.h"
#include "table.h"

#define SCATTER	 0x9e3779b97f4a7c15ull
#define WAYS_MAX 16
#define WAY_MASK 15

const volatile __u32 t_entry = TABLE_ENTRY_BYTES; /* bytes */
const volatile __u32 t_ways = 16;
const volatile __u32 t_buckets = 1; /* of TABLE_BUCKET bytes, in all */
const volatile __u32 t_lock;	    /* enum table_lock */
const volatile bool t_nested;	    /* in many small arrays, not in one */
const volatile __u32 t_choice;	    /* enum table_choice */

struct table_order order;

struct bucket {
	__u64 word[TABLE_BUCKET / 8];
};

struct lock {
	struct bpf_spin_lock lock;
};

/* Type, size and flags are set by the loader. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, struct lb_key4);
	__type(value, struct lb_conn4);
} t_kernel SEC(".maps");

/* Mappable: such an array's first value begins at a page, any other's 16 bytes past a line. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(map_flags, BPF_F_MMAPABLE);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bucket);
} t_flat SEC(".maps");

struct inner {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__uint(key_size, sizeof(__u32));
	__uint(value_size, TABLE_PART_BYTES);
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY_OF_MAPS);
	__uint(max_entries, 1);
	__type(key, __u32);
	__array(values, struct inner);
} t_parts SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, TABLE_LOCKS);
	__type(key, __u32);
	__type(value, struct lock);
} t_locks SEC(".maps");

static __always_inline __u64 flow_next(void)
{
	return order.first + ((order.next++ * SCATTER) & order.mask);
}

static __always_inline void key_make(__u64 flow, struct lb_key4 *key)
{
	*key = (struct lb_key4){ .saddr = 0x0a800000 + (flow & 0xfffff),
				 .daddr = 0x0a000001,
				 .sport = 10000 + (flow >> 20),
				 .dport = 80,
				 .proto = 6 };
}

/* Ports beside the client's address: a word that hardly two flows share. */
static __always_inline void key_pack(__u64 flow, __u64 key[2])
{
	struct lb_key4 k;

	key_make(flow, &k);
	key[0] = k.saddr | (__u64)k.sport << 32 | (__u64)k.dport << 48;
	key[1] = k.daddr | (__u64)k.proto << 32;
}

static __always_inline __u64 hash(const __u64 key[2])
{
	__u64 h = (key[0] ^ order.seed) * 0x9fb21c651e98df25ull;

	h ^= h >> 32;
	h = (h ^ key[1]) * SCATTER;
	h ^= h >> 29;
	h *= 0xbf58476d1ce4e5b9ull;
	return h ^ h >> 32;
}

/* Verifier: an array of one element, whose bytes begin somewhere in a cache line. */
static __always_inline void *part_bucket(__u32 index)
{
	__u32 part = index / TABLE_PART, zero = 0;
	__u32 in = index % TABLE_PART;
	void *inner, *value;
	__u64 at;

	inner = bpf_map_lookup_elem(&t_parts, &part);
	if (!inner)
		return NULL;
	value = bpf_map_lookup_elem(inner, &zero);
	asm volatile("" : "+r"(in)); /* else clang knows better than the verifier */
	if (!value || in >= TABLE_PART)
		return NULL;
	at = (__u64)value;
	asm volatile("" : "+r"(at));
	at = -at & 63;
	return value + at + in * TABLE_BUCKET;
}

static __always_inline void *bucket_at(__u32 index)
{
	if (t_nested)
		return part_bucket(index);
	return bpf_map_lookup_elem(&t_flat, &index);
}

/* A group: bucket, where it begins, and the way to begin with. */
struct group {
	void *bucket;
	__u32 index; /* of the bucket */
	__u32 first;
	__u32 home;
	__u32 ways;
	__u32 entry;
};

static __always_inline bool group_open(struct group *g, __u64 h)
{
	__u32 ways = t_ways, entry = t_entry;

	g->ways = ways;
	g->entry = entry;
	g->index = ((h >> 32) * t_buckets) >> 32;
	g->bucket = bucket_at(g->index);
	g->first = (__u32)h & (TABLE_BUCKET - 1) & ~(ways * entry - 1);
	g->home = (__u32)h >> 16 & (ways - 1);
	return g->bucket;
}

static __always_inline struct table_entry *entry_at(const struct group *g, __u32 i)
{
	__u32 at = g->first + (g->home ^ i) * g->entry;

	return g->bucket + (at & (TABLE_BUCKET - TABLE_ENTRY_BYTES));
}

/* Loads into nowhere: the memory is under way while the program goes on. */
static __always_inline void touch(const struct group *g)
{
	for (__u32 i = 0; i < WAYS_MAX && i < g->ways; i += 64 / TABLE_ENTRY_BYTES)
		(void)*(const volatile __u64 *)entry_at(g, i)->key;
}

static __always_inline bool entry_is(const struct table_entry *e, const __u64 key[2])
{
	const volatile __u64 *k = e->key;

	return k[0] == key[0] && k[1] == key[1];
}

static __always_inline struct table_entry *group_find(const struct group *g, const __u64 key[2])
{
	for (__u32 i = 0; i < WAYS_MAX && i < g->ways; i++) {
		struct table_entry *e = entry_at(g, i);

		if (entry_is(e, key))
			return e;
	}
	return NULL;
}

static __always_inline __u64 smaller(__u64 a, __u64 b)
{
	__s64 d = a - b, negative = d >> 63;

	asm volatile("" : "+r"(negative)); /* no branch: half of the guesses would be wrong */
	return b + (d & negative);
}

/* What is given up first is smallest: class, then last use, then the distance to the home way. */
static __always_inline __u64 entry_rank(const struct table_entry *e, __u32 i)
{
	__u64 word = *(const volatile __u64 *)&e->seen;

	return word >> 56 << 40 | (word & 0xffffffff) << 8 | i;
}

static __always_inline bool rank_is_free(__u64 rank)
{
	return rank < 1ull << 40;
}

/* What a new flow asks of a group: is it there after all, which entry may it take? */
struct scan {
	__u64 rank; /* the victim's */
	__u32 free;
	bool found;
};

static __always_inline void group_scan(const struct group *g, const __u64 key[2], struct scan *s)
{
	__u64 rank = ~0ull >> 1;
	__u32 free = 0;

	s->found = false;
	for (__u32 i = 0; i < WAYS_MAX && i < g->ways; i++) {
		const struct table_entry *e = entry_at(g, i);

		if (entry_is(e, key)) {
			s->found = true;
			break;
		}
		rank = smaller(entry_rank(e, i), rank);
		if (t_choice == TABLE_CHOICE_ROOM)
			free += !e->class;
	}
	s->rank = rank;
	s->free = free;
}

/* The key's first word last: a lookup that has found its key and finds it again has read
 * what belongs to it (TSO; other machines need their barriers here). */
static __always_inline void entry_write(struct table_entry *e, const __u64 key[2], __u32 backend)
{
	volatile struct table_entry *to = e;

	to->key[0] = 0;
	to->key[1] = key[1];
	to->backend = backend;
	to->generation = 1;
	to->sport = 0;
	to->flags = 0;
	to->class = order.class;
	to->key[0] = key[0];
	to->seen = order.now; /* ends a claim */
}

static __always_inline struct lock *lock_of(const struct group *g)
{
	__u32 index = g->index & (TABLE_LOCKS - 1);

	return bpf_map_lookup_elem(&t_locks, &index);
}

/* False: another CPU took the entry meanwhile. */
static __always_inline bool entry_take(struct table_entry *e, __u64 rank)
{
	__u32 seen = rank >> 8;

	if (t_lock == TABLE_LOCK_CLAIM)
		return __sync_val_compare_and_swap(&e->seen, seen, ~0u) == seen;
	return t_lock == TABLE_LOCK_NONE || e->seen == seen;
}

static __always_inline bool insert_into(const struct group *g, __u64 rank, const __u64 key[2],
					__u32 backend)
{
	struct table_entry *e = entry_at(g, rank & WAY_MASK);
	struct lock *lock = NULL;
	bool taken;

	if (t_lock == TABLE_LOCK_INSERT || t_lock == TABLE_LOCK_ALL) {
		lock = lock_of(g);
		if (!lock)
			return false;
		bpf_spin_lock(&lock->lock);
	}
	taken = entry_take(e, rank);
	if (taken)
		entry_write(e, key, backend);
	if (lock)
		bpf_spin_unlock(&lock->lock);
	if (taken && !rank_is_free(rank))
		order.evicted++;
	return taken;
}

static __always_inline bool second_is_better(const struct scan *s, const struct scan *s2)
{
	if (t_choice == TABLE_CHOICE_ROOM && s->free != s2->free)
		return s2->free > s->free;
	return !rank_is_free(s->rank) && s2->rank < s->rank;
}

/* False: the flow is there already, or its place was taken meanwhile. */
static __always_inline bool insert(const struct group *g, const struct group *g2,
				   const __u64 key[2], __u32 backend)
{
	struct scan s, s2;

	group_scan(g, key, &s);
	if (s.found)
		return false;
	if (t_choice) {
		group_scan(g2, key, &s2);
		if (s2.found)
			return false;
		if (second_is_better(&s, &s2))
			return insert_into(g2, s2.rank, key, backend);
	}
	return insert_into(g, s.rank, key, backend);
}

static __always_inline void entry_note(struct table_entry *e)
{
	__u32 seen = e->seen;

	if (seen == order.now)
		return;
	if (t_lock != TABLE_LOCK_CLAIM)
		e->seen = order.now;
	else if (seen != ~0u) /* nor end another CPU's claim */
		__sync_val_compare_and_swap(&e->seen, seen, order.now);
}

/* The backend of a flow, 0: not in the group. */
static __always_inline __u32 find_in(const struct group *g, const __u64 key[2])
{
	struct lock *lock = NULL;
	struct table_entry *e;
	__u32 backend = 0;

	if (t_lock == TABLE_LOCK_ALL) {
		lock = lock_of(g);
		if (!lock)
			return 0;
		bpf_spin_lock(&lock->lock);
	}
	e = group_find(g, key);
	if (e) {
		backend = *(volatile __u32 *)&e->backend;
		if (t_lock != TABLE_LOCK_NONE && !entry_is(e, key))
			backend = 0;
		if (backend)
			entry_note(e);
	}
	if (lock)
		bpf_spin_unlock(&lock->lock);
	return backend;
}

static __always_inline __u32 find(const struct group *g, const struct group *g2, const __u64 key[2])
{
	__u32 backend = find_in(g, key);

	return backend || !t_choice ? backend : find_in(g2, key);
}

static __always_inline __u64 groups_open(const __u64 key[2], struct group *g, struct group *g2)
{
	__u64 h = hash(key);

	if (!group_open(g, h))
		return 0;
	*g2 = *g;
	if (t_choice && !group_open(g2, h * SCATTER))
		return 0;
	return h | 1;
}

static __always_inline __u32 own_find_next(void)
{
	struct group g, g2;
	__u64 key[2], h;
	__u32 backend;

	key_pack(flow_next(), key);
	h = groups_open(key, &g, &g2);
	if (h && t_choice == TABLE_CHOICE_ROOM)
		(void)*(const volatile __u64 *)entry_at(&g2, 0)->key;
	backend = h ? find(&g, &g2, key) : 0;
	if (backend)
		order.found++;
	else
		order.lost++;
	return backend;
}

/* As the rest of a balancer: some 30 ns of instructions that need the entry.  They fill the CPU's
 * window, so that it cannot begin with the next packet while memory is awaited. */
static __always_inline void work(__u64 x)
{
	__u64 a = x, b = x + 1, c = x + 2;

#pragma unroll
	for (int i = 0; i < 40; i++) {
		a = a * 3 + i;
		b ^= a >> 3;
		c += b;
		asm volatile("" : "+r"(a), "+r"(b), "+r"(c));
	}
	order.done += c;
}

SEC("xdp")
int own_find(struct xdp_md *ctx)
{
	own_find_next();
	return XDP_PASS;
}

SEC("xdp")
int own_find_work(struct xdp_md *ctx)
{
	work(own_find_next());
	return XDP_PASS;
}

/* As a SYN: most likely of a new flow, so all memory it may need is asked for at once. */
SEC("xdp")
int own_new(struct xdp_md *ctx)
{
	struct group g, g2;
	__u64 key[2], h;

	key_pack(flow_next(), key);
	h = groups_open(key, &g, &g2);
	if (!h)
		return XDP_DROP;
	touch(&g);
	if (t_choice)
		touch(&g2);
	if (insert(&g, &g2, key, h))
		order.found++;
	return XDP_PASS;
}

/* As a SYN under NAT: the way back as well. */
SEC("xdp")
int own_new_pair(struct xdp_md *ctx)
{
	__u64 key[2], reply[2], h, h2;
	struct group g, g2, r, r2;

	key_pack(flow_next(), key);
	reply[0] = key[0] ^ 1ull << 63;
	reply[1] = key[1] ^ 1;
	h = groups_open(key, &g, &g2);
	h2 = groups_open(reply, &r, &r2);
	if (!h || !h2)
		return XDP_DROP;
	touch(&g);
	touch(&r);
	if (t_choice) {
		touch(&g2);
		touch(&r2);
	}
	if (insert(&g, &g2, key, h) && insert(&r, &r2, reply, h2))
		order.found++;
	return XDP_PASS;
}

/* Several CPUs on few groups: whether a lookup ever sees what is another flow's. */
SEC("xdp")
int own_race(struct xdp_md *ctx)
{
	struct group g, g2;
	__u32 backend;
	__u64 key[2], h;

	key_pack(order.first + (bpf_get_prandom_u32() & order.mask), key);
	h = groups_open(key, &g, &g2);
	if (!h)
		return XDP_DROP;
	backend = find(&g, &g2, key);
	if (!backend)
		insert(&g, &g2, key, h);
	else if (backend != (__u32)h)
		__sync_fetch_and_add(&order.torn, 1);
	return XDP_PASS;
}

SEC("xdp")
int own_clear(struct xdp_md *ctx)
{
	__u64 *word = bucket_at(order.next++);

	for (int i = 0; word && i < TABLE_BUCKET / 8; i++)
		word[i] = 0;
	return XDP_PASS;
}

static __always_inline __u32 kernel_find_next(void)
{
	struct lb_conn4 *conn;
	struct lb_key4 key;

	key_make(flow_next(), &key);
	conn = bpf_map_lookup_elem(&t_kernel, &key);
	if (!conn || !conn->flow.backend) {
		order.lost++;
		return 0;
	}
	if (conn->flow.seen != order.now)
		conn->flow.seen = order.now;
	order.found++;
	return conn->flow.backend;
}

SEC("xdp")
int kernel_find(struct xdp_md *ctx)
{
	kernel_find_next();
	return XDP_PASS;
}

SEC("xdp")
int kernel_find_work(struct xdp_md *ctx)
{
	work(kernel_find_next());
	return XDP_PASS;
}

SEC("xdp")
int kernel_new(struct xdp_md *ctx)
{
	struct lb_conn4 conn = { .flow.backend = 1, .flow.seen = order.now };
	struct lb_key4 key;

	key_make(flow_next(), &key);
	if (!bpf_map_lookup_elem(&t_kernel, &key) &&
	    !bpf_map_update_elem(&t_kernel, &key, &conn, BPF_ANY))
		order.found++;
	return XDP_PASS;
}

SEC("xdp")
int kernel_new_pair(struct xdp_md *ctx)
{
	struct lb_conn4 conn = { .flow.backend = 1, .flow.seen = order.now };
	struct lb_key4 key, reply;

	key_make(flow_next(), &key);
	reply = (struct lb_key4){ .saddr = key.daddr,
				  .daddr = key.saddr,
				  .sport = key.dport,
				  .dport = key.sport,
				  .proto = key.proto };
	if (!bpf_map_lookup_elem(&t_kernel, &key) &&
	    !bpf_map_update_elem(&t_kernel, &reply, &conn, BPF_NOEXIST) &&
	    !bpf_map_update_elem(&t_kernel, &key, &conn, BPF_ANY))
		order.found++;
	return XDP_PASS;
}

/* Where memory lies: a read whose address waits for the read before it.  Nothing is written, so the
 * table must be clear. */
SEC("xdp")
int memory_chain(struct xdp_md *ctx)
{
	__u64 n = order.next * SCATTER;
	__u64 *word = bucket_at(((n >> 32) * t_buckets) >> 32);

	if (word)
		order.next += 1 + word[0];
	return XDP_PASS;
}

SEC("xdp")
int table_floor(struct xdp_md *ctx)
{
	__u64 key[2];

	key_pack(flow_next(), key);
	if (key[0])
		order.found++;
	return XDP_PASS;
}

SEC("xdp")
int table_floor_work(struct xdp_md *ctx)
{
	__u64 key[2];

	key_pack(flow_next(), key);
	work(key[0]);
	return XDP_PASS;
}

char _license[] SEC("license") = "GPL";
