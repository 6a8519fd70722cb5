#include "direct.h"

#include <arpa/inet.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

bool direct_is_tunnel(const struct direct *d)
{
	return d->mode != LB_MODE_L2;
}

static bool outer_is_v6(const struct direct *d)
{
	return d->in6 || packet_is_v6(&d->client);
}

void direct_out(struct direct *d)
{
	struct lb_backend backend = world_backend(d->row);
	uint16_t gue_sport = d->out.gue_sport;
	bool known = backend.hop.ifindex;

	d->out = d->client;
	d->out.dmac = MAC_BACKEND;
	d->out.smac = MAC_LB;
	d->out.tags = known ? backend.tags & LB_TAGS_MASK : 0;
	d->out.ad = backend.tags & LB_TAGS_OUTER_AD;
	d->out.tci[0] = ntohs(backend.hop.tci[0]);
	d->out.tci[1] = ntohs(backend.hop.tci[1]);
	/* Where the hop is unknown, routes lead to the other interface. */
	d->backend_side = known ? backend.hop.ifindex : world.far;
	if (!direct_is_tunnel(d))
		return;
	d->out.ttl--;
	d->out.outer_from = d->outer_from;
	d->out.outer_to = outer_is_v6(d) ? BACKEND6 : BACKEND4;
	if (d->row == ROW_SPARE4 || d->row == ROW_SPARE6)
		d->out.outer_to = outer_is_v6(d) ? SPARE6 : SPARE4;
	if (d->mode != LB_MODE_GUE)
		return;
	d->out.gue_sport = gue_sport;
	d->out.gue_dport = PORT_GUE;
}

void direct_prepare(struct direct *d, enum lb_mode mode, bool in6, const struct packet *first)
{
	*d = (struct direct){
		.mode = mode, .in6 = in6, .client = *first, .client_side = world.lan
	};
	world_direct(mode, in6);
	d->row = outer_is_v6(d) ? ROW_BACKEND6 : ROW_BACKEND4;
	direct_out(d);
}

static void check_outer_source(const struct direct *d)
{
	__be32 base[4];
	__be32 addr[4];

	packet_address(d->outer_from, addr);
	packet_address(outer_is_v6(d) ? OUTER6 : OUTER4, base);
	assert_memory_equal(addr, base, 12);
	assert_int_equal(ntohl(addr[3]) & ~(uint32_t)OUTER_HOSTS, ntohl(base[3]));
}

static uint32_t verdict_of(const struct direct *d)
{
	return d->client_side == d->backend_side ? XDP_TX : XDP_REDIRECT;
}

void direct_begin(struct direct *d, uint8_t flags, struct beside beside)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	struct lb_flow flow;
	bool known;

	/* What varies is learned from a run that leaves no trace but in the counters. */
	d->client.flags = flags;
	direct_out(d);
	if (direct_is_tunnel(d)) {
		known = flow_read(&d->client, &flow);
		world_run_fast(d->client_side, frame, packet_build(&d->client, frame), &got);
		assert_int_equal(got.verdict, verdict_of(d));
		packet_outer_source(&d->out, got.frame, d->outer_from, sizeof(d->outer_from));
		check_outer_source(d);
		if (d->mode == LB_MODE_GUE) {
			d->out.gue_sport = packet_outer_sport(&d->out, got.frame);
			assert_in_range(d->out.gue_sport, 0xc000, 0xffff);
		}
		if (known)
			flow_write(&d->client, &flow);
		else
			flow_remove(&d->client);
	}
	direct_send(d, flags, beside);
}

void direct_send(struct direct *d, uint8_t flags, struct beside beside)
{
	d->client.flags = flags;
	direct_out(d);
	expect_forward(d->client_side, &d->client, verdict_of(d), &d->out, d->row, false, beside);
}

void direct_open(struct direct *d)
{
	direct_begin(d, SYN, BEGUN(NOTHING));
	direct_send(d, ACK, NOTHING);
}

enum lb_state direct_state(const struct direct *d)
{
	struct lb_flow flow;

	return flow_read(&d->client, &flow) ? flow.state : LB_STATES;
}
