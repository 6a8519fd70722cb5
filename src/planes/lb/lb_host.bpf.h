/* lb_host.bpf.h - does this host's own stack have a socket for a packet? */
#ifndef LB_HOST_BPF_H
#define LB_HOST_BPF_H

#include "lb_flow.bpf.h"

static __always_inline void tuple_of(struct bpf_sock_tuple *tuple, const struct lb_key6 *key,
				     bool ipv6)
{
	if (ipv6) {
		addr_copy(tuple->ipv6.saddr, key->saddr);
		addr_copy(tuple->ipv6.daddr, key->daddr);
		tuple->ipv6.sport = key->sport;
		tuple->ipv6.dport = key->dport;
	} else {
		tuple->ipv4.saddr = key->saddr[3];
		tuple->ipv4.daddr = key->daddr[3];
		tuple->ipv4.sport = key->sport;
		tuple->ipv4.dport = key->dport;
	}
}

/* Does some socket of this host stand where the backend's answers would arrive? */
static __always_inline bool host_has_socket(struct xdp_md *ctx, const struct lb_key6 *reply,
					    bool ipv6)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	__u32 size = ipv6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4);

	tuple_of(&tuple, reply, ipv6);
	if (!lb_const_udp || reply->proto == IPPROTO_TCP)
		sk = bpf_skc_lookup_tcp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	else
		sk = bpf_sk_lookup_udp(ctx, &tuple, size, BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
}

/* Has this host a connection, not just a listener, for what arrives as key? */
static __always_inline bool host_has_connection(struct xdp_md *ctx, const struct lb_key6 *key,
						bool ipv6)
{
	struct bpf_sock_tuple tuple = {};
	struct bpf_sock *sk;
	bool connection;

	tuple_of(&tuple, key, ipv6);
	sk = bpf_skc_lookup_tcp(ctx, &tuple, ipv6 ? sizeof(tuple.ipv6) : sizeof(tuple.ipv4),
				BPF_F_CURRENT_NETNS, 0);
	if (!sk)
		return false;
	connection = sk->state != BPF_TCP_LISTEN;
	bpf_sk_release(sk);
	return connection;
}

#endif
