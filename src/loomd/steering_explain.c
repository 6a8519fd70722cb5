/* What the policy would do with a flow, as far as user space can tell. */
#include <errno.h>

#include "steering_internal.h"

int steering_explain(struct group *group, const struct steer_flow_request *flow,
		     struct steer_explanation *ret, struct err *err)
{
	return err_set(err, -EOPNOTSUPP, "not yet");
}
