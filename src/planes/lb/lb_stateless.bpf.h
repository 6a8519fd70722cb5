/* lb_stateless.bpf.h - the short way of a packet where no connections are kept: service, slot,
 * backend, and out.
 *
 * It decides the common case alone. Whatever else may be (limits, lists, a way unknown, a packet
 * that does not fit) the path of new flows decides (lb_new.bpf.h), which says the same of a packet
 * that both could take. */
#ifndef LB_STATELESS_BPF_H
#define LB_STATELESS_BPF_H

#include "lb_new.bpf.h"

static __always_inline const struct lb_service *plain_service(bool ipv6, const struct packet *p)
{
	struct lb_service_key key = {};
	const struct lb_service *service;

	if (ipv6) {
		addr_copy(key.addr, p->daddr);
	} else {
		key.addr[2] = bpf_htonl(0xffff);
		key.addr[3] = p->daddr[3];
	}
	key.port = p->dport;
	key.proto = p->proto;
	service = bpf_map_lookup_elem(&lb_services, &key);
	if (service)
		note_service(service->table);
	if (!service || service->flags || service->affinity_ticks || service->rate_ns ||
	    service->source_rate_ns || service->pick == LB_PICK_TURN)
		return NULL;
	return service;
}

/* The row of the packet's backend; 0: there is none. */
static __always_inline __u32 slot_of(bool ipv6, const struct packet *p,
				     const struct lb_service *service, __u64 hash)
{
	__u32 table_row = service->table;
	__u32 slot;
	void *table;
	__u32 *row;

	slot = scale(service->pick == LB_PICK_SOURCE ? hash_of_source(ipv6, p) : hash,
		     service->table_size);
	table = bpf_map_lookup_elem(&lb_tables, &table_row);
	row = table ? bpf_map_lookup_elem(table, &slot) : NULL;
	return row ? *row : 0;
}

/* Does the packet go its way as it is? */
static __always_inline bool goes_plainly(const struct packet *p, const struct lb_backend *backend,
					 __u8 mode, bool outer6)
{
	if (backend->state != LB_BACKEND_ACTIVE || !backend->hop.ifindex)
		return false;
	if (p->fragment || p->truncated || p->expired)
		return false;
	if (p->proto == IPPROTO_TCP && !flags_can_begin(p->tcp_flags))
		return false;
	if (lb_const_mss_max && p->tcp_flags & TCP_SYN)
		return false;
	return p->length <= tunnel_mtu(backend->mtu, mode, outer6);
}

static __always_inline void fill_flow(struct lb_flow *flow, const struct lb_backend *backend,
				      __u32 row, __u8 mode, __u64 hash)
{
	flow->backend = row;
	flow->incarnation = backend->incarnation;
	flow->hop = backend->hop;
	flow->tags = backend->tags;
	flow->flags = 0;
	flow->mode = mode;
	flow->sport = outer_port(hash);
	flow->dport = lb_const_gue_port;
}

/* Fills slow_path()->conn4 or conn for a packet, or returns false: another must decide. */
static __always_inline bool stateless(bool ipv6, const struct packet *p)
{
	struct slow_path *slow = slow_path();
	const struct lb_service *service = plain_service(ipv6, p);
	const struct lb_backend *backend;
	bool outer6;
	__u64 hash;
	__u32 row;

	if (!slow || !service || is_from_service(ipv6, p))
		return false;
	hash = hash_of_packet(ipv6, p);
	row = slot_of(ipv6, p, service, hash);
	backend = bpf_map_lookup_elem(&lb_backends, &row);
	if (!row || !backend)
		return false;
	outer6 = ipv6 || (lb_const_outer6 && !backend_is_v4(backend));
	note_row(row);
	if (!goes_plainly(p, backend, service->mode, outer6))
		return false;
	if (ipv6) {
		fill_flow(&slow->conn.flow, backend, row, service->mode, hash);
		outer_source6(slow->conn.saddr, hash);
		addr_copy(slow->conn.daddr, backend->addr);
	} else {
		fill_flow(&slow->conn4.flow, backend, row, service->mode, hash);
		if (outer6)
			slow->conn4.flow.flags = LB_FLOW_OUTER6;
		slow->conn4.saddr = outer6 ? outer_last6(hash) : outer_source4(hash);
		slow->conn4.daddr = backend->addr[3];
	}
	count_event(LB_STATELESS);
	return true;
}

#endif
