#include "privilege.h"

#include <cap-ng.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

static const struct {
	unsigned int capability;
	unsigned int needed; /* uses that cannot do without */
	unsigned int wanted; /* uses that keep it, if it is there */
} capabilities[] = {
	{ CAP_BPF, PRIVILEGE_BALANCE | PRIVILEGE_STEER, 0 },
	{ CAP_NET_ADMIN, PRIVILEGE_BALANCE, PRIVILEGE_STEER },
	{ CAP_PERFMON, PRIVILEGE_BALANCE, PRIVILEGE_STEER },
	{ CAP_NET_RAW, 0, PRIVILEGE_RAW },
	{ CAP_SYS_PTRACE, 0, PRIVILEGE_STEER },
	{ CAP_DAC_READ_SEARCH, 0, PRIVILEGE_STEER },
	{ CAP_SYS_ADMIN, PRIVILEGE_NETNS, 0 },
};
#define COUNT (sizeof(capabilities) / sizeof(capabilities[0]))

bool privilege_has(unsigned int capability)
{
	return capng_have_capability(CAPNG_EFFECTIVE, capability);
}

int privilege_check(unsigned int uses, struct err *err)
{
	char missing[128] = "";

	for (size_t i = 0; i < COUNT; i++) {
		if (!(capabilities[i].needed & uses) || privilege_has(capabilities[i].capability))
			continue;
		strcat(missing, missing[0] ? ", cap_" : "cap_");
		strcat(missing, capng_capability_to_name(capabilities[i].capability));
	}
	if (!missing[0])
		return 0;
	return err_set(err, -EPERM,
		       "cannot run without %s; start loomd as root or by its systemd unit",
		       missing);
}

int privilege_drop(unsigned int uses, struct err *err)
{
	/* A daemon that was started by its predecessor has neither more nor this one to drop with.
	 */
	capng_select_t sets = capng_have_capability(CAPNG_EFFECTIVE, CAP_SETPCAP)
				      ? CAPNG_SELECT_BOTH
				      : CAPNG_SELECT_CAPS;
	bool keep[COUNT];

	for (size_t i = 0; i < COUNT; i++)
		keep[i] = (capabilities[i].needed | capabilities[i].wanted) & uses &&
			  capng_have_capability(CAPNG_PERMITTED, capabilities[i].capability);
	capng_clear(CAPNG_SELECT_BOTH);
	for (size_t i = 0; i < COUNT; i++)
		if (keep[i])
			capng_update(CAPNG_ADD,
				     CAPNG_EFFECTIVE | CAPNG_PERMITTED | CAPNG_BOUNDING_SET,
				     capabilities[i].capability);
	if (capng_apply(sets) < 0)
		return err_set(err, -EPERM, "cannot drop capabilities: %s", strerror(errno));
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return err_set(err, -errno, "cannot set no_new_privs: %s", strerror(errno));
	return 0;
}
