/* steer_iter.bpf.c - writes a row for each socket that is in a reuseport group, and for each of its
 * descriptors.
 *
 * iter/tcp and iter/udp walk the sockets of the namespace that their descriptor was opened in. */
#include "steer_kernel.bpf.h"

#include <bpf/bpf_core_read.h>
#include <bpf/bpf_helpers.h>
#include <linux/bpf.h>

#include "abi/steer_truth_abi.h"

#define AF_INET	    2
#define AF_INET6    10
#define IPPROTO_TCP 6
#define IPPROTO_UDP 17

/* enum values of the kernel's TCP states (include/net/tcp_states.h) */
#define TCP_ESTABLISHED 1
#define TCP_LISTEN	10

/* Members that are looked through for a socket's index: what the verifier lets pass everywhere. */
#define MAX_INDEX 4096
#define BATCH	  8

/* Kernel addresses stay in the kernel: a group's is mixed with what user space drew at load. */
const volatile __u64 truth_const_secret;
/* false: on kernels before 5.12 a tracing program cannot ask for a cookie. */
const volatile bool truth_const_cookies = true;

static __always_inline __u64 mix(__u64 x)
{
	x ^= x >> 30;
	x *= 0xbf58476d1ce4e5b9ull;
	x ^= x >> 27;
	x *= 0x94d049bb133111ebull;
	return x ^ x >> 31;
}

/* ---- the group ---- */

static __always_inline __u16 index_of(struct sock_reuseport *group, const struct sock *sk,
				      __u16 count)
{
	struct sock *const *at = group->socks;
	struct sock *some[BATCH];

	for (int i = 0; i < MAX_INDEX && i < count; i += BATCH) {
		/* Past the last member is memory that nobody looks at, or none: no match. */
		if (bpf_probe_read_kernel(some, sizeof(some), &at[i]))
			return STEER_TRUTH_NO_INDEX;
#pragma unroll
		for (int j = 0; j < BATCH; j++)
			if (some[j] == sk)
				return i + j < count ? (__u16)(i + j) : STEER_TRUTH_NO_INDEX;
	}
	return STEER_TRUTH_NO_INDEX;
}

static __always_inline void fill_program(struct steer_truth_row *row, struct bpf_prog *prog)
{
	if (!prog)
		return;
	row->program_type = prog->type;
	/* bpf_prog_was_classic() */
	if (row->program_type == BPF_PROG_TYPE_UNSPEC)
		row->flags |= STEER_TRUTH_CLASSIC;
	row->program_id = BPF_CORE_READ(prog, aux, id);
}

static __always_inline void fill_group(struct steer_truth_row *row, struct sock_reuseport *group,
				       const struct sock *sk)
{
	__u64 address = 0;

	/* As a number: the verifier lets nobody calculate with the pointer. */
	bpf_core_read(&address, sizeof(address), &sk->sk_reuseport_cb);
	row->group = mix(address ^ truth_const_secret);
	row->members = group->num_socks;
	if (bpf_core_field_exists(group->num_closed_socks))
		row->closed_members = group->num_closed_socks;
	if (bpf_core_field_exists(group->incoming_cpu))
		row->cpu_members = group->incoming_cpu;
	row->group_id = group->reuseport_id;
	if (BPF_CORE_READ_BITFIELD(group, bind_inany))
		row->flags |= STEER_TRUTH_INANY;
	if (BPF_CORE_READ_BITFIELD(group, has_conns))
		row->flags |= STEER_TRUTH_HAS_CONNS;
	fill_program(row, group->prog);
	row->index = index_of(group, sk, row->members);
}

/* ---- the socket ---- */

static __always_inline __u64 inode_of(const struct sock *sk)
{
	if (bpf_core_field_exists(sk->sk_ino))
		return sk->sk_ino;
	return BPF_CORE_READ((struct socket_alloc *)sk->sk_socket, vfs_inode.i_ino);
}

static __always_inline __u32 udp_drops(const struct udp_sock *udp)
{
	if (bpf_core_field_exists(udp->drop_counters))
		return (__u32)(udp->drop_counters.drops0.counter +
			       udp->drop_counters.drops1.counter);
	return (__u32)udp->inet.sk.sk_drops.counter;
}

static __always_inline void fill_address(struct steer_truth_row *row, const struct sock *sk)
{
	row->family = (__u8)sk->__sk_common.skc_family;
	row->port = sk->__sk_common.skc_num;
	row->ifindex = (__u32)sk->__sk_common.skc_bound_dev_if;
	if (row->family == AF_INET6) {
		for (int i = 0; i < 4; i++)
			row->addr[i] = sk->__sk_common.skc_v6_rcv_saddr.in6_u.u6_addr32[i];
		if (BPF_CORE_READ_BITFIELD(&sk->__sk_common, skc_ipv6only))
			row->flags |= STEER_TRUTH_V6ONLY;
	} else {
		row->addr[2] = __builtin_bswap32(0xffff);
		row->addr[3] = sk->__sk_common.skc_rcv_saddr;
	}
}

static __always_inline void fill_common(struct steer_truth_row *row, const struct sock *sk,
					struct sock_reuseport *group, __u32 uid)
{
	fill_address(row, sk);
	fill_group(row, group, sk);
	row->state = sk->__sk_common.skc_state;
	row->incoming_cpu = sk->__sk_common.skc_incoming_cpu;
	row->inode = inode_of(sk);
	row->uid = uid;
}

/* Listeners come before all other sockets.  At the first of those, "try again": read(2) then hands
 * over what there is, and the next one fails with EAGAIN, which the reader takes as the end.  A
 * hundred thousand connections cost nothing. */
SEC("iter/tcp")
int steer_iter_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *common = ctx->sk_common;
	struct steer_truth_row row = { .protocol = IPPROTO_TCP };
	struct sock_reuseport *group;
	struct tcp_sock *tcp;
	struct sock *sk;

	if (!common)
		return 0;
	if (common->skc_state != TCP_LISTEN)
		return 1;
	tcp = bpf_skc_to_tcp_sock(common);
	if (!tcp)
		return 0;
	sk = (struct sock *)tcp;
	group = sk->sk_reuseport_cb;
	if (!group)
		return 0;
	fill_common(&row, sk, group, ctx->uid);
	row.cookie = truth_const_cookies ? bpf_get_socket_cookie(common) : 0;
	row.queue = sk->sk_ack_backlog;
	row.queue_limit = sk->sk_max_ack_backlog;
	row.drops = (__u32)sk->sk_drops.counter;
	row.requests = (__u32)tcp->inet_conn.icsk_accept_queue.qlen.counter;
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

SEC("iter/udp")
int steer_iter_udp(struct bpf_iter__udp *ctx)
{
	struct steer_truth_row row = { .protocol = IPPROTO_UDP };
	struct udp_sock *udp = ctx->udp_sk;
	struct sock_reuseport *group;
	struct sock *sk;
	int queue;

	if (!udp)
		return 0;
	sk = &udp->inet.sk;
	group = sk->sk_reuseport_cb;
	if (!group)
		return 0;
	fill_common(&row, sk, group, ctx->uid);
	if (row.state == TCP_ESTABLISHED)
		row.flags |= STEER_TRUTH_CONNECTED;
	row.cookie = truth_const_cookies ? bpf_get_socket_cookie(sk) : 0;
	/* Read already, not yet given back: udp_rqueue_get() leaves it out. */
	queue = sk->sk_backlog.rmem_alloc.counter - udp->forward_deficit;
	row.queue = queue > 0 ? (__u32)queue : 0;
	row.queue_limit = (__u32)sk->sk_rcvbuf;
	row.drops = udp_drops(udp);
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

/* Who holds them: of threads the first, whose descriptors /proc/PID/fd and pidfd_getfd(2) mean. */
SEC("iter/task_file")
int steer_iter_files(struct bpf_iter__task_file *ctx)
{
	struct steer_truth_file row = { .fd = (__s32)ctx->fd };
	struct task_struct *task = ctx->task;
	struct file *file = ctx->file;
	struct socket *socket;
	struct sock *sk;

	if (!task || !file || task->pid != task->tgid)
		return 0;
	socket = bpf_sock_from_file(file);
	if (!socket)
		return 0;
	sk = socket->sk;
	if (!sk || !sk->sk_reuseport_cb)
		return 0;
	row.inode = file->f_inode->i_ino;
	row.pid = task->pid;
	bpf_seq_write(ctx->meta->seq, &row, sizeof(row));
	return 0;
}

char _license[] SEC("license") = "GPL";
