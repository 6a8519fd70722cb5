// SPDX-License-Identifier: GPL-2.0-only
/* steer_wg.c - WireGuard messages to a group of sockets, and which socket each one reached.
 *
 * usage: steer_wg ADDRESS PORT SOCKETS COMMANDS
 *
 * Prints "socket NUMBER COOKIE" for each socket and "ready", then reads lines from the FIFO
 *COMMANDS:
 *
 *   run FILE TYPE SEGMENTS	FILE has lines "INDEX NUMBER": whose it is.  Sends one message of
 *				the type to each index, SEGMENTS > 1: a train of so many at once
 *				(UDP_SEGMENT), and prints what became of them as JSON.
 *   quit
 *
 * Loopback delivers within send(2): all sockets are emptied before one can overflow. */
#include <arpa/inet.h>
#include <endian.h>
#include <errno.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef UDP_SEGMENT
#define UDP_SEGMENT 103
#endif

#define MOST_SOCKETS 256
#define SENDERS	     64
#define BURST	     32
#define MESSAGE	     96 /* longer than any type's header */

struct owned {
	uint32_t index;
	int owner;
};

static struct sockaddr_in to;
static int sockets[MOST_SOCKETS], senders[SENDERS];
static int socket_count;

static void die(const char *what)
{
	fprintf(stderr, "steer_wg: cannot %s: %s\n", what, strerror(errno));
	exit(2);
}

static void open_sockets(void)
{
	uint64_t cookie;
	socklen_t size = sizeof(cookie);

	for (int i = 0; i < socket_count; i++) {
		sockets[i] = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
		if (sockets[i] < 0 ||
		    setsockopt(sockets[i], SOL_SOCKET, SO_REUSEPORT, &(int){ 1 }, sizeof(int)) ||
		    bind(sockets[i], (void *)&to, sizeof(to)) ||
		    getsockopt(sockets[i], SOL_SOCKET, SO_COOKIE, &cookie, &size))
			die("open a socket");
		printf("socket %d %" PRIu64 "\n", i, cookie);
	}
	for (int i = 0; i < SENDERS; i++) {
		struct sockaddr_in from = { .sin_family = AF_INET,
					    .sin_addr.s_addr =
						    htonl(0x7f090001 + (uint32_t)i / 4) };

		senders[i] = socket(AF_INET, SOCK_DGRAM, 0);
		if (senders[i] < 0 || bind(senders[i], (void *)&from, sizeof(from)) ||
		    connect(senders[i], (void *)&to, sizeof(to)))
			die("open a sender");
	}
	printf("ready\n");
	fflush(stdout);
}

static size_t message_bytes(int type)
{
	return type == 1 ? 148 : type == 2 ? 92 : type == 3 ? 64 : MESSAGE;
}

static void compose(uint8_t *at, int type, uint32_t index)
{
	uint32_t head = htole32((uint32_t)type), wire = htole32(index);

	memset(at, 0xa5, message_bytes(type));
	memcpy(at, &head, 4);
	memcpy(at + (type == 2 ? 8 : 4), &wire, 4);
}

static void send_message(int sender, int type, uint32_t index, int segments)
{
	uint8_t train[64 * 148];
	size_t bytes = message_bytes(type);
	uint16_t each = (uint16_t)bytes;
	char control[CMSG_SPACE(sizeof(each))] = { 0 };
	struct iovec part = { train, bytes * (size_t)segments };
	struct msghdr message = { .msg_iov = &part, .msg_iovlen = 1 };

	for (int i = 0; i < segments; i++)
		compose(train + bytes * (size_t)i, type, index);
	if (segments > 1) {
		struct cmsghdr *c = (void *)control;

		message.msg_control = control;
		message.msg_controllen = sizeof(control);
		c->cmsg_level = SOL_UDP;
		c->cmsg_type = UDP_SEGMENT;
		c->cmsg_len = CMSG_LEN(sizeof(each));
		memcpy(CMSG_DATA(c), &each, sizeof(each));
	}
	if (sendmsg(sender, &message, 0) < 0)
		die("send");
}

static int by_index(const void *a, const void *b)
{
	uint32_t x = ((const struct owned *)a)->index, y = ((const struct owned *)b)->index;

	return x < y ? -1 : x > y;
}

struct result {
	uint64_t received, misdirected, unknown;
	uint64_t by_socket[MOST_SOCKETS];
};

static void drain(const struct owned *owned, size_t count, struct result *result)
{
	uint8_t data[2048];

	for (int i = 0; i < socket_count; i++) {
		while (recv(sockets[i], data, sizeof(data), 0) >= 12) {
			struct owned key = { 0 };
			const struct owned *found;

			memcpy(&key.index, data + (data[0] == 2 ? 8 : 4), 4);
			key.index = le32toh(key.index);
			found = bsearch(&key, owned, count, sizeof(key), by_index);
			result->received++;
			result->by_socket[i]++;
			if (!found)
				result->unknown++;
			else if (found->owner != i)
				result->misdirected++;
		}
	}
}

static struct owned *read_owned(const char *path, size_t *count)
{
	struct owned *owned = NULL;
	size_t room = 0;
	FILE *in = fopen(path, "r");
	struct owned one;

	if (!in)
		die("read the indices");
	*count = 0;
	while (fscanf(in, "%" SCNu32 " %d", &one.index, &one.owner) == 2) {
		if (*count == room) {
			room = room ? 2 * room : 1024;
			owned = realloc(owned, room * sizeof(*owned));
			if (!owned)
				die("keep the indices");
		}
		owned[(*count)++] = one;
	}
	fclose(in);
	return owned;
}

static void run(const char *path, int type, int segments)
{
	struct result result = { 0 };
	struct owned *owned, *sorted;
	size_t count;

	owned = read_owned(path, &count);
	sorted = malloc((count + 1) * sizeof(*sorted));
	if (!sorted)
		die("sort the indices");
	if (count)
		memcpy(sorted, owned, count * sizeof(*sorted));
	qsort(sorted, count, sizeof(*sorted), by_index);
	for (size_t i = 0; i < count; i++) {
		send_message(senders[i * 7 % SENDERS], type, owned[i].index, segments);
		if (segments > 1 || i % BURST == BURST - 1 || i == count - 1)
			drain(sorted, count, &result);
	}
	printf("{\"sent\": %zu, \"received\": %" PRIu64 ", \"misdirected\": %" PRIu64
	       ", \"unknown\": %" PRIu64 ", \"by_socket\": [",
	       count * (size_t)segments, result.received, result.misdirected, result.unknown);
	for (int i = 0; i < socket_count; i++)
		printf("%s%" PRIu64, i ? ", " : "", result.by_socket[i]);
	printf("]}\n");
	fflush(stdout);
	free(owned);
	free(sorted);
}

int main(int argc, char **argv)
{
	char line[512], path[256];
	int type, segments;
	FILE *in;

	if (argc != 5) {
		fprintf(stderr, "usage: steer_wg ADDRESS PORT SOCKETS COMMANDS\n");
		return 2;
	}
	to = (struct sockaddr_in){ .sin_family = AF_INET,
				   .sin_port = htons((uint16_t)atoi(argv[2])) };
	inet_pton(AF_INET, argv[1], &to.sin_addr);
	socket_count = atoi(argv[3]);
	if (socket_count < 1 || socket_count > MOST_SOCKETS)
		return 2;
	open_sockets();
	in = fopen(argv[4], "r+"); /* for writing as well: no end while nobody writes */
	if (!in)
		die("open the commands");
	while (fgets(line, sizeof(line), in)) {
		if (sscanf(line, "run %255s %d %d", path, &type, &segments) == 3 && segments <= 64)
			run(path, type, segments);
		else
			break;
	}
	return 0;
}
