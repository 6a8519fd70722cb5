/* probe.h - one check of one backend, from the packet it sends to ok or why not.
 * Layer: health.  Threads: control thread only.  Blocks: no.
 *
 * The caller keeps the time: it calls probe_expire once the check's timeout has passed. */
#ifndef LOOM_PROBE_H
#define LOOM_PROBE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/addr.h"
#include "base/err.h"
#include "config/config.h"
#include "sys/loop.h"

/* What a backend may say before it is cut short. */
#define PROBE_ANSWER_MAX 65536
#define PROBE_ERROR_LEN	 160

struct probe;
struct probe_http;
struct probe_kind;
struct probe_tunnel;

/* What all probes share. */
struct probe_env {
	struct loop *loop;	     /* borrowed */
	struct probe_http *http;     /* owned; NULL until something needs it */
	struct probe_tunnel *tunnel; /* owned; NULL: nobody wanted it at start */
};

/* How a check that goes through a tunnel gets there. */
struct probe_route {
	bool tunnelled;
	enum config_forwarding forwarding; /* IPIP or GUE */
	struct addr vip;		   /* the service's address */
	struct addr source; /* ours, for an answer in vip's family where the backend's is another;
			       or any */
	uint16_t gue_port;
};

/* ok, or error says why not: a phrase.  The probe may be started again, or freed. */
typedef void (*probe_done_fn)(struct probe *probe, bool ok);

struct probe {
	struct probe_env *env; /* borrowed */
	probe_done_fn done;
	void *ctx; /* done's */

	struct probe_route route; /* the caller's, between checks */

	/* Set by probe_start; check is borrowed until done or probe_stop. */
	const struct config_check *check;
	struct addr address;
	uint16_t port;
	const struct probe_kind *kind; /* NULL: not running */
	char error[PROBE_ERROR_LEN];

	int fd;		       /* owned; -1 without one */
	struct loop_fd *watch; /* the loop's */
	char *got;	       /* owned; what has come, for expect */
	size_t got_len;
	size_t sent;
	uint32_t seq;	      /* tunnel: of its SYN */
	uint16_t source_port; /* tunnel */
	struct probe *next_tunnel;
	uint16_t id;   /* DNS */
	void *request; /* HTTP: the transfer */
};

/* What the kinds of check differ in. */
struct probe_kind {
	/* 0, or -errno with probe->error set; done is not called from here. */
	int (*start)(struct probe *probe);
	/* More than closing fd and freeing got; may be NULL. */
	void (*stop)(struct probe *probe);
	/* Is silence until the timeout a success?  NULL: never. */
	bool (*silence_is_ok)(const struct probe *probe);
};

extern const struct probe_kind probe_tcp;
extern const struct probe_kind probe_udp;
extern const struct probe_kind probe_dns;
extern const struct probe_kind probe_http;
extern const struct probe_kind probe_tunnel;

/* Begins a check.  done is called later, from the loop, once; or not at all after probe_stop.
 * Returns 0, or -errno with probe->error set if it could not even begin. */
int probe_start(struct probe *probe, const struct config_check *check, const struct addr *address,
		uint16_t port);
/* Ends a running check without result.  Fine if none runs. */
void probe_stop(struct probe *probe);
/* The timeout has passed: the check ends, done is called. */
void probe_expire(struct probe *probe);

/* ---- for the kinds ---- */

/* The check ends: done is called.  Nothing of probe may be used afterwards. */
void probe_succeed(struct probe *probe);
void probe_fail(struct probe *probe, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Sets error; returns r. */
int probe_refuse(struct probe *probe, int r, const char *what);
/* A socket that connects, or has, to the target; probe->fd and probe->watch.  0 or -errno with
 * error set. */
int probe_connect(struct probe *probe, int type, uint32_t events, loop_fd_fn fn);
void probe_watch(struct probe *probe, uint32_t events, loop_fd_fn fn);
/* What has become of the socket: 0 or -errno. */
int probe_socket_error(const struct probe *probe);
/* Keeps what has come.  1: expect is in it; 0: not yet; -errno: -ENOSPC too much, -ENOMEM. */
int probe_gather(struct probe *probe, const void *data, size_t len);

/* The socket address of address and port; its length. */
socklen_t probe_address(const struct addr *address, uint16_t port, struct sockaddr_storage *ret);
/* The address this host would send from.  0 or -errno: there is no route. */
int probe_source_towards(const struct addr *address, struct addr *ret);

/* probe_dns.c, for whoever else asks: the query, its length or -errno; and what an answer means. */
int probe_dns_query(const struct probe *probe, uint8_t *query);
void probe_dns_answer(struct probe *probe, const uint8_t *answer, size_t len);

/* probe_tunnel.c: needs CAP_NET_RAW, which the daemon drops soon after its start. */
int probe_tunnel_open(struct probe_tunnel **ret, struct loop *loop, struct err *err);
void probe_tunnel_close(struct probe_tunnel *tunnel); /* NULL is fine; no check runs any more */

/* probe_http.c: the transfers of all HTTP checks. */
int probe_http_open(struct probe_http **ret, struct loop *loop, struct err *err);
void probe_http_close(struct probe_http *http); /* NULL is fine; no check runs any more */

#endif
