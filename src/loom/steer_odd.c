#include "steer_odd.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "human.h"

/* A member that got less than this part of its share, of at least so many in all. */
#define ODD_IDLE_PERMILLE 100
#define ODD_IDLE_MIN	  1000
/* A queue this full will overflow. */
#define ODD_QUEUE_PERCENT 80
/* More than this of all selections went to the kernel's hash instead. */
#define ODD_FALLBACK_PERMILLE  10
#define ODD_IMBALANCE_PERMILLE 2000
/* A few flows a second are never even. */
#define ODD_IMBALANCE_MIN 20

struct odd_list {
	struct steer_odd *at;
	size_t count;
	size_t max;
	struct steer_odd spare; /* what found no room */
};

static struct steer_odd *add(struct odd_list *list, enum steer_odd_severity severity,
			     const struct steer_read_member *member, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* A full list gives up the least of what it holds, or what is new. */
static struct steer_odd *room_for(struct odd_list *list, enum steer_odd_severity severity)
{
	struct steer_odd *least = &list->spare;

	if (list->count < list->max)
		return &list->at[list->count++];
	list->spare.severity = severity;
	for (size_t i = 0; i < list->count; i++)
		if (list->at[i].severity < least->severity)
			least = &list->at[i];
	return least;
}

static struct steer_odd *add(struct odd_list *list, enum steer_odd_severity severity,
			     const struct steer_read_member *member, const char *fmt, ...)
{
	struct steer_odd *odd = room_for(list, severity);
	va_list ap;

	odd->severity = severity;
	odd->member = member;
	odd->remedy[0] = '\0';
	va_start(ap, fmt);
	vsnprintf(odd->text, sizeof(odd->text), fmt, ap);
	va_end(ap);
	return odd;
}

#define REMEDY(odd, ...) snprintf((odd)->remedy, sizeof((odd)->remedy), __VA_ARGS__)

static bool is_active(const struct steer_read_member *member)
{
	return strcmp(member->state, "active") == 0;
}

/* Everything that active members got. */
static uint64_t all_got(const struct steer_read_group *group, uint64_t *ret_weight)
{
	uint64_t got = 0;

	*ret_weight = 0;
	for (size_t i = 0; i < group->member_count; i++) {
		if (!is_active(&group->members[i]))
			continue;
		got += steer_read_got(&group->members[i]);
		*ret_weight += group->members[i].weight;
	}
	return got;
}

static bool is_idle(const struct steer_read_group *group, const struct steer_read_member *member)
{
	uint64_t weight;
	uint64_t got = all_got(group, &weight);

	if (!is_active(member) || !member->weight || got < ODD_IDLE_MIN || member->rate)
		return false;
	return (double)steer_read_got(member) * (double)weight * 1000 <
	       (double)got * (double)member->weight * ODD_IDLE_PERMILLE;
}

static bool is_full(const struct steer_read_member *member)
{
	return member->queue_max &&
	       (double)member->queue * 100 >= (double)member->queue_max * ODD_QUEUE_PERCENT;
}

const char *steer_odd_member(const struct steer_read_group *group,
			     const struct steer_read_member *member, char *text, size_t size)
{
	const struct {
		bool is;
		const char *word;
	} odds[] = {
		{ member->stuck, "stuck" },
		{ is_full(member) && !member->stuck, "queue full" },
		{ member->drops > 0, "drops" },
		{ is_idle(group, member), "no traffic" },
		{ strcmp(member->state, "quarantined") == 0, "quarantined" },
		{ !*member->source, "nobody's" },
	};
	size_t len = 0;

	text[0] = '\0';
	for (size_t i = 0; i < sizeof(odds) / sizeof(odds[0]); i++)
		if (odds[i].is && len < size)
			len += (size_t)snprintf(text + len, size - len, "%s%s", len ? ", " : "",
						odds[i].word);
	return text;
}

const char *steer_odd_state(const struct steer_read_group *group, char *text, size_t size)
{
	char canary[32] = "";

	if (strcmp(group->state, "canary") == 0)
		snprintf(canary, sizeof(canary), " %" PRIu64 "\u2030", group->canary_permille);
	snprintf(text, size, "%s%s%s%s", group->fallback ? "fallback" : group->state,
		 group->fallback ? "" : canary, group->frozen ? ", frozen" : "",
		 group->reverted ? ", reverted" : "");
	return text;
}

const char *steer_odd_meaning(const struct steer_read_group *group)
{
	static const struct {
		const char *state;
		const char *meaning;
	} meanings[] = {
		{ "observe", "Plain Linux decides; Loom only counts what it chooses." },
		{ "shadow", "Plain Linux decides; Loom computes what the policy would choose and "
			    "compares." },
		{ "canary",
		  "The policy decides for a share of the flows, always the same ones; plain "
		  "Linux for the rest." },
		{ "enforced", "The policy decides for every flow." },
	};

	if (group->fallback)
		return "Plain Linux decides, as if Loom were not there.";
	for (size_t i = 0; i < sizeof(meanings) / sizeof(meanings[0]); i++)
		if (strcmp(meanings[i].state, group->state) == 0)
			return meanings[i].meaning;
	return "This loom does not know what that state means.";
}

/* ---- findings ---- */

/* "slot 3 (nginx, pid 4711)" */
static const char *who(const struct steer_read_member *member, char text[128])
{
	char slot[32] = "without a slot";

	if (member->slot >= 0)
		snprintf(slot, sizeof(slot), "slot %d", member->slot);
	snprintf(text, 128, "%s (%s, pid %" PRIu64 ")", slot, *member->comm ? member->comm : "?",
		 member->pid);
	return text;
}

static void find_queue(struct odd_list *list, const struct steer_read_group *group,
		       const struct steer_read_member *member)
{
	char name[128];
	char age[HUMAN_LEN];
	struct steer_odd *odd;

	if (member->stuck) {
		odd = add(list, STEER_ODD_BAD, member,
			  "%s is stuck: %" PRIu64 " of %" PRIu64
			  " wait in its queue, which has not moved for %s",
			  who(member, name), member->queue, member->queue_max,
			  human_seconds(member->queue_age_s, age));
		REMEDY(odd,
		       "cat /proc/%" PRIu64 "/stack /proc/%" PRIu64 "/status; loom steer drain %s "
		       "id:%" PRIu64,
		       member->pid, member->pid, group->name, member->id);
	} else if (is_full(member)) {
		odd = add(list, STEER_ODD_WARNING, member,
			  "%s has %" PRIu64 " of %" PRIu64 " in its queue: it is slower than what "
			  "comes",
			  who(member, name), member->queue, member->queue_max);
		REMEDY(odd, "loom steer weight %s id:%" PRIu64 " %" PRIu64, group->name, member->id,
		       member->weight / 2);
	}
}

static void find_member(struct odd_list *list, const struct steer_read_group *group,
			const struct steer_read_member *member)
{
	char name[128];
	char age[HUMAN_LEN];
	struct steer_odd *odd;

	find_queue(list, group, member);
	if (member->drops)
		add(list, STEER_ODD_WARNING, member, "%s has dropped %" PRIu64 " %s",
		    who(member, name), member->drops,
		    strcmp(group->protocol, "udp") == 0 ? "datagrams: its buffer was full"
							: "connections: its accept queue was full");
	if (is_idle(group, member)) {
		odd = add(list, STEER_ODD_WARNING, member,
			  "%s is active with weight %" PRIu64 " and gets next to nothing",
			  who(member, name), member->weight);
		REMEDY(odd, "loom steer trace %s --duration 5s", group->name);
	}
	if (strcmp(member->state, "quarantined") == 0) {
		odd = add(list, STEER_ODD_NOTE, member,
			  "%s is quarantined since %s: the policy gives it nothing",
			  who(member, name), human_seconds(member->age_s, age));
		if (*member->source)
			REMEDY(odd, "loom steer swap %s --to id:%" PRIu64, group->name, member->id);
	}
	if (!*member->source) {
		odd = add(list, STEER_ODD_WARNING, member,
			  "%s is in the kernel's group, but no members entry of the configuration "
			  "names it",
			  who(member, name));
		REMEDY(odd,
		       "ls -l /proc/%" PRIu64 "/exe; add it to the group's members, or stop it",
		       member->pid);
	}
}

static void find_program(struct odd_list *list, const struct steer_read_group *group)
{
	struct steer_odd *odd;

	if (group->program && group->program != group->program_own) {
		odd = add(list, STEER_ODD_BAD, NULL,
			  "a foreign program is attached to the group: id %" PRIu64
			  ", not ours%s; it decides, not Loom",
			  group->program, group->program_own ? "" : ", of which none is loaded");
		REMEDY(odd, "bpftool prog show id %" PRIu64 "; loom steer attach %s",
		       group->program, group->name);
	} else if (!group->attached && !group->fallback) {
		odd = add(list, STEER_ODD_BAD, NULL,
			  "no program is attached, although the state is %s: plain Linux decides",
			  group->state);
		REMEDY(odd, "loom steer attach %s", group->name);
	}
}

static void find_members(struct odd_list *list, const struct steer_read_group *group)
{
	struct steer_odd *odd;
	size_t active = 0;

	for (size_t i = 0; i < group->member_count; i++)
		active += is_active(&group->members[i]) && group->members[i].weight;
	if (!group->member_count) {
		odd = add(list, STEER_ODD_BAD, NULL,
			  "the group has no members: nobody listens on %s %s with SO_REUSEPORT",
			  group->protocol, group->listen);
		REMEDY(odd, "ss -%snpe 'sport = :%s'", strcmp(group->protocol, "udp") ? "tl" : "ua",
		       strrchr(group->listen, ':') ? strrchr(group->listen, ':') + 1 : "");
	} else if (!active) {
		odd = add(list, STEER_ODD_BAD, NULL,
			  "no member may get anything new: the kernel's hash decides among all %zu",
			  group->member_count);
		REMEDY(odd, "loom steer show %s; then 'loom steer undrain %s MEMBER'", group->name,
		       group->name);
	}
}

static uint64_t all_rate(const struct steer_read_group *group)
{
	uint64_t rate = 0;

	for (size_t i = 0; i < group->member_count; i++)
		rate += group->members[i].rate;
	return rate;
}

static void find_balance(struct odd_list *list, const struct steer_read_group *group)
{
	uint64_t fallbacks = steer_read_fallbacks(group);
	uint64_t all = fallbacks + steer_read_counter(group, "selected");
	struct steer_odd *odd;
	char share[HUMAN_LEN];

	if (all >= ODD_IDLE_MIN && (double)fallbacks * 1000 > (double)all * ODD_FALLBACK_PERMILLE) {
		odd = add(list, STEER_ODD_WARNING, NULL,
			  "%s of what the policy should have chosen was left to the kernel's hash",
			  human_share(fallbacks, all, share));
		REMEDY(odd, "loom steer show %s (the reasons), loom steer trace %s", group->name,
		       group->name);
	}
	if (group->max_over_mean_permille > ODD_IMBALANCE_PERMILLE &&
	    all_rate(group) >= ODD_IMBALANCE_MIN)
		add(list, STEER_ODD_WARNING, NULL,
		    "one member gets %.1f times the mean (Jain's index %.3f)",
		    (double)group->max_over_mean_permille / 1000,
		    (double)group->jain_permille / 1000);
	if (group->probe_failures)
		add(list, STEER_ODD_WARNING, NULL, "%" PRIu64 " probes have failed",
		    group->probe_failures);
}

static void find_rollout(struct odd_list *list, const struct steer_read_group *group)
{
	struct steer_odd *odd;

	if (group->reverted) {
		odd = add(list, STEER_ODD_WARNING, NULL,
			  "the guard took it back (%s); only an operator goes on",
			  *group->last.reason ? group->last.reason : "no reason given");
		REMEDY(odd,
		       "loom steer audit %s; when the cause is mended: loom steer rollout %s next "
		       "--force --reason TEXT",
		       group->name, group->name);
	} else if (group->fallback) {
		odd = add(list, STEER_ODD_WARNING, NULL, "it is in fallback (%s by %s)",
			  *group->last.reason ? group->last.reason : "no reason given",
			  *group->last.actor ? group->last.actor : "nobody known");
		REMEDY(odd, "loom steer resume %s", group->name);
	}
	if (*group->held_back)
		add(list, STEER_ODD_NOTE, NULL, "it does not go forward: %s", group->held_back);
	if (group->frozen) {
		odd = add(list, STEER_ODD_NOTE, NULL,
			  "it is frozen: neither the rollout nor the guard changes anything");
		REMEDY(odd, "loom steer unfreeze %s", group->name);
	}
	if (!group->exact)
		add(list, STEER_ODD_NOTE, NULL,
		    "the kernel's choice is not known exactly: shadow comparisons go by what "
		    "loomd knows of the group ('loom steer capabilities': read_group)");
}

/* Stable: what was found first comes first among equals. */
static void sort(struct odd_list *list)
{
	for (size_t i = 1; i < list->count; i++) {
		struct steer_odd moved = list->at[i];
		size_t k = i;

		for (; k && list->at[k - 1].severity < moved.severity; k--)
			list->at[k] = list->at[k - 1];
		list->at[k] = moved;
	}
}

size_t steer_odd_find(const struct steer_read_group *group, struct steer_odd *ret, size_t max)
{
	struct odd_list list = { .at = ret, .max = max };

	if (!max)
		return 0;
	find_program(&list, group);
	find_members(&list, group);
	find_balance(&list, group);
	find_rollout(&list, group);
	for (size_t i = 0; i < group->member_count; i++)
		find_member(&list, group, &group->members[i]);
	sort(&list);
	return list.count;
}
