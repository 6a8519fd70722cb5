/* doctor.h - what will stop Loom from working on this machine.
 * Layer: loom.  Threads: one owner.  Blocks: a second at most, for neighbours to answer.
 *
 * A check looks at one thing and reports findings, also that all is well.  Checks change nothing;
 * the neighbours of backends are asked for as traffic to them would. */
#ifndef LOOM_DOCTOR_H
#define LOOM_DOCTOR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "config/config.h"
#include "session.h"
#include "sys/ethtool.h"
#include "sys/netlink.h"

enum doctor_severity {
	DOCTOR_OK,
	DOCTOR_WARNING, /* costs speed, or stops Loom if more comes together */
	DOCTOR_PROBLEM, /* Loom does not start, or some traffic is lost */
};

struct doctor_finding {
	const char *check;
	char *subject; /* owned, as the following */
	enum doctor_severity severity;
	char *finding; /* a sentence without its full stop */
	char *remedy;  /* "": there is none, or none is needed */
};

struct doctor {
	const struct config *config; /* borrowed; NULL: the machine alone is looked at */
	struct netlink *netlink;     /* owned */
	struct client *client;	     /* borrowed; NULL: no loomd is asked */
	const char *check;	     /* that is running */
	struct doctor_finding *findings;
	size_t count;
	size_t room;
	bool failed; /* memory ran short; findings are missing */
};

/* A configured interface, as found. */
struct doctor_link {
	const char *name;
	struct netlink_link link;
	char driver[ETHTOOL_DRIVER_LEN]; /* "" if it does not say */
	bool features[ETHTOOL_FEATURES];
	bool has_peer; /* a veth whose other end we may see */
	struct netlink_link peer;
	bool peer_here; /* and it is in this namespace */
	bool native;	/* Loom will, or has to, run in native mode */
};

struct doctor_check {
	const char *name;
	bool needs_config;
	void (*run)(struct doctor *doctor);
	void (*run_on)(struct doctor *doctor, const struct doctor_link *link); /* or: each link */
};

/* Groups of checks, ended by a NULL name. */
extern const struct doctor_check doctor_kernel_checks[], doctor_file_checks[],
	doctor_sysctl_checks[], doctor_link_checks[], doctor_offload_checks[],
	doctor_backend_checks[], doctor_port_checks[], doctor_steer_checks[];

/* config	borrowed until doctor_done; NULL: the machine alone */
int doctor_init(struct doctor *doctor, const struct config *config, struct err *err);
void doctor_done(struct doctor *doctor);

/* Runs all checks; findings are then sorted so that those on one subject stand together. */
int doctor_run(struct doctor *doctor, struct err *err);

/* Prints the findings on standard output, as a table or as JSON; 0 or -ENOMEM. */
int doctor_report(struct session *session, const struct doctor *doctor, struct err *err);
/* The same as an array, owned by the caller; NULL if memory is short. */
json_t *doctor_json(const struct doctor *doctor);
/* Text of a severity: "ok", "warning", "problem". */
const char *doctor_severity_text(enum doctor_severity severity);

enum doctor_severity doctor_worst(const struct doctor *doctor);

/* For checks.  doctor_remedy adds to the last finding. */
void doctor_find(struct doctor *doctor, enum doctor_severity severity, const char *subject,
		 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void doctor_remedy(struct doctor *doctor, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

/* The first number in a file of /proc; -errno, -EBADMSG if it holds none. */
int doctor_read_number(const char *path, long *ret);
/* net.ipv4.conf.INTERFACE.KEY, or of another family; the same errors. */
int doctor_read_conf(const char *family, const char *interface, const char *key, long *ret);

/* A TCP socket that listens, or a UDP socket without a peer. */
struct doctor_listener {
	uint16_t port; /* host order */
	struct addr address;
	bool udp;
	uint64_t inode;
};

typedef void (*doctor_listener_fn)(void *ctx, const struct doctor_listener *listener);
void doctor_each_listener(doctor_listener_fn fn, void *ctx);

/* DIRECTORY of this instance's pins. */
void doctor_pin_dir(const struct config *config, char *path, size_t size);
bool doctor_has_ipv4(const struct config *config);
bool doctor_has_ipv6(const struct config *config);
bool doctor_has_nat(const struct config *config, enum config_forwarding nat);

#endif
