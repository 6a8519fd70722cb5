/* Members' states: a quarantine ends, a drain has nothing left, a stranger stays one. */
#include "base/clock.h"
#include "base/log.h"
#include "steering_internal.h"

#define DRAINED_FOR (20 * NSEC_PER_MSEC)
/* Who is there when we come is no newcomer. */
#define SETTLED_NS (500 * NSEC_PER_MSEC)
/* Who binds may join soon after; who has not by then is nobody we know. */
#define STRANGER_NS NSEC_PER_SEC

void member_activate(struct group *group, struct member *member)
{
	member->view.state = STEER_ACTIVE;
	member->drain_deadline_ns = 0;
	member->drained_told = false;
	group->parts[member->part].dirty = true;
	joined_state(group, member);
}

void member_drain(struct group *group, struct member *member, uint64_t deadline_ns, uint64_t now)
{
	member->view.state = STEER_DRAINING;
	member->drain_deadline_ns = deadline_ns ? now + deadline_ns : 0;
	member->drain_empty_ns = 0;
	member->drained_told = false;
	group->parts[member->part].dirty = true;
}

static uint64_t idle_for(const struct group *group)
{
	if (!group->config->udp)
		return DRAINED_FOR;
	/* Without another word a flow lasts as long as the program remembers it. */
	if (group->policy.policy == CONFIG_STEER_GENERATION && !group->config->flow_idle_ns)
		return group->policy.flow_timeout_ns;
	return group->config->flow_idle_ns > DRAINED_FOR ? group->config->flow_idle_ns
							 : DRAINED_FOR;
}

static void drained(struct group *group, struct member *member, bool by_deadline)
{
	char text[64];

	member->view.state = STEER_DRAINED;
	member->drain_deadline_ns = 0;
	log_info("group %s: drained%s: %s", group->name, by_deadline ? " by its deadline" : "",
		 member_text(member, text));
	if (!member->drained_told)
		joined_drained(group, member, by_deadline);
	member->drained_told = true;
}

static void follow_drain(struct group *group, struct member *member, uint64_t now)
{
	uint64_t packets;

	member_count(group, member);
	packets = member->view.count.selected_packets + member->view.count.kernel_packets;
	if (member->row.queue || member->row.requests || packets != member->used_packets)
		member->drain_empty_ns = 0;
	else if (!member->drain_empty_ns)
		member->drain_empty_ns = now;
	member->used_packets = packets;
	if (member->drain_empty_ns && now - member->drain_empty_ns >= idle_for(group))
		drained(group, member, false);
	else if (member->drain_deadline_ns && now >= member->drain_deadline_ns)
		drained(group, member, true);
}

static void follow_quarantine(struct group *group, struct member *member, uint64_t now)
{
	if (member->fresh || !member->view.source[0] || member->view.slot == STEER_NOBODY)
		return;
	if (member->join_id ? !member->ready
			    : member->first_seen_ns > group->steering->first_ns + SETTLED_NS &&
				      now - member->first_seen_ns < group->config->quarantine_ns)
		return;
	member_activate(group, member);
}

static void note_unexpected(struct group *group, struct member *member, uint64_t now)
{
	if (member->fresh || member->view.source[0] || now - member->first_seen_ns < STRANGER_NS)
		return;
	group->unexpected = true;
	if (!member->complained)
		member_announce(group, member);
	member->complained = true;
}

void members_age(struct group *group, uint64_t now)
{
	group->unexpected = false;
	for (size_t i = 0; i < group->member_count; i++) {
		struct member *member = &group->members[i];

		member->view.age_ns = now - member->first_seen_ns;
		member->view.drain_left_ns = member->drain_deadline_ns > now
						     ? member->drain_deadline_ns - now
						     : 0;
		if (member->view.state == STEER_QUARANTINED)
			follow_quarantine(group, member, now);
		else if (member->view.state == STEER_DRAINING)
			follow_drain(group, member, now);
		note_unexpected(group, member, now);
	}
}
