#include "steer_plan.h"

#include <string.h>

/* Who may have entries, and how many. */
struct shares {
	uint16_t slots[STEER_MAX_SLOTS];
	uint32_t weights[STEER_MAX_SLOTS];
	size_t count;
};

/* Largest remainder: quotas sum up to size exactly.  Of equal remainders those who have more than
 * their whole part already get the rest, so that nothing moves for it, then the earlier ones.
 * has	how many entries each has now */
static void quotas_of(const uint32_t *weights, const uint32_t *has, size_t count, size_t size,
		      uint32_t *quotas)
{
	uint64_t remainders[STEER_MAX_SLOTS];
	bool more[STEER_MAX_SLOTS];
	uint64_t sum = 0;
	size_t left = size;

	for (size_t i = 0; i < count; i++)
		sum += weights[i];
	for (size_t i = 0; i < count; i++) {
		uint64_t exact = (uint64_t)weights[i] * size;

		quotas[i] = (uint32_t)(exact / sum);
		remainders[i] = exact % sum;
		more[i] = has[i] > quotas[i];
		left -= quotas[i];
	}
	while (left) {
		size_t most = 0;

		for (size_t i = 1; i < count; i++)
			if (remainders[i] > remainders[most] ||
			    (remainders[i] == remainders[most] && more[i] && !more[most]))
				most = i;
		quotas[most]++;
		remainders[most] = 0;
		left--;
	}
}

/* Which share an entry belongs to; STEER_NOBODY: none. */
static uint16_t owner_of(const uint16_t of_slot[STEER_MAX_SLOTS], uint16_t entry)
{
	return entry < STEER_MAX_SLOTS ? of_slot[entry] : STEER_NOBODY;
}

void steer_plan_share(uint16_t *entries, size_t size, const uint16_t *slots,
		      const uint32_t *weights, size_t count)
{
	uint32_t quotas[STEER_MAX_SLOTS];
	uint32_t has[STEER_MAX_SLOTS] = { 0 };
	uint16_t of_slot[STEER_MAX_SLOTS]; /* slot -> its quota */
	size_t next = 0;

	memset(of_slot, 0xff, sizeof(of_slot));
	for (size_t i = 0; i < count; i++)
		of_slot[slots[i]] = (uint16_t)i;
	for (size_t i = 0; i < size; i++)
		if (owner_of(of_slot, entries[i]) != STEER_NOBODY)
			has[owner_of(of_slot, entries[i])]++;
	quotas_of(weights, has, count, size, quotas);
	for (size_t i = 0; i < size; i++) {
		uint16_t owner = owner_of(of_slot, entries[i]);

		if (owner != STEER_NOBODY && quotas[owner])
			quotas[owner]--;
		else
			entries[i] = STEER_NOBODY;
	}
	for (size_t i = 0; i < size; i++) {
		if (entries[i] != STEER_NOBODY)
			continue;
		/* In turn, so that what a member gives up is spread over the others. */
		while (!quotas[next])
			next = (next + 1) % count;
		entries[i] = slots[next];
		quotas[next]--;
		next = (next + 1) % count;
	}
}

/* What the kernel's hash would do, for a plan that has no past: entry i stands for the hashes from
 * i/size on, and count members are scaled to the same way. */
static void as_the_kernel(uint16_t *entries, size_t size, const struct steer_plan_input *input)
{
	for (size_t i = 0; i < size; i++)
		entries[i] = input->members[i * input->count / size].slot;
}

static bool is_empty(const uint16_t *entries, size_t size)
{
	for (size_t i = 0; i < size; i++)
		if (entries[i] != STEER_NOBODY)
			return false;
	return true;
}

static void share_out(uint16_t *entries, size_t size, const uint16_t *before,
		      const struct steer_plan_input *input, const struct shares *shares)
{
	if (!shares->count) {
		memset(entries, 0xff, size * sizeof(*entries));
		return;
	}
	if (before && !is_empty(before, size))
		memcpy(entries, before, size * sizeof(*entries));
	else
		as_the_kernel(entries, size, input);
	steer_plan_share(entries, size, shares->slots, shares->weights, shares->count);
}

uint32_t steer_plan_generation(const struct steer_plan_member *members, size_t count)
{
	uint32_t newest = 0;

	for (size_t i = 0; i < count; i++)
		if (members[i].active && members[i].weight && members[i].generation > newest)
			newest = members[i].generation;
	return newest;
}

/* Members for new flows. */
static void find_shares(const struct steer_plan_input *input, struct shares *shares)
{
	uint32_t working = steer_plan_generation(input->members, input->count);

	shares->count = 0;
	for (size_t i = 0; i < input->count; i++) {
		const struct steer_plan_member *member = &input->members[i];

		if (!member->active || !member->weight)
			continue;
		if (input->policy == STEER_GENERATION && member->generation != working)
			continue;
		shares->slots[shares->count] = member->slot;
		shares->weights[shares->count++] = member->weight;
	}
}

static void fill_cpus(const struct steer_plan_input *input, const struct shares *shares,
		      struct steer_table *table)
{
	for (size_t cpu = 0; cpu < STEER_MAX_CPUS; cpu++)
		table->cpus[cpu] = shares->count ? shares->slots[cpu % shares->count]
						 : STEER_NOBODY;
	for (size_t i = 0; i < input->count; i++) {
		const struct steer_plan_member *member = &input->members[i];

		if (member->active && member->weight && member->cpu >= 0 &&
		    member->cpu < STEER_MAX_CPUS)
			table->cpus[member->cpu] = member->slot;
	}
}

static void fill_members(const struct steer_plan_input *input, struct steer_table *table)
{
	for (size_t i = 0; i < input->count; i++) {
		const struct steer_plan_member *member = &input->members[i];
		__u16 flags = (member->active && member->weight ? STEER_MEMBER_ELIGIBLE : 0) |
			      (member->held ? STEER_MEMBER_HELD : 0);

		table->members[i] = (struct steer_member){
			.cookie = member->cookie,
			.slot = member->slot,
			.flags = flags,
			.weight = member->weight,
		};
		table->slot_flags[member->slot] = (__u8)flags;
		table->identity[member->slot] = member->slot;
		table->cookies[member->slot] = member->cookie;
	}
	table->member_count = (__u32)input->count;
}

bool steer_plan_compile(const struct steer_plan_input *input, struct steer_table *table)
{
	const struct steer_table *before = input->before;
	struct shares shares;

	memset(table, 0, sizeof(*table));
	memset(table->identity, 0xff, sizeof(table->identity));
	find_shares(input, &shares);
	fill_members(input, table);
	share_out(table->plan, STEER_PLAN_SIZE, before ? before->plan : NULL, input, &shares);
	share_out(table->vshards, STEER_VSHARDS, NULL, input, &shares);
	if (before) {
		uint16_t vshards[STEER_VSHARDS];

		for (size_t i = 0; i < STEER_VSHARDS; i++)
			vshards[i] = before->vshards[i] == STEER_NOBODY
					     ? STEER_NOBODY
					     : before->vshards[i] & ~STEER_VSHARD_OVERRIDES;
		share_out(table->vshards, STEER_VSHARDS, vshards, input, &shares);
	}
	for (size_t i = 0; i < STEER_VSHARDS && input->vshard_overrides; i++)
		if (input->vshard_overrides[i])
			table->vshards[i] |= STEER_VSHARD_OVERRIDES;
	fill_cpus(input, &shares, table);
	return shares.count && shares.count < input->count;
}
