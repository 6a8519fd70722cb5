/* wg_demux.h - to which member a WireGuard datagram belongs, decided in user space.
 * See loom_steer(3).
 *
 * The same decision as that of the kernel's program for policy wireguard, for where eBPF is not to
 * be had, and for datagrams that reached the wrong member (of several segments the kernel looks at
 * the first alone).  Standard C; no descriptors, no loomd.
 * Threads: a table may be read by many at a time, and changed by one while nobody reads. */
#ifndef LOOM_WG_DEMUX_H
#define LOOM_WG_DEMUX_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

#define LOOM_WG_KERNEL	 -1 /* no WireGuard message, or nobody's: as a plain hash decides */
#define LOOM_WG_SLOT_MAX 0x7ffe

struct loom_wg_table;

/* Empty: everything is LOOM_WG_KERNEL.  salt: secret, so that nobody can choose which member his
 * initiations go to.  0 or -ENOMEM. */
int loom_wg_table_new(struct loom_wg_table **ret, uint64_t salt);
void loom_wg_table_free(struct loom_wg_table *table); /* NULL is fine */

/* Indices whose top 8 bits are vshard belong to slot; negative: to nobody.  -EINVAL: out of range.
 */
int loom_wg_table_vshard(struct loom_wg_table *table, unsigned int vshard, int slot);

/* One index belongs to slot, whatever its virtual shard says; negative: no longer.
 * 0, -EINVAL or -ENOMEM. */
int loom_wg_table_index(struct loom_wg_table *table, uint32_t index, int slot);

/* The slots that initiations are spread over; copied; a slot may stand there more than once, for
 * weight.  0, -EINVAL or -ENOMEM. */
int loom_wg_table_handshakes(struct loom_wg_table *table, const uint16_t *slots, size_t count);

/* The slot of the member that the datagram belongs to, or LOOM_WG_KERNEL.
 * datagram: the UDP payload; of any length, of any content
 * source:   who sent it; AF_INET or AF_INET6; anything else, or NULL: initiations are
 *	     LOOM_WG_KERNEL */
int loom_wg_demux(const void *datagram, size_t len, const struct sockaddr *source,
		  const struct loom_wg_table *table);

#ifdef __cplusplus
}
#endif

#endif
