/* decap.bpf.c - takes the outer headers off what a balancer sent here for a VIP of this host, and
 * hands the inner packet to the kernel; everything else passes untouched. */
#include "decap_inner.bpf.h"

/* The Ethernet header from MAC addresses to the last VLAN tag; what stands there of tags that the
 * frame has not is never written back. */
struct link_header {
	__u32 macs[3];
	__u32 tag[2];
};

static __always_inline int count(__u32 counter, __u32 bytes, int verdict)
{
	struct decap_count *row = bpf_map_lookup_elem(&decap_counters, &counter);

	if (row) {
		row->packets++;
		row->bytes += bytes;
	}
	return verdict;
}

static __always_inline bool strip(struct xdp_md *ctx, const struct outer *o,
				  const struct inner *inner)
{
	struct link_header link;
	void *data = frame_start(ctx);
	__u32 *to;

	if (data + sizeof(link) > frame_end(ctx))
		return false;
	__builtin_memcpy(&link, data, sizeof(link));
	if (bpf_xdp_adjust_head(ctx, inner->at - o->l3))
		return false;
	to = frame_start(ctx);
	/* An inner IPv4 header and the Ethernet header are more. */
	if ((void *)to + sizeof(link) + sizeof(__be16) > frame_end(ctx))
		return false;
	__builtin_memcpy(to, link.macs, sizeof(link.macs));
	to += 3;
	if (o->tags > 0)
		*to++ = link.tag[0];
	if (o->tags > 1)
		*to++ = link.tag[1];
	*(__be16 *)to = inner->version == 4 ? bpf_htons(ETH_P_IP) : bpf_htons(ETH_P_IPV6);
	return true;
}

/* Returns the counter that says what to do with the frame. */
static __always_inline int judge(void *data, void *end, struct outer *o, struct inner *inner)
{
	bool whole;
	__s32 room;
	int counter;

	if (!outer_parse(data, end, o))
		return DECAP_OTHER;
	if (!bpf_map_lookup_elem(&decap_own, &o->daddr))
		return DECAP_NOT_HOST;
	if (o->fragment)
		return DECAP_FRAGMENT;
	whole = o->end <= (__u32)(end - data);
	if (!outer_unwrap(data, end, o, inner))
		return DECAP_NO_VIP;
	room = (__s32)o->end - inner->at;
	if (inner->version == 4)
		counter = inner_ipv4(data, end, inner, room);
	else
		counter = inner_ipv6(data, end, inner, room);
	return counter == inner->counter && !whole ? DECAP_MALFORMED : counter;
}

SEC("xdp")
int decap_main(struct xdp_md *ctx)
{
	void *data = frame_start(ctx);
	void *end = frame_end(ctx);
	__u32 bytes = frame_length(ctx);
	struct outer o = { 0 };
	struct inner inner = { 0 };
	int counter = judge(data, end, &o, &inner);

	switch (counter) {
	case DECAP_OTHER:
	case DECAP_NOT_HOST:
	case DECAP_FRAGMENT:
	case DECAP_NO_VIP:
		return count(counter, bytes, XDP_PASS);
	case DECAP_MALFORMED:
		return count(counter, bytes, XDP_DROP);
	}
	if (!inner_set_ecn(data, end, &inner, o.ecn))
		return count(DECAP_CONGESTED, bytes, XDP_DROP);
	if (!strip(ctx, &o, &inner))
		return count(DECAP_MALFORMED, bytes, XDP_DROP);
	return count(counter, bytes, XDP_PASS);
}

char _license[] SEC("license") = "GPL";
