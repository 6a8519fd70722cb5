/* lb_fragment.bpf.h - fragments follow the first one of their datagram, which alone has ports. */
#ifndef LB_FRAGMENT_BPF_H
#define LB_FRAGMENT_BPF_H

#include "lb_flow.bpf.h"

/* How long a reassembling host would wait, about: RFC 8200 section 4.5. */
#define FRAGMENT_TICKS 60

static __always_inline bool is_service_address(const __be32 *addr)
{
	struct lb_service_key key = { .proto = IPPROTO_ICMP };

	addr_copy(key.addr, addr);
	return bpf_map_lookup_elem(&lb_services, &key);
}

static __always_inline void fragment_key(struct lb_fragment_key *key, const struct packet *p)
{
	addr_copy(key->saddr, p->saddr);
	addr_copy(key->daddr, p->daddr);
	key->id = p->id;
	key->proto = p->proto;
	__builtin_memset(key->zero, 0, sizeof(key->zero));
}

/* A later fragment gets its ports, into slow_path()->p.  Returns FLOW_GO or a verdict. */
__noinline int lb_later_fragment(struct xdp_md *ctx)
{
	struct slow_path *slow = slow_path();
	const struct lb_fragment *first;
	struct lb_fragment_key key;

	if (!slow)
		return XDP_PASS;
	fragment_key(&key, &slow->p);
	first = bpf_map_lookup_elem(&lb_fragments, &key);
	if (!first || slow->p.now - first->seen > FRAGMENT_TICKS)
		return pass(ctx,
			    is_service_address(slow->p.daddr) ? LB_FRAGMENT_EARLY : LB_FRAGMENT);
	slow->p.sport = first->sport;
	slow->p.dport = first->dport;
	return FLOW_GO;
}

/* The ports of a first fragment are kept for the later ones. */
__noinline int lb_first_fragment(struct xdp_md *ctx)
{
	struct slow_path *slow = slow_path();
	struct lb_fragment first = {};
	struct lb_fragment_key key;

	if (!slow || !ctx)
		return XDP_PASS;
	fragment_key(&key, &slow->p);
	first.sport = slow->p.sport;
	first.dport = slow->p.dport;
	first.seen = slow->p.now;
	bpf_map_update_elem(&lb_fragments, &key, &first, BPF_ANY);
	return FLOW_GO;
}

/* Before the lookup of a fragment's flow: a later one gets its ports, a first one leaves them. */
static __always_inline int follow_fragment(struct xdp_md *ctx, bool ipv6, struct packet *p)
{
	struct slow_path *slow = slow_path();
	int r;

	if (!slow)
		return XDP_PASS;
	p->now = clock_ticks();
	slow->p = *p;
	if (!ipv6) {
		addr_map_v4(slow->p.saddr);
		addr_map_v4(slow->p.daddr);
	}
	if (p->fragment == FRAGMENT_FIRST)
		return ports_match(p) ? lb_first_fragment(ctx) : pass(ctx, LB_NOT_OURS);
	r = lb_later_fragment(ctx);
	p->sport = slow->p.sport;
	p->dport = slow->p.dport;
	return r;
}

#endif
