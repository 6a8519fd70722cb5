/* lb_trace.bpf.h - one event a packet, for the operator who asked why it went where it went.
 *
 * Only in lb_traced.bpf.c, which user space swaps in while somebody traces. */
#ifndef LB_TRACE_BPF_H
#define LB_TRACE_BPF_H

#include "lb_flow.bpf.h"

#if LB_TRACED

/* Made anew for each trace, never pinned. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 4096); /* sized before load */
} lb_trace SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_trace_filter);
} lb_trace_filter SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct lb_trace_count);
} lb_trace_counts SEC(".maps");

#define TRACE_WORDS (LB_TRACE_BYTES / 8)

/* Keeps the frame's beginning, before anything changes it. */
static __always_inline void keep_frame(struct xdp_md *ctx, struct lb_trace_event *event)
{
	void *data = frame_start(ctx);
	void *end = frame_end(ctx);
	__u64 *to = (void *)event->frame;
	__u32 at = 0;

#pragma unroll
	for (__u32 i = 0; i < TRACE_WORDS; i++) {
		__u64 *from = data + 8ul * i;

		if ((void *)(from + 1) > end)
			break;
		to[i] = *from;
		at += 8;
	}
	for (__u32 i = 0; i < 7 && at < LB_TRACE_BYTES; i++, at++) {
		__u8 *from = data + at;

		if ((void *)(from + 1) > end)
			break;
		event->frame[at] = *from;
	}
	event->captured = at;
}

static __always_inline void note_packet(struct note *note, const struct packet *p, __be16 type)
{
	note->event.proto = p->proto;
	note->event.tcp_flags = p->tcp_flags;
	note->event.sport = p->sport;
	note->event.dport = p->dport;
	note->event.family = type == bpf_htons(ETH_P_IP) ? AF_INET : AF_INET6;
	note->fragment = p->fragment;
	note->l3 = p->l3;
}

/* Before the packet is balanced: keeps what that may change.  It is parsed twice, so that the
 * program that nobody traces is not built around what this needs. */
__noinline int lb_trace_begin(struct xdp_md *ctx)
{
	struct note *note = note_get();
	struct packet p = {};
	__be16 type;

	if (!note)
		return 0;
	note->l3 = 0;
	__builtin_memset(&note->out, 0, sizeof(note->out));
	note->fragment = FRAGMENT_NONE;
	__builtin_memset(&note->event, 0, offsetof(struct lb_trace_event, frame));
	note->event.ifindex = ctx->ingress_ifindex;
	note->event.length = frame_length(ctx);
	note->event.table = NOTE_NO_TABLE;
	note->event.counter = LB_COUNTER_COUNT;
	note->event.state = LB_STATES;
	keep_frame(ctx, &note->event);
	type = parse_ethernet(frame_start(ctx), frame_end(ctx), &p);
	if (type == bpf_htons(ETH_P_IP))
		parse_ipv4(frame_start(ctx), frame_end(ctx), &p);
	else if (type == bpf_htons(ETH_P_IPV6))
		parse_ipv6(ctx, &p);
	else
		return 0;
	note_packet(note, &p, type);
	return 0;
}

/* Addresses stand in the event also where parsing has not come that far: they are read from the
 * frame as it was. */
static __always_inline void note_addresses(struct note *note)
{
	struct lb_trace_event *event = &note->event;
	__u32 l3 = note->l3 & 0x1f;
	bool ipv6 = event->family == AF_INET6;

	if (!event->family)
		return;
	if (event->captured < l3 + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr))) {
		event->family = 0;
	} else if (ipv6) {
		const struct ipv6hdr *ip = (void *)(event->frame + l3);

		__builtin_memcpy(event->saddr, &ip->saddr, sizeof(event->saddr));
		__builtin_memcpy(event->daddr, &ip->daddr, sizeof(event->daddr));
		if (!event->proto)
			event->proto = ip->nexthdr;
	} else {
		const struct iphdr *ip = (void *)(event->frame + l3);

		addr_map_v4(event->saddr);
		addr_map_v4(event->daddr);
		event->saddr[3] = ip->saddr;
		event->daddr[3] = ip->daddr;
		if (!event->proto)
			event->proto = ip->protocol;
	}
}

static __always_inline bool is_icmp(__u8 proto)
{
	return proto == IPPROTO_ICMP || proto == IPPROTO_ICMPV6;
}

/* The entry by which the packet went, NULL: there is none.  An ICMP error went by the entry of the
 * packet that it quotes. */
static __always_inline const struct lb_flow *note_flow(const bool ipv6,
						       const struct lb_trace_event *event,
						       const struct slow_path *slow,
						       struct lb_key6 *key)
{
	bool icmp = is_icmp(event->proto);
	bool forwarded = event->counter == LB_COUNTER_COUNT;
	const struct lb_flow *flow;

	if (!event->family || (icmp && !forwarded))
		return NULL;
	if (icmp) {
		*key = slow->key;
	} else {
		addr_copy(key->saddr, event->saddr);
		addr_copy(key->daddr, event->daddr);
		key->sport = event->sport;
		key->dport = event->dport;
		key->proto = event->proto;
		__builtin_memset(key->zero, 0, sizeof(key->zero));
	}
	flow = conns_find(ipv6, key);
	if (flow || !forwarded)
		return flow;
	/* Without an entry it is the slow path that made one up. */
	return ipv6 ? &slow->conn.flow : &slow->conn4.flow;
}

static __always_inline void note_translation(const bool ipv6, struct lb_key6 *out,
					     const struct lb_flow *flow)
{
	if (is_direct(flow->mode))
		return;
	flow_addresses(ipv6, flow, out->saddr, out->daddr);
	out->sport = flow->sport;
	out->dport = flow->dport;
}

static __always_inline void note_outcome(const bool ipv6, struct note *note)
{
	struct lb_trace_event *event = &note->event;
	const struct slow_path *slow = slow_path();
	const struct lb_backend *backend;
	const struct lb_flow *flow;
	struct lb_key6 key;
	__u32 row;

	if (slow && note->fragment == FRAGMENT_LATER && addr_same(slow->p.saddr, event->saddr) &&
	    addr_same(slow->p.daddr, event->daddr)) {
		event->sport = slow->p.sport; /* the first fragment's */
		event->dport = slow->p.dport;
	}
	flow = slow ? note_flow(ipv6, event, slow, &key) : NULL;
	if (flow) {
		event->row = flow->backend;
		event->state = flow->state;
		event->mode = flow->mode;
		if (flow->flags & LB_FLOW_REPLY)
			event->flags |= LB_TRACE_REPLY;
		note_translation(ipv6, &note->out, flow);
	}
	row = event->row;
	backend = row ? bpf_map_lookup_elem(&lb_backends, &row) : NULL;
	if (!backend || (flow && flow->incarnation != backend->incarnation))
		return;
	event->backend = backend->id;
	event->table = backend->service;
}

static __always_inline bool in_network(const struct lb_trace_filter *filter, const __be32 *addr)
{
	return !(((addr[0] ^ filter->addr[0]) & filter->mask[0]) |
		 ((addr[1] ^ filter->addr[1]) & filter->mask[1]) |
		 ((addr[2] ^ filter->addr[2]) & filter->mask[2]) |
		 ((addr[3] ^ filter->addr[3]) & filter->mask[3]));
}

/* Either end, as it came or as it leaves: who asks for a client gets the answers to it, too. */
static __always_inline bool has_port(const struct note *note, __be16 port)
{
	return port == note->event.sport || port == note->event.dport || port == note->out.sport ||
	       port == note->out.dport;
}

static __always_inline bool has_address(const struct lb_trace_filter *filter,
					const struct note *note)
{
	return note->event.family &&
	       (in_network(filter, note->event.saddr) || in_network(filter, note->event.daddr) ||
		(note->out.sport &&
		 (in_network(filter, note->out.saddr) || in_network(filter, note->out.daddr))));
}

static __always_inline bool is_wanted(const struct lb_trace_filter *filter, const struct note *note)
{
	const struct lb_trace_event *event = &note->event;
	bool any_address = !(filter->mask[0] | filter->mask[1] | filter->mask[2] | filter->mask[3]);

	if (filter->only_drops && event->verdict != XDP_DROP)
		return false;
	if (filter->backend && filter->backend != event->backend)
		return false;
	if (filter->port && !has_port(note, filter->port))
		return false;
	if (filter->proto && filter->proto != event->proto &&
	    !(filter->proto == IPPROTO_ICMP && event->proto == IPPROTO_ICMPV6))
		return false;
	return any_address || has_address(filter, note);
}

static __always_inline void emit(const struct lb_trace_event *event, struct lb_trace_count *count)
{
	struct lb_trace_event *sent = bpf_ringbuf_reserve(&lb_trace, sizeof(*sent), 0);

	if (!sent) {
		count->lost++;
		count_event(LB_TRACE_LOST);
		return;
	}
	*sent = *event;
	sent->time_ns = bpf_ktime_get_ns();
	count->sent++;
	/* Who traces looks by the clock: waking it for each packet would cost more than the event.
	 */
	bpf_ringbuf_submit(sent, BPF_RB_NO_WAKEUP);
}

/* Makes the event, if it is wanted.  Returns the packet's verdict. */
__noinline int lb_trace_end(__u32 verdict)
{
	const struct lb_trace_filter *filter;
	struct lb_trace_count *count;
	struct note *note = note_get();
	__u32 zero = 0;
	__u64 turn;

	filter = bpf_map_lookup_elem(&lb_trace_filter, &zero);
	count = bpf_map_lookup_elem(&lb_trace_counts, &zero);
	if (!note || !filter || !count)
		return verdict;
	count->seen++;
	note->event.verdict = verdict;
	note_addresses(note);
	if (note->event.family == AF_INET6)
		note_outcome(true, note);
	else
		note_outcome(false, note);
	if (!is_wanted(filter, note))
		return verdict;
	turn = count->matched++;
	if (filter->sample < 2 || turn % filter->sample == 0)
		emit(&note->event, count);
	return verdict;
}

#else

static __always_inline int lb_trace_begin(struct xdp_md *ctx)
{
	return 0;
}

static __always_inline int lb_trace_end(__u32 verdict)
{
	return verdict;
}

#endif
#endif
