#include "privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static const unsigned int needed[] = { CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON };
#define NEEDED (sizeof(needed) / sizeof(needed[0]))

int privilege_check(struct err *err)
{
	char missing[128] = "";

	for (size_t i = 0; i < NEEDED; i++) {
		if (capng_have_capability(CAPNG_EFFECTIVE, needed[i]))
			continue;
		strcat(missing, missing[0] ? ", cap_" : "cap_");
		strcat(missing, capng_capability_to_name(needed[i]));
	}
	if (!missing[0])
		return 0;
	return err_set(err, -EPERM,
		       "cannot run without %s; start loomd as root or by its systemd unit",
		       missing);
}

int privilege_drop(bool raw_sockets, struct err *err)
{
	raw_sockets = raw_sockets && capng_have_capability(CAPNG_PERMITTED, CAP_NET_RAW);
	/* A daemon that was started by its predecessor has neither more nor this one to drop with.
	 */
	capng_select_t sets = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)
				      ? CAPNG_SELECT_BOTH
				      : CAPNG_SELECT_CAPS;

	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < NEEDED; i++)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
			     needed[i]);
	if (raw_sockets)
		capng_update(CAPNG_ADD, CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
			     CAP_NET_RAW);
	if (capng_apply(sets) < 0)
		return err_set(err, -EPERM, "cannot drop capabilities: %s", strerror(errno));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, -errno, "cannot set no_new_privs: %s", strerror(errno));
	return 0;
}
