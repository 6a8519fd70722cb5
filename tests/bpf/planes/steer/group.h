/* group.h - a SO_REUSEPORT group on the loopback interface with the program attached, its maps in
 * hand, and clients that send to it.  Real packets: the kernel cannot test-run such programs. */
#ifndef LOOM_TEST_STEER_GROUP_H
#define LOOM_TEST_STEER_GROUP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include "abi/steer_abi.h"
#include "planes/steer/steer_maps.h"
/* After the types of its variables. */
#include "steer.skel.h"

#define GROUP_MAX 80
#define SALT	  0x1122334455667788ull

struct group {
	struct steer_bpf *bpf;
	struct steer_const is;
	int family;
	int program;
	unsigned count;
	int members[GROUP_MAX]; /* sockets; -1: closed */
	uint64_t cookies[GROUP_MAX];
	struct sockaddr_storage address;
	socklen_t address_length;
	struct steer_control *control;
	struct steer_table *table; /* in force */
};

struct counts {
	uint64_t of[STEER_COUNTERS_END];
	struct steer_member_count members[STEER_MAX_SLOTS + 1];
};

/* A network namespace of this process' own, with lo up and more addresses on it. */
void group_enter_namespace(void);

/* Loads the program and attaches it to count sockets, each in its slot; the mode is enforce, and
 * the plan names all members in turn. */
struct group *group_open(const struct steer_const *is, int family, unsigned count);
void group_close(struct group *group); /* NULL is fine */

/* A socket of the group's kind; port 0: any.  Listens, if it is TCP. */
int group_socket(int family, bool udp, const struct sockaddr *address, socklen_t length);

/* Slots are no indices: nothing may take one for the other. */
uint16_t group_slot(unsigned member);
void group_reset(struct group *group);
void group_plan(struct group *group, uint16_t slot);

/* A client's socket: not connected, bound to a port of its own; from: its address, NULL: any. */
int group_client(const struct group *group, const char *from, uint16_t port);
uint16_t group_port(int client);
void group_send(const struct group *group, int client, const void *payload, size_t length);

/* Waits for a member to be readable, takes what came first and says whose it was. */
unsigned group_receive(const struct group *group);
/* One datagram, or one connection from the client's port, which is closed again. */
unsigned group_reach(const struct group *group, int *client, const void *payload, size_t length);

void group_counts(const struct group *group, struct counts *ret);
uint64_t group_count(const struct group *group, enum steer_counter counter);

#endif
