#include "sock_diag.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/filter.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include "netlink_socket.h"

/* Deaths of some thousand sockets at once: each takes about 1 KiB of this. */
#define DEATHS_BUFFER (8 << 20)

struct sock_diag {
	struct netlink_socket requests;
};

/* ---- a dump ---- */

int sock_diag_open(struct sock_diag **ret, struct err *err)
{
	struct sock_diag *diag = calloc(1, sizeof(*diag));
	int r;

	*ret = NULL;
	if (!diag)
		return err_set(err, -ENOMEM, "cannot open sock_diag: out of memory");
	r = netlink_socket_open(&diag->requests, NETLINK_SOCK_DIAG);
	if (r < 0) {
		sock_diag_close(diag);
		return err_set(err, r,
			       "cannot open sock_diag: %s; the kernel needs CONFIG_INET_DIAG",
			       strerror(-r));
	}
	*ret = diag;
	return 0;
}

void sock_diag_close(struct sock_diag *diag)
{
	if (!diag)
		return;
	netlink_socket_close(&diag->requests);
	free(diag);
}

static struct addr addr_of(const struct inet_diag_msg *info)
{
	struct addr addr;

	if (info->idiag_family == AF_INET)
		return addr_from_v4(info->id.idiag_src[0]);
	memcpy(&addr, info->id.idiag_src, sizeof(addr));
	return addr;
}

static uint64_t cookie_of(const struct inet_diag_msg *info)
{
	return (uint64_t)info->id.idiag_cookie[1] << 32 | info->id.idiag_cookie[0];
}

static void parse_memory(const struct nlattr *attr, struct sock_diag_socket *socket)
{
	uint32_t memory[SK_MEMINFO_DROPS + 1];

	if (mnl_attr_get_payload_len(attr) < sizeof(memory))
		return;
	memcpy(memory, mnl_attr_get_payload(attr), sizeof(memory));
	socket->has_memory = true;
	socket->rmem = memory[SK_MEMINFO_RMEM_ALLOC];
	socket->rcvbuf = memory[SK_MEMINFO_RCVBUF];
	socket->drops = memory[SK_MEMINFO_DROPS];
}

struct dump {
	uint8_t protocol;
	sock_diag_fn fn;
	void *ctx;
};

static int parse_socket(const struct nlmsghdr *message, void *data)
{
	const struct inet_diag_msg *info = mnl_nlmsg_get_payload(message);
	struct dump *dump = data;
	struct sock_diag_socket socket;
	const struct nlattr *attr;

	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return MNL_CB_OK;
	socket = (struct sock_diag_socket){
		.family = info->idiag_family,
		.protocol = dump->protocol,
		.state = info->idiag_state,
		.addr = addr_of(info),
		.port = ntohs(info->id.idiag_sport),
		.ifindex = info->id.idiag_if,
		.inode = info->idiag_inode,
		.cookie = cookie_of(info),
		.uid = info->idiag_uid,
		.rqueue = info->idiag_rqueue,
		.wqueue = info->idiag_wqueue,
	};
	mnl_attr_for_each(attr, message, sizeof(*info))
	{
		int type = mnl_attr_get_type(attr) & NLA_TYPE_MASK;

		if (type == INET_DIAG_SKMEMINFO)
			parse_memory(attr, &socket);
		else if (type == INET_DIAG_SKV6ONLY && mnl_attr_get_payload_len(attr) == 1)
			socket.v6only = mnl_attr_get_u8(attr);
	}
	dump->fn(dump->ctx, &socket);
	return MNL_CB_OK;
}

int sock_diag_dump(struct sock_diag *diag, uint8_t family, uint8_t protocol, sock_diag_fn fn,
		   void *ctx)
{
	struct dump dump = { .protocol = protocol, .fn = fn, .ctx = ctx };
	struct nlmsghdr *message = netlink_socket_begin(&diag->requests, SOCK_DIAG_BY_FAMILY,
							NLM_F_DUMP);
	struct inet_diag_req_v2 *ask = mnl_nlmsg_put_extra_header(message, sizeof(*ask));
	int r;

	ask->sdiag_family = family;
	ask->sdiag_protocol = protocol;
	ask->idiag_ext = 1 << (INET_DIAG_SKMEMINFO - 1);
	/* Asked for listeners alone, the kernel does not look at connections. */
	ask->idiag_states = protocol == IPPROTO_TCP ? 1u << TCP_LISTEN
						    : 1u << TCP_CLOSE | 1u << TCP_ESTABLISHED;
	r = netlink_socket_transact(&diag->requests, message, parse_socket, &dump);
	return r == -EINTR ? -EAGAIN : r;
}

/* ---- deaths ---- */

struct sock_diag_deaths {
	struct mnl_socket *socket; /* owned */
	char buffer[NETLINK_SOCKET_BUFFER];
};

/* Lets only those pass that were connected to nobody: a busy server's connections would fill the
 * buffer. */
static int leave_out_connections(int fd)
{
	const unsigned int dport = NLMSG_HDRLEN + offsetof(struct inet_diag_msg, id.idiag_dport);
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_H | BPF_ABS, dport),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 0, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 0xffffffff),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };

	return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter));
}

static int open_deaths(struct sock_diag_deaths *deaths)
{
	static const int groups[] = { SKNLGRP_INET_TCP_DESTROY, SKNLGRP_INET_UDP_DESTROY,
				      SKNLGRP_INET6_TCP_DESTROY, SKNLGRP_INET6_UDP_DESTROY };
	int size = DEATHS_BUFFER;
	int fd;

	deaths->socket = mnl_socket_open2(NETLINK_SOCK_DIAG, SOCK_CLOEXEC | SOCK_NONBLOCK);
	if (!deaths->socket)
		return -errno;
	fd = mnl_socket_get_fd(deaths->socket);
	if (leave_out_connections(fd) < 0 ||
	    mnl_socket_bind(deaths->socket, 0, MNL_SOCKET_AUTOPID) < 0)
		return -errno;
	/* Beyond net.core.rmem_max it takes CAP_NET_ADMIN. */
	if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &size, sizeof(size)) < 0)
		setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	for (size_t i = 0; i < sizeof(groups) / sizeof(groups[0]); i++)
		if (setsockopt(fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, &groups[i], sizeof(int)) <
		    0)
			return -errno;
	return 0;
}

int sock_diag_deaths_open(struct sock_diag_deaths **ret, struct err *err)
{
	struct sock_diag_deaths *deaths = calloc(1, sizeof(*deaths));
	int r;

	*ret = NULL;
	if (!deaths)
		return err_set(err, -ENOMEM, "cannot watch for closed sockets: out of memory");
	r = open_deaths(deaths);
	if (r < 0) {
		sock_diag_deaths_close(deaths);
		return err_set(err, r,
			       "cannot watch for closed sockets: %s; the kernel needs "
			       "CONFIG_INET_DIAG",
			       strerror(-r));
	}
	*ret = deaths;
	return 0;
}

void sock_diag_deaths_close(struct sock_diag_deaths *deaths)
{
	if (!deaths)
		return;
	if (deaths->socket)
		mnl_socket_close(deaths->socket);
	free(deaths);
}

int sock_diag_deaths_fd(const struct sock_diag_deaths *deaths)
{
	return mnl_socket_get_fd(deaths->socket);
}

struct deaths_read {
	sock_diag_death_fn fn;
	void *ctx;
};

static int parse_death(const struct nlmsghdr *message, void *data)
{
	const struct inet_diag_msg *info = mnl_nlmsg_get_payload(message);
	const struct deaths_read *reading = data;
	struct sock_diag_death death;
	const struct nlattr *attr;

	if (message->nlmsg_type != SOCK_DIAG_BY_FAMILY ||
	    mnl_nlmsg_get_payload_len(message) < sizeof(*info))
		return MNL_CB_OK;
	death = (struct sock_diag_death){ .family = info->idiag_family,
					  .addr = addr_of(info),
					  .port = ntohs(info->id.idiag_sport),
					  .cookie = cookie_of(info) };
	mnl_attr_for_each(attr, message, sizeof(*info))
	{
		if ((mnl_attr_get_type(attr) & NLA_TYPE_MASK) == INET_DIAG_PROTOCOL &&
		    mnl_attr_get_payload_len(attr) == 1)
			death.protocol = mnl_attr_get_u8(attr);
	}
	reading->fn(reading->ctx, &death);
	return MNL_CB_OK;
}

int sock_diag_deaths_read(struct sock_diag_deaths *deaths, sock_diag_death_fn fn, void *ctx)
{
	struct deaths_read reading = { fn, ctx };
	int r = 0;

	for (;;) {
		ssize_t n = netlink_socket_receive(deaths->socket, deaths->buffer,
						   sizeof(deaths->buffer));

		if (n == -EAGAIN)
			return r;
		if (n == -ENOBUFS) {
			r = -ENOBUFS;
			continue;
		}
		if (n < 0)
			return (int)n;
		mnl_cb_run(deaths->buffer, (size_t)n, 0, 0, parse_death, &reading);
	}
}
