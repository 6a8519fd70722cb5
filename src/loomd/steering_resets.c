/* Connections lost at restarts, as far as the kernel tells.
 *
 * It counts the RSTs that a namespace sends (RFC 4022, tcpOutRsts): to connections that waited to
 * be accepted when their listener closed, to handshakes that ended when it was gone, to those who
 * find nobody listening.  Not by port, though, and those of sockets that are aborted by who has
 * them as well; the latter it counts once more, apart.  So what is told is every RST of the group's
 * namespace that no application asked for, in a restart's time: from the sample before a member
 * begins to drain, or goes, until 2 s after it has gone. */
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

/* RSTs that nobody asked for; false: not known. */
static bool read_resets(int64_t *ret)
{
	/* A socket is closed with something unread, or at once by SO_LINGER or TCP_LINGER2. */
	static const char *const asked_for[] = { "TCPAbortOnClose", "TCPAbortOnData",
						 "TCPAbortOnLinger" };
	char text[SNMP_TEXT_SIZE];
	uint64_t count;

	if (snmp_read("snmp", text) < 0 || snmp_parse(text, "Tcp", "OutRsts", &count) < 0)
		return false;
	*ret = (int64_t)count;
	if (snmp_read("netstat", text) < 0)
		return false;
	for (size_t i = 0; i < sizeof(asked_for) / sizeof(asked_for[0]); i++)
		if (snmp_parse(text, "TcpExt", asked_for[i], &count) == 0)
			*ret -= (int64_t)count;
	return true;
}

/* Returns how many were sent since the last time; 0 the first time. */
static uint64_t sent_since(struct space *space)
{
	int64_t now = 0, before = space->resets;
	bool known = space->resets_known;

	if (space->fd < 0 || netns_enter(space->fd, NULL) < 0)
		return 0;
	space->resets_known = read_resets(&now);
	netns_leave();
	space->resets = now;
	return known && space->resets_known && now > before ? (uint64_t)(now - before) : 0;
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
