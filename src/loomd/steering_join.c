/* Members that speak for themselves, by libloom. */
#include "steering_internal.h"

int joined_open(struct steering *steering, struct err *err)
{
	return 0;
}

void joined_close(struct steering *steering)
{
}

void joined_state(struct group *group, const struct member *member)
{
}

void joined_gone(struct group *group, const struct member *member)
{
}

void joined_drained(struct group *group, const struct member *member, bool by_deadline)
{
}
