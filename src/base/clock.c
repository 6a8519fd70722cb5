#include "clock.h"

#include <stddef.h>
#include <time.h>

static const uint64_t *clock_faked;

static uint64_t read_clock(clockid_t id)
{
	struct timespec ts;

	if (clock_faked)
		return *clock_faked;
	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * NSEC_PER_SEC + (uint64_t)ts.tv_nsec;
}

uint64_t clock_now_ns(void)
{
	return read_clock(CLOCK_MONOTONIC);
}

int64_t clock_wall_s(void)
{
	return (int64_t)(read_clock(CLOCK_REALTIME) / NSEC_PER_SEC);
}

void clock_fake(const uint64_t *now_ns)
{
	clock_faked = now_ns;
}
