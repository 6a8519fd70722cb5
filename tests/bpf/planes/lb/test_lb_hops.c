/* Next hops that user space has not said: the FIB is asked, of a namespace with real routes. */
#include <string.h>

#include "groups.h"

static const struct row {
	const char *sentence;
	struct packet packet;
} rows[] = {
	{ "TCP", PACKET(TCP4) },
	{ "UDP", PACKET(UDP4) },
	{ "TCP over IPv6", PACKET(TCP6) },
	{ "UDP over IPv6", PACKET(UDP6) },
	{ "TCP under destination NAT", PACKET(TCP4, .to = KEEP4) },
	{ "TCP behind a tag", PACKET(TCP4, .tags = 1, .tci = { 7 }) },
};

static void forget_hop(uint32_t row)
{
	struct lb_backend backend = world_backend(row);

	memset(&backend.hop, 0, sizeof(backend.hop));
	world_set_backend(row, &backend);
}

static void move_backend(uint32_t row, const char *addr)
{
	struct lb_backend backend = world_backend(row);

	packet_address(addr, backend.addr);
	world_set_backend(row, &backend);
}

static void the_first_packet_already_finds_its_way(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	forget_hop(ROW_BACKEND4);
	forget_hop(ROW_BACKEND6);
	talk_open(&talk, &row->packet);
	assert_int_equal(talk.backend_side, world.far);
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
}

static void what_user_space_says_counts_at_once(void **state)
{
	const struct row *row = *state;
	struct lb_backend backend;
	struct talk talk;

	forget_hop(ROW_BACKEND4);
	forget_hop(ROW_BACKEND6);
	talk_open(&talk, &row->packet);
	backend = world_backend(talk.row);
	world_set_hop(&backend.hop, world.lan, MAC_ROUTER);
	world_set_backend(talk.row, &backend);
	talk.backend.dmac = MAC_ROUTER;
	talk.backend_side = world.lan;
	talk_client(&talk, ACK, NOTHING);
}

/* First and later packets end alike, and the flow goes on once there is a way. */
static void check_no_way(const struct row *row, const char *addr4, const char *addr6, int counter)
{
	struct packet packet = row->packet;

	forget_hop(ROW_BACKEND4);
	forget_hop(ROW_BACKEND6);
	move_backend(ROW_BACKEND4, addr4);
	move_backend(ROW_BACKEND6, addr6);
	packet.flags = SYN;
	expect_end_beside(world.lan, &packet, XDP_DROP, counter, BEGUN(NOTHING));
	expect_end(world.lan, &packet, XDP_DROP, counter);
}

static void an_unknown_neighbour_is_counted(void **state)
{
	check_no_way(*state, "10.0.1.77", "2001:db8:b::77", LB_NO_NEIGHBOUR);
}

static void no_route_is_counted(void **state)
{
	check_no_way(*state, "10.0.2.77", "2001:db8:bb::77", LB_NO_ROUTE);
}

/* The kernel answers nothing then, whichever interface it is asked for. */
static void without_forwarding_there_is_no_route(void **state)
{
	const struct row *row = *state;
	struct packet packet = row->packet;

	forget_hop(ROW_BACKEND4);
	forget_hop(ROW_BACKEND6);
	packet.flags = SYN;
	world_forwarding(false);
	expect_end_beside(world.far, &packet, XDP_DROP, LB_NO_ROUTE, BEGUN(NOTHING));
	world_forwarding(true);
}

int test_lb_hops(void)
{
	int failed = 0;

	world_routes(true);
	failed += RUN_ROWS("FIB, first packet", rows, the_first_packet_already_finds_its_way);
	failed += RUN_ROWS("FIB, then a hop", rows, what_user_space_says_counts_at_once);
	failed += RUN_ROWS("no neighbour", rows, an_unknown_neighbour_is_counted);
	failed += RUN_ROWS("no route", rows, no_route_is_counted);
	failed += RUN_ROWS("no forwarding", rows, without_forwarding_there_is_no_route);
	world_routes(false);
	return failed;
}
