/* direct.h - flows whose answers come another way, as a test drives them. */
#ifndef TEST_DIRECT_H
#define TEST_DIRECT_H

#include "expect.h"

#define DTCP4                                                                              \
	.from = CLIENT4, .to = DIRECT4, .proto = IPPROTO_TCP, .sport = 40000, .dport = 80, \
	.flags = ACK
#define DTCP6                                                                              \
	.from = CLIENT6, .to = DIRECT6, .proto = IPPROTO_TCP, .sport = 40000, .dport = 80, \
	.flags = ACK
#define DUDP4 .from = CLIENT4, .to = DIRECT4, .proto = IPPROTO_UDP, .sport = 40000, .dport = 80
#define DUDP6 .from = CLIENT6, .to = DIRECT6, .proto = IPPROTO_UDP, .sport = 40000, .dport = 80

struct direct {
	enum lb_mode mode;
	bool in6;	      /* IPv4 in IPv6 */
	struct packet client; /* what the client sends */
	struct packet out;    /* what the backend gets of it */
	uint32_t row;
	uint32_t client_side; /* interfaces */
	uint32_t backend_side;
	char outer_from[64];
};

/* The service is set up and the flow described; nothing is sent. */
void direct_prepare(struct direct *d, enum lb_mode mode, bool in6, const struct packet *first);
/* d->out from d->client: after a change of what the client sends. */
void direct_out(struct direct *d);
/* The first packet goes to the usual backend; what varies with the flow is found in what came out
 * and lies where it may, and everything else about that frame is checked. */
void direct_begin(struct direct *d, uint8_t flags, struct beside beside);
/* One more packet, with these TCP flags. */
void direct_send(struct direct *d, uint8_t flags, struct beside beside);
/* SYN, then ACK. */
void direct_open(struct direct *d);
/* The entry's state; LB_STATES: there is none. */
enum lb_state direct_state(const struct direct *d);
bool direct_is_tunnel(const struct direct *d);

#endif
