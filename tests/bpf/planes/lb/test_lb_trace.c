/* What the traced program says about a packet, and about which packets it says anything.  That it
 * forwards as the other one does, and that its events agree with the counters, is tested by every
 * other case: 'test_lb --traced'. */
#include <arpa/inet.h>
#include <sched.h>
#include <string.h>

#include "base/must.h"
#include "groups.h"

#define FULL_RING 4096

/* Sends p and reads its event; false: there is none. */
static bool trace(uint32_t ifindex, const struct packet *p, struct lb_trace_event *ret)
{
	static struct outcome ignored;
	uint8_t frame[PACKET_ROOM];

	world_run_fast(ifindex, frame, packet_build(p, frame), &ignored);
	return world_trace_event(ret);
}

static struct packet syn(struct packet p)
{
	p.flags = p.proto == IPPROTO_TCP ? SYN : 0;
	return p;
}

static void assert_address(const __be32 *got, const char *text)
{
	__be32 want[4];

	packet_address(text, want);
	assert_memory_equal(got, want, sizeof(want));
}

/* ---- what it says ---- */

static const struct row {
	const char *sentence;
	struct packet packet;
	int counter; /* LB_COUNTER_COUNT: forwarded */
	uint32_t verdict;
	int state; /* LB_STATES: it has no entry */
	bool begins;
	uint32_t row;
	uint32_t table;
	uint8_t proto; /* 0: the packet's */
	uint8_t family;
} rows[] = {
	{ "a SYN begins a flow", PACKET(TCP4), LB_COUNTER_COUNT, XDP_TX, LB_STATE_SYN_SENT, true,
	  ROW_BACKEND4, TABLE_4, 0, AF_INET },
	{ "a SYN over IPv6 begins a flow", PACKET(TCP6), LB_COUNTER_COUNT, XDP_TX,
	  LB_STATE_SYN_SENT, true, ROW_BACKEND6, TABLE_6, 0, AF_INET6 },
	{ "UDP has no state", PACKET(UDP4), LB_COUNTER_COUNT, XDP_TX, LB_STATE_NONE, true,
	  ROW_BACKEND4, TABLE_4, 0, AF_INET },
	{ "behind two VLAN tags", PACKET(UDP6, .tags = 2, .tci = { 7, 8 }), LB_COUNTER_COUNT,
	  XDP_TX, LB_STATE_NONE, true, ROW_BACKEND6, TABLE_6, 0, AF_INET6 },
	{ "another port", PACKET(TCP4, .dport = 81), LB_NOT_OURS, XDP_PASS, LB_STATES, false, 0,
	  UINT32_MAX, 0, AF_INET },
	{ "another address", PACKET(TCP4, .to = "192.0.2.11"), LB_NO_SERVICE, XDP_PASS, LB_STATES,
	  false, 0, UINT32_MAX, 0, AF_INET },
	{ "a protocol that is never balanced keeps its addresses",
	  PACKET(UDP6, .ext = "e", .sport = 0, .dport = 0), LB_NOT_OURS, XDP_PASS, LB_STATES, false,
	  0, UINT32_MAX, IPPROTO_ESP, AF_INET6 },
	{ "a TTL that ran out names the service", PACKET(UDP4, .ttl = 1), LB_TTL_EXPIRED, XDP_DROP,
	  LB_STATES, false, 0, TABLE_4, 0, AF_INET },
	{ "a broken packet", PACKET(UDP4, .say_udp_length = 1), LB_MALFORMED, XDP_DROP, LB_STATES,
	  false, 0, TABLE_4, 0, AF_INET },
	{ "neither IPv4 nor IPv6", PACKET(UDP4, .say_type = 0x0806), LB_NOT_IP, XDP_PASS, LB_STATES,
	  false, 0, UINT32_MAX, 0, 0 },
};

static void check_row(void **state)
{
	const struct row *row = *state;
	struct packet packet = syn(row->packet);
	struct lb_trace_event event;

	assert_true(trace(world.lan, &packet, &event));
	assert_int_equal(event.counter, row->counter);
	assert_int_equal(event.verdict, row->verdict);
	assert_int_equal(event.state, row->state);
	assert_int_equal(event.flags, row->begins ? LB_TRACE_NEW : 0);
	assert_int_equal(event.backend, row->row ? row->row + 100 : 0);
	assert_int_equal(event.row, row->row);
	assert_int_equal(event.table, row->table);
	assert_int_equal(event.family, row->family);
	if (!row->family)
		return;
	assert_int_equal(event.proto, row->proto ? row->proto : packet.proto);
	assert_int_equal(event.tcp_flags, packet.flags);
	assert_int_equal(ntohs(event.sport), packet.sport);
	assert_int_equal(ntohs(event.dport), packet.dport);
	assert_address(event.saddr, packet.from);
	assert_address(event.daddr, packet.to);
}

static void an_answer_is_of_the_backend_and_its_state_the_one_after_it(void **state)
{
	struct packet first = PACKET(TCP4);
	struct lb_trace_event event;
	struct talk talk;

	talk_begin_quietly(&talk, &first, SYN);
	world_trace_event(&event);
	talk.answer.flags = SYN | ACK;
	assert_true(trace(world.lan, &talk.answer, &event));
	assert_int_equal(event.flags, LB_TRACE_REPLY);
	assert_int_equal(event.state, LB_STATE_SYN_RECV);
	assert_int_equal(event.backend, ROW_BACKEND4 + 100);
	assert_int_equal(event.mode, LB_MODE_NAT_FULL);
	assert_address(event.saddr, BACKEND4);
	assert_address(event.daddr, SOURCE4);
	assert_int_equal(event.tcp_flags, SYN | ACK);
	assert_true(event.time_ns > 0);
}

static void a_service_without_backends_is_named(void **state)
{
	struct packet packet = syn((struct packet)PACKET(TCP4));
	struct lb_trace_event event;

	world_slots(TABLE_4, LB_SLOT_EMPTY);
	assert_true(trace(world.lan, &packet, &event));
	assert_int_equal(event.counter, LB_NO_BACKEND);
	assert_int_equal(event.table, TABLE_4);
	assert_int_equal(event.backend, 0);
}

/* ---- about which packets ---- */

struct filter {
	const char *sentence;
	const char *addr; /* of the filter; NULL: any */
	unsigned int bits;
	struct lb_trace_filter filter;
	struct packet packet;
	bool matches;
};

static const struct filter filters[] = {
	{ "no filter", NULL, 0, { 0 }, PACKET(TCP4), true },
	{ "the client's address", CLIENT4, 128, { 0 }, PACKET(TCP4), true },
	{ "the service's address", VIP4, 128, { 0 }, PACKET(TCP4), true },
	{ "the backend's address, before the packet has it",
	  BACKEND4,
	  128,
	  { 0 },
	  PACKET(TCP4),
	  true },
	{ "another address", SPARE4, 128, { 0 }, PACKET(TCP4), false },
	{ "a network", "203.0.113.0", 96 + 24, { 0 }, PACKET(TCP4), true },
	{ "another network", "203.0.112.0", 96 + 24, { 0 }, PACKET(TCP4), false },
	{ "an IPv6 network", "2001:db8:c::", 48, { 0 }, PACKET(TCP6), true },
	{ "all of IPv4 has no IPv6", "0.0.0.0", 96, { 0 }, PACKET(TCP6), false },
	{ "all of IPv4", "0.0.0.0", 96, { 0 }, PACKET(UDP4), true },
	{ "no address at all", "0.0.0.0", 96, { 0 }, PACKET(UDP4, .say_type = 0x0806), false },
	{ "the source port", NULL, 0, { .port = 0x409c }, PACKET(TCP4), true },
	{ "the destination port", NULL, 0, { .port = 0x5000 }, PACKET(TCP4), true },
	{ "the backend's port", NULL, 0, { .port = 0x401f }, PACKET(TCP4), true },
	{ "another port", NULL, 0, { .port = 0x5100 }, PACKET(TCP4), false },
	{ "TCP", NULL, 0, { .proto = IPPROTO_TCP }, PACKET(TCP4), true },
	{ "not UDP", NULL, 0, { .proto = IPPROTO_TCP }, PACKET(UDP4), false },
	{ "ICMP is ICMPv6, too",
	  NULL,
	  0,
	  { .proto = IPPROTO_ICMP },
	  PACKET(TCP6, .proto = IPPROTO_ICMPV6),
	  true },
	{ "a backend", NULL, 0, { .backend = ROW_BACKEND4 + 100 }, PACKET(TCP4), true },
	{ "another backend", NULL, 0, { .backend = ROW_SPARE4 + 100 }, PACKET(TCP4), false },
	{ "a drop", NULL, 0, { .only_drops = 1 }, PACKET(UDP4, .ttl = 1), true },
	{ "no drop", NULL, 0, { .only_drops = 1 }, PACKET(UDP4), false },
	{ "nor what is passed", NULL, 0, { .only_drops = 1 }, PACKET(UDP4, .dport = 81), false },
	{ "both of two questions", CLIENT4, 128, { .proto = IPPROTO_TCP }, PACKET(TCP4), true },
	{ "one of two questions", CLIENT4, 128, { .proto = IPPROTO_UDP }, PACKET(TCP4), false },
};

static void check_filter(void **state)
{
	const struct filter *row = *state;
	struct lb_trace_filter filter = row->filter;
	struct lb_trace_count before = world_trace_count();
	struct packet packet = syn(row->packet);
	struct lb_trace_count after;
	struct lb_trace_event event;

	if (row->addr)
		packet_address(row->addr, filter.addr);
	for (unsigned int bit = 0; bit < row->bits; bit++)
		((uint8_t *)filter.mask)[bit / 8] |= (uint8_t)(0x80 >> bit % 8);
	world_trace_filter(&filter);
	assert_int_equal(trace(world.lan, &packet, &event), row->matches);
	after = world_trace_count();
	assert_int_equal(after.seen - before.seen, 1);
	assert_int_equal(after.matched - before.matched, row->matches);
	assert_int_equal(after.sent - before.sent, row->matches);
	world_trace_filter(&(struct lb_trace_filter){ 0 });
}

/* Each CPU counts on its own. */
static void stay_on_one_cpu(void)
{
	cpu_set_t cpus;

	CPU_ZERO(&cpus);
	CPU_SET(0, &cpus);
	must(sched_setaffinity(0, sizeof(cpus), &cpus) == 0);
}

static void one_in_five_is_told(void **state)
{
	struct packet packet = PACKET(UDP4);
	struct lb_trace_event event;
	cpu_set_t before;
	int told = 0;

	must(sched_getaffinity(0, sizeof(before), &before) == 0);
	stay_on_one_cpu();
	world_trace_filter(&(struct lb_trace_filter){ .sample = 5, .proto = IPPROTO_UDP });
	for (int i = 0; i < 50; i++)
		told += trace(world.lan, &packet, &event);
	assert_int_equal(told, 10);
	world_trace_filter(&(struct lb_trace_filter){ 0 });
	must(sched_setaffinity(0, sizeof(before), &before) == 0);
}

static void what_the_ring_buffer_does_not_take_is_counted(void **state)
{
	static struct outcome got;
	struct packet packet = PACKET(UDP4);
	struct lb_trace_count count;
	struct lb_trace_event event;
	uint8_t frame[PACKET_ROOM];
	size_t length = packet_build(&packet, frame);
	uint64_t told = 0;

	memset(&got, 0, sizeof(got));
	world_counters(&got, -1);
	for (int i = 0; i < 40; i++) {
		static struct outcome one;

		world_run_fast(world.lan, frame, length, &one);
		assert_int_equal(one.verdict, XDP_TX);
	}
	world_counters(&got, 1);
	count = world_trace_count();
	assert_true(count.lost > 0);
	assert_int_equal(count.sent + count.lost, 40);
	assert_int_equal(got.packets[LB_TRACE_LOST], count.lost);
	assert_int_equal(got.backends[ROW_BACKEND4].to_packets, 40);
	while (world_trace_event(&event))
		told++;
	assert_int_equal(told, count.sent);
}

int test_lb_trace(void)
{
	const struct CMUnitTest tests[] = {
		CASE(an_answer_is_of_the_backend_and_its_state_the_one_after_it),
		CASE(a_service_without_backends_is_named),
		CASE(one_in_five_is_told),
	};
	const struct CMUnitTest full[] = {
		CASE(what_the_ring_buffer_does_not_take_is_counted),
	};
	bool before = world.traced;
	int failed;

	world.traced = world.untold = true;
	world_open(NULL);
	failed = RUN_ROWS("trace", rows, check_row) + RUN_ROWS("filter", filters, check_filter) +
		 cmocka_run_group_tests_name("events", tests, NULL, NULL);
	world_close();
	world.trace_bytes = FULL_RING;
	world_open(NULL);
	failed += cmocka_run_group_tests_name("full", full, NULL, NULL);
	world_close();
	world.trace_bytes = 0;
	world.untold = false;
	world.traced = before;
	return failed;
}
