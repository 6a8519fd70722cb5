#include "choice.h"

#include <setjmp.h>
#include <stdarg.h>
#include <cmocka.h>

uint32_t chosen_row(const struct packet *p, int counter)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	struct lb_flow flow;

	world_run(world.lan, frame, packet_build(p, frame), &got);
	assert_int_equal(got.verdict, XDP_TX);
	for (int i = 0; i < LB_COUNTER_COUNT; i++)
		if (i != LB_PORT_CLASH) /* which of many flows meet is not the matter here */
			assert_int_equal(got.packets[i], i == counter);
	assert_true(flow_read(p, &flow));
	assert_int_equal(got.backends[flow.backend].to_packets, 1);
	assert_int_equal(got.backends[flow.backend].connections, 1);
	return flow.backend;
}

struct lb_service choice_service(const struct packet *p)
{
	return world_service_of(p->to, p->dport, p->proto);
}

void choice_set(const struct packet *p, const struct lb_service *service)
{
	world_set_service(p->to, p->dport, p->proto, service);
}

void choice_between_two(void)
{
	for (uint32_t slot = 0; slot < WORLD_SLOTS; slot++) {
		bool spare = slot % 2;

		world_slot(TABLE_4, slot, spare ? ROW_SPARE4 : ROW_BACKEND4);
		world_slot(TABLE_KEEP4, slot, spare ? ROW_SPARE4 : ROW_BACKEND4);
		world_slot(TABLE_6, slot, spare ? ROW_SPARE6 : ROW_BACKEND6);
		world_slot(TABLE_KEEP6, slot, spare ? ROW_SPARE6 : ROW_BACKEND6);
	}
}

bool is_spare(uint32_t row)
{
	return row == ROW_SPARE4 || row == ROW_SPARE6;
}
