#include "exec_worker.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"

#define FIRST_FD 3 /* SD_LISTEN_FDS_START */
#define ABOVE_FD 64

void exec_say(const char *fmt, ...)
{
	char line[1024];
	va_list args;

	va_start(args, fmt);
	vsnprintf(line, sizeof(line), fmt, args);
	va_end(args);
	fprintf(stderr, "loom exec: %s\n", line);
}

static int open_socket(const struct exec_listen *listen, struct err *err)
{
	int fd = loom_steer_bind((const struct sockaddr *)&listen->address, listen->length,
				 listen->protocol, 0);

	if (fd < 0)
		return err_set(err, fd,
			       "cannot listen on %s: %s; see who does ('ss -lnp') and whether it "
			       "has SO_REUSEPORT and this user",
			       listen->text, strerror(-fd));
	/* As programs expect an inherited socket; those that want it otherwise say so. */
	if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) & ~O_NONBLOCK) < 0) {
		int r = -errno;

		close(fd);
		return err_set(err, r, "cannot listen on %s: %s; try again", listen->text,
			       strerror(-r));
	}
	return fd;
}

static int join(struct exec_worker *worker, const struct exec_plan *plan, size_t i, struct err *err)
{
	const struct exec_listen *listen = &plan->listens[i];
	char label[32];
	const struct loom_steer_options options = {
		.size = sizeof(options),
		.group = listen->group,
		.label = label,
		.socket = plan->socket,
		.weight = plan->weight,
		.generation = worker->generation,
	};
	int r;

	snprintf(label, sizeof(label), "worker %u", worker->number);
	r = loom_steer_join(&worker->steers[i], &options, worker->fds[i]);
	if (r < 0)
		return err_set(err, r, "cannot join with %s: %s; check --group and --socket",
			       listen->text, strerror(-r));
	return 0;
}

static void print_membership(struct exec_worker *worker, const struct exec_plan *plan, size_t i,
			     bool first)
{
	struct loom_steer *steer = worker->steers[i];
	enum loom_steer_state state = loom_steer_state(steer);

	if (!first && state == worker->told[i])
		return;
	worker->told[i] = state;
	if (state == LOOM_STEER_STEERED)
		exec_say("worker %u is member %d of the group of %s", worker->number,
			 loom_steer_slot(steer), plan->listens[i].text);
	else
		exec_say("worker %u is not steered on %s: %s", worker->number,
			 plan->listens[i].text, loom_steer_error(steer));
}

void exec_worker_process(struct exec_worker *worker, const struct exec_plan *plan)
{
	size_t i;

	for (i = 0; i < worker->count; i++) {
		loom_steer_process(worker->steers[i]);
		if (worker->state != EXEC_STOPPING)
			print_membership(worker, plan, i, false);
	}
}

void exec_worker_release(struct exec_worker *worker, struct loop *loop)
{
	size_t i;

	for (i = 0; i < worker->count; i++) {
		loop_remove_fd(loop, worker->watches[i]);
		loom_steer_close(worker->steers[i]);
		if (worker->fds[i] >= 0)
			close(worker->fds[i]);
		worker->watches[i] = NULL;
		worker->steers[i] = NULL;
		worker->fds[i] = -1;
	}
	worker->count = 0;
}

static int open_all(struct exec_worker *worker, const struct exec_plan *plan, struct loop *loop,
		    loop_fd_fn fn, void *ctx, struct err *err)
{
	size_t i;
	int r;

	for (i = 0; i < plan->listen_count; i++) {
		worker->count = i + 1;
		worker->fds[i] = open_socket(&plan->listens[i], err);
		if (worker->fds[i] < 0)
			return worker->fds[i];
		r = join(worker, plan, i, err);
		if (r < 0)
			return r;
		print_membership(worker, plan, i, true);
		r = loop_add_fd(loop, loom_steer_fd(worker->steers[i]), EPOLLIN, fn, ctx,
				&worker->watches[i]);
		if (r < 0)
			return err_set(err, r, "cannot wait for loomd: %s; free some memory",
				       strerror(-r));
	}
	return 0;
}

/* In the child from here on: nothing may fail silently, and nothing returns. */

static void put_number(const char *name, long value)
{
	char text[32];

	snprintf(text, sizeof(text), "%ld", value);
	setenv(name, text, 1);
}

/* A list of all addresses, divided by ':' as sd_listen_fds_with_names(3) says, or by ' '. */
static void put_addresses(const char *name, const struct exec_plan *plan, char divider)
{
	char text[EXEC_LISTEN_MAX * EXEC_LISTEN_LEN + 1] = "";
	size_t i, len = 0;

	for (i = 0; i < plan->listen_count; i++) {
		size_t from = len;

		len += (size_t)snprintf(text + len, sizeof(text) - len, "%.*s%s", i ? 1 : 0,
					&divider, plan->listens[i].text);
		for (from += i ? 1 : 0; divider == ':' && from < len; from++)
			if (text[from] == ':')
				text[from] = '-';
	}
	setenv(name, text, 1);
}

static void set_environment(const struct exec_worker *worker, const struct exec_plan *plan)
{
	const char *preload = getenv("LD_PRELOAD");
	char text[4096];

	put_number("LOOM_WORKER", worker->number);
	put_number("LOOM_GENERATION", worker->generation);
	put_number("LOOM_SLOT", loom_steer_slot(worker->steers[0]));
	if (loom_steer_slot(worker->steers[0]) < 0)
		unsetenv("LOOM_SLOT");
	unsetenv("NOTIFY_SOCKET");
	if (plan->notify)
		setenv("NOTIFY_SOCKET", plan->notify, 1);
	if (!plan->hook) {
		put_number("LISTEN_PID", getpid());
		put_number("LISTEN_FDS", (long)plan->listen_count);
		put_addresses("LISTEN_FDNAMES", plan, ':');
		return;
	}
	put_addresses("LOOM_BIND", plan, ' ');
	put_number("LOOM_BIND_FD", FIRST_FD);
	snprintf(text, sizeof(text), "%s%s%s", plan->hook, preload ? ":" : "",
		 preload ? preload : "");
	setenv("LD_PRELOAD", text, 1);
}

/* The sockets at FIRST_FD and on; everything else of ours is close-on-exec. */
static int place_sockets(const struct exec_worker *worker)
{
	int above[EXEC_LISTEN_MAX];
	size_t i;

	for (i = 0; i < worker->count; i++) {
		above[i] = fcntl(worker->fds[i], F_DUPFD_CLOEXEC, ABOVE_FD);
		if (above[i] < 0)
			return -errno;
	}
	for (i = 0; i < worker->count; i++)
		if (dup2(above[i], FIRST_FD + (int)i) < 0)
			return -errno;
	return 0;
}

static _Noreturn void run(const struct exec_worker *worker, const struct exec_plan *plan,
			  pid_t parent, int tell_fd)
{
	sigset_t none;
	int r;

	/* Workers without a supervisor would be nobody's: nobody drains or restarts them. */
	prctl(PR_SET_PDEATHSIG, SIGTERM);
	if (getppid() != parent)
		_exit(1);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
	set_environment(worker, plan);
	tell_fd = fcntl(tell_fd, F_DUPFD_CLOEXEC, ABOVE_FD);
	r = place_sockets(worker);
	if (r == 0) {
		execvp(plan->argv[0], plan->argv);
		r = -errno;
	}
	(void)!write(tell_fd, &r, sizeof(r));
	_exit(127);
}

/* Starts the process; returns when the program runs, or -errno of execve. */
static int start_process(struct exec_worker *worker, const struct exec_plan *plan, struct err *err)
{
	int tell[2], r = 0;
	pid_t parent = getpid();

	if (pipe2(tell, O_CLOEXEC) < 0)
		return err_set(err, -errno, "cannot start a worker: %s; raise LimitNOFILE",
			       strerror(errno));
	worker->pid = fork();
	if (worker->pid == 0)
		run(worker, plan, parent, tell[1]);
	close(tell[1]);
	if (worker->pid < 0) {
		worker->pid = 0;
		r = err_set(err, -errno, "cannot start a worker: %s; raise TasksMax",
			    strerror(errno));
	} else if (read(tell[0], &r, sizeof(r)) == sizeof(r)) {
		waitpid(worker->pid, NULL, 0);
		worker->pid = 0;
		err_set(err, r, "cannot run %s: %s; check its path and mode", plan->argv[0],
			strerror(-r));
	}
	close(tell[0]);
	return r;
}

int exec_worker_start(struct exec_worker *worker, const struct exec_plan *plan, struct loop *loop,
		      loop_fd_fn fn, void *ctx, struct err *err)
{
	int r = open_all(worker, plan, loop, fn, ctx, err);

	if (r == 0)
		r = start_process(worker, plan, err);
	if (r < 0) {
		exec_worker_release(worker, loop);
		return r;
	}
	worker->state = EXEC_STARTING;
	worker->started_ns = clock_now_ns();
	worker->warned = false;
	return 0;
}

/* The hook gives a socket's number back when the program takes it by bind: what still stands there
 * was not taken. */
bool exec_worker_took_all(const struct exec_worker *worker, size_t *ret_missing)
{
	size_t i;

	for (i = 0; i < worker->count; i++) {
		char path[64];
		struct stat ours, theirs;

		snprintf(path, sizeof(path), "/proc/%d/fd/%zu", worker->pid, FIRST_FD + i);
		if (stat(path, &theirs) < 0 || fstat(worker->fds[i], &ours) < 0)
			continue;
		*ret_missing = i;
		if (ours.st_dev == theirs.st_dev && ours.st_ino == theirs.st_ino)
			return false;
	}
	return true;
}

void exec_worker_ready(struct exec_worker *worker)
{
	size_t i;

	worker->state = EXEC_READY;
	worker->due_ns = 0;
	for (i = 0; i < worker->count; i++)
		if (loom_steer_ready(worker->steers[i]) < 0)
			exec_say("worker %u: %s", worker->number,
				 loom_steer_error(worker->steers[i]));
}

void exec_worker_drain(struct exec_worker *worker, uint32_t deadline_ms)
{
	size_t i;

	worker->state = EXEC_DRAINING;
	worker->due_ns = 0; /* libloom keeps the deadline */
	for (i = 0; i < worker->count; i++)
		if (loom_steer_drain(worker->steers[i], deadline_ms) < 0)
			exec_say("worker %u: %s", worker->number,
				 loom_steer_error(worker->steers[i]));
}

bool exec_worker_is_drained(struct exec_worker *worker)
{
	size_t i;

	for (i = 0; i < worker->count; i++)
		if (loom_steer_drained(worker->steers[i]) == LOOM_STEER_NOT_DRAINED)
			return false;
	return true;
}
