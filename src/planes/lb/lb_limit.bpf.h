/* lb_limit.bpf.h - who may begin flows, and how many. */
#ifndef LB_LIMIT_BPF_H
#define LB_LIMIT_BPF_H

#include "lb_flow.bpf.h"

/* A second's worth of flows may come at once. */
#define LIMIT_BURST_NS 1000000000ull

/* Would an answer come back here as a new flow, and be answered in turn?  One packet with a forged
 * source would be enough for two services to talk without end. */
static __always_inline bool is_from_service(const bool ipv6, const struct packet *p)
{
	struct lb_service_key key = {};

	if (!port_is_ours(p->proto, p->sport))
		return false;
	if (ipv6) {
		addr_copy(key.addr, p->saddr);
	} else {
		addr_map_v4(key.addr);
		key.addr[3] = p->saddr[3];
	}
	key.port = p->sport;
	key.proto = p->proto;
	if (bpf_map_lookup_elem(&lb_services, &key))
		return true;
	key.port = 0;
	return lb_const_any_port && bpf_map_lookup_elem(&lb_services, &key);
}

/* May the client use the service at all? */
static __always_inline bool is_denied(const struct slow_path *nf)
{
	struct lb_filter_key key = { .prefix = 8 * (sizeof(key) - sizeof(key.prefix)) };
	const __u32 *filter;

	key.table = bpf_htonl(nf->service.table);
	addr_copy(key.addr, nf->p.saddr);
	filter = bpf_map_lookup_elem(&lb_filters, &key);
	if (!filter)
		return nf->service.flags & LB_SERVICE_DENY;
	return *filter == LB_FILTER_DENY;
}

/* The generic cell rate algorithm.  CPUs that meet here let a flow too many in: the limit is a
 * shield, not a scale. */
static __always_inline bool is_early(__u64 *due, __u32 interval_ns, __u64 now)
{
	__u64 at = *due;

	if (at > now + LIMIT_BURST_NS)
		return true;
	*due = (at > now ? at : now) + interval_ns;
	return false;
}

static __always_inline bool source_is_early(const struct slow_path *nf, bool ipv6, __u64 now)
{
	struct lb_source_key key = { .table = nf->service.table };
	__u64 first = now + nf->service.source_rate_ns;
	__u64 *due;

	addr_copy(key.addr, nf->p.saddr);
	if (ipv6)
		key.addr[2] = key.addr[3] = 0; /* a host has its /64 to itself */
	due = bpf_map_lookup_elem(&lb_source_rates, &key);
	if (due)
		return is_early(due, nf->service.source_rate_ns, now);
	bpf_map_update_elem(&lb_source_rates, &key, &first, BPF_ANY);
	return false;
}

/* Does the packet's new flow exceed a limit of its service?  If not, it is counted. */
static __always_inline bool is_limited(const struct slow_path *nf, bool ipv6)
{
	__u32 table = nf->service.table;
	__u64 now = bpf_ktime_get_ns();
	__u64 *due;

	if (nf->service.source_rate_ns && source_is_early(nf, ipv6, now))
		return true;
	if (!nf->service.rate_ns)
		return false;
	due = bpf_map_lookup_elem(&lb_rates, &table);
	return due && is_early(due, nf->service.rate_ns, now);
}

/* The same without counting, of the service alone: is it under attack? */
static __always_inline bool is_pressed(const struct slow_path *nf)
{
	__u32 table = nf->service.table;
	const __u64 *due = bpf_map_lookup_elem(&lb_rates, &table);

	return nf->service.rate_ns && due && *due > bpf_ktime_get_ns();
}

#endif
