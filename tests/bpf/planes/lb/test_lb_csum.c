/* The incremental checksums against sums made anew, for random packets. */
#include <arpa/inet.h>
#include <string.h>

#include "base/hash.h"
#include "groups.h"
#include "planes/lb/lb_csum.h"

#define RANDOM_FLOWS	  5000
#define PACKETS_OF_A_FLOW 4
#define RANDOM_SEED	  0x10030u

/* The same numbers in every run. */
static uint64_t random64(void)
{
	static uint64_t state = RANDOM_SEED;

	state += 0x9e3779b97f4a7c15ull;
	return hash_mix64(state);
}

static const char *random_address(bool ipv6, char *text)
{
	uint64_t bytes[2] = { random64(), random64() };

	/* Runs of ones and zeros are where one's complement sums go wrong. */
	if (random64() % 4 == 0)
		bytes[1] |= 0xffffffffu;
	if (random64() % 4 == 0)
		bytes[0] = 0;
	((uint8_t *)bytes)[0] = ipv6 ? 0x20 : 11;
	inet_ntop(ipv6 ? AF_INET6 : AF_INET, bytes, text, INET6_ADDRSTRLEN);
	return text;
}

static struct packet random_packet(char *text)
{
	uint64_t r = random64();
	bool ipv6 = r & 1;
	bool keep = r & 4;
	struct packet p = PACKET(.proto = r & 2 ? IPPROTO_TCP : IPPROTO_UDP, .dport = 80,
				 .flags = ACK, .ttl = (uint8_t)(2 + (r >> 8) % 254),
				 .sport = (uint16_t)(1 + (r >> 16) % 65535),
				 .payload = (uint16_t)((r >> 32) % 80), .fill = (uint16_t)(r >> 40),
				 .seq = (uint32_t)random64(), .ack = (uint32_t)random64());

	p.from = random_address(ipv6, text);
	if (ipv6)
		p.to = keep ? KEEP6 : VIP6;
	else
		p.to = keep ? KEEP4 : VIP4;
	p.no_check = !ipv6 && p.proto == IPPROTO_UDP && r >> 56 < 16;
	return p;
}

/* Sends in, a frame laid out as p, and wants exactly what out describes. */
static void same_frame(const struct packet *in, const struct packet *out)
{
	static struct outcome got;
	uint8_t frame[PACKET_ROOM];
	size_t length = packet_build(in, frame);

	world_run_fast(world.lan, frame, length, &got);
	assert_int_equal(got.verdict, XDP_TX);
	length = packet_build(out, frame);
	assert_int_equal(got.length, length);
	assert_memory_equal(got.frame, frame, length);
}

static void random_packets_get_the_checksums_of_packets_built_anew(void **state)
{
	char text[INET6_ADDRSTRLEN];
	struct packet first;
	struct talk talk;

	for (int flow = 0; flow < RANDOM_FLOWS; flow++) {
		if (flow % 1000 == 0)
			world_reset();
		first = random_packet(text);
		talk_begin_quietly(&talk, &first, SYN);
		for (int i = 1; i < PACKETS_OF_A_FLOW; i++) {
			uint64_t r = random64();
			struct packet *in = i % 2 ? &talk.answer : &talk.client;
			struct packet *out = i % 2 ? &talk.reply : &talk.backend;

			in->flags = out->flags = i % 2 ? SYN | ACK : ACK;
			in->seq = out->seq = (uint32_t)r;
			in->fill = out->fill = (uint16_t)(r >> 32);
			in->payload = out->payload = (uint16_t)((r >> 40) % 100);
			same_frame(in, out);
		}
	}
}

/* The first bytes of the payload take every value, so the checksums on both sides do: those around
 * zero are where one's complement has two of it. */
static const struct row {
	const char *sentence;
	struct packet packet;
} rows[] = {
	{ "a TCP checksum of any value stays right", PACKET(TCP4, .payload = 2) },
	{ "a UDP checksum of any value stays right", PACKET(UDP4, .payload = 2) },
	{ "a TCP checksum of any value over IPv6 stays right", PACKET(TCP6, .payload = 2) },
	{ "a UDP checksum of any value over IPv6 stays right", PACKET(UDP6, .payload = 2) },
};

static void check_row(void **state)
{
	const struct row *row = *state;
	struct talk talk;

	talk_open(&talk, &row->packet);
	for (uint32_t value = 0; value <= 0xffff; value++) {
		talk.client.fill = talk.backend.fill = (uint16_t)value;
		same_frame(&talk.client, &talk.backend);
	}
}

int test_lb_csum(void)
{
	const struct CMUnitTest tests[] = {
		CASE(random_packets_get_the_checksums_of_packets_built_anew),
	};

	return RUN_ROWS("checksums", rows, check_row) +
	       cmocka_run_group_tests_name("random checksums", tests, NULL, NULL);
}
