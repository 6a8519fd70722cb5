/* SYN cookies: the client's handshake with the balancer, the backend's after it, and numbers that
 * differ by what the cookie and the backend began with. */
#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <bpf/libbpf.h>
#include <string.h>

#include "base/clock.h"
#include "base/must.h"
#include "choice.h"
#include "groups.h"
#include "lb.skel.h"

#define SLOW	  0xf0000000u /* ns between flows: after one, none for a while */
#define MSS4	  1360
#define MSS6	  1220
#define TCP_BYTES 20

static const struct row {
	const char *sentence;
	struct packet packet;
	uint32_t isn;	  /* the client's first number */
	uint32_t backend; /* the backend's */
} rows[] = {
	{ "IPv4", PACKET(TCP4), 1000, 77 },
	{ "IPv4, the client's numbers wrap", PACKET(TCP4), 0xffffffff, 0x80000000 },
	{ "IPv4, the backend's numbers wrap", PACKET(TCP4), 0x7fffffff, 0xffffffff },
	{ "IPv4, both wrap soon", PACKET(TCP4, .tags = 1, .tci = { 5 }), 0xfffffff0, 0xfffffff1 },
	{ "IPv4 under destination NAT", PACKET(TCP4, .to = KEEP4), 0xfffffffe, 0xfffffffe },
	{ "IPv4 with options", PACKET(TCP4, .ihl = 7), 1, 0 },
	{ "IPv6", PACKET(TCP6), 2000, 88 },
	{ "IPv6, numbers wrap", PACKET(TCP6, .tags = 2, .tci = { 5, 6 }), 0xffffffff, 0xffffffff },
	{ "IPv6 under destination NAT", PACKET(TCP6, .to = KEEP6), 0, 0xfffffffe },
	{ "IPv6 with extension headers", PACKET(TCP6, .ext = "hd"), 0x80000000, 0x7fffffff },
};

struct proxied {
	const struct row *row;
	struct talk talk;
	uint32_t cookie;
};

static uint16_t mss_of(const struct packet *p)
{
	return packet_is_v6(p) ? MSS6 : MSS4;
}

static uint32_t get_number(const uint8_t *frame)
{
	return (uint32_t)frame[0] << 24 | (uint32_t)frame[1] << 16 | (uint32_t)frame[2] << 8 |
	       frame[3];
}

/* As long as this lasts, flows that begin are beyond the service's limit. */
static void set_pressed(const struct packet *p, bool pressed)
{
	uint64_t due = clock_now_ns() + (pressed ? 2000000000u : 0);
	uint32_t table = choice_service(p).table;

	must(!bpf_map_update_elem(bpf_map__fd(world.bpf->maps.lb_rates), &table, &due, BPF_ANY));
}

static void begin(struct proxied *c, const struct row *row)
{
	struct lb_service service = choice_service(&row->packet);
	uint32_t never = 0;

	c->row = row;
	service.rate_ns = SLOW;
	service.flags = LB_SERVICE_COOKIES;
	choice_set(&row->packet, &service);
	must(!bpf_map_update_elem(bpf_map__fd(world.bpf->maps.lb_cookies_sent), &service.table,
				  &never, BPF_ANY));
	set_pressed(&row->packet, true);
	talk_prepare(&c->talk, &row->packet, SYN);
	c->talk.client.payload = 0;
}

/* A bare segment as the balancer writes it, back to who sent p. */
static struct packet answer_to(const struct packet *p, uint8_t flags)
{
	struct packet answer = { .dmac = p->smac,
				 .smac = p->dmac,
				 .tags = p->tags,
				 .ad = p->ad,
				 .from = p->to,
				 .to = p->from,
				 .ttl = 64,
				 .proto = IPPROTO_TCP,
				 .sport = p->dport,
				 .dport = p->sport,
				 .flags = flags,
				 .dont_fragment = true };

	memcpy(answer.tci, p->tci, sizeof(answer.tci));
	return answer;
}

static void expect_frame(const struct outcome *got, const struct packet *out)
{
	uint8_t frame[PACKET_ROOM];
	size_t length = packet_build(out, frame);

	assert_int_equal(got->length, length);
	assert_memory_equal(got->frame, frame, length);
}

/* What comes out has another length than what came in, and is counted with that. */
static void expect_made(const struct packet *in, const struct packet *out, int counter)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];

	world_run(world.lan, frame, packet_build(in, frame), &got);
	assert_int_equal(got.verdict, XDP_TX);
	expect_frame(&got, out);
	for (int i = 0; i < LB_COUNTER_COUNT; i++)
		assert_int_equal(got.packets[i], i == counter);
}

/* The client's SYN, answered with a cookie; nothing is kept. */
static void ask(struct proxied *c, uint16_t mss)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	struct packet *syn = &c->talk.client;
	uint32_t before = flow_count();
	struct packet answer;

	syn->flags = SYN;
	syn->seq = c->row->isn;
	syn->ack = 0;
	syn->doff = 10; /* more options than the cookie can remember */
	syn->mss = 1460;
	syn->mss_at = 3;
	world_run(world.lan, frame, packet_build(syn, frame), &got);
	assert_int_equal(got.verdict, XDP_TX);
	assert_int_equal(got.packets[LB_COOKIE_SENT], 1);
	assert_int_equal(got.bytes[LB_COOKIE_SENT], packet_build(syn, frame));
	answer = answer_to(syn, SYN | ACK);
	answer.doff = 6;
	answer.mss = mss;
	answer.window = WINDOW_NONE;
	answer.ack = c->row->isn + 1;
	c->cookie = answer.seq = get_number(got.frame + packet_transport(&answer) + 4);
	expect_frame(&got, &answer);
	assert_int_equal(flow_count(), before);
	syn->doff = 0;
	syn->mss = syn->mss_at = 0;
}

/* What the backend is sent in the client's name. */
static struct packet syn_of(const struct proxied *c)
{
	struct packet syn = c->talk.backend;

	syn.flags = SYN;
	syn.seq = c->row->isn;
	syn.ack = 0;
	syn.payload = 0;
	syn.ihl = 0;
	syn.ext = NULL;
	syn.ttl = 63;
	syn.dont_fragment = true;
	syn.window = 65535;
	syn.doff = 6;
	syn.mss = mss_of(&syn);
	return syn;
}

static void set_client(struct proxied *c, uint32_t sent, uint32_t got)
{
	c->talk.client.seq = c->talk.backend.seq = c->row->isn + sent;
	c->talk.client.ack = c->cookie + got;
	c->talk.backend.ack = c->row->backend + got;
}

static void set_backend(struct proxied *c, uint32_t sent, uint32_t got)
{
	c->talk.answer.seq = c->row->backend + sent;
	c->talk.reply.seq = c->cookie + sent;
	c->talk.answer.ack = c->talk.reply.ack = c->row->isn + got;
}

/* The client's next packet answers the cookie and becomes the backend's SYN. */
static void answer_cookie(struct proxied *c, uint32_t sent)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	struct talk *talk = &c->talk;
	struct packet syn;

	set_client(c, sent, 1);
	talk->client.flags = ACK;
	world_run(world.lan, frame, packet_build(&talk->client, frame), &got);
	assert_int_equal(got.verdict, XDP_TX);
	assert_int_equal(got.packets[LB_COOKIE_OPEN], 1);
	assert_int_equal(got.packets[LB_PICKED_UP], 0);
	assert_int_equal(got.backends[talk->row].connections, 1);
	assert_int_equal(got.backends[talk->row].to_packets, 1);
	syn = syn_of(c);
	talk_complete(talk, packet_sport_of(&syn, got.frame));
	syn.sport = talk->backend.sport;
	expect_frame(&got, &syn);
	assert_int_equal(talk_state(talk), LB_STATE_SYN_SENT);
	assert_int_equal(talk_flow_flags(talk), LB_FLOW_PROXIED);
}

/* The backend's SYN-ACK opens the client's window. */
static void answer_syn(struct proxied *c)
{
	struct packet *answer = &c->talk.answer;
	struct packet *reply = &c->talk.reply;

	set_backend(c, 0, 1);
	reply->seq++;
	answer->payload = reply->payload = 0;
	answer->doff = reply->doff = 6;
	answer->mss = reply->mss = 1400;
	answer->flags = SYN | ACK;
	reply->flags = ACK;
	expect_forward(world.lan, answer, XDP_TX, reply, c->talk.row, true, NOTHING);
	assert_int_equal(talk_state(&c->talk), LB_STATE_SYN_RECV);
	answer->doff = reply->doff = 0;
	answer->mss = reply->mss = 0;
	answer->payload = reply->payload = 100;
}

static void client_sends(struct proxied *c, uint32_t sent, uint32_t got, uint8_t flags,
			 struct beside beside)
{
	c->talk.client.payload = c->talk.backend.payload = 24;
	set_client(c, sent, got);
	talk_client(&c->talk, flags, beside);
}

static void backend_sends(struct proxied *c, uint32_t sent, uint32_t got, uint8_t flags,
			  struct beside beside)
{
	set_backend(c, sent, got);
	talk_backend(&c->talk, flags, beside);
}

static void open_by_cookie(struct proxied *c, const struct row *row)
{
	begin(c, row);
	ask(c, mss_of(&row->packet));
	answer_cookie(c, 1);
	answer_syn(c);
	client_sends(c, 1, 1, PSH | ACK, NOTHING);
	assert_int_equal(talk_state(&c->talk), LB_STATE_ESTABLISHED);
}

static void a_cookie_opens_a_connection(void **state)
{
	struct proxied c;

	open_by_cookie(&c, *state);
	backend_sends(&c, 1, 25, PSH | ACK, NOTHING);
	client_sends(&c, 25, 101, PSH | ACK, NOTHING);
	set_pressed(&c.talk.client, false);
	backend_sends(&c, 0x7fffffff, 49, ACK, NOTHING);
	client_sends(&c, 0x7fffffff, 0x80000000, ACK, NOTHING);
	backend_sends(&c, 101, 49, FIN | ACK, NOTHING);
	client_sends(&c, 49, 102, FIN | ACK, NOTHING);
	backend_sends(&c, 202, 74, ACK, NOTHING);
	assert_int_equal(talk_state(&c.talk), LB_STATE_TIME_WAIT);
}

static void a_reset_has_the_numbers_of_who_gets_it(void **state)
{
	struct proxied c;

	open_by_cookie(&c, *state);
	backend_sends(&c, 1, 25, RST | ACK, NOTHING);
	assert_int_equal(talk_state(&c.talk), LB_STATE_CLOSED);
	client_sends(&c, 25, 1, RST | ACK, NOTHING);
}

static void what_was_no_cookie_is_dropped(void **state)
{
	struct proxied c;
	struct packet p;

	begin(&c, *state);
	ask(&c, mss_of(&c.row->packet));
	p = c.talk.client;
	p.flags = ACK;
	p.seq = c.row->isn + 1;
	p.ack = c.cookie + 3;
	expect_end(world.lan, &p, XDP_DROP, LB_COOKIE_BAD);
	p.ack = c.cookie + 1;
	p.seq = c.row->isn + 2;
	expect_end(world.lan, &p, XDP_DROP, LB_COOKIE_BAD);
	p.seq = c.row->isn + 1;
	p.sport++;
	expect_end(world.lan, &p, XDP_DROP, LB_COOKIE_BAD);
	assert_int_equal(flow_count(), 0);
	/* Without pressure it may be the middle of a connection. */
	set_pressed(&p, false);
	chosen_row(&p, LB_PICKED_UP);
}

static void where_no_cookie_was_sent_none_is_taken(void **state)
{
	uint32_t never = 0;
	struct proxied c;
	struct packet p;

	begin(&c, *state);
	ask(&c, mss_of(&c.row->packet));
	must(!bpf_map_update_elem(bpf_map__fd(world.bpf->maps.lb_cookies_sent),
				  &(uint32_t){ choice_service(&c.talk.client).table }, &never,
				  BPF_ANY));
	p = c.talk.client;
	p.flags = ACK;
	p.seq = c.row->isn + 1;
	p.ack = c.cookie + 1;
	chosen_row(&p, LB_PICKED_UP);
}

/* The client's ACK was lost, and it probes the window: one number before what it would send. */
static void a_window_probe_answers_a_cookie(void **state)
{
	struct proxied c;

	begin(&c, *state);
	ask(&c, mss_of(&c.row->packet));
	answer_cookie(&c, 0);
	answer_syn(&c);
	client_sends(&c, 1, 1, PSH | ACK, NOTHING);
}

static void until_the_backend_answers_its_syn_is_repeated(void **state)
{
	const uint8_t flags[] = { ACK, PSH | ACK, FIN | ACK };
	struct packet syn;
	struct proxied c;

	begin(&c, *state);
	ask(&c, mss_of(&c.row->packet));
	answer_cookie(&c, 1);
	syn = syn_of(&c);
	for (size_t i = 0; i < sizeof(flags); i++) {
		c.talk.client.flags = flags[i];
		c.talk.client.seq = c.row->isn + (uint32_t)i; /* a probe, and data beyond */
		c.talk.client.payload = (uint16_t)i * 100;
		expect_made(&c.talk.client, &syn, LB_COUNTER_COUNT);
		assert_int_equal(talk_state(&c.talk), LB_STATE_SYN_SENT);
	}
	c.talk.answer.flags = ACK; /* of some earlier connection */
	expect_end(world.lan, &c.talk.answer, XDP_DROP, LB_COOKIE_WAIT);
	answer_syn(&c);
}

static void a_repeated_syn_ack_is_answered_for_the_client(void **state)
{
	struct packet answer;
	struct proxied c;

	begin(&c, *state);
	ask(&c, mss_of(&c.row->packet));
	answer_cookie(&c, 1);
	answer_syn(&c);
	set_backend(&c, 0, 1);
	c.talk.answer.flags = SYN | ACK;
	answer = answer_to(&c.talk.answer, ACK);
	answer.seq = c.row->isn + 1;
	answer.ack = c.row->backend + 1;
	answer.window = 65535;
	expect_forward(world.lan, &c.talk.answer, XDP_TX, &answer, c.talk.row, true, NOTHING);
	/* Who speaks first is the backend. */
	backend_sends(&c, 1, 1, PSH | ACK, NOTHING);
	client_sends(&c, 1, 101, ACK, NOTHING);
	assert_int_equal(talk_state(&c.talk), LB_STATE_ESTABLISHED);
}

static void a_backend_that_refuses_resets_the_client(void **state)
{
	struct proxied c;

	begin(&c, *state);
	ask(&c, mss_of(&c.row->packet));
	answer_cookie(&c, 1);
	set_backend(&c, 0, 1);
	c.talk.answer.seq = 0; /* RFC 9293 section 3.10.7.1 */
	c.talk.reply.seq = c.cookie + 1;
	talk_backend(&c.talk, RST | ACK, NOTHING);
	assert_int_equal(talk_state(&c.talk), LB_STATE_CLOSED);
}

static void all_that_the_client_says_may_be_one_packet(void **state)
{
	struct proxied c;

	begin(&c, *state);
	ask(&c, mss_of(&c.row->packet));
	answer_cookie(&c, 1);
	answer_syn(&c);
	client_sends(&c, 1, 1, PSH | FIN | ACK, NOTHING);
	assert_int_equal(talk_state(&c.talk), LB_STATE_FIN_WAIT);
	backend_sends(&c, 1, 26, PSH | FIN | ACK, NOTHING);
	client_sends(&c, 26, 102, ACK, NOTHING);
	assert_int_equal(talk_state(&c.talk), LB_STATE_TIME_WAIT);
}

static void lost_halves_come_back_with_the_right_numbers(void **state)
{
	struct proxied c;
	bool keep;

	open_by_cookie(&c, *state);
	keep = c.talk.backend.from == c.talk.client.from;
	assert_true(flow_remove(&c.talk.client));
	client_sends(&c, 25, 1, ACK, ONE(REBUILT));
	backend_sends(&c, 1, 25, ACK, NOTHING);
	assert_true(flow_remove(&c.talk.answer));
	if (keep) {
		world_forwarding(true);
		world_routes(false);
	}
	flow_age(&c.talk.client, 100);
	client_sends(&c, 25, 1, ACK, ONE(REBUILT));
	backend_sends(&c, 1, 25, ACK, NOTHING);
	client_sends(&c, 25, 101, ACK, NOTHING);
}

static void a_lost_half_of_a_syn_is_found_again(void **state)
{
	struct packet syn;
	struct proxied c;

	begin(&c, *state);
	ask(&c, mss_of(&c.row->packet));
	answer_cookie(&c, 1);
	syn = syn_of(&c);
	assert_true(flow_remove(&c.talk.client));
	expect_made(&c.talk.client, &syn, LB_REBUILT);
	answer_syn(&c);
	client_sends(&c, 1, 1, PSH | ACK, NOTHING);
}

static void cut(struct proxied *c)
{
	world_set_backend_state(c->talk.row, LB_BACKEND_CUT);
	world_next_generation();
}

static void a_cut_connection_is_reset_with_the_clients_numbers(void **state)
{
	struct packet reset;
	struct proxied c;

	open_by_cookie(&c, *state);
	cut(&c);
	set_backend(&c, 1, 25);
	reset = answer_to(&c.talk.client, RST | ACK);
	reset.seq = c.talk.reply.seq;
	reset.ack = c.talk.reply.ack;
	c.talk.answer.flags = ACK;
	expect_reset(world.lan, &c.talk.answer, XDP_TX, &reset);
	world_set_backend_state(c.talk.row, LB_BACKEND_ACTIVE);
	open_by_cookie(&c, *state);
	cut(&c);
	set_client(&c, 25, 1);
	reset = answer_to(&c.talk.client, RST);
	reset.seq = c.cookie + 1;
	c.talk.client.flags = ACK;
	expect_reset(world.lan, &c.talk.client, XDP_TX, &reset);
	world_set_backend_state(c.talk.row, LB_BACKEND_ACTIVE);
}

/* An ICMP error about the backend's packet quotes the numbers that the client sees. */
static void errors_quote_the_backends_numbers(void **state)
{
	struct packet quoted, quoted_out, error, out;
	struct proxied c;

	open_by_cookie(&c, *state);
	if (c.row->packet.ext)
		return;
	set_backend(&c, 1, 25);
	c.talk.answer.flags = c.talk.reply.flags = ACK;
	quoted = c.talk.reply;
	quoted_out = quoted;
	quoted_out.from = c.talk.answer.from;
	quoted_out.to = c.talk.answer.to;
	quoted_out.sport = c.talk.answer.sport;
	quoted_out.dport = c.talk.answer.dport;
	quoted_out.seq = c.talk.answer.seq;
	error = c.talk.client;
	error.icmp = true;
	error.proto = packet_is_v6(&error) ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	error.type = packet_is_v6(&error) ? 2 : 3; /* too big */
	error.code = packet_is_v6(&error) ? 0 : 4;
	error.rest = 1300;
	error.ihl = 0;
	error.quoted = &quoted;
	error.quoted_bytes = QUOTED_ALL;
	out = error;
	out.dmac = c.talk.backend.dmac;
	out.smac = c.talk.backend.smac;
	out.tags = c.talk.backend.tags;
	out.from = c.talk.backend.from;
	out.to = c.talk.backend.to;
	out.ttl--;
	out.quoted = &quoted_out;
	expect_sent(world.lan, &error, XDP_TX, &out, ROW_NONE, false, LB_ICMP_ERROR, NOTHING);
	error.quoted_bytes = out.quoted_bytes = packet_transport(&quoted) - 14 - quoted.tags * 4 +
						8;
	expect_sent(world.lan, &error, XDP_TX, &out, ROW_NONE, false, LB_ICMP_ERROR, NOTHING);
}

static void cookies_fit_the_clients_link(void **state)
{
	uint32_t ifindex = world.lan;
	struct proxied c;

	begin(&c, *state);
	world_link_mtu(world.lan, 1280);
	ask(&c, 1280 - TCP_BYTES - (packet_is_v6(&c.talk.client) ? 40 : 20));
	bpf_map_delete_elem(bpf_map__fd(world.bpf->maps.lb_links), &ifindex);
	ask(&c, mss_of(&c.talk.client));
}

int test_lb_cookie(void)
{
	return RUN_ROWS("cookie", rows, a_cookie_opens_a_connection) +
	       RUN_ROWS("cookie, reset", rows, a_reset_has_the_numbers_of_who_gets_it) +
	       RUN_ROWS("cookie, wrong", rows, what_was_no_cookie_is_dropped) +
	       RUN_ROWS("cookie, none sent", rows, where_no_cookie_was_sent_none_is_taken) +
	       RUN_ROWS("cookie, probe", rows, a_window_probe_answers_a_cookie) +
	       RUN_ROWS("cookie, SYN repeated", rows,
			until_the_backend_answers_its_syn_is_repeated) +
	       RUN_ROWS("cookie, SYN-ACK repeated", rows,
			a_repeated_syn_ack_is_answered_for_the_client) +
	       RUN_ROWS("cookie, refused", rows, a_backend_that_refuses_resets_the_client) +
	       RUN_ROWS("cookie, one packet", rows, all_that_the_client_says_may_be_one_packet) +
	       RUN_ROWS("cookie, halves", rows, lost_halves_come_back_with_the_right_numbers) +
	       RUN_ROWS("cookie, half of a SYN", rows, a_lost_half_of_a_syn_is_found_again) +
	       RUN_ROWS("cookie, cut", rows, a_cut_connection_is_reset_with_the_clients_numbers) +
	       RUN_ROWS("cookie, errors", rows, errors_quote_the_backends_numbers) +
	       RUN_ROWS("cookie, MTU", rows, cookies_fit_the_clients_link);
}
