#include "health_verdict.h"

#include "base/clock.h"

#define SLOW_START_STEPS 16
/* The first step's share: little, but enough to be seen working. */
#define SLOW_START_LEAST 10

uint32_t health_verdict_rise(const struct health_verdict *verdict, const struct config_check *check)
{
	uint64_t rise = (uint64_t)(check->rise ? check->rise : 1) *
			(verdict->penalty ? verdict->penalty : 1);

	return rise > UINT32_MAX ? UINT32_MAX : (uint32_t)rise;
}

static void fall(struct health_verdict *verdict, const struct config_check *check, uint64_t now_ns)
{
	bool again = verdict->last_fall_ns &&
		     now_ns - verdict->last_fall_ns < check->flap_window_ns;

	verdict->penalty = again ? verdict->penalty * 2 : 1;
	if (verdict->penalty > HEALTH_PENALTY_MAX)
		verdict->penalty = HEALTH_PENALTY_MAX;
	verdict->last_fall_ns = now_ns;
	verdict->state = BACKEND_UNHEALTHY;
	verdict->streak = 0;
	verdict->falls++;
}

bool health_verdict_take(struct health_verdict *verdict, const struct config_check *check, bool ok,
			 uint64_t now_ns)
{
	bool speaks_against = ok != (verdict->state == BACKEND_HEALTHY);

	verdict->checks++;
	verdict->failures += !ok;
	if (verdict->state == BACKEND_UNCHECKED) {
		if (ok) {
			verdict->state = BACKEND_HEALTHY;
			verdict->streak = 0;
			return true;
		}
		speaks_against = true;
	}
	if (!speaks_against) {
		verdict->streak = 0;
		return false;
	}
	verdict->streak++;
	if (ok) {
		if (verdict->streak < health_verdict_rise(verdict, check))
			return false;
		verdict->state = BACKEND_HEALTHY;
		verdict->streak = 0;
		return true;
	}
	if (verdict->streak < check->fall)
		return false;
	fall(verdict, check, now_ns);
	return true;
}

/* A part of range that chance chooses. */
static uint64_t part(uint64_t range, uint32_t chance)
{
	return (uint64_t)((unsigned __int128)range * chance >> 32);
}

uint64_t health_interval(const struct config_check *check, uint32_t chance)
{
	uint32_t permille = check->jitter_permille > 1000 ? 1000 : check->jitter_permille;
	uint64_t jitter = check->interval_ns / 1000 * permille;

	return check->interval_ns - jitter + part(2 * jitter, chance);
}

uint64_t health_first(const struct config_check *check, uint64_t count, uint32_t chance)
{
	uint64_t window = count * NSEC_PER_MSEC;

	return part(window < check->interval_ns ? window : check->interval_ns, chance);
}

uint64_t health_step(uint64_t slow_start_ns)
{
	uint64_t step = slow_start_ns / SLOW_START_STEPS;

	return slow_start_ns && step < NSEC_PER_MSEC ? NSEC_PER_MSEC : step;
}

uint16_t health_withheld(uint64_t slow_start_ns, uint64_t elapsed_ns)
{
	uint64_t step;

	if (elapsed_ns >= slow_start_ns)
		return 0;
	step = elapsed_ns / health_step(slow_start_ns);
	return (uint16_t)((1000 - SLOW_START_LEAST) * (SLOW_START_STEPS - step) / SLOW_START_STEPS);
}
