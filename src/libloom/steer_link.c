/* The connection to loomd: connect, join, and the messages on it. */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "steer_internal.h"

#define NSEC_PER_SEC	1000000000ull
#define NSEC_PER_MSEC	1000000ull
#define REFUSED_RETRIES 10 /* a refusal waits as many retry_ms */
#define TAKE_MAX	64 /* messages in one go: a talkative server is no reason to stay */

union message {
	struct join_header header;
	struct join_answer answer;
	struct join_drained drained;
	struct join_state state;
};

void link_drop(struct loom_steer *steer, uint64_t retry_ms)
{
	if (steer->conn >= 0)
		close(steer->conn); /* leaves the epoll set with it */
	steer->conn = -1;
	steer->step = LINK_NONE;
	steer->waiting = false;
	steer->retry_at_ns = steer_now_ns() + retry_ms * NSEC_PER_MSEC;
	steer->member_state = LOOM_STEER_QUARANTINED;
	steer->rollout = LOOM_STEER_FALLBACK;
	if (steer->draining) {
		steer->draining = false;
		steer->drained = LOOM_STEER_DRAINED_PLAIN;
		steer->wanted = false;
	}
	link_arm_now(steer);
}

static void set_timer(struct loom_steer *steer, uint64_t at_ns)
{
	struct itimerspec spec = {
		.it_value = { .tv_sec = (time_t)(at_ns / NSEC_PER_SEC),
			      .tv_nsec = (long)(at_ns % NSEC_PER_SEC) },
	};

	timerfd_settime(steer->timer, TFD_TIMER_ABSTIME, &spec, NULL);
}

void link_arm(struct loom_steer *steer)
{
	uint64_t at = 0;

	if (steer->step == LINK_NONE && steer->wanted)
		at = steer->retry_at_ns;
	if (steer->draining && steer->drain_until_ns && (!at || steer->drain_until_ns < at))
		at = steer->drain_until_ns;
	set_timer(steer, at);
}

void link_arm_now(struct loom_steer *steer)
{
	set_timer(steer, 1);
}

/* A message of the server's that cannot be: whoever sent it is not believed any further. */
static void protest(struct loom_steer *steer, const char *what)
{
	steer_set_error(steer, "cannot go on with loomd at %s: %s; restart or upgrade it",
			steer->path, what);
	link_drop(steer, (uint64_t)steer->retry_ms * REFUSED_RETRIES);
}

static bool send_message(struct loom_steer *steer, enum join_type type, void *message, size_t len,
			 int fd)
{
	struct join_header *header = message;
	struct iovec iov = { .iov_base = message, .iov_len = len };
	union {
		struct cmsghdr header;
		char bytes[CMSG_SPACE(sizeof(int))];
	} control = { 0 };
	struct msghdr msg = { .msg_iov = &iov, .msg_iovlen = 1 };

	*header = (struct join_header){ .version = JOIN_ABI_VERSION,
					.type = (__u16)type,
					.request = ++steer->request ? steer->request
								    : ++steer->request };
	if (fd >= 0) {
		control.header = (struct cmsghdr){ .cmsg_level = SOL_SOCKET,
						   .cmsg_type = SCM_RIGHTS,
						   .cmsg_len = CMSG_LEN(sizeof(int)) };
		memcpy(CMSG_DATA(&control.header), &fd, sizeof(fd));
		msg.msg_control = &control;
		msg.msg_controllen = sizeof(control);
	}
	/* One request at a time fits any socket's buffer: who does not take it does not read. */
	if (sendmsg(steer->conn, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) != (ssize_t)len) {
		steer_set_error(steer, "cannot ask loomd at %s: %s; it is tried again", steer->path,
				strerror(errno));
		link_drop(steer, steer->retry_ms);
		return false;
	}
	steer->waiting = true;
	return true;
}

static void send_join(struct loom_steer *steer)
{
	struct join_request request = {
		.weight = steer->weight,
		.generation = steer->generation,
		.member = steer->known ? steer->member : 0,
		.slot = steer->known ? steer->slot : JOIN_NO_SLOT,
		.flags = (steer->ready ? JOIN_FLAG_READY : 0) |
			 (steer->known ? JOIN_FLAG_REJOIN : 0),
	};

	memcpy(request.group, steer->group, sizeof(request.group));
	memcpy(request.label, steer->label, sizeof(request.label));
	steer->step = LINK_JOINING;
	send_message(steer, JOIN_JOIN, &request, sizeof(request), steer->fd);
}

/* The next step after JOIN was answered: what was said before the connection broke. */
static void next_step(struct loom_steer *steer)
{
	struct {
		struct join_indices head;
		uint32_t index[JOIN_MAX_INDEX];
	} message = { 0 };
	struct join_header header;

	if (steer->step == LINK_JOINING) {
		steer->step = LINK_READYING;
		if (steer->ready) {
			send_message(steer, JOIN_READY, &header, sizeof(header), -1);
			return;
		}
	}
	if (steer->step == LINK_READYING) {
		steer->step = LINK_PUBLISHING;
		steer->cursor = 0;
	}
	message.head.count = (uint32_t)index_map_take(&steer->published, &steer->cursor,
						      message.index, JOIN_MAX_INDEX);
	if (message.head.count) {
		send_message(steer, JOIN_PUBLISH, &message,
			     sizeof(message.head) + message.head.count * sizeof(uint32_t), -1);
		return;
	}
	steer->step = LINK_UP;
	link_arm_now(steer);
}

static void take_answer(struct loom_steer *steer, const struct join_answer *answer)
{
	if (answer->status > 0 || answer->status < -4095 ||
	    !memchr(answer->text, '\0', sizeof(answer->text)))
		return protest(steer, "an answer is malformed");
	if (!answer->header.request && answer->status < 0) { /* it refuses the connection */
		steer_set_error(steer, "%s", answer->text);
		return link_drop(steer, (uint64_t)steer->retry_ms * REFUSED_RETRIES);
	}
	if (!steer->waiting || answer->header.request != steer->request)
		return protest(steer, "it answers what was not asked");
	steer->waiting = false;
	steer->answer = *answer;
	steer_set_error(steer, "%s", answer->status < 0 ? answer->text : "");
	if (steer->step == LINK_UP)
		return; /* link_ask looks at it */
	if (steer->step == LINK_JOINING) {
		if (answer->status < 0)
			return link_drop(steer, (uint64_t)steer->retry_ms * REFUSED_RETRIES);
		steer->known = true;
		steer->member = answer->member;
		steer->slot = answer->slot;
	}
	next_step(steer);
}

static void take_event(struct loom_steer *steer, const union message *message)
{
	if (message->header.type == JOIN_STATE) {
		if (message->state.rollout >= JOIN_ROLLOUT_COUNT ||
		    message->state.member >= JOIN_MEMBER_COUNT)
			return protest(steer, "it tells of an unknown state");
		steer->rollout = (enum loom_steer_rollout)message->state.rollout;
		steer->member_state = (enum loom_steer_member)message->state.member;
	} else if (steer->draining) {
		steer->draining = false;
		steer->drained = message->drained.reason == JOIN_DRAINED_EMPTY ? LOOM_STEER_DRAINED
				 : message->drained.reason == JOIN_DRAINED_PLAIN
					 ? LOOM_STEER_DRAINED_PLAIN
					 : LOOM_STEER_DRAINED_TIMEOUT;
	}
}

static void take_message(struct loom_steer *steer, const union message *message, size_t len)
{
	if (len >= sizeof(message->header) && message->header.version != JOIN_ABI_VERSION) {
		steer_set_error(steer,
				"cannot join: loomd at %s speaks version %u of the protocol, "
				"libloom version %u; upgrade the older one",
				steer->path, message->header.version, JOIN_ABI_VERSION);
		link_drop(steer, (uint64_t)steer->retry_ms * REFUSED_RETRIES);
	} else if (len == sizeof(message->answer) && message->header.type == JOIN_ANSWER) {
		take_answer(steer, &message->answer);
	} else if ((len == sizeof(message->state) && message->header.type == JOIN_STATE) ||
		   (len == sizeof(message->drained) && message->header.type == JOIN_DRAINED)) {
		take_event(steer, message);
	} else {
		protest(steer, "it sent what is no message");
	}
}

/* Takes what is there.  Returns how many messages. */
static int take_messages(struct loom_steer *steer)
{
	int count = 0;

	while (steer->conn >= 0 && count < TAKE_MAX) {
		union message message;
		/* Without room for descriptors the kernel closes any that come. */
		ssize_t len = recv(steer->conn, &message, sizeof(message),
				   MSG_DONTWAIT | MSG_TRUNC);

		if (len < 0 && errno == EINTR)
			continue;
		if (len < 0 && errno == EAGAIN)
			break;
		count++;
		if (len > 0) {
			take_message(steer, &message, (size_t)len);
			continue;
		}
		steer_set_error(steer, "cannot stay with loomd at %s: %s; it is tried again",
				steer->path, len < 0 ? strerror(errno) : "it has gone");
		link_drop(steer, steer->retry_ms);
	}
	return count;
}

static void connect_and_join(struct loom_steer *steer)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct epoll_event event = { .events = EPOLLIN };
	uint64_t cookie;

	if (steer_check_socket(steer->fd, &cookie) < 0 || cookie != steer->cookie) {
		steer_set_error(steer, "cannot join: the socket was closed meanwhile; call "
				       "loom_steer_close before close");
		steer->wanted = false;
		link_arm(steer);
		return;
	}
	steer->conn = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	strcpy(address.sun_path, steer->path);
	if (steer->conn < 0 ||
	    connect(steer->conn, (struct sockaddr *)&address, sizeof(address)) < 0 ||
	    epoll_ctl(steer->epoll, EPOLL_CTL_ADD, steer->conn, &event) < 0) {
		steer_set_error(steer,
				"cannot reach loomd at %s: %s; plain SO_REUSEPORT until it is "
				"there",
				steer->path, strerror(errno));
		link_drop(steer, steer->retry_ms);
		link_arm(steer); /* nothing the application has not seen */
		return;
	}
	send_join(steer);
}

int link_process(struct loom_steer *steer)
{
	int count;

	if (steer->step == LINK_NONE && steer->wanted && steer_now_ns() >= steer->retry_at_ns)
		connect_and_join(steer);
	count = take_messages(steer);
	if (steer->draining && steer->drain_until_ns && steer_now_ns() >= steer->drain_until_ns) {
		steer->draining = false;
		steer->drained = LOOM_STEER_DRAINED_TIMEOUT;
	}
	return count;
}

/* Until nothing is outstanding. */
static void wait_for_answer(struct loom_steer *steer)
{
	uint64_t until = steer_now_ns() + steer->timeout_ms * NSEC_PER_MSEC;

	while (steer->conn >= 0 && steer->waiting) {
		struct pollfd poll = { .fd = steer->conn, .events = POLLIN };
		uint64_t now = steer_now_ns();
		struct timespec left;

		if (now >= until) {
			steer_set_error(steer,
					"cannot wait for loomd at %s any longer: no answer within "
					"%u ms; it is tried again",
					steer->path, steer->timeout_ms);
			link_drop(steer, steer->retry_ms);
			return;
		}
		left = (struct timespec){ .tv_sec = (time_t)((until - now) / NSEC_PER_SEC),
					  .tv_nsec = (long)((until - now) % NSEC_PER_SEC) };
		if (ppoll(&poll, 1, &left, NULL) > 0 && take_messages(steer) > 0)
			link_arm_now(steer); /* events may have come with the answer */
	}
}

bool link_settle(struct loom_steer *steer)
{
	link_process(steer);
	while (steer->step != LINK_NONE && steer->step != LINK_UP)
		wait_for_answer(steer);
	return steer->step == LINK_UP;
}

int link_ask(struct loom_steer *steer, enum join_type type, void *message, size_t len)
{
	if (!send_message(steer, type, message, len, -1))
		return -ENOTCONN;
	wait_for_answer(steer);
	return steer->conn >= 0 ? steer->answer.status : -ENOTCONN;
}
