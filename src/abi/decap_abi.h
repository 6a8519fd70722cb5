/* decap_abi.h - the bytes that the unwrapping program and its user space share.
 * Layer: abi.  Maps are pinned and outlive both sides: a change of a layout bumps
 * DECAP_ABI_VERSION.
 *
 * User space writes decap_vips, decap_own and decap_control, before the program sees a packet; the
 * program writes decap_counters. */
#ifndef LOOM_DECAP_ABI_H
#define LOOM_DECAP_ABI_H

#include "abi.h"

#define DECAP_ABI_VERSION 1

#define DECAP_MAX_VIPS	     256
#define DECAP_MAX_OWN	     4096
#define DECAP_MAX_INTERFACES 16
#define DECAP_GUE_PORT	     6080 /* draft-ietf-intarea-gue */

/* Key of decap_vips and decap_own: IPv6, or IPv4 as ::ffff:a.b.c.d. */
struct decap_addr {
	__be32 word[4];
};
ABI_SIZE(struct decap_addr, 16);

/* decap_control: one row, for user space alone. */
struct decap_control {
	__u32 abi_version;
	__u16 gue_port; /* host order */
	__u16 zero;
};
ABI_SIZE(struct decap_control, 8);

/* What can become of a frame: constant, name, verdict, help.  Append only. */
#define DECAP_COUNTERS(X)                                                                      \
	X(IPIP, "ipip", UNWRAP, "IPv4 in IPv4")                                                \
	X(IP4IN6, "ip4in6", UNWRAP, "IPv4 in IPv6")                                            \
	X(IP6IP6, "ip6ip6", UNWRAP, "IPv6 in IPv6")                                            \
	X(GUE, "gue", UNWRAP, "IPv4 or IPv6 in GUE")                                           \
	X(OTHER, "other", PASS, "Not encapsulated")                                            \
	X(NOT_HOST, "not_host", PASS, "Encapsulated, for an address that is not this host's")  \
	X(FRAGMENT, "fragment", PASS, "Encapsulated, but the outer packet is a fragment")      \
	X(NO_VIP, "no_vip", PASS, "Encapsulated, for no VIP, or the inner one cannot be read") \
	X(MALFORMED, "malformed", DROP, "For a VIP, but a length does not fit")                \
	X(CONGESTED, "congested", DROP, "Congestion marked, and the inner packet cannot say so")

enum decap_counter {
#define DECAP_COUNTER_ENUM(name, text, verdict, help) DECAP_##name,
	DECAP_COUNTERS(DECAP_COUNTER_ENUM)
#undef DECAP_COUNTER_ENUM
		DECAP_COUNTER_COUNT,
};

/* decap_counters: per-CPU array. */
struct decap_count {
	__u64 packets;
	__u64 bytes; /* frame lengths as received */
};
ABI_SIZE(struct decap_count, 16);

#endif
