/* steer_kernel.bpf.h - the kernel's types, as far as sockets in groups are concerned.
 *
 * Names are the kernel's, layouts are not: libbpf puts in each field's place in the running kernel
 * (CO-RE).  What some kernels lack is asked for with bpf_core_field_exists. */
#ifndef LOOM_STEER_KERNEL_BPF_H
#define LOOM_STEER_KERNEL_BPF_H

#include <linux/bpf.h>
#include <linux/types.h>
#include <stdbool.h>

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

typedef struct {
	int counter;
} atomic_t;

struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
};

/* include/net/sock.h */
struct sock_common {
	__be32 skc_rcv_saddr;
	__u16 skc_num;
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_reuse : 4;
	unsigned char skc_reuseport : 1;
	unsigned char skc_ipv6only : 1;
	int skc_bound_dev_if;
	struct in6_addr skc_v6_rcv_saddr;
	int skc_incoming_cpu;
};

struct sock {
	struct sock_common __sk_common;
	atomic_t sk_drops;
	struct {
		atomic_t rmem_alloc;
	} sk_backlog;
	int sk_rcvbuf;
	struct socket *sk_socket;
	__u32 sk_ack_backlog;
	__u32 sk_max_ack_backlog;
	unsigned long sk_ino; /* Linux 6.17 */
	struct sock_reuseport *sk_reuseport_cb;
};

struct inode {
	unsigned long i_ino;
};

struct file {
	struct inode *f_inode;
};

struct task_struct {
	int pid;
	int tgid;
};

struct socket {
	struct sock *sk;
};

/* The inode of a socket lies behind it. */
struct socket_alloc {
	struct inode vfs_inode;
};

struct inet_sock {
	struct sock sk;
};

struct request_sock_queue {
	atomic_t qlen;
};

struct inet_connection_sock {
	struct request_sock_queue icsk_accept_queue;
};

struct tcp_sock {
	struct inet_connection_sock inet_conn;
};

struct udp_sock {
	struct inet_sock inet;
	int forward_deficit;
	/* Linux 6.18, in place of sk_drops.  Within this and nameless, because for a type that the
	 * kernel does not know libbpf looks through its modules, which takes CAP_SYS_ADMIN. */
	struct {
		atomic_t drops0;
		atomic_t drops1;
	} drop_counters;
};

/* include/net/sock_reuseport.h */
struct bpf_prog_aux {
	__u32 id;
};

struct bpf_prog {
	enum bpf_prog_type type;
	struct bpf_prog_aux *aux;
};

struct sock_reuseport {
	__u16 num_socks;
	__u16 num_closed_socks; /* Linux 5.14 */
	__u16 incoming_cpu;	/* Linux 6.2 */
	unsigned int reuseport_id;
	unsigned int bind_inany : 1;
	unsigned int has_conns : 1;
	struct bpf_prog *prog;
	struct sock *socks[];
};

struct bpf_iter_meta {
	struct seq_file *seq;
};

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
	unsigned int uid;
};

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
	unsigned int uid;
};

struct bpf_iter__task_file {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
	__u32 fd;
	struct file *file;
};

#pragma clang attribute pop

#endif
