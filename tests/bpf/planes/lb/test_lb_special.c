/* What a configuration does not use is switched off before the program is loaded: such packets are
 * passed, and the code for them is gone. */
#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include "base/must.h"
#include "groups.h"
#include "lb.skel.h"

static uint32_t loaded_bytes(void)
{
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);

	must(!bpf_obj_get_info_by_fd(bpf_program__fd(world.bpf->progs.lb_main), &info, &size));
	return info.xlated_prog_len;
}

static void without_ipv4(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_ipv4 = false;
}

static void without_ipv6(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_ipv6 = false;
}

static void without_udp(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_udp = false;
}

static void without_full_nat(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_nat_full = false;
}

static void without_destination_nat(struct lb_bpf *bpf)
{
	bpf->rodata->lb_const_nat_destination = false;
}

static const struct row {
	const char *sentence;
	void (*specialise)(struct lb_bpf *bpf);
	int tcp4; /* the counter under which it is passed; LB_COUNTER_COUNT: forwarded */
	int tcp6;
	int udp4;
	int udp6;
} rows[] = {
	{ "without IPv4", without_ipv4, LB_NOT_IP, LB_COUNTER_COUNT, LB_NOT_IP, LB_COUNTER_COUNT },
	{ "without IPv6", without_ipv6, LB_COUNTER_COUNT, LB_NOT_IP, LB_COUNTER_COUNT, LB_NOT_IP },
	{ "without UDP", without_udp, LB_COUNTER_COUNT, LB_COUNTER_COUNT, LB_NOT_OURS,
	  LB_NOT_OURS },
};

static uint32_t whole_bytes;

static void check_packet(const struct packet *packet, int counter)
{
	struct talk talk;

	if (counter == LB_COUNTER_COUNT)
		talk_open(&talk, packet);
	else
		expect_end(world.lan, packet, XDP_PASS, counter);
}

static void check_row(void **state)
{
	const struct row *row = *state;

	world_close();
	world_open(row->specialise);
	assert_in_range(loaded_bytes(), 1, whole_bytes - 1);
	check_packet(&PACKET(TCP4), row->tcp4);
	check_packet(&PACKET(TCP6), row->tcp6);
	check_packet(&PACKET(UDP4), row->udp4);
	check_packet(&PACKET(UDP6), row->udp6);
}

/* The packet's source address, byte by byte from its start. */
static void check_source(const char *to, const char *source)
{
	struct packet packet = PACKET(TCP4, .to = to, .flags = SYN);
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	__be32 addr[4];

	world_run(world.lan, frame, packet_build(&packet, frame), &got);
	assert_int_equal(got.verdict, XDP_TX);
	packet_address(source, addr);
	assert_memory_equal(got.frame + 14 + 12, &addr[3], 4);
}

static void without_full_nat_every_client_address_is_kept(void **state)
{
	world_close();
	world_open(without_full_nat);
	assert_in_range(loaded_bytes(), 1, whole_bytes - 1);
	check_source(VIP4, CLIENT4);
	check_source(KEEP4, CLIENT4);
}

static void without_destination_nat_none_is_kept(void **state)
{
	world_close();
	world_open(without_destination_nat);
	assert_in_range(loaded_bytes(), 1, whole_bytes - 1);
	check_source(VIP4, SOURCE4);
	check_source(KEEP4, SOURCE4);
}

int test_lb_special(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_full_nat_every_client_address_is_kept),
		cmocka_unit_test(without_destination_nat_none_is_kept),
	};
	int failed;

	world_open(NULL);
	whole_bytes = loaded_bytes();
	failed = RUN_ROWS("specialisation", rows, check_row) +
		 cmocka_run_group_tests_name("NAT modes", tests, NULL, NULL);
	world_close();
	return failed;
}
