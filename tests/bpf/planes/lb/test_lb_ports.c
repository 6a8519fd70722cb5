/* Source ports of NAT: distinct, never the host's own, and counted when there are none left. */
#include <arpa/inet.h>
#include <bpf/libbpf.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/must.h"
#include "groups.h"
#include "lb.skel.h"

#define FEW_FIRST 2000
#define FEW	  4
#define CLIENTS	  64 /* enough that each of the few ports is tried by many */

static void few_ports(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_port_first = FEW_FIRST;
	bpf->rodata->lb_const_port_last = FEW_FIRST + FEW - 1;
}

static const struct row {
	const char *sentence;
	struct packet packet;
} rows[] = {
	{ "TCP", PACKET(TCP4, .flags = SYN) },
	{ "UDP", PACKET(UDP4) },
	{ "TCP over IPv6", PACKET(TCP6, .flags = SYN) },
	{ "UDP over IPv6", PACKET(UDP6) },
};

/* Many clients come.  Returns how many were forwarded; ports[port - FEW_FIRST] counts who got
 * which. Who was not forwarded was dropped for want of a port, after eight tries. */
static int come(const struct packet *first, uint16_t sport, int ports[FEW])
{
	static struct outcome got;
	struct packet p = *first;
	uint8_t frame[PACKET_ROOM];
	int forwarded = 0;
	int port;

	for (int i = 0; i < CLIENTS; i++) {
		p.sport = (uint16_t)(sport + i);
		world_run(world.lan, frame, packet_build(&p, frame), &got);
		if (got.verdict == XDP_TX) {
			port = packet_sport_of(&p, got.frame) - FEW_FIRST;
			assert_in_range(port, 0, FEW - 1);
			ports[port]++;
			forwarded++;
			continue;
		}
		assert_int_equal(got.verdict, XDP_DROP);
		assert_int_equal(got.packets[LB_NO_PORT], 1);
		assert_int_equal(got.packets[LB_PORT_CLASH], 16);
		assert_memory_equal(got.frame, frame, got.length);
		assert_false(flow_read(&p, &(struct lb_flow){ 0 }));
	}
	return forwarded;
}

static void assert_each(const int ports[FEW], int a, int b, int c, int d)
{
	assert_int_equal(ports[0], a);
	assert_int_equal(ports[1], b);
	assert_int_equal(ports[2], c);
	assert_int_equal(ports[3], d);
}

static void every_port_is_given_once(void **state)
{
	const struct row *row = *state;
	int ports[FEW] = { 0 };

	assert_int_equal(come(&row->packet, 10000, ports), FEW);
	assert_each(ports, 1, 1, 1, 1);
	assert_int_equal(flow_count(), 2 * FEW);
}

static void each_backend_has_all_ports(void **state)
{
	const struct row *row = *state;
	int ports[FEW] = { 0 };

	come(&row->packet, 10000, ports);
	world_slots(TABLE_4, ROW_SPARE4);
	world_slots(TABLE_6, ROW_SPARE6);
	assert_int_equal(come(&row->packet, 20000, ports), FEW);
	assert_each(ports, 2, 2, 2, 2);
}

static void each_source_address_has_all_ports(void **state)
{
	const struct row *row = *state;
	uint32_t backend_row = packet_is_v6(&row->packet) ? ROW_BACKEND6 : ROW_BACKEND4;
	struct lb_backend backend = world_backend(backend_row);
	int ports[FEW] = { 0 };

	world_source(10, packet_is_v6(&row->packet) ? SOURCE6 : SOURCE4);
	world_source(11, packet_is_v6(&row->packet) ? "2001:db8:b::2" : "10.0.1.2");
	backend.source_first = 10;
	backend.source_count = 2;
	world_set_backend(backend_row, &backend);
	assert_int_equal(come(&row->packet, 10000, ports), 2 * FEW);
	assert_each(ports, 2, 2, 2, 2);
}

static void a_services_port_is_never_given(void **state)
{
	const struct row *row = *state;
	int ports[FEW] = { 0 };

	world_service("192.0.2.99", FEW_FIRST + 1, row->packet.proto, LB_MODE_NAT_FULL, TABLE_4);
	assert_int_equal(come(&row->packet, 10000, ports), FEW - 1);
	assert_each(ports, 1, 0, 1, 1);
}

/* A socket of this host's own, on any address.  TCP: it listens. */
static int open_socket(const struct packet *like, uint16_t port)
{
	struct sockaddr_in6 any6 = { .sin6_family = AF_INET6, .sin6_port = htons(port) };
	struct sockaddr_in any4 = { .sin_family = AF_INET, .sin_port = htons(port) };
	bool ipv6 = packet_is_v6(like);
	bool tcp = like->proto == IPPROTO_TCP;
	int fd = socket(ipv6 ? AF_INET6 : AF_INET, tcp ? SOCK_STREAM : SOCK_DGRAM, 0);
	int r;

	must(fd >= 0);
	if (ipv6)
		must(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &(int){ 1 }, sizeof(int)) == 0);
	if (ipv6)
		r = bind(fd, (struct sockaddr *)&any6, sizeof(any6));
	else
		r = bind(fd, (struct sockaddr *)&any4, sizeof(any4));
	must(r == 0 && (!tcp || listen(fd, 1) == 0));
	return fd;
}

static void a_port_of_the_hosts_own_sockets_is_never_given(void **state)
{
	const struct row *row = *state;
	int fd = open_socket(&row->packet, FEW_FIRST + 2);
	int ports[FEW] = { 0 };

	assert_int_equal(come(&row->packet, 10000, ports), FEW - 1);
	close(fd);
	assert_each(ports, 1, 1, 0, 1);
	assert_int_equal(come(&row->packet, 20000, ports), 1);
	assert_each(ports, 1, 1, 1, 1);
}

static void an_answer_to_the_hosts_own_socket_is_left_to_it(void **state)
{
	const struct row *row = *state;
	struct packet answer = row->packet;
	bool ipv6 = packet_is_v6(&answer);
	int fd = open_socket(&row->packet, FEW_FIRST + 2);

	answer.from = ipv6 ? BACKEND6 : BACKEND4;
	answer.to = ipv6 ? SOURCE6 : SOURCE4;
	answer.sport = PORT_REAL;
	answer.dport = FEW_FIRST + 2;
	answer.flags = SYN | ACK;
	expect_end(world.lan, &answer, XDP_PASS, LB_NO_SERVICE);
	close(fd);
	expect_end(world.lan, &answer, XDP_DROP, LB_LOST_REPLY);
	assert_int_equal(world_events(NULL), 1);
}

/* All ports are held by connections that have ended. */
static int come_after_the_end(const struct packet *first, uint8_t flags)
{
	int ports[FEW] = { 0 };
	struct packet next = *first;
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];

	come(first, 10000, ports);
	flow_set_all(LB_STATE_TIME_WAIT, flags);
	next.sport = 20000;
	world_run(world.lan, frame, packet_build(&next, frame), &got);
	assert_int_equal(got.packets[LB_PORT_CLASH], 16);
	if (got.verdict == XDP_TX)
		assert_true(flow_read(&next, &(struct lb_flow){ 0 }));
	assert_int_equal(flow_count(), 2 * FEW);
	return (int)got.verdict;
}

static void the_port_of_a_connection_that_its_client_closed_is_used_again(void **state)
{
	const struct row *row = *state;

	assert_int_equal(come_after_the_end(&row->packet, LB_FLOW_CLIENT_FIRST), XDP_TX);
}

/* Linux takes a SYN in TIME_WAIT if its sequence number or timestamp is newer (RFC 6191): better
 * than none. */
static void a_port_the_backend_may_remember_is_used_again_when_no_other_is_left(void **state)
{
	const struct row *row = *state;

	assert_int_equal(come_after_the_end(&row->packet, 0), XDP_TX);
}

static struct packet kept(const struct row *row)
{
	struct packet packet = row->packet;

	packet.to = packet_is_v6(&packet) ? KEEP6 : KEEP4;
	return packet;
}

static void kept_ports_that_clash_are_told_apart(void **state)
{
	struct packet packet = kept(*state);
	struct talk first;
	struct talk second;

	world_service(packet.to, 8080, packet.proto, LB_MODE_NAT_DESTINATION,
		      packet_is_v6(&packet) ? TABLE_KEEP6 : TABLE_KEEP4);
	talk_open(&first, &packet);
	packet.dport = 8080; /* the same backend, so the same tuple there */
	talk_begin(&second, &packet, SYN, ONE(PORT_CLASH));
	assert_int_equal(first.backend.sport, packet.sport);
	assert_in_range(second.backend.sport, FEW_FIRST, FEW_FIRST + FEW - 1);
	talk_backend(&second, SYN | ACK, NOTHING);
	talk_backend(&first, ACK, NOTHING);
	talk_client(&second, ACK, NOTHING);
	talk_client(&first, ACK, NOTHING);
}

/* The backend answers to the client's address, which is none of this host's. */
static void a_kept_port_cannot_clash_with_the_hosts_own(void **state)
{
	struct packet packet = kept(*state);
	int fd = open_socket(&packet, packet.sport);
	struct talk talk;

	talk_begin(&talk, &packet, SYN, NOTHING);
	assert_int_equal(talk.backend.sport, packet.sport);
	close(fd);
}

#define MANY_CLIENTS 10000

static void room_for_many(struct lb_bpf *bpf)
{
	bpf_map__set_max_entries(bpf->maps.lb_conns4, 16 * MANY_CLIENTS);
}

/* A third of the range is in use at the end: eight tries should fail one client in ten thousand. */
static void ten_thousand_connections_to_one_backend_find_ports(void **state)
{
	struct packet packet = PACKET(TCP4, .flags = SYN);
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	int without = 0;

	world_close();
	world_open(room_for_many);
	for (int i = 0; i < MANY_CLIENTS; i++) {
		packet.sport = (uint16_t)(20000 + i);
		world_run_fast(world.lan, frame, packet_build(&packet, frame), &got);
		without += got.verdict != XDP_TX;
	}
	assert_in_range(without, 0, 3);
	assert_int_equal(flow_count(), 2 * (MANY_CLIENTS - without));
}

int test_lb_ports(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(ten_thousand_connections_to_one_backend_find_ports),
	};
	int failed = 0;

	world_open(few_ports);
	failed += RUN_ROWS("few ports", rows, every_port_is_given_once);
	failed += RUN_ROWS("few ports, two backends", rows, each_backend_has_all_ports);
	failed += RUN_ROWS("few ports, two sources", rows, each_source_address_has_all_ports);
	failed += RUN_ROWS("a service's port", rows, a_services_port_is_never_given);
	failed += RUN_ROWS("the host's port", rows, a_port_of_the_hosts_own_sockets_is_never_given);
	failed += RUN_ROWS("the host's answer", rows,
			   an_answer_to_the_hosts_own_socket_is_left_to_it);
	failed += run_rows("TIME_WAIT at the client", rows, sizeof(*rows), 1,
			   the_port_of_a_connection_that_its_client_closed_is_used_again);
	failed += run_rows("TIME_WAIT at the client, IPv6", &rows[2], sizeof(*rows), 1,
			   the_port_of_a_connection_that_its_client_closed_is_used_again);
	failed += run_rows("TIME_WAIT at the backend", rows, sizeof(*rows), 1,
			   a_port_the_backend_may_remember_is_used_again_when_no_other_is_left);
	failed += RUN_ROWS("kept ports clash", rows, kept_ports_that_clash_are_told_apart);
	failed += RUN_ROWS("kept port, host's port", rows,
			   a_kept_port_cannot_clash_with_the_hosts_own);
	failed += cmocka_run_group_tests_name("many ports", tests, NULL, NULL);
	world_close();
	return failed;
}
