/* lb_icmp.bpf.h - ICMP: errors are sent on to whom they concern, packets too big for the way on are
 * answered, and so are echo requests to service addresses. */
#ifndef LB_ICMP_BPF_H
#define LB_ICMP_BPF_H

#include "lb_fragment.bpf.h"
#include "lb_tunnel.bpf.h"

#define ICMP_TTL	  64
#define ICMP_BURST_NS	  100000000ull
#define ICMP_QUOTE	  96 /* bytes of the packet that an error of ours quotes */
#define ICMP_QUOTED_PORTS 8  /* what any error quotes of the transport header: RFC 792 */

/* RFC 792, RFC 4443 section 2.1.  (linux/icmp.h needs a C library.) */
struct icmp {
	__u8 type;
	__u8 code;
	__be16 check;
	__be32 rest;
};

#define ICMP_ECHO_REPLY	   0
#define ICMP_UNREACHABLE   3
#define ICMP_FRAG_NEEDED   4
#define ICMP_ECHO	   8
#define ICMP_TIME_EXCEEDED 11
#define ICMP_PARAMETER	   12
#define ICMP6_UNREACHABLE  1
#define ICMP6_TOO_BIG	   2
#define ICMP6_PARAMETER	   4
#define ICMP6_ECHO	   128
#define ICMP6_ECHO_REPLY   129

/* When the next error may leave this CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} lb_icmp_due SEC(".maps");

static __always_inline bool may_answer(void)
{
	__u64 now = bpf_ktime_get_ns();
	__u32 zero = 0;
	__u64 *due = bpf_map_lookup_elem(&lb_icmp_due, &zero);

	if (!due || *due > now + ICMP_BURST_NS)
		return false;
	*due = (*due > now ? *due : now) + lb_const_icmp_interval_ns;
	return true;
}

static __always_inline __u32 csum_words(__u32 sum, const __be32 *words, int count)
{
	for (int i = 0; i < count; i++)
		sum += (words[i] & 0xffff) + (words[i] >> 16);
	return sum;
}

/* ---- too big ---- */

static __always_inline void write_icmp_ipv4(struct iphdr *ip, const struct packet *p, __u32 bytes)
{
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 4;
	ip->ihl = sizeof(*ip) / 4;
	ip->tot_len = bpf_htons(sizeof(*ip) + bytes);
	ip->ttl = ICMP_TTL;
	ip->protocol = IPPROTO_ICMP;
	ip->saddr = p->daddr[3];
	ip->daddr = p->saddr[3];
	ip->check = ~csum_fold(csum_words(0, (void *)ip, sizeof(*ip) / 4));
}

static __always_inline bool write_too_big4(struct xdp_md *ctx, void *at, const struct packet *p,
					   __u32 mtu)
{
	struct iphdr *ip = at;
	struct icmp *icmp = (void *)(ip + 1);

	if ((void *)(icmp + 1) + ICMP_QUOTE > frame_end(ctx))
		return false;
	write_icmp_ipv4(ip, p, sizeof(*icmp) + ICMP_QUOTE);
	__builtin_memset(icmp, 0, sizeof(*icmp));
	icmp->type = ICMP_UNREACHABLE;
	icmp->code = ICMP_FRAG_NEEDED;
	icmp->rest = bpf_htonl(mtu); /* RFC 1191 section 4 */
	icmp->check = ~csum_fold(csum_words(0, (void *)icmp, (sizeof(*icmp) + ICMP_QUOTE) / 4));
	return true;
}

static __always_inline bool write_too_big6(struct xdp_md *ctx, void *at, const struct packet *p,
					   __u32 mtu)
{
	struct ipv6hdr *ip = at;
	struct icmp *icmp = (void *)(ip + 1);
	__u32 bytes = sizeof(*icmp) + ICMP_QUOTE;
	__u32 sum = bpf_htons(bytes) + bpf_htons(IPPROTO_ICMPV6);

	if ((void *)icmp + bytes > frame_end(ctx))
		return false;
	__builtin_memset(ip, 0, sizeof(*ip));
	ip->version = 6;
	ip->payload_len = bpf_htons(bytes);
	ip->nexthdr = IPPROTO_ICMPV6;
	ip->hop_limit = ICMP_TTL;
	addr_copy((__be32 *)&ip->saddr, p->daddr);
	addr_copy((__be32 *)&ip->daddr, p->saddr);
	__builtin_memset(icmp, 0, sizeof(*icmp));
	icmp->type = ICMP6_TOO_BIG;
	icmp->rest = bpf_htonl(mtu);
	sum = csum_words(sum, (void *)&ip->saddr, 8);
	icmp->check = ~csum_fold(csum_words(sum, (void *)icmp, bytes / 4));
	return true;
}

/* Answers the packet in slow_path()->p, which exceeds slow_path()->mtu, in the name of whom it was
 * for.  "Don't fragment" is not asked for: nobody behind here would put fragments together. */
static __always_inline int too_big(struct xdp_md *ctx, const bool ipv6)
{
	int room = sizeof(struct icmp) + (ipv6 ? sizeof(struct ipv6hdr) : sizeof(struct iphdr));
	struct slow_path *slow = slow_path();
	struct lb_flow *back;
	struct packet *p;
	__u64 length;
	void *at;

	if (!slow)
		return XDP_DROP;
	length = frame_length(ctx);
	barrier_var(length); /* or the compiler keeps the halves of a pointer */
	p = &slow->p;
	back = &slow->conn.flow;
	if (p->fragment == FRAGMENT_LATER || p->from_icmp || !may_answer())
		return drop(ctx, LB_TOO_BIG_QUIET);
	hop_back(ctx, p, back);
	if (bpf_xdp_adjust_tail(ctx, (int)((p->l3 & 0x3f) + ICMP_QUOTE) - (int)length))
		return drop(ctx, LB_TOO_BIG_QUIET);
	at = make_room(ctx, room, &back->hop, back->tags, p->tags,
		       ipv6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP));
	barrier_var(at); /* or the compiler works it out again, unchecked */
	if (!at ||
	    !(ipv6 ? write_too_big6(ctx, at, p, slow->mtu) : write_too_big4(ctx, at, p, slow->mtu)))
		return XDP_DROP;
	count_packet(LB_TOO_BIG, length);
	return send_frame(ctx, ctx->ingress_ifindex);
}

__noinline int lb_too_big4(struct xdp_md *ctx)
{
	return too_big(ctx, false);
}

__noinline int lb_too_big6(struct xdp_md *ctx)
{
	return too_big(ctx, true);
}

/* ---- echo ---- */

static __always_inline int send_echo(struct xdp_md *ctx, const struct packet *p)
{
	struct slow_path *slow = slow_path();
	__u64 length = frame_length(ctx);
	int verdict;

	if (!slow)
		return XDP_PASS;
	barrier_var(length);
	hop_back(ctx, p, &slow->conn.flow);
	verdict = send_to_hop(ctx, &slow->conn.flow.hop, slow->conn.flow.tags, p->tags);
	if (verdict < 0)
		return drop(ctx, LB_TX_ERROR);
	count_packet(LB_ECHO, length);
	return verdict;
}

static __always_inline int echo4(struct xdp_md *ctx, const struct packet *p)
{
	struct iphdr *ip = frame_start(ctx) + (p->l3 & 0x3f);
	struct icmp *icmp = frame_start(ctx) + (p->l4 & 0xfff);
	__be32 addr;

	if ((void *)(ip + 1) > frame_end(ctx) || (void *)(icmp + 1) > frame_end(ctx))
		return pass(ctx, LB_NOT_OURS);
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	ip->check = csum_apply(ip->check, csum_fold(csum_diff16(bpf_htons(ip->ttl << 8),
								bpf_htons(ICMP_TTL << 8))));
	ip->ttl = ICMP_TTL;
	icmp->type = ICMP_ECHO_REPLY;
	icmp->check = csum_apply(icmp->check, csum_fold(csum_diff16(bpf_htons(ICMP_ECHO << 8), 0)));
	if (!icmp->check) /* a message of zeros alone does not sum up to minus zero */
		icmp->check = 0xffff;
	return send_echo(ctx, p);
}

static __always_inline int echo6(struct xdp_md *ctx, const struct packet *p)
{
	struct ipv6hdr *ip = frame_start(ctx) + (p->l3 & 0x3f);
	struct icmp *icmp = frame_start(ctx) + (p->l4 & 0xfff);

	if ((void *)(ip + 1) > frame_end(ctx) || (void *)(icmp + 1) > frame_end(ctx))
		return pass(ctx, LB_NOT_OURS);
	addr_copy((__be32 *)&ip->saddr, p->daddr);
	addr_copy((__be32 *)&ip->daddr, p->saddr);
	ip->hop_limit = ICMP_TTL;
	icmp->type = ICMP6_ECHO_REPLY;
	icmp->check = csum_apply(icmp->check,
				 csum_fold(csum_diff16(bpf_htons(ICMP6_ECHO << 8),
						       bpf_htons(ICMP6_ECHO_REPLY << 8))));
	return send_echo(ctx, p);
}

/* ---- errors ---- */

/* What an error quotes of a packet, turned round: the tuple of packets the other way. */
static __always_inline bool quoted_key4(struct xdp_md *ctx, const struct packet *p,
					struct lb_key6 *key, __u32 *ret_l4)
{
	__u32 at = (p->l4 & 0xfff) + sizeof(struct icmp);
	struct iphdr *ip = frame_start(ctx) + at;
	struct ports *ports;

	if ((void *)(ip + 1) > frame_end(ctx) || ip->version != 4 || ip->ihl < 5 ||
	    ip->frag_off & bpf_htons(LB_IP_OFFSET))
		return false;
	key->proto = ip->protocol;
	key->saddr[3] = ip->daddr;
	key->daddr[3] = ip->saddr;
	*ret_l4 = at + ip->ihl * 4;
	ports = frame_start(ctx) + (*ret_l4 & 0x1fff);
	if (!packet_has(p, *ret_l4, ICMP_QUOTED_PORTS) ||
	    (void *)ports + ICMP_QUOTED_PORTS > frame_end(ctx))
		return false;
	key->sport = ports->dest;
	key->dport = ports->source;
	addr_map_v4(key->saddr);
	addr_map_v4(key->daddr);
	return true;
}

/* Quoted extension headers are not walked: a flow that uses them is rare, its error rarer. */
static __always_inline bool quoted_key6(struct xdp_md *ctx, const struct packet *p,
					struct lb_key6 *key, __u32 *ret_l4)
{
	__u32 at = (p->l4 & 0xfff) + sizeof(struct icmp);
	struct ipv6hdr *ip = frame_start(ctx) + at;
	struct ports *ports;

	if ((void *)(ip + 1) > frame_end(ctx) || ip->version != 6)
		return false;
	key->proto = ip->nexthdr;
	addr_copy(key->saddr, (__be32 *)&ip->daddr);
	addr_copy(key->daddr, (__be32 *)&ip->saddr);
	*ret_l4 = at + sizeof(*ip);
	ports = frame_start(ctx) + (*ret_l4 & 0x1fff);
	if (!packet_has(p, *ret_l4, ICMP_QUOTED_PORTS) ||
	    (void *)ports + ICMP_QUOTED_PORTS > frame_end(ctx))
		return false;
	key->sport = ports->dest;
	key->dport = ports->source;
	return true;
}

/* A quoted segment of a backend whose numbers were shifted: it knows its own only.  Returns what
 * that adds to a sum. */
static __always_inline __u32 unshift_quoted(__be32 *seq, __u32 delta)
{
	__be32 old = *seq;

	*seq = bpf_htonl(bpf_ntohl(old) - delta);
	return csum_diff32(old, *seq);
}

/* Rewrites ports and, where it is quoted, the checksum of a quoted transport header.  addresses:
 * what new addresses add to its pseudo header's sum.  Returns what the changes add to the sum of
 * the message around it. */
static __always_inline __u32 rewrite_quoted(struct xdp_md *ctx, const bool ipv6,
					    const struct packet *p, __u32 l4, __u8 proto,
					    const struct lb_flow *flow, __u32 addresses)
{
	struct ports *ports = frame_start(ctx) + (l4 & 0x1fff);
	__u32 at = proto == IPPROTO_TCP ? offsetof(struct tcphdr, check)
					: offsetof(struct udphdr, check);
	__be16 *check = (void *)ports + at;
	__be16 old;
	__u32 sum;

	if ((void *)ports + ICMP_QUOTED_PORTS > frame_end(ctx))
		return 0;
	/* The quoted packet went the other way: its source is what the flow's packets go to. */
	sum = csum_diff16(ports->source, flow->dport) + csum_diff16(ports->dest, flow->sport);
	ports->source = flow->dport;
	ports->dest = flow->sport;
	if (lb_const_cookies && flow->flags & LB_FLOW_PROXIED && !(flow->flags & LB_FLOW_REPLY))
		sum += unshift_quoted((__be32 *)(ports + 1), seq_delta_of(ipv6, flow));
	if (!packet_has(p, l4 + at, sizeof(*check)) || (void *)(check + 1) > frame_end(ctx))
		return sum;
	old = *check;
	if (proto == IPPROTO_UDP && !old)
		return sum;
	*check = csum_apply(old, csum_fold(addresses + sum));
	if (proto == IPPROTO_UDP && !*check)
		*check = 0xffff;
	return sum + csum_diff16(old, *check);
}

/* Does the sender of an error that is rewritten keep its own address?  Under full NAT the backend
 * knows nobody behind this host; the client knows nobody behind the service. */
static __always_inline bool error_keeps_sender(const struct lb_flow *flow)
{
	return lb_const_nat_destination && flow->mode == LB_MODE_NAT_DESTINATION &&
	       !(flow->flags & LB_FLOW_REPLY);
}

static __always_inline bool rewrite_error4(struct xdp_md *ctx, const struct packet *p,
					   const struct lb_key6 *key, const struct lb_flow *flow,
					   __u32 l4)
{
	const struct lb_conn4 *conn = (const void *)flow;
	struct iphdr *ip = frame_start(ctx) + (p->l3 & 0x3f);
	struct icmp *icmp = frame_start(ctx) + (p->l4 & 0xfff);
	struct iphdr *quoted = (void *)(icmp + 1);
	__be32 saddr = conn->saddr;
	__u32 addresses, sum;
	__be16 check;

	if ((void *)(ip + 1) > frame_end(ctx) || (void *)(quoted + 1) > frame_end(ctx))
		return false;
	if (error_keeps_sender(flow))
		saddr = ip->saddr;
	sum = csum_diff32(ip->saddr, saddr) + csum_diff32(ip->daddr, conn->daddr) + CSUM_TTL_DELTA;
	ip->check = csum_apply(ip->check, csum_fold(sum));
	ip->ttl--;
	ip->saddr = saddr;
	ip->daddr = conn->daddr;
	addresses = csum_diff32(quoted->saddr, conn->daddr) +
		    csum_diff32(quoted->daddr, conn->saddr);
	check = quoted->check;
	quoted->check = csum_apply(check, csum_fold(addresses));
	sum = addresses + csum_diff16(check, quoted->check);
	quoted->saddr = conn->daddr;
	quoted->daddr = conn->saddr;
	sum = csum_fold(sum);
	sum += rewrite_quoted(ctx, false, p, l4, key->proto, flow, addresses);
	icmp = frame_start(ctx) + (p->l4 & 0xfff);
	if ((void *)(icmp + 1) > frame_end(ctx))
		return false;
	icmp->check = csum_apply(icmp->check, csum_fold(sum));
	return true;
}

static __always_inline __u32 csum_diff128(const __be32 *old, const __be32 *new)
{
	__u32 sum = 0;

	for (int i = 0; i < 4; i++)
		sum += csum_diff32(old[i], new[i]);
	return sum;
}

static __always_inline bool rewrite_error6(struct xdp_md *ctx, const struct packet *p,
					   const struct lb_key6 *key, const struct lb_flow *flow,
					   __u32 l4)
{
	const struct lb_conn6 *conn = (const void *)flow;
	struct ipv6hdr *ip = frame_start(ctx) + (p->l3 & 0x3f);
	struct icmp *icmp = frame_start(ctx) + (p->l4 & 0xfff);
	struct ipv6hdr *quoted = (void *)(icmp + 1);
	__u32 addresses, sum;

	if ((void *)(ip + 1) > frame_end(ctx) || (void *)(quoted + 1) > frame_end(ctx))
		return false;
	ip->hop_limit--;
	/* The message's sum covers the addresses outside as well: RFC 4443 section 2.3. */
	sum = csum_diff128((__be32 *)&ip->daddr, conn->daddr);
	addr_copy((__be32 *)&ip->daddr, conn->daddr);
	if (!error_keeps_sender(flow)) {
		sum += csum_diff128((__be32 *)&ip->saddr, conn->saddr);
		addr_copy((__be32 *)&ip->saddr, conn->saddr);
	}
	addresses = csum_diff128((__be32 *)&quoted->saddr, conn->daddr) +
		    csum_diff128((__be32 *)&quoted->daddr, conn->saddr);
	addr_copy((__be32 *)&quoted->saddr, conn->daddr);
	addr_copy((__be32 *)&quoted->daddr, conn->saddr);
	sum = csum_fold(sum + addresses);
	sum += rewrite_quoted(ctx, true, p, l4, key->proto, flow, addresses);
	icmp = frame_start(ctx) + (p->l4 & 0xfff);
	if ((void *)(icmp + 1) > frame_end(ctx))
		return false;
	icmp->check = csum_apply(icmp->check, csum_fold(sum));
	return true;
}

/* An error about a packet of flow, which quotes it at l4: rewritten as the flow's own packets are,
 * and sent their way. */
static __always_inline int send_error(struct xdp_md *ctx, const bool ipv6, struct slow_path *slow,
				      struct lb_flow *flow, __u32 l4)
{
	const struct packet *p = &slow->p;
	__u64 length = frame_length(ctx);
	int verdict;

	barrier_var(length);
	if (!flow->hop.ifindex && hop_from_fib(ctx, ipv6, p, flow) != FLOW_GO)
		return XDP_DROP;
	if (p->expired)
		return drop(ctx, LB_TTL_EXPIRED);
	if (!(ipv6 ? rewrite_error6(ctx, p, &slow->key, flow, l4)
		   : rewrite_error4(ctx, p, &slow->key, flow, l4)))
		return drop(ctx, LB_TX_ERROR);
	verdict = send_to_hop(ctx, &flow->hop, flow->tags, p->tags);
	if (verdict < 0)
		return drop(ctx, LB_TX_ERROR);
	count_packet(LB_ICMP_ERROR, length);
	return verdict;
}

/* The error in slow_path()->p is looked up by the packet it quotes.  Returns a verdict, or FLOW_GO:
 * it goes to a backend as it is, by the entry of slow_path()->key; FLOW_NEW: the same, by a backend
 * to be chosen for that key. */
static __always_inline int icmp_error(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	struct lb_key6 *key;
	struct lb_flow *flow;
	__u32 l4;

	if (!slow)
		return XDP_PASS;
	key = &slow->key;
	__builtin_memset(key->zero, 0, sizeof(key->zero));
	if (!(ipv6 ? quoted_key6(ctx, &slow->p, key, &l4) : quoted_key4(ctx, &slow->p, key, &l4)))
		return pass(ctx, LB_NOT_OURS);
	if (key->proto != IPPROTO_TCP && !(lb_const_udp && key->proto == IPPROTO_UDP))
		return pass(ctx, LB_NOT_OURS);
	/* Errors go to whoever sent what they quote. */
	if (!addr_same(key->daddr, slow->p.daddr))
		return pass(ctx, LB_NOT_OURS);
	flow = lb_const_stateless ? NULL : conns_find(ipv6, key);
	if (flow && !is_direct(flow->mode))
		return any_nat() ? send_error(ctx, ipv6, slow, flow, l4) : XDP_PASS;
	/* Any node can pass on an error about a flow that answers another way. */
	if ((!any_tunnel() && !lb_const_l2) || (!flow && !is_service_address(key->daddr)))
		return pass(ctx, LB_NOT_OURS);
	return flow ? FLOW_GO : FLOW_NEW;
}

__noinline int lb_icmp_error4(struct xdp_md *ctx)
{
	return icmp_error(ctx, false);
}

__noinline int lb_icmp_error6(struct xdp_md *ctx)
{
	return icmp_error(ctx, true);
}

static __always_inline int echo(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();

	if (!slow)
		return XDP_PASS;
	if (!is_service_address(slow->p.daddr))
		return pass(ctx, LB_NOT_OURS);
	return ipv6 ? echo6(ctx, &slow->p) : echo4(ctx, &slow->p);
}

/* Apart, so that their stack is not below lb_icmp_error's: Linux 6.1 rounds every frame up to 32.
 */
__noinline int lb_echo4(struct xdp_md *ctx)
{
	return echo(ctx, false);
}

__noinline int lb_echo6(struct xdp_md *ctx)
{
	return echo(ctx, true);
}

/* Any ICMP message; the same results. */
static __always_inline int icmp(struct xdp_md *ctx, const bool ipv6)
{
	struct slow_path *slow = slow_path();
	__u8 *type;

	if (!slow)
		return XDP_PASS;
	type = frame_start(ctx) + (slow->p.l4 & 0xfff);
	if (!packet_has(&slow->p, slow->p.l4, sizeof(struct icmp)) ||
	    (void *)(type + sizeof(struct icmp)) > frame_end(ctx))
		return pass(ctx, LB_NOT_OURS);
	if (ipv6 ? *type >= ICMP6_UNREACHABLE && *type <= ICMP6_PARAMETER
		 : *type == ICMP_UNREACHABLE || *type == ICMP_TIME_EXCEEDED ||
			    *type == ICMP_PARAMETER)
		return ipv6 ? lb_icmp_error6(ctx) : lb_icmp_error4(ctx);
	if (!lb_const_echo || *type != (ipv6 ? ICMP6_ECHO : ICMP_ECHO))
		return pass(ctx, LB_NOT_OURS);
	return ipv6 ? lb_echo6(ctx) : lb_echo4(ctx);
}

__noinline int lb_icmp4(struct xdp_md *ctx)
{
	return icmp(ctx, false);
}

__noinline int lb_icmp6(struct xdp_md *ctx)
{
	return icmp(ctx, true);
}

#endif
