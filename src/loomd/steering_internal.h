/* steering_internal.h - seen by the files of socket steering in the daemon.
 * Layer: loomd.
 *
 * The way of every fact: the kernel's rows (steering_poll.c) become members (steering_members.c,
 * with their owners from steering_owners.c and their states from steering_member_states.c), members
 * become a table (steering_part.c), and only there the kernel is written.  Moves of the rollout,
 * whoever makes them, go through steering_moves.c, which writes the audit log. */
#ifndef LOOM_STEERING_INTERNAL_H
#define LOOM_STEERING_INTERNAL_H

#include <jansson.h>
#include <netinet/in.h>

#include "abi/join_abi.h"
#include "model/guard.h"
#include "model/rollout.h"
#include "model/steer_plan.h"
#include "planes/steer/steer.h"
#include "planes/steer/steer_truth.h"
#include "steering.h"
#include "sys/sock_diag.h"
#include "sys/sock_owners.h"

#define STEERING_PARTS	      2 /* one address family each: 0 IPv4, 1 IPv6 */
#define STEERING_SAMPLE_NS    NSEC_PER_SEC
#define STEERING_HISTORY      180 /* periods of each member ... */
#define STEERING_HISTORY_NS   (5 * NSEC_PER_SEC)
#define STEERING_GHOSTS	      64 /* members of a group that have gone and are remembered */
#define STEERING_REPAIR_LIMIT 3	 /* within a cooldown */

/* What a member did in one period of STEERING_HISTORY_NS. */
struct member_past {
	int64_t wall_s; /* its end; 0: not yet */
	uint32_t packets;
	uint32_t drops;
	uint32_t queue; /* the longest seen */
	uint8_t state;
};

/* A member that has gone, with its last minutes. */
struct ghost {
	uint64_t id;
	uint16_t slot;
	uint32_t pid;
	struct member_past *past; /* owned */
	uint64_t gone_ns;
	bool unfinished; /* the period in which it went goes on */
};

struct member {
	struct steer_member_view view; /* what is shown is what is known */
	struct steer_truth_row row;    /* as the kernel last told it */
	uint8_t part;
	int32_t cpu;
	int owner_fd; /* where its owner had it when we looked; -1: not known */
	uint64_t first_seen_ns;
	uint64_t drain_deadline_ns; /* 0: none */
	uint64_t drain_empty_ns;    /* since when nothing is queued; 0: something is */
	uint64_t moved_ns;	    /* when its queue last shrank or was empty */
	uint64_t used_packets;	    /* counter at drain_empty_ns: UDP flows that go on */
	uint64_t past_packets;	    /* counters at the last period's end */
	uint32_t past_drops;
	uint32_t past_queue;		  /* the longest of this period */
	uint64_t rate_packets;		  /* counter at the last sample */
	struct steer_member_count before; /* the slot's, when it came */
	struct member_past *past; /* owned; [STEERING_HISTORY], NULL until the first period */
	uint64_t join_id;	  /* by libloom: 0 otherwise */
	bool fresh;		  /* its owner is not known yet */
	bool rejudge;		  /* whether an entry names its holders is asked again */
	bool orphan;		  /* its owner does not hold it any more: somebody else does */
	bool sought;		  /* the look for owners under way is for it, too */
	bool seen;		  /* in this poll */
	bool ready;		  /* it says so itself: no quarantine */
	bool complained;	  /* that its socket cannot be had, or is nobody's: once */
	bool drained_told;
	bool going;		/* in the swap under way */
	uint64_t judge_ns;	/* named by no entry: asked again then ... */
	uint64_t judge_wait_ns; /* ... so long after the last time */
	uint64_t retry_ns;	/* its socket could not be had: not before */
};

/* One kernel group. */
struct part {
	struct steer *steer; /* owned; NULL: no socket was seen, or its program cannot be loaded */
	uint64_t group;	     /* the truth's name of the kernel's group; 0: none */
	uint64_t signature;  /* of the rows as they were */
	uint32_t program;    /* attached, as the kernel told; 0: none */
	bool classic;	     /* a classic program is */
	bool attached;	     /* ours was, and nobody was asked to detach it */
	bool foreign;	     /* something else is */
	bool told;	     /* its mode is what we, or a predecessor, made it */
	bool dirty;	     /* the table does not follow from the members any more */
	bool exact;
	uint64_t retry_ns; /* it cannot be opened: not before */
	char trouble[192]; /* why; "" */
};

struct space { /* a network namespace */
	struct steering *steering;
	char *name;			 /* owned; "" for loomd's own */
	int fd;				 /* owned; -1: it has gone */
	struct sock_diag_deaths *deaths; /* owned; NULL: polled only */
	struct loop_fd *deaths_watch;
	struct steer_truth_rows rows[2]; /* TCP, UDP */
	bool used[2];
	int64_t resets; /* RSTs sent, as last read */
	uint64_t resets_ns;
	bool resets_known;
	bool complained;
};

struct group {
	struct steering *steering;
	const struct config_steer_group *config; /* borrowed from the steering's config */
	char name[64];
	struct space *space;
	struct part parts[STEERING_PARTS];
	struct member *members; /* owned; by slot as far as they have one */
	size_t member_count;
	size_t member_room;
	bool full; /* sockets wait for a slot: said once, until somebody goes */
	uint64_t next_member_id;

	struct config_steer_policy_options
		policy; /* in force: the configuration's or an operator's */
	bool policy_overridden;
	bool unproven; /* the policy is not the one that the pins' mode is of */
	bool moved;    /* an earlier loomd had the name for another place */
	bool detached; /* an operator wants no program here */
	struct rollout_config rollout_config;
	struct rollout rollout;
	struct guard_config guard_config;
	struct guard *guard; /* owned */
	uint32_t repairs_in_row;
	uint64_t repair_window_ns;
	uint64_t repairs;
	uint64_t moves[2]; /* forward, back */
	struct steer_transition_view last;
	uint64_t last_probe_p99_ns, probes, probe_failures;
	struct group_probe *probe; /* owned; NULL: none yet */
	bool metric_told;	   /* that it cannot be read: once */
	bool has_metric;
	uint64_t metric;
	bool unexpected; /* a socket that no entry names */
	uint32_t vshard_overrides[STEER_VSHARDS];
	uint64_t indices;
	uint32_t max_over_mean_permille, jain_permille;
	uint64_t resets;
	uint64_t restart_until_ns; /* a member left, or leaves: 0: none ever did */
	struct ghost *ghosts;	   /* owned; the eldest first; NULL: none yet */
	size_t ghost_count;
	uint64_t slot_empty; /* the counter at the last sample */
	uint64_t sampled_ns;
	json_t *saved_members; /* owned; of the state file */

	/* Rows of this poll, pointing into the space's. */
	const struct steer_truth_row **rows; /* owned */
	size_t row_count;
	size_t row_room;
};

struct steering {
	const struct config *config;
	struct loop *loop;
	struct loop_timer *poll_timer;
	struct loop_timer *sample_timer;
	struct loop_timer *probe_timer; /* NULL: no group has a probe */
	struct steer_truth *truth;	/* owned */
	bool exact;
	bool reads_group;
	bool migrates;
	bool holds;
	struct steering_gate *gate; /* owned */
	struct space **spaces;	    /* owned, each */
	size_t space_count;
	struct group **groups; /* owned, each; in the configuration's order */
	size_t group_count;
	struct group **by_port; /* owned; groups ordered by port */
	struct control_steer control;
	char pin_base[256];
	char state_path[300];
	char audit_path[300];
	int audit_fd;
	bool audit_torn; /* its last line has no end */
	bool started;
	bool ready; /* the first poll is over */
	bool detaching;
	uint64_t first_ns; /* when the first poll was */
	bool save;	   /* something is to be kept ... */
	uint64_t save_ns;  /* ... but not before */
	bool unsaved;	   /* the last time it could not be */
	uint64_t polled_ns;
	uint64_t poll_cost_ns;	   /* of CPU */
	struct sock_owners owners; /* what a look for owners found ... */
	size_t admit_next;	   /* ... for this group and the later ones */
	bool admitting;
	uint64_t owners_ns;  /* when members' owners were last checked ... */
	size_t owners_next;  /* ... and whose come next */
	uint64_t history_ns; /* when the last period ended */
	size_t past_next;    /* the place of the period that goes on */
	int64_t past_wall_s[STEERING_HISTORY];
	uint64_t past_span_ns[STEERING_HISTORY];
	struct join_server *join; /* owned; NULL: none is wanted */
	uint64_t last_join_id;
	struct steering_trace *trace; /* owned; NULL: nobody traces */
	struct loop_timer *trace_timer;
	void (*admin_soon)(void *ctx); /* a stream has bytes */
	void *admin_ctx;
};

/* ---- steering.c ---- */

void steering_pin_base(const struct config *config, char base[256]);
bool steering_same_policy(const struct config_steer_policy_options *a,
			  const struct config_steer_policy_options *b);

/* ---- steering_space.c ---- */

/* NULL: loomd's own. */
int spaces_get(struct steering *steering, const char *name, struct space **ret, struct err *err);
/* Whose name is another namespace's now is watched there; what has gone is let go. */
void spaces_follow(struct steering *steering);
void spaces_close(struct steering *steering);

/* ---- steering_detach.c ---- */

/* Ends what a predecessor steered and the configuration has no group for any more. */
void steering_retire(struct steering *steering);

/* ---- steering_poll.c ---- */

/* Reads the kernel and brings every group up to date.  Newcomers are taken in for some milliseconds
 * at a time: thousands take several polls. */
void steering_poll(struct steering *steering);
/* The same for who only wants to see; where it is dear, not again and again. */
void steering_look(struct steering *steering);
/* Goes on with newcomers that were found; false: that was all. */
bool steering_admit(struct steering *steering);
/* What was found of newcomers is looked for anew. */
void steering_admit_anew(struct steering *steering);
struct group *steering_group(struct steering *steering, const char *name);
/* Inodes and cookies, for qsort and bsearch. */
int steering_compare_u64(const void *a, const void *b);
/* A group's sockets, of whatever namespace, may be bound to it. */
bool steering_has_port(const struct steering *steering, uint16_t port);

/* ---- steering_members.c ---- */

/* The rows that the group has now: joins, deaths, queues.  Those whose owner is to be found are
 * fresh after it. */
void members_sync(struct group *group, uint64_t now);
void members_free(struct group *group);
bool member_is_named(const struct member *member, const struct steer_member_name *name);
struct member *members_find(struct group *group, const struct steer_member_name *name, size_t nth);
struct member *members_by_slot(struct group *group, uint16_t slot);
/* Reads what it got since it came. */
void member_count(struct group *group, struct member *member);
const char *member_text(const struct member *member, char text[64]);

/* ---- steering_owners.c ---- */

/* Whose owner has gone and left the socket to another process (a daemon's parent, an old master) is
 * an orphan after it. */
void members_check_owners(struct group *group);
/* Names of the owners of those that were sought; takes new ones' sockets in. */
void members_admit(struct group *group, const struct sock_owners *owners, uint64_t now);
/* Gives the member a slot and the slot its socket (borrowed). */
int members_take_in(struct group *group, struct member *member, int socket, struct err *err);
/* Puts sockets back into the slots that somebody else emptied. */
void members_refill(struct group *group);
/* A duplicate of some member's socket of the part, to be closed at once; -errno. */
int members_socket(struct group *group, size_t part, struct err *err);
/* Logs who has come, and whether any entry names it. */
void member_announce(const struct group *group, const struct member *member);

/* ---- steering_member_states.c ---- */

void member_activate(struct group *group, struct member *member);
void member_drain(struct group *group, struct member *member, uint64_t deadline_ns, uint64_t now);
/* Quarantines and drains that end. */
void members_age(struct group *group, uint64_t now);

/* ---- steering_join.c: members that speak for themselves ---- */

int joined_open(struct steering *steering, struct err *err);
void joined_configure(struct steering *steering); /* who may join */
void joined_close(struct steering *steering);
void joined_state(struct group *group, const struct member *member);
void joined_gone(struct group *group, const struct member *member);
void joined_end(struct group *group); /* the group goes: they may join another */
void joined_drained(struct group *group, const struct member *member, enum join_drained_reason why);

/* ---- steering_part.c ---- */

/* Opens what members need, attaches, writes tables that changed, and the mode. */
void parts_apply(struct group *group, uint64_t now);
/* -errno: no part could; the old program stays. */
int parts_load(struct group *group, const struct config_steer_policy_options *policy,
	       struct err *err);
int parts_load_traced(struct group *group, const struct steer_const *filter, struct err *err);
int parts_attach(struct group *group, struct err *err);
int parts_detach(struct group *group, struct err *err);
void parts_set_mode(struct group *group);
void parts_close(struct group *group, enum plane_exit how);
/* Whether the policy, and nobody else, decides for every flow. */
bool part_decides(const struct group *group, size_t part);
int part_ensure(struct group *group, size_t part, struct err *err);
struct steer_policy_options part_policy(const struct config_steer_policy_options *policy);

/* ---- steering_moves.c ---- */

/* A move that happened: mode, guard, audit log, state file. */
void moves_done(struct group *group, const struct rollout_move *move);
/* Another line of the audit log: an action that is no move. */
void moves_note(struct group *group, const char *actor, const char *what, const char *reason);
/* Every sample: counters, guard, automatic moves. */
void moves_sample(struct group *group, uint64_t now);
void moves_configure(struct group *group);
/* Another policy comes, which must not be in force for a moment: back to shadow, and held there or,
 * if it is to, from there on by itself.  -EBUSY: the group is frozen where a policy is in force. */
int moves_unproven(struct group *group, bool hold);

/* ---- steering_state.c ---- */

int steering_load_state(struct steering *steering, struct err *err);
void steering_save_state(struct steering *steering);
/* What an earlier loomd knew of this socket, by its cookie; false: nothing. */
bool state_of_member(const struct group *group, struct member *member);
int steering_open_audit(struct steering *steering, struct err *err);
void steering_audit(struct steering *steering, json_t *line /* taken */);

/* ---- steering_control.c, steering_view.c ---- */

void steering_control_init(struct steering *steering);
int steering_view(struct steering *steering, const char *group, struct steer_view **ret,
		  struct err *err);
int steering_explain(struct group *group, const struct steer_flow_request *flow,
		     struct steer_explanation *ret, struct err *err);
void steering_index_adopt(struct group *group);
/* The slot's member has gone: what it published is nobody's, not its successor's. */
void steering_index_forget(struct group *group, uint16_t slot);
/* A member's own: what is another's is refused (-EEXIST), what is nobody's is no error to remove.
 * 1: it has become the member's; 0: nothing new. */
int steering_index_own(struct group *group, uint32_t index, const struct member *member, bool add,
		       struct err *err);
int steering_index(struct group *group, uint32_t index, uint16_t slot, struct err *err);

/* ---- steering_trace.c ---- */

int steering_trace_start(struct group *group, const struct steer_trace_request *request,
			 struct stream **ret, struct err *err);
void steering_trace_end(struct steering *steering, const char *why); /* none is fine */

/* ---- steering_gate.c, _history.c, _audit.c, _probe.c, _resets.c: what others ask for when
 * something is wrong ---- */

/* What this kernel lets us do, found out by doing it. */
void report_probe(struct steering *steering);
void report_close(struct steering *steering);
void report_period(struct steering *steering, uint64_t now);  /* keeps the history */
void report_gone(struct group *group, struct member *member); /* takes its past */
void report_forget(struct group *group);
/* The guard's probes of all groups, as they are configured now. */
int report_follow_probes(struct steering *steering);
void report_end_probe(struct group *group);
void report_restart(struct group *group);
void report_resets(struct steering *steering, uint64_t now);
void report_metric(struct group *group); /* reads it, if there is one */
int report_history(struct group *group, struct buf *out, struct err *err);
int report_audit(struct group *group, struct buf *out, struct err *err);
int report_capabilities(struct steering *steering, struct buf *out, struct err *err);
/* Why a policy cannot be armed on this kernel with these capabilities; NULL: it can. */
const char *report_gate(struct steering *steering, enum config_steer_policy policy);

#endif
