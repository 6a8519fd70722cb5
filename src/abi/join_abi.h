/* join_abi.h - what an application and loomd say to each other about one steered socket.
 * Layer: abi.  A change of any layout bumps JOIN_ABI_VERSION: library and daemon are not upgraded
 * together.
 *
 * A SOCK_SEQPACKET socket, JOIN_SOCKET_FORMAT; one connection is one member.  Every message is one
 * datagram and begins with struct join_header; numbers are the host's.  The client sends requests,
 * each of which is answered by one struct join_answer, in order; the server sends events between
 * them whenever it likes.  The first request is JOIN and carries the socket (SCM_RIGHTS), no other
 * one carries a descriptor.  The end of the connection is the end of the membership, without drain.
 * Either side ends the connection at the first message that is not as described here; the server
 * says why before, in an answer to request 0. */
#ifndef LOOM_JOIN_ABI_H
#define LOOM_JOIN_ABI_H

#include "abi.h"

#define JOIN_ABI_VERSION 1

#define JOIN_SOCKET_FORMAT "/run/loom/%s.steer" /* of the instance */
#define JOIN_SOCKET_ENV	   "LOOM_STEER_SOCKET"	/* a path that is used instead */

#define JOIN_GROUP_LEN	64    /* with the NUL */
#define JOIN_LABEL_LEN	32    /* with the NUL */
#define JOIN_TEXT_LEN	512   /* with the NUL */
#define JOIN_MAX_INDEX	4096  /* indices in one message */
#define JOIN_MAX_WEIGHT 65535 /* as of a backend; 0: no new flows */
#define JOIN_NO_SLOT	0xffff

enum join_type {
	/* Requests. */
	JOIN_JOIN = 1,	/* struct join_request, with the socket */
	JOIN_READY,	/* struct join_header: may get flows from now on */
	JOIN_DRAIN,	/* struct join_drain: no new flows; JOIN_DRAINED tells when it is empty */
	JOIN_LEAVE,	/* struct join_header: out of the group; the server answers, then closes */
	JOIN_PUBLISH,	/* struct join_indices: datagrams with these receiver indices are mine */
	JOIN_UNPUBLISH, /* struct join_indices */
	JOIN_IDENTITY,	/* struct join_header: what to write into QUIC connection ids */

	/* From the server. */
	JOIN_ANSWER = 64, /* struct join_answer, to each request */
	JOIN_DRAINED,	  /* struct join_drained: event, once a drain */
	JOIN_STATE,	  /* struct join_state: event, after JOIN's answer and at every change */
};

struct join_header {
	__u16 version; /* JOIN_ABI_VERSION */
	__u16 type;    /* enum join_type */
	__u32 request; /* the request's number; its answer repeats it.  Events: 0 */
};
ABI_SIZE(struct join_header, 8);

#define JOIN_FLAG_READY	 0x1 /* it was ready before the connection broke: no second quarantine */
#define JOIN_FLAG_REJOIN 0x2 /* member and slot are what the last connection was told */

struct join_request {
	struct join_header header;
	char group[JOIN_GROUP_LEN]; /* NUL-terminated and -padded; empty: that of the socket's
				     * address
				     */
	char label[JOIN_LABEL_LEN]; /* for people; the same, may be empty */
	__u32 weight;		    /* 0 .. JOIN_MAX_WEIGHT */
	__u32 generation;	    /* the application's; a higher one is newer */
	__u64 member;		    /* JOIN_FLAG_REJOIN: as answered before, else 0 */
	__u16 slot;		    /* JOIN_FLAG_REJOIN: as answered before, else JOIN_NO_SLOT */
	__u16 flags;		    /* JOIN_FLAG_* */
	__u32 zero;
};
ABI_SIZE(struct join_request, 128);

struct join_drain {
	struct join_header header;
	__u32 deadline_ms; /* from now; 0: none */
	__u32 zero;
};
ABI_SIZE(struct join_drain, 16);

/* Followed by count indices, and nothing else: a message has 16 + 4 * count bytes. */
struct join_indices {
	struct join_header header;
	__u32 count; /* 1 .. JOIN_MAX_INDEX */
	__u32 zero;
	__u32 index[]; /* as WireGuard reads it, little endian, from the datagram */
};
ABI_SIZE(struct join_indices, 16);

struct join_answer {
	struct join_header header;
	__s32 status;		  /* 0 or -errno */
	__u16 slot;		  /* JOIN: of the member; else JOIN_NO_SLOT */
	__u16 identity;		  /* JOIN_IDENTITY: what the id is to hold; else JOIN_NO_SLOT */
	__u64 member;		  /* JOIN: its name at the server, for a rejoin; else 0 */
	char text[JOIN_TEXT_LEN]; /* status < 0: the reason, a sentence; NUL-terminated */
};
ABI_SIZE(struct join_answer, 536);

enum join_drained_reason {
	JOIN_DRAINED_EMPTY,    /* nothing is queued and, for UDP, no flow is left */
	JOIN_DRAINED_DEADLINE, /* something may be */
	JOIN_DRAINED_PLAIN,    /* nothing is queued, but the kernel's hash still sends */
};

struct join_drained {
	struct join_header header;
	__u32 reason; /* enum join_drained_reason */
	__u32 zero;
};
ABI_SIZE(struct join_drained, 16);

enum join_rollout {
	JOIN_ROLLOUT_FALLBACK, /* plain Linux: the kernel's hash among all */
	JOIN_ROLLOUT_OBSERVE,
	JOIN_ROLLOUT_SHADOW,
	JOIN_ROLLOUT_CANARY,
	JOIN_ROLLOUT_ENFORCED,
	JOIN_ROLLOUT_COUNT,
};

enum join_member {
	JOIN_MEMBER_QUARANTINED, /* gets no flow by policy yet */
	JOIN_MEMBER_ACTIVE,
	JOIN_MEMBER_DRAINING,
	JOIN_MEMBER_GONE, /* its socket has left the group */
	JOIN_MEMBER_COUNT,
};

struct join_state {
	struct join_header header;
	__u32 rollout; /* enum join_rollout, of the group */
	__u32 member;  /* enum join_member */
};
ABI_SIZE(struct join_state, 16);

#endif
