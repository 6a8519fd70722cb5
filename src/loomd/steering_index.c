/* WireGuard's indices: which member owns one, and which virtual shards have exceptions. */
#include <errno.h>
#include <string.h>

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

int steering_index(struct group *group, uint32_t index, uint16_t slot, struct err *err)
{
	uint32_t vshard = index >> 24;
	uint64_t before = 0, after = 0;
	int r;

	for (size_t p = 0; p < STEERING_PARTS; p++)
		before += group->parts[p].steer ? steer_index_count(group->parts[p].steer) : 0;
	r = change(group, index, slot, err);
	for (size_t p = 0; p < STEERING_PARTS; p++)
		after += group->parts[p].steer ? steer_index_count(group->parts[p].steer) : 0;
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

	if (owner != STEER_NOBODY && owner != member->view.slot && members_by_slot(group, owner))
		return err_set(err, -EEXIST, "cannot change index %#x of group %s: it is slot %u's",
			       index, group->name, owner);
	if (!add && owner == STEER_NOBODY)
		return 0;
	return steering_index(group, index, add ? member->view.slot : STEER_NOBODY, err);
}

/* What a predecessor published stays published. */
void steering_index_adopt(struct group *group)
{
	memset(group->vshard_overrides, 0, sizeof(group->vshard_overrides));
	group->indices = 0;
	for (size_t p = 0; p < STEERING_PARTS; p++) {
		struct part *part = &group->parts[p];

		if (!part->steer)
			continue;
		group->indices += steer_index_count(part->steer);
		steer_index_vshards(part->steer, group->vshard_overrides);
		part->dirty = true;
	}
}
