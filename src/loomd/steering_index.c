/* WireGuard's indices: which member owns one, and which virtual shards have exceptions. */
#include <errno.h>
#include <string.h>

#include "steering_internal.h"

int steering_index(struct group *group, uint32_t index, uint16_t slot, struct err *err)
{
	return err_set(err, -EOPNOTSUPP, "not yet");
}
