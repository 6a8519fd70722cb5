/* steer_read.h - steering groups as loomd's API tells them, read once and checked.
 * Layer: loom.  Threads: one owner.  Blocks: no.
 *
 * The only place that knows the API's names of a group's members: list, show, watch, the report of
 * an incident and the doctor read these structs. */
#ifndef LOOM_STEER_READ_H
#define LOOM_STEER_READ_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"

#define STEER_READ_NO_SLOT (-1)

/* Text is borrowed from the answer; "" where the API has null. */
struct steer_read_member {
	uint64_t id;
	int slot; /* STEER_READ_NO_SLOT: none yet */
	uint64_t pid;
	uint64_t holders;
	const char *comm;
	const char *unit;
	const char *label;
	const char *source; /* "": no members entry names it */
	const char *address;
	uint64_t weight;
	uint64_t generation;
	const char *state; /* "quarantined", "active", "draining", "drained" */
	double age_s;
	double drain_left_s; /* < 0: no deadline */
	bool stuck;
	uint64_t queue;
	uint64_t queue_max;
	double queue_age_s;
	uint64_t drops;
	uint64_t rate; /* a second */
	uint64_t selected;
	uint64_t kernel; /* the kernel's hash chose it, and it got them */
	uint64_t shadow;
	uint64_t migrated;
};

struct steer_read_transition {
	double at; /* seconds since the epoch; 0: there was none */
	const char *from;
	const char *to;
	const char *actor;
	const char *reason;
};

struct steer_read_group {
	const char *name;
	const char *protocol; /* "udp", "tcp" */
	const char *address;  /* "*": both families */
	uint64_t port;
	char listen[96]; /* "0.0.0.0:53" */
	const char *netns;
	const char *policy;
	const char *state;
	uint64_t canary_permille;
	bool frozen;
	bool fallback;
	const char *target;
	bool automatic;
	bool reverted;
	const char *held_back;
	double state_age_s;
	double cooldown_s;
	bool attached;
	uint64_t program;     /* 0: none */
	uint64_t program_own; /* 0: none */
	bool exact;
	uint64_t repairs;
	uint64_t resets;
	uint64_t max_over_mean_permille;
	uint64_t jain_permille;
	double probe_p99_s; /* 0: none */
	uint64_t probe_failures;
	uint64_t indices;
	const json_t *counters; /* borrowed: by name */
	struct steer_read_transition last;
	struct steer_read_member *members; /* owned */
	size_t member_count;
};

struct steer_read {
	struct steer_read_group *groups; /* owned */
	size_t group_count;
};

/* answer: of GET /steer/groups, or of GET /steer/groups/NAME; borrowed for as long as ret lives.
 * Returns 0 or reply's error; ret is to be given back either way. */
int steer_read(struct reply *reply, const json_t *answer, struct steer_read *ret);
void steer_read_done(struct steer_read *read);

/* A counter of a group, 0 if this loomd has none of that name. */
uint64_t steer_read_counter(const struct steer_read_group *group, const char *name);
/* Selections that a policy wanted and the kernel's hash made instead. */
uint64_t steer_read_fallbacks(const struct steer_read_group *group);
/* Is name one of those that are counted as fallbacks? */
bool steer_read_is_fallback(const char *name);

/* What got: by its own hash and by a policy. */
static inline uint64_t steer_read_got(const struct steer_read_member *member)
{
	return member->kernel + member->selected;
}

#endif
