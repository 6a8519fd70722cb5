/* Sockets that are not what the table says, and what happens to flows and connections over time. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <netinet/udp.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <cmocka.h>

#include "base/must.h"
#include "casts.h"
#include "group.h"
#include "tests.h"

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define MEMBERS 4
#define OTHER	150 /* a slot that no member has */

static struct group *open_as(unsigned policy, bool udp)
{
	const struct steer_const is = {
		.policy = policy, .udp = udp, .migrates = !udp, .reads_group = casts_exist()
	};

	return group_open(&is, AF_INET, MEMBERS);
}

/* A packet that the program cannot give to slot reaches the kernel's choice, and counter says why.
 */
static void check_fails_open(struct group *group, uint16_t slot, enum steer_counter counter)
{
	int client = group_client(group, NULL, 0);
	uint64_t before;
	unsigned kernel;

	group->control->mode = STEER_FALLBACK;
	kernel = group_reach(group, &client, "x", 1);
	before = group_count(group, counter);
	group_plan(group, slot);
	group->control->mode = STEER_ENFORCE;
	assert_int_equal(group_reach(group, &client, "x", 1), kernel);
	assert_int_equal(group_count(group, counter), before + 1);
	close(client);
}

static void put(int map, __u32 slot, int socket)
{
	__u64 value = (__u64)socket;

	must(bpf_map_update_elem(map, &slot, &value, BPF_ANY) == 0);
}

static void sockets_of_others_get_nothing(void **state)
{
	struct sockaddr_in in4 = { .sin_family = AF_INET,
				   .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	struct sockaddr_in6 in6 = { .sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT };

	for (int udp = 0; udp < 2; udp++) {
		struct group *group = open_as(STEER_WEIGHTED, udp);
		int map = bpf_map__fd(group->bpf->maps.socks);
		const int others[] = {
			group_socket(AF_INET, udp, (struct sockaddr *)&in4, sizeof(in4)),
			group_socket(AF_INET, !udp, (struct sockaddr *)&in4, sizeof(in4)),
			group_socket(AF_INET6, udp, (struct sockaddr *)&in6, sizeof(in6)),
		};

		for (unsigned i = 0; i < 3; i++) {
			put(map, OTHER + i, others[i]);
			check_fails_open(group, OTHER + i, STEER_COUNT_SLOT_FOREIGN);
			close(others[i]);
		}
		group_close(group);
	}
}

static void a_closed_members_slot_is_empty(void **state)
{
	for (int udp = 0; udp < 2; udp++) {
		struct group *group = open_as(STEER_WEIGHTED, udp);

		close(group->members[2]);
		group->members[2] = -1;
		check_fails_open(group, group_slot(2), STEER_COUNT_SLOT_EMPTY);
		group_close(group);
	}
}

/* Somebody else's sockmap has the member's socket, so that no sockarray takes it. */
static void a_socket_that_is_held_is_found_in_the_sockmap(void **state)
{
	for (int udp = 0; udp < 2; udp++) {
		struct group *group = open_as(STEER_WEIGHTED, udp);
		int foreign = bpf_map_create(BPF_MAP_TYPE_SOCKMAP, "somebodys", 4, 8, 4, NULL);
		__u32 slot = group_slot(1);
		__u64 value = (__u64)group->members[1];
		int client = group_client(group, NULL, 0);

		must(foreign >= 0);
		must(bpf_map_delete_elem(bpf_map__fd(group->bpf->maps.socks), &slot) == 0);
		put(foreign, 0, group->members[1]);
		assert_int_equal(bpf_map_update_elem(bpf_map__fd(group->bpf->maps.socks), &slot,
						     &value, BPF_ANY),
				 -EBUSY);
		put(bpf_map__fd(group->bpf->maps.socks_held), slot, group->members[1]);
		group_plan(group, slot);
		group->table->slot_flags[slot] |= STEER_MEMBER_HELD;
		group->control->held = 1;
		assert_int_equal(group_reach(group, &client, "x", 1), 1);
		assert_int_equal(group_count(group, STEER_COUNT_SELECTED), 1);
		group_plan(group, group_slot(3));
		assert_int_equal(group_reach(group, &client, "x", 1), 3);
		group->table->slot_flags[group_slot(3)] |= STEER_MEMBER_HELD;
		check_fails_open(group, group_slot(3), STEER_COUNT_SLOT_EMPTY);
		close(client);
		close(foreign);
		group_close(group);
	}
}

static void a_train_of_segments_goes_by_its_first(void **state)
{
	const struct steer_const is = { .policy = STEER_WIREGUARD,
					.udp = 1,
					.reads_group = casts_exist() };
	static const int families[] = { AF_INET, AF_INET6 };

	for (unsigned f = 0; f < 2; f++) {
		struct group *group = group_open(&is, families[f], MEMBERS);
		int client = group_client(group, NULL, 0);
		char train[20 * 64] = { 0 };
		int segment = 64;

		for (unsigned i = 0; i < 20; i++)
			memcpy(&train[i * 64], "\4\0\0\0\1\2\3\x2a", 8);
		group->table->vshards[0x2a] = group_slot(3);
		must(setsockopt(client, SOL_UDP, UDP_SEGMENT, &segment, sizeof(segment)) == 0);
		group_send(group, client, train, sizeof(train));
		for (unsigned i = 0; i < 20; i++)
			assert_int_equal(group_receive(group), 3);
		assert_int_equal(group_count(group, STEER_COUNT_INDEX), 1);
		close(client);
		group_close(group);
	}
}

/* ---- connections whose listener closes ---- */

#define CONNECTIONS 60

static unsigned queued(int listener)
{
	unsigned count = 0;
	int s;

	while ((s = accept(listener, NULL, NULL)) >= 0) {
		close(s);
		count++;
	}
	return count;
}

/* Fills member 0's queue, lets it close, and returns how many connections each of the others got.
 */
static void migrate(struct group *group, enum steer_mode mode, unsigned *ret)
{
	int clients[CONNECTIONS];

	group_plan(group, group_slot(0));
	for (unsigned i = 0; i < CONNECTIONS; i++) {
		clients[i] = group_client(group, NULL, 0);
		must(connect(clients[i], (struct sockaddr *)&group->address,
			     group->address_length) == 0);
	}
	for (unsigned i = 0; i < STEER_PLAN_SIZE; i++)
		group->table->plan[i] = group_slot(1 + i % 3);
	group->control->mode = mode;
	close(group->members[0]);
	group->members[0] = -1;
	for (unsigned i = 1; i < MEMBERS; i++)
		ret[i] = queued(group->members[i]);
	for (unsigned i = 0; i < CONNECTIONS; i++)
		close(clients[i]);
}

static void connections_of_a_closed_listener_are_spread(void **state)
{
	struct group *group = open_as(STEER_WEIGHTED, false);
	static struct counts counts;
	unsigned got[MEMBERS];

	migrate(group, STEER_ENFORCE, got);
	group_counts(group, &counts);
	assert_int_equal(got[1] + got[2] + got[3], CONNECTIONS);
	assert_int_equal(counts.of[STEER_COUNT_MIGRATED], CONNECTIONS);
	for (unsigned i = 1; i < MEMBERS; i++) {
		assert_in_range(got[i], 5, 40);
		assert_int_equal(counts.members[group_slot(i)].migrated, got[i]);
	}
	group_close(group);
}

static void shadow_leaves_migration_to_the_kernel(void **state)
{
	struct group *group = open_as(STEER_WEIGHTED, false);
	unsigned got[MEMBERS];

	migrate(group, STEER_SHADOW, got);
	assert_int_equal(got[1] + got[2] + got[3], CONNECTIONS);
	assert_int_equal(group_count(group, STEER_COUNT_MIGRATED), 0);
	group_close(group);
}

/* ---- generation ---- */

#define MINUTE_NS  60000000000ull
#define TIMEOUT_NS (10 * MINUTE_NS)

static void age_flows(struct group *group, uint64_t idle_ns)
{
	int map = bpf_map__fd(group->bpf->maps.steer_flows);
	struct steer_flow_key key;
	struct steer_flow flow;
	struct timespec now;

	must(bpf_map_get_next_key(map, NULL, &key) == 0);
	must(bpf_map_lookup_elem(map, &key, &flow) == 0);
	must(clock_gettime(CLOCK_MONOTONIC, &now) == 0);
	flow.used_ns = (uint64_t)now.tv_sec * 1000000000 - idle_ns;
	must(bpf_map_update_elem(map, &key, &flow, BPF_ANY) == 0);
}

static struct group *open_generation(int family)
{
	const struct steer_const is = { .policy = STEER_GENERATION,
					.udp = 1,
					.reads_group = casts_exist(),
					.flow_timeout_ns = TIMEOUT_NS };

	return group_open(&is, family, MEMBERS);
}

static void flows_stay_while_their_member_does(void **state)
{
	static const int families[] = { AF_INET, AF_INET6 };

	for (unsigned f = 0; f < 2; f++) {
		struct group *group = open_generation(families[f]);
		int old = group_client(group, NULL, 0), new = group_client(group, NULL, 0);

		group_plan(group, group_slot(1));
		assert_int_equal(group_reach(group, &old, "x", 1), 1);
		group_plan(group, group_slot(2));
		assert_int_equal(group_reach(group, &old, "x", 1), 1);
		assert_int_equal(group_reach(group, &new, "x", 1), 2);
		assert_int_equal(group_count(group, STEER_COUNT_FLOW_NEW), 2);
		assert_int_equal(group_count(group, STEER_COUNT_FLOW_KEPT), 1);
		/* The slot is another socket's by now. */
		group->table->cookies[group_slot(1)] = group->cookies[3];
		assert_int_equal(group_reach(group, &old, "x", 1), 2);
		assert_int_equal(group_count(group, STEER_COUNT_FLOW_MOVED), 1);
		assert_int_equal(group_reach(group, &old, "x", 1), 2);
		assert_int_equal(group_count(group, STEER_COUNT_FLOW_KEPT), 2);
		close(old);
		close(new);
		group_close(group);
	}
}

static void a_flow_that_was_idle_for_too_long_is_new(void **state)
{
	struct group *group = open_generation(AF_INET);
	int client = group_client(group, NULL, 0);

	group_plan(group, group_slot(1));
	assert_int_equal(group_reach(group, &client, "x", 1), 1);
	group_plan(group, group_slot(2));
	age_flows(group, TIMEOUT_NS - MINUTE_NS);
	assert_int_equal(group_reach(group, &client, "x", 1), 1);
	age_flows(group, TIMEOUT_NS);
	assert_int_equal(group_reach(group, &client, "x", 1), 2);
	assert_int_equal(group_count(group, STEER_COUNT_FLOW_NEW), 2);
	close(client);
	group_close(group);
}

/* In shadow, and outside the canary, flows are noted where the kernel sends them. */
static void flows_stay_when_the_policy_is_put_in_force(void **state)
{
	static const enum steer_mode modes[] = { STEER_SHADOW, STEER_CANARY };

	for (unsigned i = 0; i < 2; i++) {
		struct group *group = open_generation(AF_INET);
		int client = group_client(group, NULL, 0);
		unsigned kernel;

		group->control->mode = STEER_FALLBACK;
		kernel = group_reach(group, &client, "x", 1);
		group_plan(group, group_slot((kernel + 1) % MEMBERS));
		group->control->mode = modes[i];
		assert_int_equal(group_reach(group, &client, "x", 1), kernel);
		group->control->mode = STEER_ENFORCE;
		assert_int_equal(group_reach(group, &client, "x", 1), kernel);
		assert_int_equal(group_count(group, STEER_COUNT_FLOW_KEPT), 1);
		close(client);
		group_close(group);
	}
}

/* ---- the trace ---- */

static int take(void *context, void *data, size_t size)
{
	must(size == sizeof(struct steer_event));
	memcpy(context, data, size);
	return 0;
}

static void a_trace_tells_what_was_read_and_decided(void **state)
{
	struct steer_const is = { .policy = STEER_WIREGUARD,
				  .udp = 1,
				  .reads_group = casts_exist(),
				  .traced = 1,
				  .trace_address = { 0, 0, htonl(0xffff), htonl(0x7f000203) } };
	struct group *group = group_open(&is, AF_INET, MEMBERS);
	int map = bpf_map__fd(group->bpf->maps.steer_events);
	int other = group_client(group, NULL, 0), client = group_client(group, "127.0.2.3", 0);
	struct steer_event event = { 0 };
	struct ring_buffer *ring = ring_buffer__new(map, take, &event, NULL);
	const char data[32] = "\4\0\0\0\1\2\3\x2a";

	must(ring);
	group->table->vshards[0x2a] = group_slot(3);
	group_reach(group, &other, data, sizeof(data));
	assert_int_equal(ring_buffer__consume(ring), 0);
	assert_int_equal(group_reach(group, &client, data, sizeof(data)), 3);
	assert_int_equal(ring_buffer__consume(ring), 1);
	assert_int_equal(event.saddr[3], htonl(0x7f000203));
	assert_int_equal(event.daddr[3], htonl(INADDR_LOOPBACK));
	assert_int_equal(event.sport, group_port(client));
	assert_int_equal(event.dport, ((struct sockaddr_in *)&group->address)->sin_port);
	assert_int_equal(event.chosen_slot, group_slot(3));
	assert_int_equal(event.policy_slot, group_slot(3));
	assert_int_not_equal(event.kernel_slot, STEER_NOBODY);
	assert_int_equal(event.reason, STEER_COUNT_INDEX);
	assert_int_equal(event.index, 0x2a030201);
	assert_int_equal(event.length, 8 + sizeof(data));
	assert_memory_equal(&event.word, data, 4);
	assert_int_equal(event.mode, STEER_ENFORCE);
	assert_int_equal(event.udp, 1);
	assert_int_equal(event.migrated, 0);
	ring_buffer__free(ring);
	close(other);
	close(client);
	group_close(group);
}

static int count_event(void *context, void *data, size_t size)
{
	++*(unsigned *)context;
	return 0;
}

/* How many of 100 packets from either client are told. */
static unsigned count_told(struct group *group, const int *clients)
{
	unsigned told = 0;
	struct ring_buffer *ring = ring_buffer__new(bpf_map__fd(group->bpf->maps.steer_events),
						    count_event, &told, NULL);

	must(ring);
	for (unsigned i = 0; i < 200; i++) {
		int client = clients[i % 2];

		group_reach(group, &client, "x", 1);
	}
	must(ring_buffer__consume(ring) >= 0);
	ring_buffer__free(ring);
	return told;
}

static void a_trace_takes_samples_and_one_port(void **state)
{
	struct steer_const is = {
		.policy = STEER_WEIGHTED, .udp = 1, .reads_group = casts_exist(), .traced = 1
	};
	struct group *group = group_open(&is, AF_INET, MEMBERS);
	int clients[] = { group_client(group, NULL, 0), group_client(group, NULL, 0) };

	assert_int_equal(count_told(group, clients), 200);
	group_close(group);
	is.trace_sample = 4;
	group = group_open(&is, AF_INET, MEMBERS);
	assert_in_range(count_told(group, clients), 20, 85);
	group_close(group);
	is.trace_sample = 0;
	is.trace_port = group_port(clients[1]);
	group = group_open(&is, AF_INET, MEMBERS);
	assert_int_equal(count_told(group, clients), 100);
	group_close(group);
	close(clients[0]);
	close(clients[1]);
}

int tests_of_sockets(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sockets_of_others_get_nothing),
		cmocka_unit_test(a_closed_members_slot_is_empty),
		cmocka_unit_test(a_socket_that_is_held_is_found_in_the_sockmap),
		cmocka_unit_test(a_train_of_segments_goes_by_its_first),
		cmocka_unit_test(connections_of_a_closed_listener_are_spread),
		cmocka_unit_test(shadow_leaves_migration_to_the_kernel),
		cmocka_unit_test(flows_stay_while_their_member_does),
		cmocka_unit_test(a_flow_that_was_idle_for_too_long_is_new),
		cmocka_unit_test(flows_stay_when_the_policy_is_put_in_force),
		cmocka_unit_test(a_trace_tells_what_was_read_and_decided),
		cmocka_unit_test(a_trace_takes_samples_and_one_port),
	};

	return cmocka_run_group_tests_name("sockets", tests, NULL, NULL);
}
