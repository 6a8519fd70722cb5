#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/hash.h"
#include "model/steer_plan.h"

static struct steer_plan_member members[STEER_MAX_SLOTS];
static struct steer_plan_input input;
static struct steer_table table;
static struct steer_table before;
static uint32_t overrides[STEER_VSHARDS];
static uint64_t chance;

static int setup(void **state)
{
	memset(members, 0, sizeof(members));
	memset(&before, 0, sizeof(before));
	memset(overrides, 0, sizeof(overrides));
	memset(&table, 0x5a, sizeof(table)); /* what stood there does not count */
	input = (struct steer_plan_input){ .policy = STEER_WEIGHTED, .members = members };
	return 0;
}

static void add(uint16_t slot, uint32_t weight)
{
	members[input.count] = (struct steer_plan_member){
		.cookie = 0x1000u + slot,
		.slot = slot,
		.index = (uint16_t)input.count,
		.weight = weight,
		.generation = 1,
		.active = true,
		.cpu = -1,
	};
	input.count++;
}

static struct steer_plan_member *member_of(uint16_t slot)
{
	for (size_t i = 0; i < input.count; i++)
		if (members[i].slot == slot)
			return &members[i];
	fail_msg("no member has slot %u", slot);
	return NULL;
}

/* As the kernel's group does: the last one takes the place of the one that leaves. */
static void take_away(size_t i)
{
	members[i] = members[--input.count];
}

static void add_equal(size_t count)
{
	for (size_t i = 0; i < count; i++)
		add((uint16_t)i, 100);
}

static bool compile(void)
{
	return steer_plan_compile(&input, &table);
}

/* What was compiled last is in force. */
static bool compile_again(void)
{
	before = table;
	input.before = &before;
	return compile();
}

static uint32_t count_of(const uint16_t *entries, size_t size, uint16_t slot)
{
	uint32_t found = 0;

	for (size_t i = 0; i < size; i++)
		found += entries[i] == slot;
	return found;
}

static uint32_t planned(uint16_t slot)
{
	return count_of(table.plan, STEER_PLAN_SIZE, slot);
}

/* Entries that another slot has now. */
static uint32_t moved(void)
{
	uint32_t found = 0;

	for (size_t i = 0; i < STEER_PLAN_SIZE; i++)
		found += table.plan[i] != before.plan[i];
	return found;
}

/* ---- The first plan ---- */

/* include/linux/kernel.h */
static uint32_t reciprocal_scale(uint32_t value, uint32_t count)
{
	return (uint32_t)(((uint64_t)value * count) >> 32);
}

static void a_first_plan_of_equal_weights_is_the_kernels_choice(void **state)
{
	for (uint32_t n = 1; n <= STEER_MAX_SLOTS; n++) {
		setup(NULL);
		/* Slots that are no indices: the order of the group is what counts. */
		for (size_t i = 0; i < n; i++)
			add((uint16_t)(i * 37 % 256), 7);
		assert_false(compile());
		for (uint32_t i = 0; i < STEER_PLAN_SIZE; i++)
			if (table.plan[i] != members[reciprocal_scale(i << 20, n)].slot)
				fail_msg("%u members: entry %u is slot %u's", n, i, table.plan[i]);
		for (uint32_t i = 0; i < STEER_VSHARDS; i++)
			assert_int_equal(table.vshards[i],
					 members[reciprocal_scale(i << 24, n)].slot);
	}
}

static void a_first_plan_moves_no_more_than_those_in_quarantine_had(void **state)
{
	add_equal(4);
	members[2].active = false;
	assert_true(compile());
	assert_int_equal(planned(2), 0);
	for (size_t i = 0; i < STEER_PLAN_SIZE; i++)
		if (i / 1024 != 2)
			assert_int_equal(table.plan[i], i / 1024);
	/* Spread, so that no range of hashes falls on one neighbour. */
	for (size_t i = 2048; i < 3072 - 16; i += 16)
		for (size_t slot = 0; slot < 4; slot++)
			assert_int_equal(count_of(table.plan + i, 16, (uint16_t)slot) > 0,
					 slot != 2);
}

static void nothing_that_was_in_the_table_is_left(void **state)
{
	add(3, 1);
	compile();
	assert_int_equal(table.member_count, 1);
	assert_int_equal(table.members[1].cookie, 0);
	assert_int_equal(table.identity[0], STEER_NOBODY);
	assert_int_equal(table.cookies[0], 0);
	assert_int_equal(table.slot_flags[0], 0);
}

/* ---- Shares ---- */

static const struct {
	const char *name;
	uint32_t weights[6];
	uint32_t due[6];
} shares[] = {
	{ "one has all", { 5 }, { 4096 } },
	{ "equal", { 1, 1, 1, 1 }, { 1024, 1024, 1024, 1024 } },
	{ "to one entry", { 1, 4095 }, { 1, 4095 } },
	{ "a third goes to the largest remainder", { 2, 1 }, { 2731, 1365 } },
	{ "of equal remainders the first in the kernel's order",
	  { 1, 1, 1 },
	  { 1366, 1365, 1365 } },
	{ "as the kernel rounds", { 1, 1, 1, 1, 1, 1 }, { 683, 683, 682, 683, 683, 682 } },
	{ "the smallest remainder gets none", { 10, 5, 1 }, { 2560, 1280, 256 } },
	{ "weight 0 has none", { 100, 0, 100 }, { 2048, 0, 2048 } },
	{ "too light for an entry", { 65535, 1, 65535 }, { 2048, 0, 2048 } },
	{ "weights of 32 bits", { 4294967295, 4294967295 }, { 2048, 2048 } },
	{ "10, 20, 30, 40 percent", { 10, 20, 30, 40 }, { 410, 819, 1229, 1638 } },
};

#define SHARES (sizeof(shares) / sizeof(*shares))

static void entries_are_shared_out_by_weight_exactly(void **state)
{
	for (size_t row = 0; row < SHARES; row++) {
		setup(NULL);
		for (size_t i = 0; i < 6; i++)
			if (shares[row].due[i] || shares[row].weights[i])
				add((uint16_t)i, shares[row].weights[i]);
		compile();
		for (size_t i = 0; i < input.count; i++)
			if (planned((uint16_t)i) != shares[row].due[i])
				fail_msg("%s: member %zu has %u", shares[row].name, i,
					 planned((uint16_t)i));
		assert_int_equal(planned(STEER_NOBODY), 0);
	}
}

static void only_the_lightest_of_many_go_without(void **state)
{
	for (size_t i = 0; i < STEER_MAX_SLOTS; i++)
		add((uint16_t)i, i < 128 ? 1 : 65535);
	assert_false(compile());
	for (size_t i = 0; i < STEER_MAX_SLOTS; i++)
		assert_int_equal(planned((uint16_t)i), i < 128 ? 0 : 32);
}

/* ---- Changes ---- */

static void a_plan_that_is_compiled_again_stays(void **state)
{
	for (size_t n = 1; n <= STEER_MAX_SLOTS; n++) {
		setup(NULL);
		for (size_t i = 0; i < n; i++)
			add((uint16_t)i, n % 2 ? 100 : (uint32_t)i % 5);
		if (n == 2)
			members[1].weight = 3;
		compile();
		compile_again();
		assert_memory_equal(&table, &before, sizeof(table));
	}
}

static void one_that_leaves_gives_up_its_own_alone(void **state)
{
	add_equal(4);
	compile();
	take_away(1); /* the kernel's order changes: 0, 3, 2 */
	compile_again();
	assert_int_equal(moved(), 1024);
	assert_int_equal(planned(1), 0);
}

static void one_that_joins_takes_its_share_and_no_more(void **state)
{
	add_equal(3);
	compile();
	add(3, 100);
	compile_again();
	assert_int_equal(moved(), 1024);
	assert_int_equal(planned(3), 1024);
}

static void one_that_drains_and_comes_back_leaves_the_others_where_they_are(void **state)
{
	add_equal(4);
	compile();
	member_of(2)->active = false;
	assert_true(compile_again());
	assert_int_equal(planned(2), 0);
	assert_int_equal(moved(), 1024);
	assert_int_equal(table.slot_flags[2], 0);
	assert_int_equal(table.identity[2], 2); /* known flows of it go on */
	assert_int_equal(table.cookies[2], 0x1002);
	member_of(2)->active = true;
	assert_false(compile_again());
	assert_int_equal(moved(), 1024);
}

static void another_weight_moves_the_difference(void **state)
{
	add_equal(4);
	compile();
	member_of(0)->weight = 0;
	assert_true(compile_again());
	assert_int_equal(moved(), 1024);
	member_of(0)->weight = 100;
	member_of(1)->weight = 500;
	compile_again();
	assert_int_equal(planned(1), 2560);
	assert_int_equal(planned(0), 512);
	/* 0 gets its 512 and 1 what it lacks of 2560 from those that have too many. */
	assert_int_equal(moved(), 512 + 2560 - count_of(before.plan, STEER_PLAN_SIZE, 1));
}

static void count_all(const uint16_t *entries, uint32_t counts[STEER_MAX_SLOTS + 1])
{
	memset(counts, 0, sizeof(*counts) * (STEER_MAX_SLOTS + 1));
	for (size_t i = 0; i < STEER_PLAN_SIZE; i++)
		counts[entries[i] < STEER_MAX_SLOTS ? entries[i] : STEER_MAX_SLOTS]++;
}

/* What slots had too much of for the shares that came out. */
static uint32_t must_move(void)
{
	uint32_t had[STEER_MAX_SLOTS + 1], have[STEER_MAX_SLOTS + 1], must = 0;

	count_all(before.plan, had);
	count_all(table.plan, have);
	for (size_t slot = 0; slot <= STEER_MAX_SLOTS; slot++)
		must += had[slot] > have[slot] ? had[slot] - have[slot] : 0;
	return must;
}

static bool may_have(const struct steer_plan_member *member)
{
	return member->active && member->weight;
}

/* Largest remainder by its definition: nobody is off by an entry, and no one with less remainder
 * was preferred. */
static void assert_quotas(void)
{
	uint32_t counts[STEER_MAX_SLOTS + 1];
	uint64_t sum = 0, rest[STEER_MAX_SLOTS], least_up = UINT64_MAX, most_down = 0;

	count_all(table.plan, counts);
	for (size_t i = 0; i < input.count; i++)
		sum += may_have(&members[i]) ? members[i].weight : 0;
	for (size_t i = 0; i < input.count; i++) {
		uint64_t exact = (uint64_t)members[i].weight * STEER_PLAN_SIZE;
		uint32_t has = counts[members[i].slot];

		if (!may_have(&members[i])) {
			assert_int_equal(has, 0);
			continue;
		}
		assert_in_range(has, exact / sum, exact / sum + 1);
		rest[i] = exact % sum;
		if (has > exact / sum && rest[i] < least_up)
			least_up = rest[i];
		if (has == exact / sum && rest[i] > most_down)
			most_down = rest[i];
	}
	assert_true(least_up >= most_down);
	assert_int_equal(counts[STEER_MAX_SLOTS], 0);
}

/* Below n; the sequence is the same each time. */
static uint32_t pick(uint32_t n)
{
	return (uint32_t)(hash_mix64(++chance) >> 32) % n;
}

static uint16_t free_slot(void)
{
	for (;;) {
		uint16_t slot = (uint16_t)pick(STEER_MAX_SLOTS);
		bool taken = false;

		for (size_t i = 0; i < input.count; i++)
			taken |= members[i].slot == slot;
		if (!taken)
			return slot;
	}
}

static void change_by_chance(void)
{
	uint32_t i = input.count ? pick((uint32_t)input.count) : 0;

	switch (input.count ? pick(5) : 0) {
	case 0:
		if (input.count < 40)
			add(free_slot(), pick(4) ? 100 : pick(1000));
		break;
	case 1:
		take_away(i);
		break;
	case 2:
		members[i].active = !members[i].active;
		break;
	case 3:
		members[i].weight = pick(300);
		break;
	case 4:
		members[i].weight = 100;
		break;
	}
}

static void whatever_happens_no_entry_moves_that_need_not(void **state)
{
	for (size_t sequence = 0; sequence < 20; sequence++) {
		setup(NULL);
		chance = sequence << 32;
		compile();
		for (size_t step = 0; step < 300; step++) {
			bool any = false;

			for (uint32_t n = 1 + pick(3); n; n--)
				change_by_chance();
			compile_again();
			for (size_t i = 0; i < input.count; i++)
				any |= may_have(&members[i]);
			if (!any) {
				assert_int_equal(planned(STEER_NOBODY), STEER_PLAN_SIZE);
				continue;
			}
			assert_quotas();
			if (count_of(before.plan, STEER_PLAN_SIZE, STEER_NOBODY) == 0)
				assert_int_equal(moved(), must_move());
		}
	}
}

/* Sockets of one port that come and go change the kernel's order, too. */
static void reorder(void)
{
	for (size_t i = 0; i < input.count; i++) {
		struct steer_plan_member *with = &members[pick((uint32_t)input.count)];
		struct steer_plan_member member = members[i];

		members[i] = *with;
		*with = member;
	}
}

static void rounding_moves_nothing_of_its_own(void **state)
{
	chance = 99;
	add_equal(150); /* so many that one more or less often changes nobody's whole part */
	compile();
	for (size_t step = 0; step < 500; step++) {
		bool joins = input.count < 140 || (input.count < 250 && pick(2));
		uint16_t slot;
		uint32_t gave;

		reorder();
		if (joins) {
			slot = free_slot();
			add(slot, 100);
			compile_again();
			assert_int_equal(moved(), planned(slot));
		} else {
			gave = planned(members[0].slot);
			take_away(0);
			compile_again();
			assert_int_equal(moved(), gave);
		}
	}
}

/* ---- Nobody ---- */

static void assert_nobody(void)
{
	assert_int_equal(planned(STEER_NOBODY), STEER_PLAN_SIZE);
	assert_int_equal(count_of(table.vshards, STEER_VSHARDS, STEER_NOBODY), STEER_VSHARDS);
	assert_int_equal(count_of(table.cpus, STEER_MAX_CPUS, STEER_NOBODY), STEER_MAX_CPUS);
}

static void without_anybody_the_kernels_hash_decides_among_all(void **state)
{
	assert_false(compile()); /* no member at all */
	assert_nobody();
	add_equal(3);
	for (size_t i = 0; i < 3; i++)
		members[i].active = false;
	assert_false(compile()); /* restricted, all flows would miss */
	assert_nobody();
	for (size_t i = 0; i < 3; i++)
		members[i] = (struct steer_plan_member){ .slot = (uint16_t)i, .active = true };
	assert_false(compile());
	assert_nobody();
}

static void after_nobody_the_first_one_has_all(void **state)
{
	add_equal(2);
	members[0].active = members[1].active = false;
	compile();
	members[1].active = true;
	assert_true(compile_again());
	assert_int_equal(planned(1), STEER_PLAN_SIZE);
}

/* ---- Generations ---- */

static void new_flows_go_to_the_newest_generation_that_works(void **state)
{
	static const struct {
		uint32_t generation, weight;
		bool active;
	} rows[] = { { 1, 100, true }, { 2, 100, true }, { 3, 0, true }, { 4, 100, false } };

	for (size_t i = 0; i < 4; i++) {
		add((uint16_t)i, rows[i].weight);
		members[i].generation = rows[i].generation;
		members[i].active = rows[i].active;
	}
	assert_int_equal(steer_plan_generation(members, 4), 2);
	input.policy = STEER_GENERATION;
	assert_true(compile());
	assert_int_equal(planned(1), STEER_PLAN_SIZE);
	members[3].active = true;
	compile_again();
	assert_int_equal(planned(3), STEER_PLAN_SIZE);
	assert_int_equal(steer_plan_generation(members, 0), 0);
}

static void other_policies_do_not_look_at_generations(void **state)
{
	add_equal(2);
	members[1].generation = 9;
	assert_false(compile());
	assert_int_equal(planned(0), 2048);
}

/* The program keeps a known flow while its slot has the member that it was begun with. */
static void every_members_cookie_stands_at_its_slot(void **state)
{
	add(7, 100);
	add(255, 0);
	add(0, 100);
	members[2].active = false;
	input.policy = STEER_GENERATION;
	compile();
	assert_int_equal(table.cookies[7], 0x1007);
	assert_int_equal(table.cookies[255], 0x10ff);
	assert_int_equal(table.cookies[0], 0x1000);
	assert_int_equal(table.cookies[1], 0);
}

/* ---- The other parts of the table ---- */

static void virtual_shards_say_where_single_indices_are_to_be_looked_for(void **state)
{
	add_equal(4);
	overrides[0] = 1;
	overrides[255] = 100000;
	input.vshard_overrides = overrides;
	compile();
	assert_int_equal(table.vshards[0], 0 | STEER_VSHARD_OVERRIDES);
	assert_int_equal(table.vshards[1], 0);
	assert_int_equal(table.vshards[255], 3 | STEER_VSHARD_OVERRIDES);
	/* The flag is no part of what a shard was before. */
	overrides[0] = 0;
	compile_again();
	assert_int_equal(table.vshards[0], 0);
	assert_int_equal(table.vshards[255], 3 | STEER_VSHARD_OVERRIDES);
	take_away(0);
	compile_again();
	assert_int_not_equal(table.vshards[0], 0);
	assert_int_equal(table.vshards[255], 3 | STEER_VSHARD_OVERRIDES);
}

static void a_shard_of_nobody_has_its_single_indices(void **state)
{
	add_equal(1);
	members[0].active = false;
	overrides[5] = 1;
	input.vshard_overrides = overrides;
	compile();
	assert_int_equal(table.vshards[5], STEER_NOBODY);
	assert_true(table.vshards[5] & STEER_VSHARD_OVERRIDES);
	members[0].active = true;
	compile_again();
	assert_int_equal(table.vshards[5], 0 | STEER_VSHARD_OVERRIDES);
	assert_int_equal(table.vshards[6], 0);
}

static void a_cpu_belongs_to_the_member_that_asks_for_it(void **state)
{
	add_equal(3);
	members[0].cpu = 5;
	members[1].cpu = STEER_MAX_CPUS; /* out of range: as none */
	members[2].cpu = 4;
	members[2].active = false; /* gets nothing new */
	compile();
	assert_int_equal(table.cpus[5], 0);
	for (size_t cpu = 0; cpu < STEER_MAX_CPUS; cpu++) {
		assert_int_not_equal(table.cpus[cpu], 2);
		if (cpu != 5)
			assert_int_equal(table.cpus[cpu], cpu % 2);
	}
}

static void members_are_told_as_the_program_meets_them(void **state)
{
	add(9, 100);
	add(4, 50);
	add(5, 0);
	members[0].held = true;
	members[1].active = false;
	members[1].held = true;
	assert_true(compile());
	assert_int_equal(table.member_count, 3);
	assert_int_equal(table.members[0].cookie, 0x1009);
	assert_int_equal(table.members[0].slot, 9);
	assert_int_equal(table.members[0].weight, 100);
	assert_int_equal(table.members[0].flags, STEER_MEMBER_ELIGIBLE | STEER_MEMBER_HELD);
	assert_int_equal(table.members[1].flags, STEER_MEMBER_HELD);
	assert_int_equal(table.members[2].flags, 0);
	for (size_t i = 0; i < 3; i++) {
		assert_int_equal(table.slot_flags[members[i].slot], table.members[i].flags);
		assert_int_equal(table.identity[members[i].slot], members[i].slot);
	}
	assert_int_equal(table.identity[6], STEER_NOBODY);
}

static void a_full_group_has_sixteen_entries_each(void **state)
{
	for (size_t i = 0; i < STEER_MAX_SLOTS; i++)
		add((uint16_t)(255 - i), 100);
	assert_false(compile());
	for (size_t i = 0; i < STEER_MAX_SLOTS; i++) {
		assert_int_equal(planned((uint16_t)i), 16);
		assert_int_equal(table.vshards[i], 255 - i);
		assert_int_equal(table.identity[i], i);
	}
	take_away(100);
	compile_again();
	assert_int_equal(moved(), 16);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup(name, setup)
	const struct CMUnitTest tests[] = {
		T(a_first_plan_of_equal_weights_is_the_kernels_choice),
		T(a_first_plan_moves_no_more_than_those_in_quarantine_had),
		T(nothing_that_was_in_the_table_is_left),
		T(entries_are_shared_out_by_weight_exactly),
		T(only_the_lightest_of_many_go_without),
		T(a_plan_that_is_compiled_again_stays),
		T(one_that_leaves_gives_up_its_own_alone),
		T(one_that_joins_takes_its_share_and_no_more),
		T(one_that_drains_and_comes_back_leaves_the_others_where_they_are),
		T(another_weight_moves_the_difference),
		T(whatever_happens_no_entry_moves_that_need_not),
		T(rounding_moves_nothing_of_its_own),
		T(without_anybody_the_kernels_hash_decides_among_all),
		T(after_nobody_the_first_one_has_all),
		T(new_flows_go_to_the_newest_generation_that_works),
		T(other_policies_do_not_look_at_generations),
		T(every_members_cookie_stands_at_its_slot),
		T(virtual_shards_say_where_single_indices_are_to_be_looked_for),
		T(a_shard_of_nobody_has_its_single_indices),
		T(a_cpu_belongs_to_the_member_that_asks_for_it),
		T(members_are_told_as_the_program_meets_them),
		T(a_full_group_has_sixteen_entries_each),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
