/* Which backend a new flow gets: in turn, by its source, where its client was before, by the id
 * that a QUIC packet carries; and what is left to the local stack. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/must.h"
#include "choice.h"
#include "groups.h"
#include "lb.skel.h"

#define NONE LB_COUNTER_COUNT

static const struct row {
	const char *sentence;
	struct packet packet;
} rows[] = {
	{ "TCP", PACKET(TCP4) },
	{ "UDP", PACKET(UDP4) },
	{ "TCP over IPv6", PACKET(TCP6) },
	{ "UDP over IPv6", PACKET(UDP6) },
	{ "TCP under destination NAT", PACKET(TCP4, .to = KEEP4) },
	{ "UDP over IPv6 under destination NAT", PACKET(UDP6, .to = KEEP6) },
};

static struct packet first_of(const struct row *row)
{
	struct packet p = row->packet;

	p.flags = SYN;
	return p;
}

static const char *client(bool ipv6, int i)
{
	static char text[64];

	if (ipv6)
		snprintf(text, sizeof(text), "2001:db8:c:%x::%x", i % 7, i + 16);
	else
		snprintf(text, sizeof(text), "203.0.113.%d", i + 16);
	return text;
}

/* ---- slots ---- */

static void stay_on_one_cpu(cpu_set_t *before)
{
	cpu_set_t one;

	must(sched_getaffinity(0, sizeof(*before), before) == 0);
	CPU_ZERO(&one);
	for (int cpu = 0; cpu < CPU_SETSIZE && !CPU_COUNT(&one); cpu++)
		if (CPU_ISSET(cpu, before))
			CPU_SET(cpu, &one);
	must(sched_setaffinity(0, sizeof(one), &one) == 0);
}

static void in_turn_every_slot_is_taken_once_a_round(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	struct lb_service service = choice_service(&p);
	bool round[WORLD_SLOTS];
	cpu_set_t before;
	int spares = 0;

	choice_between_two();
	service.pick = LB_PICK_TURN;
	choice_set(&p, &service);
	stay_on_one_cpu(&before);
	for (int i = 0; i < 10 * WORLD_SLOTS; i++) {
		bool spare;

		p.sport++;
		spare = is_spare(chosen_row(&p, NONE));
		if (i < WORLD_SLOTS)
			round[i] = spare;
		assert_int_equal(spare, round[i % WORLD_SLOTS]);
		spares += spare;
	}
	must(sched_setaffinity(0, sizeof(before), &before) == 0);
	assert_int_equal(spares, 30); /* three slots of seven */
}

static void by_the_flow_each_port_may_go_elsewhere(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	int spares = 0;

	choice_between_two();
	for (int i = 0; i < 200; i++) {
		p.sport++;
		spares += is_spare(chosen_row(&p, NONE));
	}
	assert_in_range(spares, 50, 120); /* 86 on average */
}

static void by_the_source_a_client_stays(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	struct lb_service service = choice_service(&p);
	int spares = 0;
	uint32_t backend;

	choice_between_two();
	service.pick = LB_PICK_SOURCE;
	choice_set(&p, &service);
	for (int i = 0; i < 100; i++) {
		p.from = client(packet_is_v6(&p), i);
		backend = chosen_row(&p, NONE);
		spares += is_spare(backend);
		for (int port = 0; port < 3; port++) {
			p.sport++;
			assert_int_equal(chosen_row(&p, NONE), backend);
		}
	}
	assert_in_range(spares, 20, 65); /* 43 on average */
}

/* ---- affinity ---- */

static void use_affinity(const struct packet *p)
{
	struct lb_service service = choice_service(p);

	choice_between_two();
	for (uint32_t row = ROW_BACKEND4; row <= ROW_SPARE6; row++) {
		struct lb_backend backend = world_backend(row);

		backend.service = service.table;
		world_set_backend(row, &backend);
	}
	service.affinity_ticks = 60;
	choice_set(p, &service);
}

static void age_affinity(uint32_t ticks)
{
	int fd = bpf_map__fd(world.bpf->maps.lb_affinity);
	struct lb_affinity affinity;
	struct lb_affinity_key keys[4];
	int count = 0;

	while (count < 4 &&
	       bpf_map_get_next_key(fd, count ? &keys[count - 1] : NULL, &keys[count]) == 0)
		count++;
	while (count-- > 0) {
		must(bpf_map_lookup_elem(fd, &keys[count], &affinity) == 0);
		affinity.seen -= ticks;
		must(bpf_map_update_elem(fd, &keys[count], &affinity, BPF_EXIST) == 0);
	}
}

/* Of so many further flows of p's client none goes to another backend than row. */
static void expect_affine(struct packet *p, uint32_t row, int flows)
{
	while (flows-- > 0) {
		p->sport++;
		assert_int_equal(chosen_row(p, LB_AFFINE), row);
	}
}

static void a_client_stays_across_source_ports(void **state)
{
	struct packet p = first_of(*state);
	uint32_t backend;

	use_affinity(&p);
	for (int i = 0; i < 8; i++) {
		p.from = client(packet_is_v6(&p), i);
		backend = chosen_row(&p, NONE);
		expect_affine(&p, backend, 12);
	}
}

static void affinity_ends_with_its_time(void **state)
{
	struct packet p = first_of(*state);
	uint32_t backend;

	use_affinity(&p);
	backend = chosen_row(&p, NONE);
	for (int i = 0; i < 4; i++) {
		age_affinity(57); /* each new flow renews it */
		expect_affine(&p, backend, 1);
	}
	age_affinity(70); /* its time, and 8 ticks within which flows in use renew it */
	p.sport++;
	backend = chosen_row(&p, NONE);
	expect_affine(&p, backend, 4);
}

/* A long session is no absence. */
static void packets_renew_affinity(void **state)
{
	struct packet p = first_of(*state);
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	uint32_t backend;

	use_affinity(&p);
	backend = chosen_row(&p, NONE);
	for (int i = 0; i < 3; i++) {
		age_affinity(40);
		flow_age(&p, 40);
		world_run_fast(world.lan, frame, packet_build(&p, frame), &got);
		assert_int_equal(got.verdict, XDP_TX);
	}
	p.sport++;
	assert_int_equal(chosen_row(&p, LB_AFFINE), backend);
}

static void nobody_stays_with_a_backend_that_leaves(void **state)
{
	struct packet p = first_of(*state);
	struct lb_backend backend;
	uint32_t first;
	uint32_t second;

	use_affinity(&p);
	first = chosen_row(&p, NONE);
	world_set_backend_state(first, LB_BACKEND_DRAINING);
	second = is_spare(first) ? first - 2 : first + 2;
	for (uint32_t table = TABLE_4; table <= TABLE_KEEP6; table++)
		world_slots(table, second);
	p.sport++;
	assert_int_equal(chosen_row(&p, NONE), second);
	expect_affine(&p, second, 4);
	/* The row is another backend's now. */
	backend = world_backend(second);
	backend.incarnation++;
	world_set_backend(second, &backend);
	p.sport++;
	assert_int_equal(chosen_row(&p, NONE), second);
	expect_affine(&p, second, 1);
}

static void affinity_is_one_services_and_one_protocols(void **state)
{
	struct packet p = first_of(*state);
	struct packet other = p;
	bool keep = !strcmp(p.to, KEEP4) || !strcmp(p.to, KEEP6);
	uint32_t backend;

	use_affinity(&p);
	backend = chosen_row(&p, NONE);
	other.proto = p.proto == IPPROTO_TCP ? IPPROTO_UDP : IPPROTO_TCP;
	use_affinity(&other);
	chosen_row(&other, NONE);
	other = p;
	other.to = packet_is_v6(&p) ? (keep ? VIP6 : KEEP6) : (keep ? VIP4 : KEEP4);
	use_affinity(&other);
	chosen_row(&other, NONE);
	other = p;
	other.from = client(packet_is_v6(&p), 1);
	chosen_row(&other, NONE);
	expect_affine(&p, backend, 2);
}

/* ---- QUIC ---- */

#define QUIC4(...) PACKET(UDP4, .payload = 40, __VA_ARGS__)
#define QUIC6(...) PACKET(UDP6, .payload = 40, __VA_ARGS__)

/* The payload counts up from its second byte on.  A short header's id begins there; a long one's
 * length is in the sixth byte and it begins in the seventh. */
static const struct quic {
	const char *sentence;
	struct packet packet;
	uint8_t offset;
	uint8_t length;
	uint32_t id; /* of the spare backend */
	bool used;
} quics[] = {
	{ "a short header, one byte", QUIC4(.fill = 0x4020), 0, 1, 0x20, true },
	{ "a short header, two bytes", QUIC4(.fill = 0x4020), 0, 2, 0x2021, true },
	{ "a short header, three bytes", QUIC4(.fill = 0x7f20), 0, 3, 0x202122, true },
	{ "a short header, four bytes", QUIC4(.fill = 0x4020), 0, 4, 0x20212223, true },
	{ "a short header over IPv6", QUIC6(.fill = 0x4020), 1, 3, 0x212223, true },
	{ "an offset", QUIC4(.fill = 0x4020), 7, 2, 0x2728, true },
	{ "the largest offset", QUIC4(.fill = 0x4020), 16, 4, 0x30313233, true },
	{ "behind options and tags", QUIC4(.fill = 0x4020, .ihl = 15, .tags = 2), 1, 2, 0x2122,
	  true },
	{ "behind extension headers", QUIC6(.fill = 0x4020, .ext = "hd"), 1, 2, 0x2122, true },
	{ "a handshake", QUIC4(.fill = 0xe004), 1, 2, 0x0a0b, true },
	{ "a handshake whose id is as long as it must", QUIC4(.fill = 0xef00), 1, 3, 0x060708,
	  true },
	{ "a handshake whose id is too short", QUIC4(.fill = 0xe000), 2, 3, 0x070809, false },
	{ "an initial packet: the client's own invention", QUIC4(.fill = 0xc004), 1, 2, 0x0a0b,
	  false },
	{ "0-RTT", QUIC4(.fill = 0xd004), 1, 2, 0x0a0b, false },
	{ "retry", QUIC4(.fill = 0xf004), 1, 2, 0x0a0b, false },
	{ "version negotiation", QUIC4(.fill = 0x8004), 1, 2, 0x0a0b, false },
	{ "no QUIC", QUIC4(.fill = 0x0020), 0, 2, 0x2021, false },
	{ "an unknown id", QUIC4(.fill = 0x4030), 0, 2, 0x2021, false },
	{ "a short header up to the end", PACKET(UDP4, .payload = 4, .fill = 0x4020), 1, 2, 0x2122,
	  true },
	{ "a short header that ends in the id", PACKET(UDP4, .payload = 3, .fill = 0x4020), 1, 2,
	  0x21ee, false },
	{ "a short header that padding would complete",
	  PACKET(UDP4, .payload = 3, .fill = 0x4020, .pad = 9), 1, 2, 0x21ee, false },
	{ "a handshake that ends before its id",
	  PACKET(UDP4, .payload = 6, .fill = 0xe004, .pad = 9), 0, 2, 0xeeee, false },
	{ "no payload", PACKET(UDP4, .payload = 0), 0, 1, 0, false },
	{ "no payload but padding", PACKET(UDP4, .payload = 0, .pad = 18), 0, 1, 0xee, false },
};

static void serve_quic(const struct quic *quic, uint32_t row)
{
	struct lb_service service = choice_service(&quic->packet);
	struct lb_server_id key = { .table = service.table, .id = quic->id };

	service.flags = LB_SERVICE_QUIC;
	service.id_offset = quic->offset;
	service.id_length = quic->length;
	choice_set(&quic->packet, &service);
	must(bpf_map_update_elem(bpf_map__fd(world.bpf->maps.lb_server_ids), &key, &row, BPF_ANY) ==
	     0);
}

static void quic_packets_go_by_their_server_id(void **state)
{
	const struct quic *quic = *state;
	struct packet p = quic->packet;
	uint32_t spare = packet_is_v6(&p) ? ROW_SPARE6 : ROW_SPARE4;

	serve_quic(quic, spare);
	for (int i = 0; i < 3; i++) { /* the client's address changes */
		assert_int_equal(chosen_row(&p, quic->used ? LB_BY_SERVER_ID : NONE),
				 quic->used ? spare : spare - 2);
		p.from = client(packet_is_v6(&p), i);
	}
	world_set_backend_state(spare, LB_BACKEND_DRAINING);
	p.sport++;
	assert_int_equal(chosen_row(&p, NONE), spare - 2);
}

/* The id is one service's, and that of UDP. */
static void server_ids_are_one_services(void **state)
{
	const struct quic *quic = &quics[1];
	struct packet p = quic->packet;

	serve_quic(quic, ROW_SPARE4);
	p.to = KEEP4;
	assert_int_equal(chosen_row(&p, NONE), ROW_BACKEND4);
	p.to = VIP4;
	assert_int_equal(chosen_row(&p, LB_BY_SERVER_ID), ROW_SPARE4);
}

/* ---- any port ---- */

static void a_port_of_its_own_beats_any_port(void **state)
{
	struct packet p = first_of(*state);
	bool ipv6 = packet_is_v6(&p);
	uint32_t spare = ipv6 ? ROW_SPARE6 : ROW_SPARE4;
	struct lb_backend backend = world_backend(spare);
	struct lb_service any = choice_service(&p);
	struct lb_flow flow;

	any.table = TABLE_EMPTY;
	world_slots(TABLE_EMPTY, spare);
	world_serve_port(p.proto, 44444, false);
	world_set_service(p.to, 0, p.proto, &any);
	backend.port = 0;
	world_set_backend(spare, &backend);
	assert_int_equal(chosen_row(&p, NONE), spare - 2);
	p.dport = 44444;
	assert_int_equal(chosen_row(&p, NONE), spare);
	assert_true(flow_read(&p, &flow));
	assert_int_equal(ntohs(flow.dport), 44444);
	p.to = ipv6 ? "2001:db8::11" : "192.0.2.11";
	expect_end(world.lan, &p, XDP_PASS, LB_NO_SERVICE);
	p.dport = 44445;
	expect_end(world.lan, &p, XDP_PASS, LB_NOT_OURS);
}

/* ---- the local stack ---- */

static void new_flows_may_be_left_to_the_stack(void **state)
{
	const struct row *row = *state;
	struct packet p = first_of(row);
	struct lb_service service = choice_service(&p);
	struct talk talk;

	talk_open(&talk, &row->packet);
	service.flags = LB_SERVICE_PASS;
	choice_set(&p, &service);
	p.sport++;
	expect_end(world.lan, &p, XDP_PASS, LB_LOCAL);
	p.flags = ACK;
	expect_end(world.lan, &p, XDP_PASS, LB_LOCAL);
	p.say_length = 1; /* not ours to judge */
	expect_end(world.lan, &p, XDP_PASS, LB_LOCAL);
	talk_client(&talk, ACK, NOTHING);
	talk_backend(&talk, ACK, NOTHING);
}

/* A connection of this host between the addresses and ports of p. */
static void connect_locally(const struct packet *p, int fds[3])
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(p->dport) };
	struct sockaddr_in from = { .sin_family = AF_INET, .sin_port = htons(p->sport) };

	must(inet_pton(AF_INET, p->to, &at.sin_addr) == 1);
	must(inet_pton(AF_INET, p->from, &from.sin_addr) == 1);
	fds[0] = socket(AF_INET, SOCK_STREAM, 0);
	fds[1] = socket(AF_INET, SOCK_STREAM, 0);
	must(fds[0] >= 0 && fds[1] >= 0);
	must(bind(fds[0], (struct sockaddr *)&at, sizeof(at)) == 0 && listen(fds[0], 1) == 0);
	must(bind(fds[1], (struct sockaddr *)&from, sizeof(from)) == 0);
	must(connect(fds[1], (struct sockaddr *)&at, sizeof(at)) == 0);
	fds[2] = accept(fds[0], NULL, NULL);
	must(fds[2] >= 0);
}

static void the_stacks_own_connections_go_on(void **state)
{
	struct packet p = PACKET(TCP4);
	struct lb_service service = choice_service(&p);
	int fds[3];

	world_ip("addr add " CLIENT4 "/32 dev lo");
	world_ip("addr add " VIP4 "/32 dev lo");
	connect_locally(&p, fds);
	service.flags = LB_SERVICE_SHARED;
	choice_set(&p, &service);
	expect_end(world.lan, &p, XDP_PASS, LB_LOCAL);
	p.flags = FIN | ACK;
	expect_end(world.lan, &p, XDP_PASS, LB_LOCAL);
	p.flags = RST;
	expect_end(world.lan, &p, XDP_PASS, LB_LOCAL);
	/* A listener has no connection. */
	p.sport++;
	p.flags = ACK;
	assert_int_equal(chosen_row(&p, LB_PICKED_UP), ROW_BACKEND4);
	p.sport++;
	p.flags = SYN;
	assert_int_equal(chosen_row(&p, NONE), ROW_BACKEND4);
	/* Reset: nothing lingers on the port. */
	must(setsockopt(fds[1], SOL_SOCKET, SO_LINGER, &(struct linger){ 1, 0 },
			sizeof(struct linger)) == 0);
	for (int i = 1; i <= 3; i++)
		close(fds[i % 3]);
	world_ip("addr del " VIP4 "/32 dev lo");
	world_ip("addr del " CLIENT4 "/32 dev lo");
}

int test_lb_select(void)
{
	const struct CMUnitTest tests[] = {
		CASE(server_ids_are_one_services),
		CASE(the_stacks_own_connections_go_on),
	};

	return RUN_ROWS("in turn", rows, in_turn_every_slot_is_taken_once_a_round) +
	       RUN_ROWS("by flow", rows, by_the_flow_each_port_may_go_elsewhere) +
	       RUN_ROWS("by source", rows, by_the_source_a_client_stays) +
	       RUN_ROWS("affinity", rows, a_client_stays_across_source_ports) +
	       RUN_ROWS("affinity, time", rows, affinity_ends_with_its_time) +
	       RUN_ROWS("affinity, packets", rows, packets_renew_affinity) +
	       RUN_ROWS("affinity, leaving", rows, nobody_stays_with_a_backend_that_leaves) +
	       RUN_ROWS("affinity, others", rows, affinity_is_one_services_and_one_protocols) +
	       RUN_ROWS("QUIC", quics, quic_packets_go_by_their_server_id) +
	       RUN_ROWS("any port", rows, a_port_of_its_own_beats_any_port) +
	       RUN_ROWS("local", rows, new_flows_may_be_left_to_the_stack) +
	       cmocka_run_group_tests_name("choice", tests, NULL, NULL);
}
