#include "rollout.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/must.h"

#define SECOND 1000000000ull

void rollout_config_default(struct rollout_config *config)
{
	static const uint16_t canary[] = { ROLLOUT_DEFAULT_CANARY };

	*config = (struct rollout_config){
		.target = { .state = ROLLOUT_DEFAULT_TARGET },
		.automatic = ROLLOUT_DEFAULT_AUTOMATIC,
		.canary_count = sizeof(canary) / sizeof(*canary),
		.soak_ns = ROLLOUT_DEFAULT_SOAK_NS,
		.cooldown_ns = ROLLOUT_DEFAULT_COOLDOWN_NS,
	};
	memcpy(config->canary_permille, canary, sizeof(canary));
}

/* The configuration's target in full: a canary without a share is the last step. */
static struct rollout_point target_of(const struct rollout_config *config)
{
	struct rollout_point target = config->target;

	if (target.state == ROLLOUT_CANARY && !target.permille && config->canary_count)
		target.permille = config->canary_permille[config->canary_count - 1];
	return target;
}

static bool share_is_one(struct rollout_point point)
{
	return point.state != ROLLOUT_CANARY || (point.permille >= 1 && point.permille <= 999);
}

int rollout_config_check(const struct rollout_config *config, struct err *err)
{
	uint16_t last = 0;

	if (config->canary_count > ROLLOUT_STEPS_MAX)
		return err_set(err, -EINVAL, "cannot use %u canary steps: at most %d are kept",
			       config->canary_count, ROLLOUT_STEPS_MAX);
	for (uint8_t i = 0; i < config->canary_count; i++) {
		uint16_t share = config->canary_permille[i];

		if (share <= last || share > 999)
			return err_set(err, -EINVAL,
				       "cannot use %u permille as canary step %u: the steps are "
				       "ascending, from 1 to 999",
				       share, i + 1);
		last = share;
	}
	if ((int)config->target.state < ROLLOUT_OBSERVE ||
	    config->target.state > ROLLOUT_ENFORCED || !share_is_one(target_of(config)))
		return err_set(err, -EINVAL,
			       "cannot use the rollout's target: it is observe, shadow, enforced "
			       "or a canary of 1 to 999 permille");
	return 0;
}

/* The ladder as numbers: the states' own shares never meet the canary's. */
static int rank(struct rollout_point point)
{
	switch (point.state) {
	case ROLLOUT_OBSERVE:
		return -1;
	case ROLLOUT_SHADOW:
		return 0;
	case ROLLOUT_CANARY:
		return point.permille;
	case ROLLOUT_ENFORCED:
		break;
	}
	return 1000;
}

int rollout_point_compare(struct rollout_point a, struct rollout_point b)
{
	return rank(a) - rank(b);
}

struct rollout_point rollout_point(const struct rollout *rollout)
{
	return (struct rollout_point){ rollout->state, rollout->canary_permille };
}

uint16_t rollout_share_permille(const struct rollout *rollout)
{
	int share = rank(rollout_point(rollout));

	return rollout->fallback || share < 0 ? 0 : (uint16_t)share;
}

static uint64_t later(uint64_t time, uint64_t by)
{
	return by > UINT64_MAX - time ? UINT64_MAX : time + by;
}

/* The rung above, or the same of the highest. */
static struct rollout_point rung_above(const struct rollout *rollout)
{
	const struct rollout_config *config = rollout->config;

	if (rollout->state == ROLLOUT_OBSERVE)
		return (struct rollout_point){ .state = ROLLOUT_SHADOW };
	if (rollout->state < ROLLOUT_ENFORCED)
		for (uint8_t i = 0; i < config->canary_count; i++)
			if (config->canary_permille[i] > rollout->canary_permille)
				return (struct rollout_point){ ROLLOUT_CANARY,
							       config->canary_permille[i] };
	return (struct rollout_point){ .state = ROLLOUT_ENFORCED };
}

static void place(struct rollout *rollout, struct rollout_point to, uint64_t now)
{
	const struct rollout_config *config = rollout->config;

	rollout->state = to.state;
	rollout->canary_permille = to.permille;
	rollout->canary_step = 0;
	if (to.state == ROLLOUT_CANARY)
		while (rollout->canary_step < config->canary_count &&
		       config->canary_permille[rollout->canary_step] <= to.permille)
			rollout->canary_step++;
	rollout->since_ns = now;
}

static int fill(struct rollout_move *move, enum rollout_move_kind kind, struct rollout_point from,
		const struct rollout *rollout, enum rollout_actor actor, const char *reason,
		uint64_t now)
{
	*move = (struct rollout_move){
		.kind = kind,
		.from = from,
		.to = rollout_point(rollout),
		.actor = actor,
		.at_ns = now,
	};
	snprintf(move->reason, sizeof(move->reason), "%s", reason ? reason : "");
	return 1;
}

void rollout_init(struct rollout *rollout, const struct rollout_config *config, uint64_t now)
{
	*rollout = (struct rollout){ .since_ns = now };
	rollout_configure(rollout, config);
}

void rollout_configure(struct rollout *rollout, const struct rollout_config *config)
{
	struct rollout_point target = target_of(config);

	must(rollout_config_check(config, NULL) == 0);
	/* A reload must not end an operator's hold. */
	if (!rollout->held || rollout_point_compare(target, rollout->target) < 0)
		rollout->target = target;
	rollout->config = config;
	rollout->automatic = config->automatic;
	place(rollout, rollout_point(rollout), rollout->since_ns);
}

void rollout_adopt(struct rollout *rollout, const struct rollout *saved, uint64_t now)
{
	place(rollout, rollout_point(saved), now);
	rollout->frozen = saved->frozen;
	rollout->fallback = saved->fallback;
	rollout->fallback_by = saved->fallback_by;
	rollout->reverted = saved->reverted;
	rollout->highest = saved->highest;
	rollout->held = saved->held;
	if (saved->held && rollout_point_compare(saved->target, rollout->target) < 0)
		rollout->target = saved->target;
	rollout->cooldown_until_ns = saved->reverted ? later(now, rollout->config->cooldown_ns) : 0;
}

void rollout_gate(struct rollout *rollout, const char *why)
{
	snprintf(rollout->gate, sizeof(rollout->gate), "%s", why ? why : "");
}

/* A person reads it: what is left of a wait is never "0 s". */
static uint64_t seconds_left(uint64_t until, uint64_t now)
{
	return (until - now + SECOND - 1) / SECOND;
}

/* Why it may not go forward to wanted whatever anybody says. */
static int check_possible(const struct rollout *rollout, struct rollout_point wanted,
			  struct err *err)
{
	char text[ROLLOUT_POINT_LEN];

	rollout_point_print(wanted, text);
	if (rollout->frozen)
		return err_set(err, -EBUSY,
			       "cannot move to %s: the group is frozen; unfreeze it first, or fall "
			       "back to the plain kernel, which always works",
			       text);
	if (rollout->fallback)
		return err_set(err, -EBUSY,
			       "cannot move to %s: the group is in fallback; resume it first, it "
			       "goes on from shadow",
			       text);
	if (wanted.state >= ROLLOUT_CANARY && rollout->gate[0])
		return err_set(err, -EOPNOTSUPP,
			       "cannot move to %s: the policy cannot be armed here: %s; shadow is "
			       "possible, 'loom doctor' says what is missing",
			       text, rollout->gate);
	return 0;
}

/* Why it may not go forward to wanted yet. */
static int check_ready(const struct rollout *rollout, struct rollout_point wanted, uint64_t now,
		       struct err *err)
{
	struct rollout_point next = rung_above(rollout);
	uint64_t soaked = later(rollout->since_ns, rollout->config->soak_ns);
	char text[ROLLOUT_POINT_LEN];
	char at[ROLLOUT_POINT_LEN];
	char step[ROLLOUT_POINT_LEN];

	rollout_point_print(wanted, text);
	rollout_point_print(rollout_point(rollout), at);
	rollout_point_print(next, step);
	if (rollout_point_compare(wanted, next) > 0)
		return err_set(err, -EINVAL,
			       "cannot move to %s: it is at %s, and forward goes one step at a "
			       "time; ask for %s, or force it",
			       text, at, step);
	if (now < rollout->cooldown_until_ns)
		return err_set(err, -EAGAIN,
			       "cannot move to %s: it was taken back, and cools down for another "
			       "%" PRIu64 " s; wait, or force it",
			       text, seconds_left(rollout->cooldown_until_ns, now));
	if (now < soaked)
		return err_set(err, -EAGAIN,
			       "cannot move to %s: %s is to soak for another %" PRIu64
			       " s; wait, or force it",
			       text, at, seconds_left(soaked, now));
	return 0;
}

/* "canary" alone is its next step, or where it is if there is none above. */
static struct rollout_point resolve(const struct rollout *rollout, struct rollout_point wanted)
{
	const struct rollout_config *config = rollout->config;

	if (wanted.state != ROLLOUT_CANARY) {
		wanted.permille = 0;
	} else if (!wanted.permille && rollout->state > ROLLOUT_CANARY) {
		/* Back from enforced: the largest step below it. */
		if (config->canary_count)
			wanted.permille = config->canary_permille[config->canary_count - 1];
	} else if (!wanted.permille) {
		for (uint8_t i = 0; i < config->canary_count && !wanted.permille; i++)
			if (config->canary_permille[i] > rollout->canary_permille)
				wanted.permille = config->canary_permille[i];
		if (!wanted.permille)
			wanted.permille = rollout->canary_permille;
	}
	return wanted;
}

/* An operator has decided to go on: what a rollback forbade up to here is allowed again. */
static void forgive(struct rollout *rollout)
{
	struct rollout_point at = rollout_point(rollout);

	rollout->reverted = false;
	rollout->cooldown_until_ns = 0;
	if (rollout_point_compare(at, rollout->highest) >= 0)
		rollout->highest = (struct rollout_point){ .state = ROLLOUT_OBSERVE };
	rollout->held = false;
	rollout->target = target_of(rollout->config);
	if (rollout_point_compare(at, rollout->target) > 0)
		rollout->target = at;
}

int rollout_request(struct rollout *rollout, struct rollout_point wanted, bool force,
		    const char *reason, uint64_t now, struct rollout_move *move, struct err *err)
{
	struct rollout_point from = rollout_point(rollout);
	int direction;
	int r;

	wanted = resolve(rollout, wanted);
	if ((int)wanted.state < ROLLOUT_OBSERVE || wanted.state > ROLLOUT_ENFORCED ||
	    !share_is_one(wanted))
		return err_set(err, -EINVAL,
			       "cannot move to that: a canary's share is 1 to 999 permille, and "
			       "this group's configuration has no step to take for none");
	direction = rollout_point_compare(wanted, from);
	if (!direction && !rollout->fallback)
		return 0;
	r = check_possible(rollout, wanted, err);
	if (r < 0)
		return r;
	if (direction > 0 && !force) {
		r = check_ready(rollout, wanted, now, err);
		if (r < 0)
			return r;
	}
	place(rollout, wanted, now);
	if (direction > 0) {
		forgive(rollout);
	} else {
		rollout->held = true;
		rollout->target = wanted;
	}
	return fill(move, ROLLOUT_MOVED, from, rollout, ROLLOUT_BY_OPERATOR, reason, now);
}

/* The rung it would go to by itself, when the time has come. */
static bool next_by_itself(const struct rollout *rollout, struct rollout_point *ret_next)
{
	struct rollout_point next = rung_above(rollout);
	struct rollout_point at = rollout_point(rollout);

	/* A target between two rungs is the last one to be taken. */
	if (rollout_point_compare(next, rollout->target) > 0)
		next = rollout->target;
	if (!rollout->automatic || rollout->frozen || rollout->fallback || rollout->reverted)
		return false;
	if (rollout_point_compare(next, at) <= 0)
		return false;
	if (next.state >= ROLLOUT_CANARY && rollout->gate[0])
		return false;
	if (rollout->highest.state != ROLLOUT_OBSERVE &&
	    rollout_point_compare(next, rollout->highest) >= 0)
		return false;
	*ret_next = next;
	return true;
}

uint64_t rollout_due_ns(const struct rollout *rollout)
{
	uint64_t due = later(rollout->since_ns, rollout->config->soak_ns);
	struct rollout_point next;

	if (!next_by_itself(rollout, &next))
		return UINT64_MAX;
	return due > rollout->cooldown_until_ns ? due : rollout->cooldown_until_ns;
}

int rollout_tick(struct rollout *rollout, uint64_t now, struct rollout_move *move)
{
	struct rollout_point from = rollout_point(rollout);
	struct rollout_point next;
	char reason[ROLLOUT_REASON_LEN];

	if (!next_by_itself(rollout, &next) || now < rollout_due_ns(rollout))
		return 0;
	snprintf(reason, sizeof(reason), "soaked for %" PRIu64 " s",
		 (uint64_t)((now - rollout->since_ns) / SECOND));
	place(rollout, next, now);
	return fill(move, ROLLOUT_MOVED, from, rollout, ROLLOUT_BY_AUTOMATIC, reason, now);
}

static void take_back(struct rollout *rollout, uint64_t now)
{
	struct rollout_point from = rollout_point(rollout);

	rollout->reverted = true;
	rollout->cooldown_until_ns = later(now, rollout->config->cooldown_ns);
	/* Of several the lowest counts: it is the first that an operator has to pass. */
	if (from.state >= ROLLOUT_CANARY && (rollout->highest.state == ROLLOUT_OBSERVE ||
					     rollout_point_compare(from, rollout->highest) < 0))
		rollout->highest = from;
}

int rollout_revert(struct rollout *rollout, enum rollout_state to, enum rollout_actor actor,
		   const char *reason, uint64_t now, struct rollout_move *move)
{
	struct rollout_point from = rollout_point(rollout);

	must(to <= ROLLOUT_SHADOW);
	if (rollout->fallback || from.state <= to)
		return 0;
	take_back(rollout, now);
	place(rollout, (struct rollout_point){ .state = to }, now);
	return fill(move, ROLLOUT_MOVED, from, rollout, actor, reason, now);
}

int rollout_fallback(struct rollout *rollout, enum rollout_actor actor, const char *reason,
		     uint64_t now, struct rollout_move *move)
{
	struct rollout_point from = rollout_point(rollout);

	if (rollout->fallback)
		return 0;
	if (actor != ROLLOUT_BY_OPERATOR)
		take_back(rollout, now);
	rollout->fallback = true;
	rollout->fallback_by = actor;
	rollout->since_ns = now;
	return fill(move, ROLLOUT_FELL_BACK, from, rollout, actor, reason, now);
}

int rollout_resume(struct rollout *rollout, enum rollout_actor actor, const char *reason,
		   uint64_t now, struct rollout_move *move, struct err *err)
{
	struct rollout_point from = rollout_point(rollout);
	struct rollout_point to = from;

	if (!rollout->fallback)
		return 0;
	if (rollout->frozen)
		return err_set(err, -EBUSY,
			       "cannot resume: the group is frozen as well; unfreeze it first");
	if (actor != ROLLOUT_BY_OPERATOR &&
	    (actor != ROLLOUT_BY_REPAIR || rollout->fallback_by != ROLLOUT_BY_REPAIR))
		return err_set(err, -EPERM,
			       "cannot resume: %s made the fallback; an operator has to resume it",
			       rollout_actor_name(rollout->fallback_by));
	if (to.state > ROLLOUT_SHADOW)
		to = (struct rollout_point){ .state = ROLLOUT_SHADOW };
	rollout->fallback = false;
	place(rollout, to, now);
	return fill(move, ROLLOUT_RESUMED, from, rollout, actor, reason, now);
}

static int set_frozen(struct rollout *rollout, bool frozen, const char *reason, uint64_t now,
		      struct rollout_move *move)
{
	if (rollout->frozen == frozen)
		return 0;
	rollout->frozen = frozen;
	if (!frozen)
		rollout->since_ns = now;
	return fill(move, frozen ? ROLLOUT_FROZE : ROLLOUT_UNFROZE, rollout_point(rollout), rollout,
		    ROLLOUT_BY_OPERATOR, reason, now);
}

int rollout_freeze(struct rollout *rollout, const char *reason, uint64_t now,
		   struct rollout_move *move)
{
	return set_frozen(rollout, true, reason, now, move);
}

int rollout_unfreeze(struct rollout *rollout, const char *reason, uint64_t now,
		     struct rollout_move *move)
{
	return set_frozen(rollout, false, reason, now, move);
}
