/* Checks that go the way of the service's packets: to the service's address, wrapped as the program
 * wraps them.  They find a backend that does not unwrap, or does not have the service's address,
 * which a check of the backend's own address cannot.
 *
 * The answer comes from the service's address, which this host may have itself: the stack then
 * drops it as a martian, so a packet socket reads it.  TCP is a handshake that is reset at once. */
#include <errno.h>
#include <linux/filter.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns_wire.h"
#include "probe.h"
#include "tunnel_packet.h"

/* So many packets before the loop serves others. */
#define READS_A_ROUND 64

enum {
	WRAP_4_IN_4,
	WRAP_4_IN_6,
	WRAP_6_IN_6,
	WRAP_GUE_4,
	WRAP_GUE_6,
	WRAPS,
};

struct probe_tunnel {
	struct loop *loop;     /* borrowed */
	int out[WRAPS];	       /* owned */
	int in;		       /* owned */
	struct loop_fd *watch; /* the loop's */
	struct probe *running; /* by next_tunnel */
};

/* ---- sockets ---- */

static int open_raw(int family, int protocol)
{
	/* Nothing is read from it. */
	static struct sock_filter nothing[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	static const struct sock_fprog filter = { 1, nothing };
	int type = protocol == IPPROTO_UDP ? SOCK_DGRAM : SOCK_RAW;
	int fd = socket(family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol);

	if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) < 0) {
		int r = -errno;

		close(fd);
		return r;
	}
	return fd < 0 ? -errno : fd;
}

/* IPv4 and IPv6, TCP with SYN and ACK or with RST, and UDP. */
static int open_packet(void)
{
	static struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 0),
		BPF_STMT(BPF_ALU | BPF_RSH | BPF_K, 4),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, 6, 0, 6),
		/* IPv6 */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 6),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 12, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 12),
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 40 + 13),
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TUNNEL_SYN | TUNNEL_RST | TUNNEL_ACK),
		BPF_JUMP(BPF_JMP | BPF_JA, 5, 0, 0),
		/* IPv4 */
		BPF_STMT(BPF_LD | BPF_B | BPF_ABS, 9),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_UDP, 6, 0),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, IPPROTO_TCP, 0, 6),
		BPF_STMT(BPF_LDX | BPF_B | BPF_MSH, 0),
		BPF_STMT(BPF_LD | BPF_B | BPF_IND, 13),
		/* TCP flags */
		BPF_STMT(BPF_ALU | BPF_AND | BPF_K, TUNNEL_SYN | TUNNEL_RST | TUNNEL_ACK),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, TUNNEL_SYN | TUNNEL_ACK, 1, 0),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, TUNNEL_RST, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, 2048),
		BPF_STMT(BPF_RET | BPF_K, 0),
	};
	static const struct sock_fprog filter = { sizeof(code) / sizeof(code[0]), code };
	int one = 1;
	int fd = socket(AF_PACKET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	struct sockaddr_ll all = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_ALL) };
	int r;

	if (fd < 0)
		return -errno;
	/* The filter before the packets. */
	if (setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &filter, sizeof(filter)) == 0 &&
	    setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof(one)) == 0 &&
	    bind(fd, (struct sockaddr *)&all, sizeof(all)) == 0)
		return fd;
	r = -errno;
	close(fd);
	return r;
}

/* ---- sending ---- */

static int wrap_of(const struct probe *probe)
{
	bool outer4 = addr_is_v4(&probe->address);
	bool inner4 = addr_is_v4(&probe->route.vip);

	if (probe->route.forwarding == CONFIG_DSR_GUE)
		return outer4 ? WRAP_GUE_4 : WRAP_GUE_6;
	if (outer4)
		return inner4 ? WRAP_4_IN_4 : -EAFNOSUPPORT;
	return inner4 ? WRAP_4_IN_6 : WRAP_6_IN_6;
}

static int send_packet(const struct probe *probe, uint8_t flags, uint32_t seq, const void *payload,
		       size_t payload_len)
{
	const struct tunnel_packet packet = {
		.source = probe->route.source,
		.destination = probe->route.vip,
		.source_port = probe->source_port,
		.destination_port = probe->port,
		.tcp = probe->check->type == CONFIG_CHECK_TCP,
		.flags = flags,
		.seq = seq,
		.payload = payload,
		.payload_len = payload_len,
	};
	uint8_t data[TUNNEL_PACKET_MAX];
	int len = tunnel_packet_write(&packet, data);
	int wrap = wrap_of(probe);
	struct sockaddr_storage to;
	/* A raw socket for IPv6 takes a port as its protocol, or none. */
	bool gue = wrap == WRAP_GUE_4 || wrap == WRAP_GUE_6;
	socklen_t to_len = probe_address(&probe->address, gue ? probe->route.gue_port : 0, &to);

	if (len < 0 || wrap < 0)
		return len < 0 ? len : wrap;
	if (sendto(probe->env->tunnel->out[wrap], data, (size_t)len, MSG_NOSIGNAL,
		   (struct sockaddr *)&to, to_len) < 0)
		return -errno;
	return 0;
}

/* ---- receiving ---- */

static void on_tcp(struct probe *probe, const struct tunnel_packet *packet)
{
	if (packet->ack != probe->seq + 1)
		return;
	if (packet->flags & TUNNEL_RST) {
		probe_fail(probe, "the connection through the tunnel was refused");
		return;
	}
	(void)send_packet(probe, TUNNEL_RST, probe->seq + 1, NULL, 0);
	probe_succeed(probe);
}

static void on_udp(struct probe *probe, const struct tunnel_packet *packet)
{
	const char *expect = probe->check->expect;

	if (probe->check->type == CONFIG_CHECK_DNS)
		probe_dns_answer(probe, packet->payload, packet->payload_len);
	else if (!expect || memmem(packet->payload, packet->payload_len, expect, strlen(expect)))
		probe_succeed(probe);
	else
		probe->got_len = 1;
}

static bool is_for(const struct probe *probe, const struct tunnel_packet *packet)
{
	return packet->destination_port == probe->source_port &&
	       packet->source_port == probe->port &&
	       packet->tcp == (probe->check->type == CONFIG_CHECK_TCP) &&
	       addr_equal(&packet->source, &probe->route.vip) &&
	       addr_equal(&packet->destination, &probe->route.source);
}

static void on_packet(struct probe_tunnel *tunnel, const uint8_t *data, size_t len)
{
	struct tunnel_packet packet;

	if (tunnel_packet_read(data, len, &packet) < 0)
		return;
	for (struct probe *probe = tunnel->running; probe; probe = probe->next_tunnel) {
		if (!is_for(probe, &packet))
			continue;
		if (packet.tcp)
			on_tcp(probe, &packet);
		else
			on_udp(probe, &packet);
		return; /* the list may have changed */
	}
}

static void on_readable(void *ctx, uint32_t events)
{
	struct probe_tunnel *tunnel = ctx;
	uint8_t data[2048];
	ssize_t n;

	(void)events;
	for (int i = 0; i < READS_A_ROUND; i++) {
		n = recv(tunnel->in, data, sizeof(data), 0);
		if (n < 0)
			return;
		on_packet(tunnel, data, (size_t)n);
	}
}

/* ---- a check ---- */

/* An address of ours that the backend can answer; and a port of it that nobody else gets meanwhile.
 */
static int take_source(struct probe *probe)
{
	bool tcp = probe->check->type == CONFIG_CHECK_TCP;
	struct sockaddr_storage own;
	socklen_t len;
	int r;

	if (addr_is_v4(&probe->address) == addr_is_v4(&probe->route.vip)) {
		r = probe_source_towards(&probe->address, &probe->route.source);
		if (r < 0)
			return probe_refuse(probe, r, "no way to the backend");
	} else if (addr_is_any(&probe->route.source)) {
		return probe_refuse(probe, -EADDRNOTAVAIL,
				    "no address of the service's family for the answer");
	}
	len = probe_address(&probe->route.source, 0, &own);
	probe->fd = socket(own.ss_family,
			   (tcp ? SOCK_STREAM : SOCK_DGRAM) | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (probe->fd < 0 || bind(probe->fd, (struct sockaddr *)&own, len) < 0 ||
	    getsockname(probe->fd, (struct sockaddr *)&own, &len) < 0)
		return probe_refuse(probe, -errno, "cannot take a source port");
	/* The same place in either family's address. */
	probe->source_port = ntohs(((struct sockaddr_in *)&own)->sin_port);
	return 0;
}

static int send_first(struct probe *probe)
{
	const char *text = probe->check->send ? probe->check->send : "";
	uint8_t query[DNS_QUERY_MAX];
	int len;

	switch (probe->check->type) {
	case CONFIG_CHECK_HTTP:
	case CONFIG_CHECK_HTTPS:
		return -EOPNOTSUPP; /* the configuration refuses it */
	case CONFIG_CHECK_TCP:
		return send_packet(probe, TUNNEL_SYN, probe->seq, NULL, 0);
	case CONFIG_CHECK_DNS:
		len = probe_dns_query(probe, query);
		return len < 0 ? len : send_packet(probe, 0, 0, query, (size_t)len);
	case CONFIG_CHECK_UDP:
		break;
	}
	return send_packet(probe, 0, 0, text, strlen(text));
}

static int start(struct probe *probe)
{
	struct probe_tunnel *tunnel = probe->env->tunnel;
	int r;

	if (!tunnel)
		return probe_refuse(probe, -EPERM,
				    "checks through the tunnel need a restart of loomd");
	if (getrandom(&probe->seq, sizeof(probe->seq), GRND_NONBLOCK) < 0)
		return probe_refuse(probe, -errno, "cannot choose a sequence number");
	probe->id = (uint16_t)probe->seq;
	probe->next_tunnel = tunnel->running;
	tunnel->running = probe;
	r = take_source(probe);
	if (r < 0)
		return r;
	r = send_first(probe);
	return r < 0 ? probe_refuse(probe, r, "cannot send through the tunnel") : 0;
}

static void stop(struct probe *probe)
{
	struct probe **at = probe->env->tunnel ? &probe->env->tunnel->running : NULL;

	while (at && *at && *at != probe)
		at = &(*at)->next_tunnel;
	if (at && *at)
		*at = probe->next_tunnel;
}

/* Silence cannot tell here that a backend is there. */
const struct probe_kind probe_tunnel = { .start = start, .stop = stop };

/* ---- opening ---- */

int probe_tunnel_open(struct probe_tunnel **ret, struct loop *loop, struct err *err)
{
	static const int kinds[WRAPS][2] = {
		[WRAP_4_IN_4] = { AF_INET, IPPROTO_IPIP },
		[WRAP_4_IN_6] = { AF_INET6, IPPROTO_IPIP },
		[WRAP_6_IN_6] = { AF_INET6, IPPROTO_IPV6 },
		[WRAP_GUE_4] = { AF_INET, IPPROTO_UDP },
		[WRAP_GUE_6] = { AF_INET6, IPPROTO_UDP },
	};
	struct probe_tunnel *tunnel = calloc(1, sizeof(*tunnel));
	int r = 0;

	*ret = NULL;
	if (!tunnel)
		return err_set(err, -ENOMEM,
			       "cannot prepare checks through tunnels: out of memory");
	tunnel->loop = loop;
	for (int i = 0; i < WRAPS; i++) {
		tunnel->out[i] = open_raw(kinds[i][0], kinds[i][1]);
		if (tunnel->out[i] < 0)
			r = tunnel->out[i];
	}
	tunnel->in = open_packet();
	if (tunnel->in < 0)
		r = tunnel->in;
	if (r == 0)
		r = loop_add_fd(loop, tunnel->in, EPOLLIN, on_readable, tunnel, &tunnel->watch);
	if (r < 0) {
		probe_tunnel_close(tunnel);
		return err_set(err, r,
			       "cannot open sockets for checks through tunnels: %s; they need "
			       "cap_net_raw when loomd starts",
			       strerror(-r));
	}
	*ret = tunnel;
	return 0;
}

void probe_tunnel_close(struct probe_tunnel *tunnel)
{
	if (!tunnel)
		return;
	loop_remove_fd(tunnel->loop, tunnel->watch);
	for (int i = 0; i < WRAPS; i++)
		if (tunnel->out[i] >= 0)
			close(tunnel->out[i]);
	if (tunnel->in >= 0)
		close(tunnel->in);
	free(tunnel);
}
