#include <arpa/inet.h>
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "health/tunnel_packet.h"

static struct tunnel_packet packet_of(bool v6, bool tcp)
{
	struct tunnel_packet packet = { .source_port = 40000,
					.destination_port = 80,
					.tcp = tcp,
					.flags = tcp ? TUNNEL_SYN : 0,
					.seq = tcp ? 0xdeadbeef : 0,
					.ack = tcp ? 0x01020304 : 0,
					.payload = tcp ? NULL : "knock",
					.payload_len = tcp ? 0 : 5 };

	assert_int_equal(addr_parse(v6 ? "fd00::1" : "10.1.0.1", &packet.source), 0);
	assert_int_equal(addr_parse(v6 ? "fd01::2" : "10.0.0.1", &packet.destination), 0);
	return packet;
}

/* What is written comes back, in either family and protocol. */
static void a_packet_is_read_as_it_was_written(void **state)
{
	for (int i = 0; i < 4; i++) {
		struct tunnel_packet packet = packet_of(i & 1, i & 2);
		struct tunnel_packet back;
		uint8_t data[TUNNEL_PACKET_MAX + 6];
		int len = tunnel_packet_write(&packet, data);

		assert_int_equal(len, (i & 1 ? 40 : 20) + (i & 2 ? 20 : 13));
		/* Ethernet pads short frames. */
		assert_int_equal(tunnel_packet_read(data, (size_t)len + 6, &back), 0);
		assert_true(addr_equal(&back.source, &packet.source));
		assert_true(addr_equal(&back.destination, &packet.destination));
		assert_int_equal(back.source_port, 40000);
		assert_int_equal(back.destination_port, 80);
		assert_int_equal(back.tcp, packet.tcp);
		assert_int_equal(back.flags, packet.flags);
		assert_int_equal(back.seq, packet.seq);
		assert_int_equal(back.ack, packet.ack);
		assert_int_equal(back.payload_len, packet.payload_len);
		if (packet.payload_len)
			assert_memory_equal(back.payload, "knock", 5);
	}
}

/* By RFC 791 and RFC 9293; the checksums by summing up what was written. */
static void the_bytes_are_those_of_the_protocols(void **state)
{
	struct tunnel_packet packet = packet_of(false, true);
	uint8_t data[TUNNEL_PACKET_MAX];
	uint32_t ip = 0;
	uint32_t tcp = 6 + 20; /* protocol and length of the pseudo header */

	assert_int_equal(tunnel_packet_write(&packet, data), 40);
	assert_memory_equal(data, "\x45\0\0\x28\0\0\x40\0\x40\6", 10);
	assert_memory_equal(data + 12,
			    "\x0a\1\0\1\x0a\0\0\1\x9c\x40\0\x50\xde\xad\xbe\xef\1\2\3\4\x50\2", 22);
	for (int i = 0; i < 20; i += 2)
		ip += (uint32_t)data[i] << 8 | data[i + 1];
	for (int i = 12; i < 40; i += 2)
		tcp += (uint32_t)data[i] << 8 | data[i + 1];
	assert_int_equal((ip & 0xffff) + (ip >> 16), 0xffff);
	assert_int_equal((tcp & 0xffff) + (tcp >> 16), 0xffff);
}

static const struct {
	const char *what;
	size_t at;
	uint8_t byte;
	size_t len; /* 0: whole */
} bad[] = {
	{ "neither IPv4 nor IPv6", 0, 0x75, 0 },
	{ "a header shorter than any", 0, 0x44, 0 },
	{ "options beyond the end", 0, 0x4f, 0 },
	{ "another protocol", 9, 1, 0 },
	{ "a first fragment", 6, 0x20, 0 },
	{ "a later fragment", 7, 1, 0 },
	{ "shorter than it says", 0, 0x45, 30 },
	{ "a total length below the header's", 3, 19, 0 },
	{ "a total length that cuts the TCP header", 3, 39, 0 },
	{ "nothing", 0, 0x45, SIZE_MAX },
};

static void what_is_no_whole_tcp_or_udp_is_refused(void **state)
{
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct tunnel_packet packet = packet_of(false, true);
		uint8_t data[TUNNEL_PACKET_MAX];
		size_t len = (size_t)tunnel_packet_write(&packet, data);

		data[bad[i].at] = bad[i].byte;
		len = bad[i].len == SIZE_MAX ? 0 : bad[i].len ? bad[i].len : len;
		if (tunnel_packet_read(data, len, &packet) != -EBADMSG)
			fail_msg("%s is taken", bad[i].what);
	}
}

static void udp_lengths_are_not_believed(void **state)
{
	static const uint16_t lengths[] = { 0, 7, 14, 65535 };
	struct tunnel_packet packet = packet_of(true, false);
	uint8_t data[TUNNEL_PACKET_MAX];
	size_t len = (size_t)tunnel_packet_write(&packet, data);

	for (size_t i = 0; i < sizeof(lengths) / sizeof(lengths[0]); i++) {
		data[44] = (uint8_t)(lengths[i] >> 8);
		data[45] = (uint8_t)lengths[i];
		assert_int_equal(tunnel_packet_read(data, len, &packet), -EBADMSG);
	}
	packet = packet_of(true, false);
	packet.payload_len = TUNNEL_PACKET_MAX;
	assert_int_equal(tunnel_packet_write(&packet, data), -EMSGSIZE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_packet_is_read_as_it_was_written),
		cmocka_unit_test(the_bytes_are_those_of_the_protocols),
		cmocka_unit_test(what_is_no_whole_tcp_or_udp_is_refused),
		cmocka_unit_test(udp_lengths_are_not_believed),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
