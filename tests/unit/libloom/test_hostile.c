/* What no honest peer sends: a client's bytes at the server, a server's bytes at the client. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/must.h"
#include "fake_loomd.h"
#include "libloom/loom_steer.h"
#include "loomd/join_message.h"

static struct join_request good_join(void)
{
	return (struct join_request){
		.header = { .version = JOIN_ABI_VERSION, .type = JOIN_JOIN, .request = 1 },
		.group = "dns",
		.slot = JOIN_NO_SLOT,
	};
}

static int connect_to(const char *path)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);

	strcpy(address.sun_path, path);
	must(connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0);
	return fd;
}

static void send_with(int to, const void *message, size_t len, const int *fds, size_t count)
{
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(4 * sizeof(int))];
	} control = { 0 };
	struct iovec iov = { .iov_base = (void *)message, .iov_len = len };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	if (count) {
		control.header.cmsg_level = SOL_SOCKET;
		control.header.cmsg_type = SCM_RIGHTS;
		control.header.cmsg_len = CMSG_LEN(count * sizeof(int));
		memcpy(CMSG_DATA(&control.header), fds, count * sizeof(int));
		msg.msg_control = &control;
		msg.msg_controllen = CMSG_SPACE(count * sizeof(int));
	}
	must(sendmsg(to, &msg, MSG_NOSIGNAL) == (ssize_t)len);
}

static struct join_answer answer_of(int fd)
{
	struct join_answer answer;

	ssize_t len;

	do /* events come between */
		len = recv(fd, &answer, sizeof(answer), 0);
	while (len == sizeof(struct join_state) && answer.header.type == JOIN_STATE);
	assert_int_equal(len, sizeof(answer));
	assert_int_equal(answer.header.type, JOIN_ANSWER);
	assert_non_null(memchr(answer.text, 0, sizeof(answer.text)));
	return answer;
}

/* The server says why in an answer to request 0, and hangs up. */
static void assert_cut_off(int fd, int status)
{
	struct join_answer answer = answer_of(fd);
	char byte;

	assert_int_equal(answer.header.request, 0);
	assert_int_equal(answer.status, status);
	assert_memory_equal(answer.text, "cannot ", 7);
	assert_int_equal(recv(fd, &byte, 1, 0), 0);
}

static int open_descriptors(void)
{
	int count = 0, fd;

	for (fd = 0; fd < 1024; fd++)
		count += fcntl(fd, F_GETFD) >= 0;
	return count;
}

static void no_join(struct join_request *join, int variant)
{
	switch (variant) {
	case 0:
		join->header.type = 0;
		break;
	case 1:
		join->header.type = JOIN_ANSWER;
		break;
	case 2:
		join->header.type = JOIN_READY;
		break;
	case 3:
		join->header.request = 0;
		break;
	case 4:
		memset(join->group, 'x', sizeof(join->group));
		break;
	case 5:
		join->group[0] = '\0'; /* of the address, then; but padded with a name */
		break;
	case 6:
		strcpy(join->group, "\033[2J");
		break;
	case 7:
		join->group[63] = 'x'; /* behind the NUL */
		join->group[62] = '\0';
		break;
	case 8:
		memset(join->label, 'x', sizeof(join->label));
		break;
	case 9:
		strcpy(join->label, "two\nlines");
		break;
	case 10:
		join->weight = JOIN_MAX_WEIGHT + 1;
		break;
	case 11:
		join->flags = 4;
		break;
	case 12:
		join->zero = 1;
		break;
	case 13:
		join->member = 1;
		break;
	default:
		join->slot = 0;
		break;
	}
}

#define NO_JOINS 15

static void no_join_that_is_malformed_is_believed(void **state)
{
	struct fake_loomd fake;
	int member = fake_socket();
	int i;

	fake_open(&fake);
	fake_start(&fake);
	for (i = 0; i < NO_JOINS; i++) {
		struct join_request join = good_join();
		int fd = connect_to(fake.path);

		no_join(&join, i);
		send_with(fd, &join, sizeof(join), &member, 1);
		assert_cut_off(fd, -EPROTO);
		close(fd);
	}
	assert_int_equal(fake.joins, 0);
	fake_close(&fake);
	close(member);
}

static void another_version_is_told_which_is_spoken(void **state)
{
	struct join_header header = { .version = JOIN_ABI_VERSION + 1, .type = 1, .request = 1 };
	struct fake_loomd fake;
	int fd;

	fake_open(&fake);
	fake_start(&fake);
	fd = connect_to(fake.path);
	send_with(fd, &header, sizeof(header), NULL, 0);
	assert_cut_off(fd, -EPROTONOSUPPORT);
	close(fd);
	fake_close(&fake);
}

static void a_join_of_every_other_length_is_refused(void **state)
{
	unsigned char bytes[256] = { 0 };
	const struct join_request join = good_join();
	struct fake_loomd fake;
	int member = fake_socket();
	size_t len;

	memcpy(bytes, &join, sizeof(join));
	fake_open(&fake);
	fake_start(&fake);
	for (len = 1; len < sizeof(bytes); len++) {
		int fd = connect_to(fake.path);

		send_with(fd, bytes, len, &member, 1);
		if (len == sizeof(join))
			assert_int_equal(answer_of(fd).status, 0);
		else
			assert_cut_off(fd, -EPROTO);
		close(fd);
	}
	assert_int_equal(fake.joins, 1);
	fake_close(&fake);
	close(member);
}

static void descriptors_that_nobody_asked_for_are_closed(void **state)
{
	const struct join_request join = good_join();
	int members[4];
	struct fake_loomd fake;
	int before, fd, i;

	for (i = 0; i < 4; i++)
		members[i] = fake_socket();
	fake_open(&fake);
	fake_start(&fake);
	before = open_descriptors();
	for (i = 2; i <= 4; i++) {
		fd = connect_to(fake.path);
		send_with(fd, &join, sizeof(join), members, (size_t)i);
		assert_cut_off(fd, -EPROTO);
		close(fd);
	}
	fd = connect_to(fake.path);
	send_with(fd, &join, sizeof(join), NULL, 0);
	assert_cut_off(fd, -EPROTO);
	close(fd);
	/* After JOIN none may come. */
	fd = connect_to(fake.path);
	send_with(fd, &join, sizeof(join), members, 1);
	assert_int_equal(answer_of(fd).status, 0);
	send_with(fd,
		  &(struct join_header){
			  .version = JOIN_ABI_VERSION, .type = JOIN_READY, .request = 2 },
		  sizeof(struct join_header), members, 1);
	assert_cut_off(fd, -EPROTO);
	close(fd);
	fake_await(&fake, &fake.leaves, 1);
	assert_int_equal(open_descriptors(), before);
	fake_close(&fake);
	for (i = 0; i < 4; i++)
		close(members[i]);
}

static void what_is_no_socket_of_a_group_does_not_join(void **state)
{
	const struct {
		int fd, status;
	} cases[] = {
		{ dup(STDIN_FILENO), -ENOTSOCK },
		{ socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), -EAFNOSUPPORT },
		{ socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), -EINVAL }, /* does not listen */
		{ socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), -EINVAL },  /* no SO_REUSEPORT */
	};
	const struct join_request join = good_join();
	struct fake_loomd fake;
	size_t i;

	fake_open(&fake);
	fake_start(&fake);
	for (i = 0; i < 4; i++) {
		int fd = connect_to(fake.path);
		struct join_answer answer;
		char byte;

		send_with(fd, &join, sizeof(join), &cases[i].fd, 1);
		answer = answer_of(fd);
		assert_int_equal(answer.header.request, 1);
		assert_int_equal(answer.status, cases[i].status);
		assert_int_equal(recv(fd, &byte, 1, 0), 0);
		close(fd);
		close(cases[i].fd);
	}
	assert_int_equal(fake.joins, 0);
	fake_close(&fake);
}

/* Of PUBLISH: count, and how many bytes are sent after the head. */
static const struct {
	uint32_t count;
	size_t bytes;
	int status; /* 0: taken */
} publishes[] = {
	{ 1, 4, 0 },
	{ 4096, 16384, 0 },
	{ 0, 0, -EPROTO },
	{ 1, 0, -EPROTO },
	{ 1, 8, -EPROTO },
	{ 2, 4, -EPROTO },
	{ 2, 7, -EPROTO },
	{ 4097, 16388, -EPROTO },
	{ 0x40000001, 4, -EPROTO },
	{ 0xffffffff, 16, -EPROTO },
	{ 4096, 16388, -EPROTO },
};

static void indices_are_as_many_as_the_message_holds(void **state)
{
	static struct {
		struct join_indices head;
		uint32_t index[JOIN_MAX_INDEX + 1];
	} message;
	const struct join_request join = good_join();
	struct fake_loomd fake;
	int member = fake_socket();
	size_t i;

	fake_open(&fake);
	fake_start(&fake);
	for (i = 0; i < sizeof(publishes) / sizeof(publishes[0]); i++) {
		int fd = connect_to(fake.path);

		send_with(fd, &join, sizeof(join), &member, 1);
		assert_int_equal(answer_of(fd).status, 0);
		message.head.header = (struct join_header){ .version = JOIN_ABI_VERSION,
							    .type = JOIN_PUBLISH,
							    .request = 2 };
		message.head.count = publishes[i].count;
		send_with(fd, &message, sizeof(message.head) + publishes[i].bytes, NULL, 0);
		if (publishes[i].status)
			assert_cut_off(fd, publishes[i].status);
		else
			assert_int_equal(answer_of(fd).status, 0);
		close(fd);
		fake_await(&fake, &fake.leaves, (int)i + 1);
	}
	assert_int_equal(fake.publishes, 2);
	fake_close(&fake);
	close(member);
}

static void who_does_not_read_is_cut_off_and_the_others_are_served(void **state)
{
	const struct join_request join = good_join();
	struct fake_loomd fake;
	int member = fake_socket();
	int fd, other;

	fake_open(&fake);
	fake_start(&fake);
	fd = connect_to(fake.path);
	send_with(fd, &join, sizeof(join), &member, 1);
	fake_await(&fake, &fake.joins, 1);
	fake_do(&fake, FAKE_FLOOD);
	fake_await(&fake, &fake.leaves, 1);
	other = connect_to(fake.path);
	send_with(other, &join, sizeof(join), &member, 1);
	assert_int_equal(answer_of(other).status, 0);
	close(fd);
	close(other);
	fake_close(&fake);
	close(member);
}

static void beyond_the_limit_nobody_joins_until_somebody_goes(void **state)
{
	static int fds[JOIN_SERVER_CLIENTS];
	const struct join_request join = good_join();
	struct fake_loomd fake;
	int member = fake_socket();
	int fd, i;

	fake_open(&fake);
	fake_start(&fake);
	for (i = 0; i < JOIN_SERVER_CLIENTS; i++) {
		fds[i] = connect_to(fake.path);
		send_with(fds[i], &join, sizeof(join), &member, 1);
		assert_int_equal(answer_of(fds[i]).status, 0);
	}
	fd = connect_to(fake.path);
	assert_cut_off(fd, -EUSERS);
	close(fd);
	close(fds[0]);
	fake_await(&fake, &fake.leaves, 1);
	fds[0] = connect_to(fake.path);
	send_with(fds[0], &join, sizeof(join), &member, 1);
	assert_int_equal(answer_of(fds[0]).status, 0);
	for (i = 0; i < JOIN_SERVER_CLIENTS; i++)
		close(fds[i]);
	fake_close(&fake);
	close(member);
}

/* A server of bytes: sends what it is given after the first request has come. */
struct liar {
	char path[100];
	char directory[64];
	int listener;
	pthread_t thread;
	unsigned char bytes[2048];
	size_t len;
};

static void *lie(void *ctx)
{
	struct liar *liar = ctx;
	unsigned char request[256];
	int fd = accept(liar->listener, NULL, NULL);

	must(fd >= 0 && recv(fd, request, sizeof(request), 0) == sizeof(struct join_request));
	if (liar->len)
		must(send(fd, liar->bytes, liar->len, MSG_NOSIGNAL) == (ssize_t)liar->len);
	/* Until the client has had enough of it; its JOIN carried a descriptor: closed unread. */
	must(recv(fd, request, 1, 0) == 0 || !liar->len);
	close(fd);
	return NULL;
}

static void liar_start(struct liar *liar, const void *bytes, size_t len)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };

	strcpy(liar->directory, "/tmp/loom-liar-XXXXXX");
	must(mkdtemp(liar->directory));
	snprintf(liar->path, sizeof(liar->path), "%s/steer", liar->directory);
	strcpy(address.sun_path, liar->path);
	liar->listener = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	must(bind(liar->listener, (struct sockaddr *)&address, sizeof(address)) == 0);
	must(listen(liar->listener, 1) == 0);
	memcpy(liar->bytes, bytes, len);
	liar->len = len;
	must(pthread_create(&liar->thread, NULL, lie, liar) == 0);
}

static void liar_stop(struct liar *liar)
{
	must(pthread_join(liar->thread, NULL) == 0);
	close(liar->listener);
	unlink(liar->path);
	rmdir(liar->directory);
}

static void assert_not_believed(const void *bytes, size_t len, const char *why)
{
	struct liar liar;
	struct loom_steer_options options = { .size = sizeof(options), .group = "dns" };
	struct loom_steer *steer;
	int fd = fake_socket();

	liar_start(&liar, bytes, len);
	options.socket = liar.path;
	options.timeout_ms = 10000;
	assert_int_equal(loom_steer_join(&steer, &options, fd), 0);
	assert_int_equal(loom_steer_state(steer), LOOM_STEER_PLAIN);
	if (!strstr(loom_steer_error(steer), why))
		fail_msg("'%s' does not say '%s'", loom_steer_error(steer), why);
	loom_steer_close(steer);
	liar_stop(&liar);
	close(fd);
}

static void a_server_is_not_believed_either(void **state)
{
	const struct join_answer good = {
		.header = { .version = JOIN_ABI_VERSION, .type = JOIN_ANSWER, .request = 1 },
	};
	struct join_answer answer = good;
	struct join_state event = { .header = { JOIN_ABI_VERSION, JOIN_STATE, 0 }, .rollout = 5 };
	unsigned char long_one[2048] = { 0 };

	answer.status = 1;
	assert_not_believed(&answer, sizeof(answer), "malformed");
	answer.status = INT32_MIN;
	assert_not_believed(&answer, sizeof(answer), "malformed");
	answer = good;
	memset(answer.text, 'x', sizeof(answer.text));
	assert_not_believed(&answer, sizeof(answer), "malformed");
	answer = good;
	answer.header.request = 2;
	assert_not_believed(&answer, sizeof(answer), "not asked");
	answer.header.request = 0;
	assert_not_believed(&answer, sizeof(answer), "not asked");
	answer = good;
	answer.header.version = 9;
	assert_not_believed(&answer, sizeof(answer), "speaks version 9");
	answer = good;
	answer.header.type = JOIN_JOIN;
	assert_not_believed(&answer, sizeof(answer), "no message");
	assert_not_believed(&good, sizeof(good) - 1, "no message");
	assert_not_believed(&good, 1, "no message");
	memcpy(long_one, &good, sizeof(good));
	assert_not_believed(long_one, sizeof(long_one), "no message");
	assert_not_believed(&event, sizeof(event), "unknown state");
	event.rollout = 0;
	event.member = 4;
	assert_not_believed(&event, sizeof(event), "unknown state");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(no_join_that_is_malformed_is_believed),
		cmocka_unit_test(another_version_is_told_which_is_spoken),
		cmocka_unit_test(a_join_of_every_other_length_is_refused),
		cmocka_unit_test(descriptors_that_nobody_asked_for_are_closed),
		cmocka_unit_test(what_is_no_socket_of_a_group_does_not_join),
		cmocka_unit_test(indices_are_as_many_as_the_message_holds),
		cmocka_unit_test(who_does_not_read_is_cut_off_and_the_others_are_served),
		cmocka_unit_test(beyond_the_limit_nobody_joins_until_somebody_goes),
		cmocka_unit_test(a_server_is_not_believed_either),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
