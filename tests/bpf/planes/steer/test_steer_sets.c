/* What only many packets show: prediction, shares, spread, flows that stay. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <cmocka.h>

#include "abi/wg_demux_abi.h"
#include "base/must.h"
#include "casts.h"
#include "group.h"
#include "tests.h"

#define MEMBERS 4

static const int families[] = { AF_INET, AF_INET6 };

static struct group *open_as(unsigned policy, bool udp, int family, unsigned count)
{
	const struct steer_const is = {
		.policy = policy, .udp = udp, .migrates = !udp, .reads_group = casts_exist()
	};

	return group_open(&is, family, count);
}

/* ---- the kernel's choice, foretold ---- */

struct heard {
	struct steer_event event;
	uint16_t port; /* whose events these are */
	unsigned events;
};

/* The last segment of an earlier connection, if it is late, meets the listeners too. */
static int hear(void *context, void *data, size_t size)
{
	struct heard *heard = context;
	const struct steer_event *event = data;

	must(size == sizeof(*event));
	if (event->sport != heard->port)
		return 0;
	heard->event = *event;
	heard->events++;
	return 0;
}

/* Every flow's event says who will get it. */
static void check_foretold(struct group *group, unsigned flows)
{
	struct heard heard = { 0 };
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(group->bpf->maps.steer_events),
						    hear, &heard, NULL);

	must(ring);
	group->control->mode = STEER_SHADOW;
	for (unsigned i = 0; i < flows; i++) {
		int client = group_client(group, NULL, 0);
		unsigned got;

		heard.events = 0;
		heard.port = group_port(client);
		got = group_reach(group, &client, "x", 1);
		must(ring_buffer__consume(ring) >= 0);
		assert_true(heard.events >= 1); /* a SYN that is sent again is one more */
		assert_int_equal(heard.event.kernel_slot, group_slot(got));
		assert_int_equal(heard.event.chosen_slot, group_slot(got));
		close(client);
	}
	ring_buffer__free(ring);
}

static struct group *open_traced(bool udp, int family, unsigned count)
{
	const struct steer_const is = { .policy = STEER_WEIGHTED,
					.udp = udp,
					.migrates = !udp,
					.reads_group = casts_exist(),
					.traced = 1 };

	return group_open(&is, family, count);
}

static void shadow_foretells_the_kernels_choice_for_10000_flows(void **state)
{
	static const struct {
		bool udp;
		unsigned members, flows;
	} sets[] = { { true, 4, 2500 }, { true, 7, 1500 }, { false, 3, 1000 } };

	for (size_t f = 0; f < 2; f++)
		for (size_t i = 0; i < sizeof(sets) / sizeof(sets[0]); i++) {
			struct group *group = open_traced(sets[i].udp, families[f],
							  sets[i].members);

			check_foretold(group, sets[i].flows);
			group_close(group);
		}
}

static void shadow_foretells_it_where_members_have_cpus(void **state)
{
	struct group *group = open_traced(true, AF_INET, 5);
	int cpus[] = { 0, 1, 1, 0, 7 };

	for (unsigned i = 0; i < 5; i++)
		must(setsockopt(group->members[i], SOL_SOCKET, SO_INCOMING_CPU, &cpus[i],
				sizeof(cpus[i])) == 0);
	check_foretold(group, 1000);
	for (unsigned i = 0; i < 5; i++) {
		cpus[i] = 9; /* nobody's: the first one gets it */
		must(setsockopt(group->members[i], SOL_SOCKET, SO_INCOMING_CPU, &cpus[i],
				sizeof(cpus[i])) == 0);
	}
	check_foretold(group, 500);
	group_close(group);
}

/* The last member moves into the hole of one that closes; the table does not know it yet. */
static void shadow_foretells_it_while_the_table_is_behind(void **state)
{
	for (int udp = 0; udp < 2; udp++) {
		struct group *group = open_traced(udp, AF_INET6, 6);

		close(group->members[1]);
		group->members[1] = -1;
		check_foretold(group, 300);
		group_close(group);
	}
}

static void a_member_that_nobody_knows_is_counted_as_such(void **state)
{
	struct group *group = open_as(STEER_WEIGHTED, true, AF_INET, MEMBERS);
	static struct counts counts;
	unsigned strangers = 0;

	group->table->members[2].cookie = 0;
	group->control->mode = STEER_SHADOW;
	for (unsigned i = 0; i < 100; i++) {
		int client = group_client(group, NULL, 0);

		strangers += group_reach(group, &client, "x", 1) == 2;
		close(client);
	}
	group_counts(group, &counts);
	assert_in_range(strangers, 1, 99);
	assert_int_equal(counts.members[STEER_MAX_SLOTS].kernel_packets, strangers);
	assert_int_equal(counts.of[STEER_COUNT_SHADOW_UNKNOWN], strangers);
	assert_int_equal(counts.members[group_slot(2)].kernel_packets, 0);
	group_close(group);
}

/* ---- the canary ---- */

/* Which flows are the policy's. */
static void find_policys(struct group *group, uint32_t canary, const int *clients, bool *ret,
			 unsigned flows)
{
	group->control->canary = canary;
	for (unsigned i = 0; i < flows; i++) {
		uint64_t before = group_count(group, STEER_COUNT_CANARY_OUT);
		int client = clients[i];

		group_reach(group, &client, "x", 1);
		ret[i] = group_count(group, STEER_COUNT_CANARY_OUT) == before;
	}
}

#define FLOWS 400

static void a_canary_is_a_share_of_flows_that_only_grows(void **state)
{
	struct group *group = open_as(STEER_WEIGHTED, true, AF_INET, MEMBERS);
	static bool quarter[FLOWS], half[FLOWS], again[FLOWS];
	unsigned kernel[MEMBERS] = { 0 };
	int clients[FLOWS];
	unsigned in_quarter = 0, in_half = 0;

	for (unsigned i = 0; i < FLOWS; i++)
		clients[i] = group_client(group, NULL, 0);
	group->control->mode = STEER_CANARY;
	find_policys(group, 1u << 30, clients, quarter, FLOWS);
	find_policys(group, 1u << 31, clients, half, FLOWS);
	find_policys(group, 1u << 30, clients, again, FLOWS);
	assert_memory_equal(quarter, again, sizeof(quarter));
	group->control->mode = STEER_OBSERVE;
	for (unsigned i = 0; i < FLOWS; i++) {
		assert_true(half[i] || !quarter[i]);
		in_quarter += quarter[i];
		in_half += half[i];
		if (half[i])
			kernel[group_reach(group, &clients[i], "x", 1)]++;
		close(clients[i]);
	}
	assert_in_range(in_quarter, FLOWS / 4 - 60, FLOWS / 4 + 60);
	assert_in_range(in_half, FLOWS / 2 - 70, FLOWS / 2 + 70);
	/* Of each member's flows the same share: the canary says nothing of the slot. */
	for (unsigned i = 0; i < MEMBERS; i++)
		assert_in_range(kernel[i], in_half / 8, in_half / 2);
	group_close(group);
}

/* ---- queues ---- */

/* Nobody reads.  ret: how many each has, by counters. */
static void fill(struct group *group, unsigned packets, unsigned *ret)
{
	static struct counts counts;
	int *clients = calloc(packets, sizeof(*clients));

	must(clients);
	for (unsigned i = 0; i < packets; i++) {
		clients[i] = group_client(group, NULL, 0);
		if (group->is.udp)
			group_send(group, clients[i], "x", 1);
		else
			must(connect(clients[i], (struct sockaddr *)&group->address,
				     group->address_length) == 0);
	}
	group_counts(group, &counts);
	for (unsigned i = 0; i < group->count; i++)
		ret[i] = (unsigned)counts.members[group_slot(i)].selected_packets;
	for (unsigned i = 0; i < packets; i++)
		close(clients[i]);
	free(clients);
}

static void least_loaded_keeps_queues_level(void **state)
{
	unsigned got[GROUP_MAX];

	for (int udp = 0; udp < 2; udp++)
		for (size_t f = 0; f < 2; f++)
			for (unsigned count = 4; count <= 20; count += 16) {
				struct group *group = open_as(STEER_LEAST_LOADED, udp, families[f],
							      count);

				fill(group, count * 8, got);
				for (unsigned i = 0; i < count; i++)
					assert_int_equal(got[i], 8);
				group_close(group);
			}
}

static void least_loaded_compares_by_weight(void **state)
{
	struct group *group = open_as(STEER_LEAST_LOADED, false, AF_INET, 4);
	unsigned got[GROUP_MAX];

	group->table->members[1].weight = 3;
	group->table->members[2].weight = 0;
	group->table->members[3].flags = 0;
	fill(group, 40, got);
	assert_int_equal(got[0], 10);
	assert_int_equal(got[1], 30);
	assert_int_equal(got[2] + got[3], 0);
	group_close(group);
}

static void least_loaded_of_very_many_looks_at_two(void **state)
{
	struct group *group = open_as(STEER_LEAST_LOADED, true, AF_INET, 70);
	unsigned got[GROUP_MAX];

	fill(group, 700, got);
	for (unsigned i = 0; i < 70; i++)
		assert_in_range(got[i], 3, 18);
	group_close(group);
}

static void idle_members_other_than_the_plans_get_alike(void **state)
{
	struct group *group = open_as(STEER_LEAST_LOADED, true, AF_INET, 4);
	unsigned got[4] = { 0 };

	group_plan(group, STEER_NOBODY);
	for (unsigned i = 0; i < 400; i++) {
		int client = group_client(group, NULL, 0);

		got[group_reach(group, &client, "x", 1)]++;
		close(client);
	}
	for (unsigned i = 0; i < 4; i++)
		assert_in_range(got[i], 60, 145);
	group_close(group);
}

/* ---- hashes ---- */

static void random_reaches_everybody_from_one_port(void **state)
{
	struct group *group = open_as(STEER_RANDOM, true, AF_INET, MEMBERS);
	int client = group_client(group, NULL, 0);
	unsigned got[MEMBERS] = { 0 };

	for (unsigned i = 0; i < 200; i++)
		got[group_reach(group, &client, "x", 1)]++;
	for (unsigned i = 0; i < MEMBERS; i++)
		assert_in_range(got[i], 20, 90);
	close(client);
	group_close(group);
}

static void source_name(int family, unsigned i, char name[64])
{
	if (family == AF_INET)
		snprintf(name, 64, "127.0.1.%u", i);
	else
		snprintf(name, 64, "fd00:0:0:%x::%x", i / 2, i);
}

/* Sources, each from three ports: returns how many members they reached. */
static unsigned check_sources(struct group *group, const void *payload, size_t length,
			      unsigned *ret_of_source)
{
	unsigned reached = 0;

	for (unsigned i = 1; i <= 32; i++) {
		char name[64];
		unsigned first = 0;

		source_name(group->family, i, name);
		for (unsigned port = 0; port < 3; port++) {
			int client = group_client(group, name, 0);
			unsigned got = group_reach(group, &client, payload, length);

			if (!port)
				first = got;
			assert_int_equal(got, first);
			close(client);
		}
		ret_of_source[i] = first;
		reached |= 1u << first;
	}
	return (unsigned)__builtin_popcount(reached);
}

static void source_hash_goes_by_the_whole_address_alone(void **state)
{
	unsigned of[33];

	for (size_t f = 0; f < 2; f++) {
		struct group *group = open_as(STEER_SOURCE_HASH, true, families[f], MEMBERS);
		unsigned parted = 0;

		assert_int_equal(check_sources(group, "x", 1, of), MEMBERS);
		/* 2n and 2n + 1 are of one /64, and two sources nevertheless. */
		for (unsigned i = 2; i < 32; i += 2)
			parted += of[i] != of[i + 1];
		assert_true(parted > 4);
		group_close(group);
	}
}

static void sources_are_the_same_without_the_kernels_structures(void **state)
{
	for (size_t f = 0; f < 2; f++) {
		struct steer_const is = { .policy = STEER_SOURCE_HASH,
					  .udp = 1,
					  .reads_group = casts_exist() };
		unsigned with[33] = { 0 }, without[33] = { 0 };
		struct group *group = group_open(&is, families[f], MEMBERS);

		check_sources(group, "x", 1, with);
		group_close(group);
		is.reads_group = 0;
		group = group_open(&is, families[f], MEMBERS);
		check_sources(group, "x", 1, without);
		group_close(group);
		assert_memory_equal(with, without, sizeof(with));
	}
}

static void handshakes_go_where_user_space_says_they_do(void **state)
{
	char initiation[148] = { 1 };
	unsigned of[33];

	for (size_t f = 0; f < 2; f++) {
		struct group *group = open_as(STEER_WIREGUARD, true, families[f], MEMBERS);

		assert_int_equal(check_sources(group, initiation, sizeof(initiation), of), MEMBERS);
		for (unsigned i = 1; i <= 32; i++) {
			__be32 addr[4] = { 0, 0, htonl(0xffff), 0 };
			char name[64];

			source_name(families[f], i, name);
			must(inet_pton(families[f], name, f ? &addr[0] : &addr[3]) == 1);
			assert_int_equal(group->table->plan[wg_scale(wg_source_hash(addr, SALT),
								     STEER_PLAN_SIZE)],
					 group_slot(of[i]));
		}
		group_close(group);
	}
}

static void cpu_local_goes_by_the_cpu_that_received(void **state)
{
	struct group *group = open_as(STEER_CPU_LOCAL, true, AF_INET, MEMBERS);
	cpu_set_t before, one;
	int client = group_client(group, NULL, 0);

	must(sched_getaffinity(0, sizeof(before), &before) == 0);
	for (unsigned cpu = 0; cpu < 64; cpu++)
		group->table->cpus[cpu] = group_slot(cpu % MEMBERS);
	for (unsigned cpu = 0; cpu < 64; cpu++) {
		CPU_ZERO(&one);
		CPU_SET(cpu, &one);
		if (!CPU_ISSET(cpu, &before) || sched_setaffinity(0, sizeof(one), &one))
			continue;
		assert_int_equal(group_reach(group, &client, "x", 1), cpu % MEMBERS);
	}
	must(sched_setaffinity(0, sizeof(before), &before) == 0);
	close(client);
	group_close(group);
}

int tests_of_sets(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(shadow_foretells_the_kernels_choice_for_10000_flows),
		cmocka_unit_test(a_member_that_nobody_knows_is_counted_as_such),
		cmocka_unit_test(a_canary_is_a_share_of_flows_that_only_grows),
		cmocka_unit_test(random_reaches_everybody_from_one_port),
		cmocka_unit_test(source_hash_goes_by_the_whole_address_alone),
		cmocka_unit_test(handshakes_go_where_user_space_says_they_do),
		cmocka_unit_test(cpu_local_goes_by_the_cpu_that_received),
	};

	const struct CMUnitTest with_casts[] = {
		cmocka_unit_test(shadow_foretells_it_where_members_have_cpus),
		cmocka_unit_test(shadow_foretells_it_while_the_table_is_behind),
		cmocka_unit_test(least_loaded_keeps_queues_level),
		cmocka_unit_test(least_loaded_compares_by_weight),
		cmocka_unit_test(least_loaded_of_very_many_looks_at_two),
		cmocka_unit_test(idle_members_other_than_the_plans_get_alike),
		cmocka_unit_test(sources_are_the_same_without_the_kernels_structures),
	};
	int failed = cmocka_run_group_tests_name("many packets", tests, NULL, NULL);

	if (casts_exist())
		failed += cmocka_run_group_tests_name("the kernel's group", with_casts, NULL, NULL);
	return failed;
}
