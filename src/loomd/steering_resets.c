/* Connections lost at restarts, as far as the kernel tells.
 *
 * It counts the RSTs that a namespace sends (RFC 4022, tcpOutRsts): to connections that waited to
 * be accepted when their listener closed, to handshakes that ended when it was gone, to those who
 * found nobody listening.  It does not count by port.  So what is told is every RST of the group's
 * namespace in a restart's time: from the sample before a member begins to drain, or goes, until
 * 2 s after it has gone. */
#include "base/clock.h"
#include "steering_internal.h"
#include "sys/netns.h"
#include "sys/snmp.h"

#define AFTERMATH_NS (2 * NSEC_PER_SEC)

void report_restart(struct group *group)
{
	group->restart_until_ns = clock_now_ns() + AFTERMATH_NS;
}

static bool is_leaving(const struct group *group)
{
	for (size_t i = 0; i < group->member_count; i++)
		if (group->members[i].view.state == STEER_DRAINING ||
		    group->members[i].view.state == STEER_DRAINED)
			return true;
	return false;
}

/* Returns how many RSTs were sent since the last time; 0 the first time. */
static uint64_t sent_since(struct space *space)
{
	uint64_t now = 0, before = space->resets;
	bool known = space->resets_known;

	if (netns_enter(space->fd, NULL) < 0)
		return 0;
	space->resets_known = snmp_read("Tcp", "OutRsts", &now) == 0;
	netns_leave();
	space->resets = now;
	return known && space->resets_known && now > before ? now - before : 0;
}

void report_resets(struct steering *steering, uint64_t now)
{
	for (size_t s = 0; s < steering->space_count; s++) {
		struct space *space = steering->spaces[s];
		uint64_t sent = space->used[0] ? sent_since(space) : 0;

		for (size_t i = 0; i < steering->group_count; i++) {
			struct group *group = steering->groups[i];

			if (group->space != space || group->config->udp)
				continue;
			if (is_leaving(group))
				group->restart_until_ns = now + AFTERMATH_NS;
			if (group->restart_until_ns >= space->resets_ns && group->restart_until_ns)
				group->resets += sent;
		}
		space->resets_ns = now;
	}
}
