/* WireGuard's indices: which member owns one, and which virtual shards have exceptions. */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "steering_internal.h"

static bool has_overrides(const struct steer *steer, uint32_t vshard)
{
	return steer_table(steer)->vshards[vshard] & STEER_VSHARD_OVERRIDES;
}

/* The program looks for single indices only where the vshard says there are some. */
static void follow_vshard(struct group *group, struct part *part, uint32_t vshard)
{
	if (has_overrides(part->steer, vshard) != (group->vshard_overrides[vshard] > 0))
		part->dirty = true;
}

static int change(struct group *group, uint32_t index, uint16_t slot, struct err *err)
{
	int r = -ENODEV;

	for (size_t p = 0; p < STEERING_PARTS; p++) {
		struct steer *steer = group->parts[p].steer;

		if (!steer)
			continue;
		r = slot == STEER_NOBODY ? steer_index_remove(steer, index)
					 : steer_index_put(steer, index, slot);
		if (r < 0)
			break;
	}
	if (r >= 0)
		return 0;
	return err_set(err, r, "cannot %s index %#x of group %s: %s",
		       slot == STEER_NOBODY ? "remove" : "publish", index, group->name,
		       r == -ENODEV   ? "its policy is not wireguard"
		       : r == -ENOSPC ? "rx_index_to_slot is full; raise policy.max_indices"
				      : strerror(-r));
}

/* Those of one family are the other's as well. */
static uint64_t count(const struct group *group)
{
	uint64_t most = 0;

	for (size_t p = 0; p < STEERING_PARTS; p++)
		if (group->parts[p].steer && steer_index_count(group->parts[p].steer) > most)
			most = steer_index_count(group->parts[p].steer);
	return most;
}

int steering_index(struct group *group, uint32_t index, uint16_t slot, struct err *err)
{
	uint32_t vshard = index >> 24;
	uint64_t before = count(group), after;
	int r = change(group, index, slot, err);

	after = count(group);
	if (after > before)
		group->vshard_overrides[vshard]++;
	else if (after < before && group->vshard_overrides[vshard])
		group->vshard_overrides[vshard]--;
	group->indices = after;
	for (size_t p = 0; p < STEERING_PARTS; p++)
		if (group->parts[p].steer)
			follow_vshard(group, &group->parts[p], vshard);
	return r;
}

int steering_index_own(struct group *group, uint32_t index, const struct member *member, bool add,
		       struct err *err)
{
	const struct steer *steer = group->parts[member->part].steer;
	uint16_t owner = steer ? steer_index_owner(steer, index) : STEER_NOBODY;
	int r;

	if (owner != STEER_NOBODY && owner != member->view.slot && members_by_slot(group, owner))
		return err_set(err, -EEXIST, "cannot change index %#x of group %s: it is slot %u's",
			       index, group->name, owner);
	if (!add && owner == STEER_NOBODY)
		return 0;
	r = steering_index(group, index, add ? member->view.slot : STEER_NOBODY, err);
	return r < 0 ? r : add && owner != member->view.slot;
}

static void raise_to(uint32_t most[STEER_VSHARDS], const uint32_t counts[STEER_VSHARDS])
{
	for (size_t i = 0; i < STEER_VSHARDS; i++)
		if (counts[i] > most[i])
			most[i] = counts[i];
}

/* What a predecessor published stays published. */
void steering_index_adopt(struct group *group)
{
	memset(group->vshard_overrides, 0, sizeof(group->vshard_overrides));
	for (size_t p = 0; p < STEERING_PARTS; p++) {
		struct part *part = &group->parts[p];
		uint32_t counts[STEER_VSHARDS] = { 0 };

		if (!part->steer)
			continue;
		steer_index_vshards(part->steer, counts);
		raise_to(group->vshard_overrides, counts);
		part->dirty = true;
	}
	group->indices = count(group);
}

void steering_index_forget(struct group *group, uint16_t slot)
{
	uint32_t most[STEER_VSHARDS] = { 0 };

	for (size_t p = 0; p < STEERING_PARTS; p++) {
		struct part *part = &group->parts[p];
		uint32_t gone[STEER_VSHARDS] = { 0 };
		int r;

		if (!part->steer || !steer_index_count(part->steer))
			continue;
		r = steer_index_forget(part->steer, slot, gone);
		if (r < 0)
			log_warning("group %s: cannot remove the indices of slot %u: %s",
				    group->name, slot, strerror(-r));
		raise_to(most, gone);
		part->dirty = true;
	}
	for (size_t i = 0; i < STEER_VSHARDS; i++)
		group->vshard_overrides[i] -= most[i] < group->vshard_overrides[i]
						      ? most[i]
						      : group->vshard_overrides[i];
	group->indices = count(group);
}
