/* Who may begin flows, and how many: lists, rates of a service and of one source.  What is
 * established goes on. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "choice.h"
#include "direct.h"
#include "groups.h"
#include "lb.skel.h"

#define NONE LB_COUNTER_COUNT
/* Beyond the second's worth that may come at once: one flow, then none for a while. */
#define SLOW 0xf0000000u

static const struct row {
	const char *sentence;
	struct packet packet;
	const char *neighbour; /* another source, the same to limits if over IPv6: of its /64 */
	const char *stranger;  /* another source to anything */
} rows[] = {
	{ "TCP", PACKET(TCP4), "203.0.113.6", "198.51.100.6" },
	{ "UDP", PACKET(UDP4), "203.0.113.6", "198.51.100.6" },
	{ "TCP over IPv6", PACKET(TCP6), "2001:db8:c::6", "2001:db8:c:1::5" },
	{ "UDP over IPv6", PACKET(UDP6), "2001:db8:c::ffff:5", "2001:db8:d::5" },
	{ "UDP under destination NAT", PACKET(UDP4, .to = KEEP4), "203.0.113.6", "198.51.100.6" },
	{ "TCP over IPv6 under destination NAT", PACKET(TCP6, .to = KEEP6), "2001:db8:c::6",
	  "2001:db8:c:1::5" },
};

static struct packet first_of(const struct row *row)
{
	struct packet p = row->packet;

	p.flags = SYN;
	return p;
}

static void set_limits(const struct packet *p, uint32_t rate_ns, uint32_t source_rate_ns,
		       uint8_t flags)
{
	struct lb_service service = choice_service(p);

	service.rate_ns = rate_ns;
	service.source_rate_ns = source_rate_ns;
	service.flags = flags;
	choice_set(p, &service);
}

/* p, a first packet, is beyond a limit. */
static void expect_limited(const struct packet *p)
{
	if (p->proto == IPPROTO_TCP)
		expect_end(world.lan, p, XDP_PASS, LB_LIMITED_PASS);
	else
		expect_end(world.lan, p, XDP_DROP, LB_LIMITED);
}

/* When the service's next flow is due, in ns from now. */
static int64_t due_in(const struct packet *p)
{
	uint32_t table = choice_service(p).table;
	uint64_t due;

	must(!bpf_map_lookup_elem(bpf_map__fd(world.bpf->maps.lb_rates), &table, &due));
	return (int64_t)(due - clock_now_ns());
}

static void set_due(const struct packet *p, int64_t in_ns)
{
	uint32_t table = choice_service(p).table;
	uint64_t due = clock_now_ns() + (uint64_t)in_ns;

	must(!bpf_map_update_elem(bpf_map__fd(world.bpf->maps.lb_rates), &table, &due, BPF_ANY));
}

static void beyond_a_services_rate_flows_are_refused(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);

	set_limits(&p, SLOW, 0, 0);
	chosen_row(&p, NONE);
	assert_in_range(due_in(&p), SLOW - 1000000000u, SLOW);
	p.sport++;
	expect_limited(&p);
	p.from = row->stranger;
	expect_limited(&p);
	set_due(&p, -5000000000); /* time has passed, and none is saved up */
	chosen_row(&p, NONE);
	assert_in_range(due_in(&p), SLOW - 1000000000u, SLOW);
	p.sport++;
	expect_limited(&p);
}

static void a_seconds_worth_may_come_at_once(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	uint64_t start = clock_now_ns();
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	int passed = 0;

	set_limits(&p, 10000000, 0, 0); /* 100 a second */
	for (int i = 0; i < 300; i++) {
		p.sport++;
		world_run_fast(world.lan, frame, packet_build(&p, frame), &got);
		passed += got.verdict == XDP_TX;
	}
	assert_in_range(passed, 101, 102 + (clock_now_ns() - start) / 10000000);
	assert_int_equal(flow_count(), 2 * passed);
}

static void beyond_a_sources_rate_its_flows_are_refused(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);

	set_limits(&p, 0, SLOW, 0);
	chosen_row(&p, NONE);
	p.sport++;
	expect_limited(&p);
	p.from = row->neighbour;
	if (packet_is_v6(&p))
		expect_limited(&p);
	else
		chosen_row(&p, NONE);
	p.from = row->stranger;
	chosen_row(&p, NONE);
	p.sport++;
	expect_limited(&p);
}

static void limits_are_one_services(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	struct packet other = p;
	bool keep = !strcmp(p.to, KEEP4) || !strcmp(p.to, KEEP6);

	set_limits(&p, SLOW, SLOW, 0);
	chosen_row(&p, NONE);
	p.sport++;
	expect_limited(&p);
	other.to = packet_is_v6(&p) ? (keep ? VIP6 : KEEP6) : (keep ? VIP4 : KEEP4);
	set_limits(&other, SLOW, SLOW, 0);
	other.sport += 2;
	chosen_row(&other, NONE);
}

static void what_is_established_goes_on(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	struct talk talk;

	set_limits(&p, SLOW, SLOW, 0);
	talk_open(&talk, &row->packet);
	p.sport++;
	expect_limited(&p);
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
	if (p.proto != IPPROTO_TCP)
		return;
	talk_client(&talk, SYN, NOTHING);
	/* The middle of a connection is none that begins. */
	p.flags = ACK;
	chosen_row(&p, LB_PICKED_UP);
}

static void what_is_refused_may_be_left_to_the_stack(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);

	set_limits(&p, SLOW, 0, LB_SERVICE_LIMIT_PASS);
	chosen_row(&p, NONE);
	p.sport++;
	expect_end(world.lan, &p, XDP_PASS, LB_LIMITED_PASS);
}

static const struct kind {
	const char *sentence;
	enum lb_mode mode;
	struct packet packet;
} kinds[] = {
	{ "IPv4 in IPv4", LB_MODE_IPIP, PACKET(DTCP4) },
	{ "IPv6 in UDP", LB_MODE_GUE, PACKET(DTCP6) },
	{ "IPv4 to a MAC address", LB_MODE_L2, PACKET(DTCP4) },
	{ "UDP in IPv6", LB_MODE_IPIP, PACKET(DUDP6) },
};

/* The backend answers the client itself, so it can answer a flood with cookies itself. */
static void under_direct_return_tcp_needs_no_entry(void **state)
{
	const struct kind *kind = *state;
	struct direct d;

	direct_prepare(&d, kind->mode, false, &kind->packet);
	direct_begin(&d, SYN, BEGUN(NOTHING));
	set_limits(&kind->packet, SLOW, 0, 0);
	set_due(&kind->packet, 3000000000);
	d.client.sport++;
	d.client.flags = SYN;
	if (kind->packet.proto == IPPROTO_UDP) {
		expect_end(world.lan, &d.client, XDP_DROP, LB_LIMITED);
		return;
	}
	direct_begin(&d, SYN, ONE(STATELESS));
	assert_int_equal(flow_count(), 1);
	direct_send(&d, ACK, BEGUN(ONE(PICKED_UP)));
}

/* ---- lists ---- */

static void filter(const struct packet *p, const char *net, uint32_t bits, uint32_t what)
{
	struct lb_filter_key key = { .table = htonl(choice_service(p).table) };

	key.prefix = 32 + (strchr(net, ':') ? 0 : 96) + bits;
	packet_address(net, key.addr);
	must(!bpf_map_update_elem(bpf_map__fd(world.bpf->maps.lb_filters), &key, &what, BPF_ANY));
}

static void use_lists(const struct packet *p, uint8_t flags)
{
	set_limits(p, 0, 0, LB_SERVICE_FILTER | flags);
}

static void expect_denied(struct packet *p, const char *from)
{
	p->from = from;
	p->sport++;
	expect_end(world.lan, p, XDP_DROP, LB_DENIED);
}

static void expect_allowed(struct packet *p, const char *from)
{
	p->from = from;
	p->sport++;
	chosen_row(p, NONE);
}

static void the_longest_prefix_decides(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	bool ipv6 = packet_is_v6(&p);
	const char *self = row->packet.from;

	use_lists(&p, 0);
	filter(&p, ipv6 ? "2001:db8:c::" : "203.0.113.0", ipv6 ? 64 : 24, LB_FILTER_DENY);
	filter(&p, self, ipv6 ? 128 : 32, LB_FILTER_ALLOW);
	expect_allowed(&p, self);
	expect_denied(&p, row->neighbour);
	expect_allowed(&p, row->stranger); /* unknown: not refused */
	use_lists(&p, LB_SERVICE_DENY);
	expect_allowed(&p, self);
	expect_denied(&p, row->neighbour);
	expect_denied(&p, row->stranger);
	filter(&p, ipv6 ? "::" : "0.0.0.0", 0, LB_FILTER_ALLOW);
	expect_allowed(&p, row->stranger);
	expect_denied(&p, row->neighbour);
	filter(&p, self, ipv6 ? 128 : 32, LB_FILTER_DENY);
	expect_denied(&p, self);
}

static void lists_are_one_services(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	struct packet other = p;
	bool keep = !strcmp(p.to, KEEP4) || !strcmp(p.to, KEEP6);

	other.to = packet_is_v6(&p) ? (keep ? VIP6 : KEEP6) : (keep ? VIP4 : KEEP4);
	use_lists(&p, 0);
	use_lists(&other, 0);
	filter(&p, packet_is_v6(&p) ? "::" : "0.0.0.0", 0, LB_FILTER_DENY);
	expect_denied(&p, row->packet.from);
	expect_allowed(&other, row->packet.from);
	set_limits(&p, 0, 0, 0); /* nobody asks */
	expect_allowed(&p, row->packet.from);
}

static void the_denied_keep_what_they_have(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	struct talk talk;

	talk_open(&talk, &row->packet);
	use_lists(&p, LB_SERVICE_DENY);
	world_next_generation();
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
	expect_denied(&p, row->packet.from);
	p.flags = ACK; /* not even the middle of one */
	expect_denied(&p, row->packet.from);
}

/* Whoever is denied cannot use up what others may. */
static void the_denied_do_not_count(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);

	set_limits(&p, SLOW, SLOW, LB_SERVICE_FILTER);
	filter(&p, row->packet.from, packet_is_v6(&p) ? 128 : 32, LB_FILTER_DENY);
	for (int i = 0; i < 5; i++)
		expect_denied(&p, row->packet.from);
	expect_allowed(&p, row->stranger);
}

int test_lb_limit(void)
{
	return RUN_ROWS("rate", rows, beyond_a_services_rate_flows_are_refused) +
	       RUN_ROWS("burst", rows, a_seconds_worth_may_come_at_once) +
	       RUN_ROWS("source rate", rows, beyond_a_sources_rate_its_flows_are_refused) +
	       RUN_ROWS("limits, others", rows, limits_are_one_services) +
	       RUN_ROWS("limits, established", rows, what_is_established_goes_on) +
	       RUN_ROWS("limits, pass", rows, what_is_refused_may_be_left_to_the_stack) +
	       RUN_ROWS("limits, DSR", kinds, under_direct_return_tcp_needs_no_entry) +
	       RUN_ROWS("lists", rows, the_longest_prefix_decides) +
	       RUN_ROWS("lists, others", rows, lists_are_one_services) +
	       RUN_ROWS("lists, established", rows, the_denied_keep_what_they_have) +
	       RUN_ROWS("lists, limits", rows, the_denied_do_not_count);
}
