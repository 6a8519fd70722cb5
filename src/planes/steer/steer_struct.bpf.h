/* steer_struct.bpf.h - the kernel's structures that are read where they are, without a call: on
 * processors that distrust returns each call takes some 10 ns. */
#ifndef STEER_STRUCT_BPF_H
#define STEER_STRUCT_BPF_H

#include <bpf/bpf_core_read.h>

#include "steer_maps.bpf.h"

/* As much of the kernel's structures as is read; the loader finds the offsets in its BTF. */
#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)
struct sock_common {
	volatile unsigned char skc_state;
	int skc_incoming_cpu;
	struct {
		long long counter;
	} skc_cookie;
};

struct sock;

struct sock_reuseport {
	__u16 num_socks;
	__u16 incoming_cpu; /* Linux 6.2: how many members have SO_INCOMING_CPU */
	struct sock *socks[0];
};

struct sock {
	struct sock_common __sk_common;
	struct {
		struct {
			int counter;
		} rmem_alloc;
	} sk_backlog;
	__u32 sk_ack_backlog;
	struct sock_reuseport *sk_reuseport_cb;
};

/* Any structure that begins with 8 bytes which are no pointer. */
struct timespec64 {
	long long tv_sec;
};

struct sk_buff {
	unsigned char *head;
	__u16 network_header;
};

struct sk_reuseport_kern {
	struct sk_buff *skb;
};
#pragma clang attribute pop

#ifdef STEER_PLAIN
#define reads_group		    false
#define bpf_rdonly_cast(object, id) ((void *)(object))
#define bpf_cast_to_kern_ctx(ctx)   ((void *)(ctx))
#else
#define reads_group steer_const.reads_group
/* Linux 6.2.  Both are moves between registers in the loaded program, and what is read through
 * their results is a load that survives a bad address. */
extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym __weak;
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;
#endif

/* The word at address.  As a number: the verifier follows pointers that are calculated with more
 * closely than it can in a loop. */
static __always_inline __u64 kernel_word(const void *address)
{
	const struct timespec64 *word = bpf_rdonly_cast(address,
							bpf_core_type_id_kernel(struct timespec64));

	return word->tv_sec;
}

#endif
