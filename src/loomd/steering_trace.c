/* Decisions of a group's program, as JSON lines. */
#include <errno.h>

#include "steering_internal.h"

int steering_trace_start(struct group *group, const struct steer_trace_request *request,
			 struct stream **ret, struct err *err)
{
	return err_set(err, -EOPNOTSUPP, "not yet");
}

void steering_trace_end(struct steering *steering, const char *why)
{
}
