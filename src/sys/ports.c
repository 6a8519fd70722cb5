#include "ports.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FIRST_UNPRIVILEGED 1024u
#define LAST_PORT	   65535u
#define MIN_RANGE	   1024u

int ports_beside(uint32_t low, uint32_t high, uint16_t *ret_first, uint16_t *ret_last)
{
	uint32_t below = low > FIRST_UNPRIVILEGED ? low - FIRST_UNPRIVILEGED : 0;
	uint32_t above = high < LAST_PORT ? LAST_PORT - high : 0;

	if (below < MIN_RANGE && above < MIN_RANGE)
		return -EINVAL;
	if (below >= above) {
		*ret_first = FIRST_UNPRIVILEGED;
		*ret_last = (uint16_t)(low - 1);
	} else {
		*ret_first = (uint16_t)(high + 1);
		*ret_last = LAST_PORT;
	}
	return 0;
}

int ports_for_nat(uint16_t first, uint16_t last, uint16_t *ret_first, uint16_t *ret_last,
		  struct err *err)
{
	static const char path[] = "/proc/sys/net/ipv4/ip_local_port_range";
	uint32_t low;
	uint32_t high;
	FILE *file;
	int n;

	if (first) {
		*ret_first = first;
		*ret_last = last;
		return 0;
	}
	file = fopen(path, "re");
	if (!file)
		return err_set(err, -errno, "cannot read %s: %s; set ebpf.xdp.snat.ports", path,
			       strerror(errno));
	n = fscanf(file, "%u %u", &low, &high);
	fclose(file);
	if (n != 2 || low > high || high > LAST_PORT)
		return err_set(err, -EINVAL, "cannot understand %s; set ebpf.xdp.snat.ports", path);
	if (ports_beside(low, high, ret_first, ret_last) < 0)
		return err_set(
			err, -EINVAL,
			"cannot find source ports for NAT: the kernel's own take %u-%u; narrow "
			"net.ipv4.ip_local_port_range or set ebpf.xdp.snat.ports",
			low, high);
	return 0;
}
