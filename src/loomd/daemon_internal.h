/* daemon_internal.h - the daemon's state, seen only by its own files.
 * Layer: loomd. */
#ifndef LOOM_DAEMON_INTERNAL_H
#define LOOM_DAEMON_INTERNAL_H

#include "admin/server.h"
#include "daemon.h"
#include "health/health.h"
#include "steering.h"
#include "sys/loop.h"
#include "sys/netlink.h"

/* A removed backend leaves the model once two passes of the sweep, begun after its removal, found
 * none of its connections. */
struct leaving {
	uint32_t id;
	uint64_t since; /* lb_sweep_passes at removal */
};

/* What somebody watches; stream is NULL while nobody does. */
struct daemon_trace {
	struct stream *stream; /* the writer's hold is ours */
	struct trace_request request;
	struct buf text; /* owned; of one tick */
	uint64_t end_ns;
	uint64_t written; /* packets */
};

struct daemon {
	struct daemon_options options;
	struct config *config;	  /* owned */
	struct model *configured; /* owned; by the configuration alone */
	struct model *current;	  /* owned; with the API's changes: what the kernel has */
	struct addr *local;	  /* owned; the interfaces' own addresses */
	size_t local_count;

	struct loop *loop;		   /* owned */
	struct netlink *netlink;	   /* owned */
	struct lb *lb;			   /* owned; NULL if ebpf is disabled */
	struct health *health;		   /* owned; NULL until there is a loop */
	struct steering *steering;	   /* owned; NULL if there are no groups */
	struct admin *admin;		   /* owned */
	struct loop_timer *sweep_timer;	   /* the loop's */
	struct loop_timer *resolve_timer;  /* the loop's */
	struct loop_timer *admin_timer;	   /* the loop's */
	struct loop_timer *health_timer;   /* the loop's; verdicts wait to be committed */
	struct loop_timer *deadline_timer; /* the loop's; of backends that drain */
	struct loop_timer *trace_timer;	   /* the loop's; NULL before the first trace */
	struct daemon_trace trace;
	uint64_t health_cost_ns; /* of the last commit of verdicts */
	struct control control;
	char pin_dir[256];
	char socket_path[128];
	char state_path[256];

	struct leaving *leaving; /* owned */
	size_t leaving_count;

	int lock_fd;		   /* owned; held while this daemon owns the instance */
	int pins_fd;		   /* owned; the same of the instance's pins */
	struct err attach_said;	   /* why an interface is not attached to, as last logged */
	bool upgrade;		   /* on exit, start the binary anew */
	bool detach;		   /* on close */
	bool serving;		   /* the data path stands */
	bool unsaved;		   /* the state file is behind */
	uint64_t resolve_cost_ns;  /* of the last pass over all backends */
	uint64_t resolve_spent_ns; /* of the pass under way */
	bool resolve_again;	   /* something changed since the pass under way began */
	uint64_t started_ns;
	uint64_t reloads_ok;
	uint64_t reloads_failed;
	int64_t last_reload_wall_s;
};

/* daemon_model.c: every change of the model goes through here. */

/* Makes the kernel and the state file equal next (taken over in any case).  On error both are as
 * before. */
int daemon_commit(struct daemon *daemon, struct model *next, struct err *err);
/* The same for what has happened (health, load, addresses, last connections): the state file holds
 * nothing of it, or is written when it can be. */
int daemon_commit_observed(struct daemon *daemon, struct model *next, struct err *err);
/* Reads the interfaces' own addresses anew.  Returns 1 if they changed, 0, or -errno. */
int daemon_read_addresses(struct daemon *daemon, const struct config *config, struct err *err);
/* Model of the configuration with the API's changes (reset: without them). */
int daemon_reload(struct daemon *daemon, bool reset, struct buf *complaints, struct buf *report,
		  struct err *err);
/* Backends that the running data path has and the files have lost drain. */
int daemon_keep_leftovers(struct daemon *daemon, struct err *err);
/* The implicit service follows the interfaces' addresses. */
int daemon_follow_addresses(struct daemon *daemon, struct err *err);
/* After a pass of the sweep: backends that have ended leave; deadlines fall. */
void daemon_reap(struct daemon *daemon);
/* At start: configuration, addresses, saved changes. */
int daemon_load_model(struct daemon *daemon, struct err *err);

/* Socket steering by config, which must outlive it: opened with the first group. */
int daemon_steering_follow(struct daemon *daemon, const struct config *config, struct err *err);

/* daemon_health.c: what was observed goes the way every change goes. */

int daemon_health_open(struct daemon *daemon, struct err *err);
/* What is known is laid over a model before it is applied ... */
int daemon_health_overlay(struct daemon *daemon, struct model *next, struct err *err);
/* ... and the checks follow what is in force: daemon->config and daemon->current.  Before either of
 * those that were before is freed. */
void daemon_health_follow(struct daemon *daemon);
/* Says which services have begun or ended to use all their backends. */
void daemon_health_compare(const struct model *old, const struct model *new);

/* daemon_load.c: LEAST_CONNECTIONS follows the counts of the last sweep. */
void daemon_follow_load(struct daemon *daemon);

/* daemon_trace.c */
int daemon_trace_start(struct daemon *daemon, const struct trace_request *request,
		       struct stream **ret, struct err *err);
/* Ends the trace, if there is one; why: a word for the client. */
void daemon_trace_end(struct daemon *daemon, const char *why);

/* daemon_control.c: the admin API's view. */
void daemon_control_init(struct daemon *daemon);

#endif
