/* What rollout.h calls things. */
#include "rollout.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const state_names[] = {
	[ROLLOUT_OBSERVE] = "observe",
	[ROLLOUT_SHADOW] = "shadow",
	[ROLLOUT_CANARY] = "canary",
	[ROLLOUT_ENFORCED] = "enforced",
};

#define STATES (sizeof(state_names) / sizeof(*state_names))

const char *rollout_state_name(enum rollout_state state)
{
	return state_names[state];
}

const char *rollout_actor_name(enum rollout_actor actor)
{
	static const char *const names[] = {
		[ROLLOUT_BY_OPERATOR] = "operator",
		[ROLLOUT_BY_AUTOMATIC] = "automatic",
		[ROLLOUT_BY_GUARD] = "guard",
		[ROLLOUT_BY_REPAIR] = "repair",
	};

	return names[actor];
}

const char *rollout_move_kind_name(enum rollout_move_kind kind)
{
	static const char *const names[] = {
		[ROLLOUT_MOVED] = "moved",	[ROLLOUT_FROZE] = "frozen",
		[ROLLOUT_UNFROZE] = "unfrozen", [ROLLOUT_FELL_BACK] = "fallback",
		[ROLLOUT_RESUMED] = "resumed",
	};

	return names[kind];
}

char *rollout_point_print(struct rollout_point point, char text[ROLLOUT_POINT_LEN])
{
	if (point.state == ROLLOUT_CANARY && point.permille)
		snprintf(text, ROLLOUT_POINT_LEN, "canary:%u", point.permille);
	else
		snprintf(text, ROLLOUT_POINT_LEN, "%s", rollout_state_name(point.state));
	return text;
}

/* "50", "5%" or "0.5%" in permille; 0: it is none of 1 .. 999. */
static uint16_t parse_share(const char *text)
{
	size_t digits = strspn(text, "0123456789");
	const char *rest = text + digits;
	uint16_t share;

	if (!digits || digits > 3)
		return 0;
	share = (uint16_t)strtoul(text, NULL, 10);
	if (!*rest)
		return share;
	if (share > 99)
		return 0;
	share = (uint16_t)(share * 10);
	if (*rest == '.' && rest[1] >= '0' && rest[1] <= '9') {
		share = (uint16_t)(share + (rest[1] - '0'));
		rest += 2;
	}
	return strcmp(rest, "%") == 0 ? share : 0;
}

int rollout_point_parse(const char *text, struct rollout_point *point, struct err *err)
{
	size_t name = strcspn(text, ":=");
	uint16_t share = 0;

	for (size_t i = 0; i < STATES; i++) {
		if (strlen(state_names[i]) != name || strncmp(text, state_names[i], name) != 0)
			continue;
		if (text[name]) {
			share = i == ROLLOUT_CANARY ? parse_share(text + name + 1) : 0;
			if (!share)
				break;
		}
		*point = (struct rollout_point){ (enum rollout_state)i, share };
		return 0;
	}
	return err_set(err, -EINVAL,
		       "cannot read '%s' as a rollout state: it is observe, shadow, enforced, or "
		       "canary with a share of 1 to 999 permille, as canary:50 or canary=5%%",
		       text);
}
