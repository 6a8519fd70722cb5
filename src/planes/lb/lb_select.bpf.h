/* lb_select.bpf.h - which backend a new flow goes to: by the server id in its QUIC connection id,
 * by where its client was before, else by the service's slot table. */
#ifndef LB_SELECT_BPF_H
#define LB_SELECT_BPF_H

#include "lb_flow.bpf.h"

#define QUIC_LONG	   0x80 /* RFC 9000 section 17 */
#define QUIC_FIXED	   0x40
#define QUIC_TYPE	   0x30
#define QUIC_HANDSHAKE	   0x20
#define QUIC_LONG_ID_BYTES 5 /* where a long header says how long the destination's id is */

static __always_inline __u64 mix64(__u64 x)
{
	x ^= x >> 32;
	x *= 0xd6e8feb86659fd93ull;
	x ^= x >> 32;
	return x;
}

/* The same on every node, so that any of them picks the same backend for a flow. */
static __always_inline __u64 hash_of_packet(bool ipv6, const struct packet *p)
{
	__u64 h = mix64((__u64)p->sport << 32 | (__u64)p->dport << 16 | p->proto);

	if (ipv6) {
		h = mix64(h ^ ((__u64)p->saddr[0] << 32 | p->saddr[1]));
		h = mix64(h ^ ((__u64)p->daddr[0] << 32 | p->daddr[1]));
		h = mix64(h ^ ((__u64)p->daddr[2] << 32 | p->saddr[2]));
	}
	return mix64(h ^ ((__u64)p->saddr[3] << 32 | p->daddr[3]));
}

static __always_inline __u32 hash_of_source(bool ipv6, const struct packet *p)
{
	__u64 h = mix64(p->saddr[3]);

	if (ipv6) {
		h = mix64(h ^ ((__u64)p->saddr[0] << 32 | p->saddr[1]));
		h = mix64(h ^ p->saddr[2]);
	}
	return mix64(h);
}

/* hash scaled to 0 .. n-1, without a division. */
static __always_inline __u32 scale(__u32 hash, __u32 n)
{
	return (__u64)hash * n >> 32;
}

/* Fills nf->backend and nf->row if that backend takes new flows. */
static __always_inline bool use_row(struct slow_path *nf, __u32 row)
{
	const struct lb_backend *backend = bpf_map_lookup_elem(&lb_backends, &row);

	if (!row || !backend || backend->state != LB_BACKEND_ACTIVE)
		return false;
	nf->row = row;
	nf->backend = *backend;
	note_row(row);
	return true;
}

/* The next slot: each CPU walks the table on its own, from a place of its own. */
static __always_inline __u32 next_turn(__u32 table, __u32 size)
{
	__u32 *turn = bpf_map_lookup_elem(&lb_turns, &table);
	__u32 slot;

	if (!turn)
		return 0;
	slot = *turn;
	if (slot >= size)
		slot = 0;
	*turn = slot + 1;
	slot += scale(bpf_get_smp_processor_id() * 0x9e3779b9u, size);
	return slot < size ? slot : slot - size;
}

static __always_inline bool use_slot(struct slow_path *nf, bool ipv6)
{
	const struct lb_service *service = &nf->service;
	__u32 table_row = service->table;
	__u32 slot;
	void *table;
	__u32 *row;

	if (lb_const_turns && service->pick == LB_PICK_TURN)
		slot = next_turn(table_row, service->table_size);
	else if (service->pick == LB_PICK_SOURCE)
		slot = scale(hash_of_source(ipv6, &nf->p), service->table_size);
	else
		slot = scale(nf->hash, service->table_size);
	table = bpf_map_lookup_elem(&lb_tables, &table_row);
	if (!table)
		return false;
	row = bpf_map_lookup_elem(table, &slot);
	return row && use_row(nf, *row);
}

/* ---- affinity ---- */

static __always_inline void affinity_key(struct lb_affinity_key *key, const struct packet *p,
					 __u32 table)
{
	addr_copy(key->addr, p->saddr);
	key->table = table;
	key->proto = p->proto;
	__builtin_memset(key->zero, 0, sizeof(key->zero));
}

static __always_inline bool use_affinity(struct slow_path *nf)
{
	const struct lb_affinity *affinity;
	struct lb_affinity_key key;

	affinity_key(&key, &nf->p, nf->service.table);
	affinity = bpf_map_lookup_elem(&lb_affinity, &key);
	/* Flows in use renew it no oftener. */
	if (!affinity ||
	    nf->p.now - affinity->seen > nf->service.affinity_ticks + lb_const_touch_ticks)
		return false;
	if (!use_row(nf, affinity->backend) || nf->backend.incarnation != affinity->incarnation)
		return false;
	count_event(LB_AFFINE);
	return true;
}

static __always_inline void note_affinity(const struct slow_path *nf)
{
	struct lb_affinity affinity = { .backend = nf->row,
					.seen = nf->p.now,
					.incarnation = nf->backend.incarnation };
	struct lb_affinity_key key;

	affinity_key(&key, &nf->p, nf->service.table);
	bpf_map_update_elem(&lb_affinity, &key, &affinity, BPF_ANY);
}

/* slow->p of a flow was seen, the client's packet or the backend's, and table is its service's: the
 * client stays for the affinity's timeout from now on.  Uses slow->conn: the stack is short here.
 */
static __always_inline void renew_affinity(const bool ipv6, struct slow_path *slow,
					   const struct lb_flow *flow, __u32 table)
{
	struct lb_affinity *affinity;
	struct lb_affinity_key key;

	affinity_key(&key, &slow->p, table);
	if (flow->flags & LB_FLOW_REPLY) {
		flow_addresses(ipv6, flow, slow->conn.saddr, slow->conn.daddr);
		addr_copy(key.addr, slow->conn.daddr);
	}
	affinity = bpf_map_lookup_elem(&lb_affinity, &key);
	if (affinity && affinity->backend == flow->backend)
		affinity->seen = slow->p.now;
}

/* ---- QUIC ---- */

/* Where the destination's connection id begins in the frame, 0: nowhere.  The ids of a client's
 * first packets are its own invention. */
static __always_inline __u32 quic_id_offset(struct xdp_md *ctx, const struct packet *p, __u32 bytes)
{
	__u32 at = (p->l4 & 0xfff) + sizeof(struct udphdr);
	__u8 *payload = frame_start(ctx) + at;

	if (!packet_has(p, at, 1) || (void *)(payload + 1) > frame_end(ctx) ||
	    !(*payload & QUIC_FIXED))
		return 0;
	if (!(*payload & QUIC_LONG))
		return at + 1;
	if ((*payload & QUIC_TYPE) != QUIC_HANDSHAKE ||
	    (void *)(payload + QUIC_LONG_ID_BYTES + 1) > frame_end(ctx) ||
	    payload[QUIC_LONG_ID_BYTES] < bytes)
		return 0;
	return at + QUIC_LONG_ID_BYTES + 1;
}

static __always_inline bool use_server_id(struct xdp_md *ctx, struct slow_path *nf)
{
	const struct lb_service *service = &nf->service;
	struct lb_server_id key = { .table = service->table };
	__u32 bytes = service->id_offset + service->id_length;
	__u32 at = quic_id_offset(ctx, &nf->p, bytes);
	__u32 *row;

	/* What pads the frame is no id. */
	if (!at || !packet_has(&nf->p, at, bytes))
		return false;
	at += service->id_offset;
	for (__u32 i = 0; i < 4; i++) {
		__u8 *byte = frame_start(ctx) + (at & 0x1fff) + i;

		if (i >= service->id_length)
			break;
		if ((void *)(byte + 1) > frame_end(ctx))
			return false;
		key.id = key.id << 8 | *byte;
	}
	row = bpf_map_lookup_elem(&lb_server_ids, &key);
	if (!row || !use_row(nf, *row))
		return false;
	count_event(LB_BY_SERVER_ID);
	return true;
}

/* Errors quote, later fragments continue: neither has an id where it is looked for. */
static __always_inline bool may_have_server_id(const struct slow_path *nf)
{
	return nf->service.flags & LB_SERVICE_QUIC && !nf->p.from_icmp &&
	       nf->p.fragment != FRAGMENT_LATER;
}

/* Fills nf->backend and nf->row.  False: there is nobody. */
static __always_inline bool select_backend(struct xdp_md *ctx, bool ipv6, struct slow_path *nf)
{
	if (!(lb_const_quic && may_have_server_id(nf) && use_server_id(ctx, nf)) &&
	    !(lb_const_affinity && nf->service.affinity_ticks && use_affinity(nf)) &&
	    !use_slot(nf, ipv6))
		return false;
	if (lb_const_affinity && nf->service.affinity_ticks && !nf->p.from_icmp)
		note_affinity(nf);
	return true;
}

#endif
