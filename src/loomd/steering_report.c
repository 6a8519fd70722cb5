/* What this kernel can do, and what the groups did: for those who ask when something is wrong. */
#include <errno.h>

#include "steering_internal.h"

void report_period(struct steering *steering, uint64_t now)
{
}

int report_history(struct group *group, struct buf *out, struct err *err)
{
	return err_set(err, -EOPNOTSUPP, "not yet");
}

int report_audit(struct group *group, struct buf *out, struct err *err)
{
	return err_set(err, -EOPNOTSUPP, "not yet");
}

