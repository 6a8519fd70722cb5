/* loom_steer.h - join a steering group of loomd with a socket of one's own.  See loom_steer(3).
 *
 * An application makes a socket with SO_REUSEPORT, binds it (and listens), and joins the group
 * that stands for its address in loom.yaml.  Loom then decides which members get new flows; a
 * member can drain before it closes, so that nothing is lost at a restart.
 *
 * Where no loomd runs, everything here succeeds and changes nothing: the socket is a plain
 * SO_REUSEPORT socket (LOOM_STEER_PLAIN).  When loomd appears, or comes back after a restart, the
 * handle joins by itself, with the same identity and the indices published before.  There is no
 * thread behind it: it happens in loom_steer_process(), and in any other call.
 *
 * Threads: a handle belongs to one thread at a time; different handles are independent.  No signal
 * handlers, no SIGPIPE, no exit.  Every descriptor is close-on-exec.
 * Errors: 0 or -errno (a number where it says so); loom_steer_error() has the sentence.
 * Blocking: loom_steer_join, _ready, _publish and their like wait for loomd's answer, for
 * options.timeout_ms at most; loom_steer_process never waits. */
#ifndef LOOM_STEER_H
#define LOOM_STEER_H

#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#ifdef __cplusplus
extern "C" {
#endif

struct loom_steer;

/* Zeroed but for size.  Strings are borrowed for the call of loom_steer_join. */
struct loom_steer_options {
	size_t size;	     /* sizeof(struct loom_steer_options) */
	const char *group;   /* its name in steering.groups, 63 bytes of printable ASCII at most;
			      * NULL or "": the group of the socket's address */
	const char *label;   /* for people: 31 bytes of printable ASCII at most; NULL: none */
	const char *socket;  /* loomd's path; NULL: $LOOM_STEER_SOCKET or /run/loom/default.steer */
	uint32_t weight;     /* share of new flows, relative to the others'; 1 to 65535; 0: 100 */
	uint32_t generation; /* of the application; a higher one is newer */
	uint32_t timeout_ms; /* for one answer; 0: 2000 */
	uint32_t retry_ms;   /* between attempts to reach loomd; 0: 1000 */
};

enum loom_steer_state {
	LOOM_STEER_PLAIN,   /* not at loomd: the kernel's hash decides */
	LOOM_STEER_STEERED, /* a member of the group */
};

enum loom_steer_member {
	LOOM_STEER_QUARANTINED, /* gets no flow by policy yet */
	LOOM_STEER_ACTIVE,
	LOOM_STEER_DRAINING,
	LOOM_STEER_GONE, /* loomd says that the socket has left the group */
};

enum loom_steer_rollout {
	LOOM_STEER_FALLBACK, /* plain Linux; as PLAIN, but at loomd */
	LOOM_STEER_OBSERVE,
	LOOM_STEER_SHADOW,
	LOOM_STEER_CANARY,
	LOOM_STEER_ENFORCED,
};

enum loom_steer_drained {
	LOOM_STEER_NOT_DRAINED,	    /* loom_steer_drain was not called, or is not over */
	LOOM_STEER_DRAINED,	    /* nothing is queued */
	LOOM_STEER_DRAINED_TIMEOUT, /* the deadline came first */
	LOOM_STEER_DRAINED_PLAIN,   /* nobody steers: loomd is not there, or the policy not in force
				     */
};

/* Joins with fd: SO_REUSEPORT, bound, and listening if TCP.  fd is borrowed: it stays open until
 * loom_steer_close or _leave.  (A duplicate here would keep a socket alive, and in its group, that
 * nobody reads any more.  A number that has become another socket is noticed and not used.)
 * Returns 0 with *ret (owned, loom_steer_close) -- also when no loomd answers (PLAIN) --, or with
 * *ret NULL: -EINVAL (options, or a socket that cannot join), -ENOMEM, -EMFILE, -EBADF; what loomd
 * refuses is no error of this call: the state is PLAIN, loom_steer_error() says why, and it is
 * tried again as if there were no loomd, but ten times less often. */
int loom_steer_join(struct loom_steer **ret, const struct loom_steer_options *options, int fd);

/* The member may get flows: it has read its configuration and serves.  Before, it is in
 * quarantine.  Remembered for rejoining.  0, or what loomd answered. */
int loom_steer_ready(struct loom_steer *steer);

/* No new flows from now on; the application goes on serving what comes.  deadline_ms 0: none.
 * Returns at once; loom_steer_drained() tells, with loom_steer_fd() to wait on. */
int loom_steer_drain(struct loom_steer *steer, uint32_t deadline_ms);
enum loom_steer_drained loom_steer_drained(struct loom_steer *steer);

/* The same, blocking until it is over (and, if loomd does not tell, one second longer than
 * deadline_ms); only for programs that serve in another thread.  Returns enum loom_steer_drained
 * or -errno. */
int loom_steer_drain_wait(struct loom_steer *steer, uint32_t deadline_ms);

/* Out of the group, by its own wish: it does not rejoin.  The socket stays as it is. */
int loom_steer_leave(struct loom_steer *steer);

/* Ends the membership if it lasts and frees the handle.  NULL is fine. */
void loom_steer_close(struct loom_steer *steer);

/* A descriptor for poll(2), epoll(7) and their like: readable when loom_steer_process() has
 * something to do, which includes the next attempt to reach loomd.  The same one for the handle's
 * life, and its own. */
int loom_steer_fd(const struct loom_steer *steer);

/* Reads what loomd told, reconnects and rejoins if it is time.  Never blocks.  Returns how many
 * events it took, or -errno of something that is not loomd's absence. */
int loom_steer_process(struct loom_steer *steer);

enum loom_steer_state loom_steer_state(struct loom_steer *steer);
/* As loomd told last; QUARANTINED and FALLBACK while PLAIN. */
enum loom_steer_member loom_steer_member(struct loom_steer *steer);
enum loom_steer_rollout loom_steer_rollout(struct loom_steer *steer);

/* The slot in the group, or -ENOTCONN while PLAIN. */
int loom_steer_slot(struct loom_steer *steer);

/* What the group's policy quic (or bytes) looks for in a datagram to find this member: the number
 * to encode in connection ids, or -ENOTCONN while PLAIN, or -errno of loomd's (-EOPNOTSUPP: the
 * policy reads none). */
int loom_steer_identity(struct loom_steer *steer);

/* Datagrams with these WireGuard receiver indices belong to this member (policy wireguard).
 * Publish an index when it is allocated, before message 1 or 2 leaves; take it back when the
 * keypair is destroyed, not at rekey.  Both remember the set for rejoining: -ENOMEM changes
 * nothing.  While PLAIN that is all they do.  An error of loomd's (-ENOSPC: its table is full)
 * leaves the set as asked; it is published again at the next rejoin. */
int loom_steer_publish(struct loom_steer *steer, const uint32_t *indices, size_t count);
int loom_steer_unpublish(struct loom_steer *steer, const uint32_t *indices, size_t count);

/* Why the last call failed, or why the state is PLAIN: a sentence, "" if nothing is wrong.
 * Borrowed until the next call with the handle. */
const char *loom_steer_error(const struct loom_steer *steer);

/* A socket that can join: SO_REUSEPORT, bound to address, listening if TCP (backlog 0: the
 * system's maximum), non-blocking, close-on-exec; IPv6 without IPv4.  protocol: IPPROTO_TCP or
 * IPPROTO_UDP.  Returns the descriptor (owned) or -errno. */
int loom_steer_bind(const struct sockaddr *address, socklen_t length, int protocol, int backlog);

#ifdef __cplusplus
}
#endif

#endif
