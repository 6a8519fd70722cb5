/* What sock_diag knows of groups: who shares an address. */
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>

#include "base/hash.h"
#include "steer_truth_internal.h"
#include "sys/sock_diag.h"

/* A repeated dump is rarely needed: it takes a change between two of its 32 KiB pieces. */
#define TRIES 3

struct reading {
	struct steer_truth_rows *rows;
	int error;
};

/* Zero where sockets that share a port differ. */
struct place {
	struct addr addr;
	uint32_t ifindex;
	uint16_t port;
	uint8_t family;
	uint8_t v6only;
};

static void note(void *ctx, const struct sock_diag_socket *socket)
{
	struct reading *reading = ctx;
	struct steer_truth_rows *rows = reading->rows;
	struct place place = { socket->addr, socket->ifindex, socket->port, socket->family,
			       socket->v6only };
	struct steer_truth_row *row;

	/* The kernel takes a connected UDP socket out of its group. */
	if (reading->error || socket->state == TCP_ESTABLISHED)
		return;
	reading->error = steer_truth_reserve(rows, rows->count + 1);
	if (reading->error)
		return;
	row = &rows->rows[rows->count++];
	*row = (struct steer_truth_row){
		.group = hash_bytes(&place, sizeof(place), socket->protocol),
		.inode = socket->inode,
		.cookie = socket->cookie,
		.port = socket->port,
		.family = socket->family,
		.protocol = socket->protocol,
		.state = socket->state,
		.flags = socket->v6only ? STEER_TRUTH_V6ONLY : 0,
		.index = STEER_TRUTH_NO_INDEX,
		.incoming_cpu = -1,
		.ifindex = socket->ifindex,
		.uid = socket->uid,
		.queue = socket->rqueue,
		.queue_limit = socket->protocol == IPPROTO_TCP ? socket->wqueue : socket->rcvbuf,
		.drops = socket->drops,
	};
	memcpy(row->addr, &socket->addr, sizeof(row->addr));
}

static int dump_both(struct sock_diag *diag, int protocol, struct steer_truth_rows *rows)
{
	static const uint8_t families[] = { AF_INET, AF_INET6 };
	struct reading reading = { rows, 0 };

	rows->count = 0;
	rows->torn = false;
	for (size_t i = 0; i < sizeof(families); i++) {
		int r = sock_diag_dump(diag, families[i], (uint8_t)protocol, note, &reading);

		if (r == 0)
			r = reading.error;
		if (r == -EAGAIN)
			rows->torn = true;
		else if (r < 0)
			return r;
	}
	return 0;
}

static void count_members(struct steer_truth_rows *rows)
{
	for (size_t i = 0; i < rows->count;) {
		size_t members = steer_truth_group(rows, i);
		uint16_t told = members < UINT16_MAX ? (uint16_t)members : UINT16_MAX;

		for (size_t j = 0; j < members; j++)
			rows->rows[i + j].members = told;
		i += members;
	}
}

int steer_truth_diag_read(int protocol, struct steer_truth_rows *rows, struct err *err)
{
	struct sock_diag *diag;
	int r = sock_diag_open(&diag, err);

	if (r < 0)
		return r;
	for (int i = 0; i < TRIES; i++) {
		r = dump_both(diag, protocol, rows);
		if (r < 0 || !rows->torn)
			break;
	}
	sock_diag_close(diag);
	rows->exact = false;
	if (r < 0)
		return err_set(err, r, "cannot list sockets by sock_diag: %s%s", strerror(-r),
			       r == -ENOENT ? "; the kernel needs CONFIG_INET_TCP_DIAG and "
					      "CONFIG_INET_UDP_DIAG"
					    : "");
	steer_truth_sort(rows);
	count_members(rows);
	return 0;
}
