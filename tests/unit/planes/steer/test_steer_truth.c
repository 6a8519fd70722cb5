#include <arpa/inet.h>
#include <bpf/bpf.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/filter.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../sys/as_user.h"
#include "../../sys/lab.h"
#include "groups.h"
#include "planes/steer/steer_truth.h"
#include "sys/netns.h"

#define PORT  4433
#define COUNT 4

static struct steer_truth *truth;
static struct steer_truth_rows rows;

static const struct steer_truth_row *read_rows(int protocol, size_t expected)
{
	struct err err = { 0 };

	if (steer_truth_read(truth, -1, protocol, &rows, &err) < 0)
		fail_msg("%s", err.text);
	assert_false(rows.torn);
	assert_int_equal(rows.count, expected);
	return rows.rows;
}

/* ---- which sockets, in which order ---- */

static const struct kind {
	int protocol;
	const char *addr;
	uint8_t family;
	uint8_t flags;
	const char *told;
} kinds[] = {
	{ IPPROTO_TCP, "127.0.0.1", AF_INET, 0, "::ffff:127.0.0.1" },
	{ IPPROTO_TCP, "0.0.0.0", AF_INET, STEER_TRUTH_INANY, "::ffff:0.0.0.0" },
	{ IPPROTO_TCP, "::1", AF_INET6, STEER_TRUTH_V6ONLY, "::1" },
	{ IPPROTO_TCP, "::", AF_INET6, STEER_TRUTH_V6ONLY | STEER_TRUTH_INANY, "::" },
	{ IPPROTO_TCP, "::*", AF_INET6, STEER_TRUTH_INANY, "::" },
	{ IPPROTO_UDP, "127.0.0.1", AF_INET, 0, "::ffff:127.0.0.1" },
	{ IPPROTO_UDP, "0.0.0.0", AF_INET, STEER_TRUTH_INANY, "::ffff:0.0.0.0" },
	{ IPPROTO_UDP, "::1", AF_INET6, STEER_TRUTH_V6ONLY, "::1" },
	{ IPPROTO_UDP, "::", AF_INET6, STEER_TRUTH_V6ONLY | STEER_TRUTH_INANY, "::" },
	{ IPPROTO_UDP, "::*", AF_INET6, STEER_TRUTH_INANY, "::" },
};

static void check_row(const struct kind *kind, const struct steer_truth_row *row, int fd, int index)
{
	struct in6_addr addr;

	assert_int_equal(inet_pton(AF_INET6, kind->told, &addr), 1);
	assert_memory_equal(row->addr, &addr, sizeof(addr));
	assert_int_equal(row->port, PORT);
	assert_int_equal(row->family, kind->family);
	assert_int_equal(row->protocol, kind->protocol);
	assert_int_equal(row->state, kind->protocol == IPPROTO_TCP ? TCP_LISTEN : TCP_CLOSE);
	assert_int_equal(row->flags, kind->flags);
	assert_int_equal(row->index, index);
	assert_int_equal(row->members, COUNT);
	assert_int_equal(row->inode, groups_inode(fd));
	assert_int_equal(row->cookie, groups_cookie(fd));
	assert_int_equal(row->uid, getuid());
	assert_int_equal(row->program_id, 0);
	assert_int_equal(row->queue, 0);
}

static void a_group_is_told_in_the_kernels_order(void **state)
{
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
		const struct kind *kind = &kinds[i];
		const struct steer_truth_row *row;
		int fds[COUNT];

		groups_sockets(kind->protocol, kind->addr, PORT, fds, COUNT);
		row = read_rows(kind->protocol, COUNT);
		assert_true(rows.exact);
		assert_int_equal(steer_truth_group(&rows, 0), COUNT);
		for (int j = 0; j < COUNT; j++)
			check_row(kind, &row[j], fds[j], j);
		groups_close(fds, COUNT);
	}
}

static void the_last_member_moves_into_a_hole(void **state)
{
	static const int protocols[] = { IPPROTO_TCP, IPPROTO_UDP };

	for (size_t i = 0; i < 2; i++) {
		const struct steer_truth_row *row;
		int fds[COUNT];

		groups_sockets(protocols[i], "127.0.0.1", PORT, fds, COUNT);
		close(fds[1]);
		fds[1] = -1;
		row = read_rows(protocols[i], COUNT - 1);
		assert_int_equal(row[0].inode, groups_inode(fds[0]));
		assert_int_equal(row[1].inode, groups_inode(fds[3]));
		assert_int_equal(row[2].inode, groups_inode(fds[2]));
		assert_int_equal(row[0].members, COUNT - 1);
		groups_close(fds, COUNT);
	}
}

static void groups_are_told_apart(void **state)
{
	int a[COUNT], b[COUNT], c[COUNT];

	groups_sockets(IPPROTO_UDP, "127.0.0.1", PORT, a, COUNT);
	groups_sockets(IPPROTO_UDP, "127.0.0.2", PORT, b, COUNT);
	groups_sockets(IPPROTO_UDP, "127.0.0.1", PORT + 1, c, COUNT);
	read_rows(IPPROTO_UDP, 3 * (size_t)COUNT);
	for (size_t i = 0; i < 3; i++)
		assert_int_equal(steer_truth_group(&rows, i * COUNT), COUNT);
	groups_close(a, COUNT);
	groups_close(b, COUNT);
	groups_close(c, COUNT);
}

static void a_large_group_is_told_whole(void **state)
{
	enum { MANY = 700 };
	const struct steer_truth_row *row;
	static int fds[MANY];

	groups_sockets(IPPROTO_UDP, "127.0.0.1", PORT, fds, MANY);
	row = read_rows(IPPROTO_UDP, MANY);
	for (int i = 0; i < MANY; i++) {
		assert_int_equal(row[i].index, i);
		assert_int_equal(row[i].inode, groups_inode(fds[i]));
	}
	groups_close(fds, MANY);
}

static void what_is_in_no_group_is_not_told(void **state)
{
	int tcp = groups_socket(IPPROTO_TCP, "127.0.0.1", PORT, true);
	int udp = groups_socket(IPPROTO_UDP, "127.0.0.1", PORT, true);

	read_rows(IPPROTO_TCP, 0);
	read_rows(IPPROTO_UDP, 0);
	close(tcp);
	close(udp);
}

/* Linux 6.1 leaves it in, where nothing that is not its peer's is given to it. */
static void a_connected_udp_socket_leaves_or_is_told_as_such(void **state)
{
	struct sockaddr_in to = { .sin_family = AF_INET,
				  .sin_port = htons(9),
				  .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int fds[COUNT];

	groups_sockets(IPPROTO_UDP, "127.0.0.1", PORT, fds, COUNT);
	assert_int_equal(connect(fds[0], (struct sockaddr *)&to, sizeof(to)), 0);
	assert_int_equal(steer_truth_read(truth, -1, IPPROTO_UDP, &rows, NULL), 0);
	assert_true(rows.count == COUNT || rows.count == COUNT - 1);
	for (size_t i = 0; i < rows.count; i++) {
		const struct steer_truth_row *row = &rows.rows[i];
		bool connected = row->flags & STEER_TRUTH_CONNECTED;

		assert_int_equal(connected, row->inode == groups_inode(fds[0]));
		assert_int_equal(row->members, rows.count);
	}
	groups_close(fds, COUNT);
}

static void listeners_are_told_beside_connections(void **state)
{
	enum { MANY = 200 };
	const struct steer_truth_row *row;
	int clients[MANY], servers[MANY], fds[COUNT];
	int listener = groups_socket(IPPROTO_TCP, "127.0.0.1", PORT + 1, true);

	for (int i = 0; i < MANY; i++) {
		clients[i] = groups_client(IPPROTO_TCP, "127.0.0.1", PORT + 1);
		servers[i] = groups_accept(listener);
	}
	read_rows(IPPROTO_TCP, 0);
	groups_sockets(IPPROTO_TCP, "127.0.0.1", PORT, fds, COUNT);
	row = read_rows(IPPROTO_TCP, COUNT);
	for (int i = 0; i < COUNT; i++)
		assert_int_equal(row[i].inode, groups_inode(fds[i]));
	groups_close(fds, COUNT);
	groups_close(clients, MANY);
	groups_close(servers, MANY);
	close(listener);
}

static int current_namespace(void)
{
	int fd = netns_open("/proc/thread-self/ns/net", NULL);

	assert_true(fd >= 0);
	return fd;
}

static void another_namespace_is_read_and_left(void **state)
{
	int fds[COUNT];
	int here, there;

	groups_sockets(IPPROTO_TCP, "127.0.0.1", PORT, fds, COUNT);
	there = current_namespace();
	assert_int_equal(unshare(CLONE_NEWNET), 0);
	netns_adopt();
	read_rows(IPPROTO_TCP, 0);
	assert_int_equal(steer_truth_read(truth, there, IPPROTO_TCP, &rows, NULL), 0);
	assert_int_equal(rows.count, COUNT);
	here = current_namespace();
	assert_true(netns_is_own(here));
	close(here);
	close(there);
	groups_close(fds, COUNT);
}

/* ---- programs ---- */

static void an_attached_program_is_told_by_its_id(void **state)
{
	/* return SK_PASS; */
	const struct bpf_insn pass[] = { { .code = BPF_ALU64 | BPF_MOV | BPF_K, .imm = SK_PASS },
					 { .code = BPF_JMP | BPF_EXIT } };
	int program = bpf_prog_load(BPF_PROG_TYPE_SK_REUSEPORT, "loom_truth", "GPL", pass, 2, NULL);
	struct bpf_prog_info info = { 0 };
	uint32_t size = sizeof(info);
	const struct steer_truth_row *row;
	int fds[COUNT];

	assert_true(program >= 0);
	assert_int_equal(bpf_obj_get_info_by_fd(program, &info, &size), 0);
	groups_sockets(IPPROTO_TCP, "127.0.0.1", PORT, fds, COUNT);
	assert_int_equal(
		setsockopt(fds[2], SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, &program, sizeof(program)),
		0);
	row = read_rows(IPPROTO_TCP, COUNT);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(row[i].program_id, info.id);
		assert_int_equal(row[i].program_type, BPF_PROG_TYPE_SK_REUSEPORT);
		assert_false(row[i].flags & STEER_TRUTH_CLASSIC);
	}
	assert_int_equal(
		setsockopt(fds[0], SOL_SOCKET, SO_DETACH_REUSEPORT_BPF, &program, sizeof(program)),
		0);
	assert_int_equal(read_rows(IPPROTO_TCP, COUNT)->program_id, 0);
	groups_close(fds, COUNT);
	close(program);
}

static void a_classic_program_is_told_as_such(void **state)
{
	struct sock_filter first[] = { BPF_STMT(BPF_RET | BPF_K, 0) };
	struct sock_fprog program = { 1, first };
	const struct steer_truth_row *row;
	int fds[COUNT];

	groups_sockets(IPPROTO_UDP, "127.0.0.1", PORT, fds, COUNT);
	assert_int_equal(
		setsockopt(fds[0], SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, &program, sizeof(program)),
		0);
	row = read_rows(IPPROTO_UDP, COUNT);
	assert_int_equal(row->program_id, 0);
	assert_true(row->flags & STEER_TRUTH_CLASSIC);
	groups_close(fds, COUNT);
}

static void cpus_are_told(void **state)
{
	const struct steer_truth_row *row;
	int fds[COUNT];
	int cpu = 1;

	groups_sockets(IPPROTO_UDP, "127.0.0.1", PORT, fds, COUNT);
	assert_int_equal(read_rows(IPPROTO_UDP, COUNT)->cpu_members, 0);
	assert_int_equal(setsockopt(fds[3], SOL_SOCKET, SO_INCOMING_CPU, &cpu, sizeof(cpu)), 0);
	row = read_rows(IPPROTO_UDP, COUNT);
	assert_int_equal(row[0].cpu_members, 1);
	assert_int_equal(row[3].incoming_cpu, 1);
	groups_close(fds, COUNT);
}

/* ---- queues ---- */

static void a_listeners_queue_is_what_it_has_to_accept(void **state)
{
	int fd = groups_socket(IPPROTO_TCP, "127.0.0.1", PORT, false);
	const struct steer_truth_row *row;
	int clients[3], server;

	for (int i = 0; i < 3; i++)
		clients[i] = groups_client(IPPROTO_TCP, "127.0.0.1", PORT);
	row = read_rows(IPPROTO_TCP, 1);
	assert_int_equal(row->queue, 3);
	assert_int_equal(row->queue_limit, GROUPS_BACKLOG);
	assert_int_equal(row->drops, 0);
	server = groups_accept(fd);
	assert_int_equal(read_rows(IPPROTO_TCP, 1)->queue, 2);
	groups_close(clients, 3);
	close(server);
	close(fd);
}

static void a_full_accept_queue_counts_drops(void **state)
{
	enum { MORE = GROUPS_BACKLOG + 4 };
	int fd = groups_socket(IPPROTO_TCP, "127.0.0.1", PORT, false);
	const struct steer_truth_row *row;
	int clients[MORE];

	for (int i = 0; i < MORE; i++)
		clients[i] = groups_client(IPPROTO_TCP, "127.0.0.1", PORT);
	row = read_rows(IPPROTO_TCP, 1);
	assert_int_equal(row->queue, GROUPS_BACKLOG + 1); /* as the kernel counts */
	assert_true(row->drops > 0);
	groups_close(clients, MORE);
	close(fd);
}

static void a_udp_queue_is_what_it_has_to_read(void **state)
{
	int fd = groups_socket(IPPROTO_UDP, "127.0.0.1", PORT, false);
	int client = groups_client(IPPROTO_UDP, "127.0.0.1", PORT);
	const struct steer_truth_row *row;
	char text[16];

	for (int i = 0; i < 3; i++)
		assert_int_equal(send(client, "datagram", 8, 0), 8);
	row = read_rows(IPPROTO_UDP, 1);
	assert_true(row->queue >= 3 * 8);
	assert_true(row->queue_limit > row->queue);
	for (int i = 0; i < 3; i++)
		assert_int_equal(recv(fd, text, sizeof(text), 0), 8);
	row = read_rows(IPPROTO_UDP, 1);
	assert_int_equal(row->queue, 0);
	assert_int_equal(row->drops, 0);
	close(client);
	close(fd);
}

static void a_full_udp_queue_counts_drops(void **state)
{
	int fd = groups_socket(IPPROTO_UDP, "127.0.0.1", PORT, false);
	int client = groups_client(IPPROTO_UDP, "127.0.0.1", PORT);
	int size = 0; /* the kernel's least */
	char text[1000] = { 0 };
	unsigned int kept = 0;

	assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size)), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(send(client, text, sizeof(text), 0), sizeof(text));
	while (recv(fd, text, sizeof(text), 0) > 0)
		kept++;
	assert_true(kept < 100);
	assert_int_equal(read_rows(IPPROTO_UDP, 1)->drops, 100 - kept);
	close(client);
	close(fd);
}

/* ---- who holds them ---- */

/* How often the descriptor of this process is told, with this socket's inode. */
static int told(const struct buf *files, pid_t pid, int fd, uint64_t inode)
{
	const struct steer_truth_file *file = (const void *)files->data;
	const struct steer_truth_file *end = file + files->len / sizeof(*file);
	int count = 0;

	for (; file < end; file++)
		count += file->pid == pid && file->fd == fd && file->inode == inode;
	return count;
}

static void every_descriptor_of_a_groups_sockets_is_told_and_no_other(void **state)
{
	int alone = groups_socket(IPPROTO_UDP, "127.0.0.1", PORT + 1, true);
	int tcp[COUNT], udp[COUNT], end[2];
	struct buf files;
	pid_t child;

	groups_sockets(IPPROTO_TCP, "127.0.0.1", PORT, tcp, COUNT);
	groups_sockets(IPPROTO_UDP, "::1", PORT, udp, COUNT);
	assert_int_equal(pipe(end), 0);
	child = fork();
	assert_true(child >= 0);
	if (!child) {
		close(end[1]);
		_exit(read(end[0], &child, 1) != 0);
	}
	buf_init(&files);
	assert_int_equal(steer_truth_files(truth, &files), 0);
	for (int i = 0; i < COUNT; i++) {
		assert_int_equal(told(&files, getpid(), tcp[i], groups_inode(tcp[i])), 1);
		assert_int_equal(told(&files, getpid(), udp[i], groups_inode(udp[i])), 1);
		assert_int_equal(told(&files, child, tcp[i], groups_inode(tcp[i])), 1);
	}
	assert_int_equal(told(&files, getpid(), alone, groups_inode(alone)), 0);
	buf_done(&files);
	close(end[0]);
	close(end[1]);
	assert_int_equal(waitpid(child, NULL, 0), child);
	groups_close(tcp, COUNT);
	groups_close(udp, COUNT);
	close(alone);
}

/* ---- powers ---- */

static int check_exact(void)
{
	struct steer_truth *mine;
	const char *why = "";
	struct buf files;
	int bad = 0;

	if (steer_truth_open(&mine, NULL) < 0)
		return 1;
	if (!steer_truth_is_exact(mine, &why)) {
		fprintf(stderr, "%s\n", why);
		bad = 2;
	} else if (steer_truth_read(mine, -1, IPPROTO_TCP, &rows, NULL) < 0 || !rows.exact ||
		   rows.count != COUNT || rows.rows[1].index != 1) {
		bad = 3;
	}
	buf_init(&files);
	if (!bad && (steer_truth_files(mine, &files) < 0 || !files.len))
		bad = 4;
	buf_done(&files);
	steer_truth_close(mine);
	steer_truth_rows_done(&rows);
	return bad;
}

static void two_capabilities_are_enough(void **state)
{
	static const int capabilities[] = { CAP_BPF, CAP_PERFMON };
	int fds[COUNT];

	groups_sockets(IPPROTO_TCP, "127.0.0.1", PORT, fds, COUNT);
	assert_int_equal(as_user(capabilities, 2, check_exact), 0);
	groups_close(fds, COUNT);
}

static int check_fallback(void)
{
	struct steer_truth *mine;
	const char *why = NULL;
	int bad = 0;

	if (steer_truth_open(&mine, NULL) < 0)
		return 1;
	if (steer_truth_is_exact(mine, &why) || !strstr(why, "cap_perfmon"))
		bad = 2;
	else if (steer_truth_read(mine, -1, IPPROTO_TCP, &rows, NULL) < 0 || rows.exact ||
		 rows.count != COUNT)
		bad = 3;
	for (size_t i = 0; !bad && i < COUNT; i++) {
		const struct steer_truth_row *row = &rows.rows[i];

		if (row->members != COUNT || row->index != STEER_TRUTH_NO_INDEX ||
		    row->port != PORT || !row->inode || !row->cookie ||
		    row->queue_limit != GROUPS_BACKLOG)
			bad = 4;
	}
	if (!bad && (steer_truth_read(mine, -1, IPPROTO_UDP, &rows, NULL) < 0 ||
		     rows.count != COUNT || !rows.rows[0].queue_limit))
		bad = 5;
	steer_truth_close(mine);
	steer_truth_rows_done(&rows);
	return bad;
}

static void without_them_sock_diag_tells_what_it_knows(void **state)
{
	int tcp[COUNT], udp[COUNT];

	groups_sockets(IPPROTO_TCP, "127.0.0.1", PORT, tcp, COUNT);
	groups_sockets(IPPROTO_UDP, "::1", PORT, udp, COUNT);
	assert_int_equal(as_user(NULL, 0, check_fallback), 0);
	groups_close(tcp, COUNT);
	groups_close(udp, COUNT);
}

static int check_other_namespace(void)
{
	struct err err = { 0 };
	int fd = netns_open("pid:1", &err);

	return fd != -EPERM || !strstr(err.text, "cap_sys_ptrace");
}

static void a_namespace_that_may_not_be_opened_says_what_it_takes(void **state)
{
	assert_int_equal(as_user(NULL, 0, check_other_namespace), 0);
}

/* ---- */

static int enter(void **state)
{
	groups_enter();
	return 0;
}

static int leave(void **state)
{
	groups_leave();
	return 0;
}

static int open_truth(void **state)
{
	const char *why = "";

	assert_int_equal(steer_truth_open(&truth, NULL), 0);
	if (!steer_truth_is_exact(truth, &why))
		fail_msg("%s", why);
	return 0;
}

static int close_truth(void **state)
{
	steer_truth_close(truth);
	steer_truth_rows_done(&rows);
	return 0;
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, enter, leave)

int main(void)
{
	const struct CMUnitTest tests[] = {
		CASE(a_group_is_told_in_the_kernels_order),
		CASE(the_last_member_moves_into_a_hole),
		CASE(groups_are_told_apart),
		CASE(a_large_group_is_told_whole),
		CASE(what_is_in_no_group_is_not_told),
		CASE(a_connected_udp_socket_leaves_or_is_told_as_such),
		CASE(listeners_are_told_beside_connections),
		CASE(another_namespace_is_read_and_left),
		CASE(an_attached_program_is_told_by_its_id),
		CASE(a_classic_program_is_told_as_such),
		CASE(cpus_are_told),
		CASE(a_listeners_queue_is_what_it_has_to_accept),
		CASE(a_full_accept_queue_counts_drops),
		CASE(a_udp_queue_is_what_it_has_to_read),
		CASE(a_full_udp_queue_counts_drops),
		CASE(every_descriptor_of_a_groups_sockets_is_told_and_no_other),
		CASE(two_capabilities_are_enough),
		CASE(without_them_sock_diag_tells_what_it_knows),
		CASE(a_namespace_that_may_not_be_opened_says_what_it_takes),
	};

	lab_need_root();
	return cmocka_run_group_tests(tests, open_truth, close_truth);
}
