/* READY=1, as sd_notify(3) sends it. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "exec_internal.h"

static bool says_ready(const char *text)
{
	for (;;) {
		size_t len = strcspn(text, "\n");

		if (len == strlen("READY=1") && memcmp(text, "READY=1", len) == 0)
			return true;
		if (!text[len])
			return false;
		text += len + 1;
	}
}

static void ready_is(struct exec *exec, pid_t pid)
{
	size_t i;

	for (i = 0; i < exec->options->workers; i++) {
		struct exec_place *place = &exec->places[i];
		struct exec_worker *worker = place->now->pid == pid ? place->now : place->next;

		if (worker->pid == pid && worker->state == EXEC_STARTING)
			exec_try_ready(exec, worker);
	}
}

/* Whose word it is, the kernel says. */
static pid_t sender(struct msghdr *msg)
{
	struct cmsghdr *at;
	struct ucred cred;

	for (at = CMSG_FIRSTHDR(msg); at; at = CMSG_NXTHDR(msg, at)) {
		if (at->cmsg_level != SOL_SOCKET || at->cmsg_type != SCM_CREDENTIALS)
			continue;
		memcpy(&cred, CMSG_DATA(at), sizeof(cred));
		return cred.pid;
	}
	return 0;
}

static void on_notify(void *ctx, uint32_t events)
{
	struct exec *exec = ctx;
	char text[4096];
	char control[CMSG_SPACE(sizeof(struct ucred))];
	struct iovec iov = { .iov_base = text, .iov_len = sizeof(text) - 1 };
	struct msghdr msg = {
		.msg_iov = &iov,
		.msg_iovlen = 1,
		.msg_control = control,
		.msg_controllen = sizeof(control),
	};
	ssize_t len = recvmsg(exec->notify_fd, &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);

	if (len < 0)
		return;
	text[len] = '\0';
	if (says_ready(text))
		ready_is(exec, sender(&msg));
	exec_arm(exec);
}

int exec_notify_open(struct exec *exec, struct err *err)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	socklen_t length = sizeof(sa_family_t); /* the kernel chooses an abstract name */
	int on = 1, r;

	exec->notify_fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (exec->notify_fd < 0 ||
	    setsockopt(exec->notify_fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof(on)) < 0 ||
	    bind(exec->notify_fd, (struct sockaddr *)&address, length) < 0)
		goto fail;
	length = sizeof(address);
	if (getsockname(exec->notify_fd, (struct sockaddr *)&address, &length) < 0)
		goto fail;
	snprintf(exec->notify, sizeof(exec->notify), "@%.*s",
		 (int)(length - sizeof(sa_family_t) - 1), address.sun_path + 1);
	r = loop_add_fd(exec->loop, exec->notify_fd, EPOLLIN, on_notify, exec, NULL);
	if (r == 0)
		return 0;
	errno = -r;
fail:
	return err_set(err, -errno, "cannot open a socket for READY=1: %s; try without --notify",
		       strerror(errno));
}
