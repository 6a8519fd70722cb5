/* exec: N workers, each with sockets of its own, as members of steering groups. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "abi/join_abi.h"
#include "base/clock.h"
#include "exec_supervise.h"
#include "verb.h"

#define HOOK_ENV "LOOM_BIND_LIBRARY"

struct options {
	struct args_texts listens;
	struct args_texts groups;
	struct args_number workers;
	struct args_number weight;
	struct args_number generation;
	struct args_number ready_after;
	struct args_number drain_timeout;
	bool hook;
	bool restart;
	bool notify;
};

#define OPTION(member) offsetof(struct options, member)

static const struct args_option exec_options[] = {
	{ "listen", 0, ARGS_TEXTS, OPTION(listens), "PROTOCOL:[ADDRESS:]PORT",
	  "where workers listen; may be repeated" },
	{ "workers", 0, ARGS_NUMBER, OPTION(workers), "N", "how many (default: 1)", 1,
	  EXEC_WORKERS_MAX },
	{ "group", 0, ARGS_TEXTS, OPTION(groups), "NAME",
	  "the steering group of the --listen of the same turn (default: by address)" },
	{ "weight", 0, ARGS_NUMBER, OPTION(weight), "N", "each worker's share (default: 100)", 1,
	  JOIN_MAX_WEIGHT },
	{ "generation", 0, ARGS_NUMBER, OPTION(generation), "N",
	  "of the first workers (default: 0)", 0, UINT32_MAX / 2 },
	{ "ready-after", 0, ARGS_NUMBER, OPTION(ready_after), "MILLISECONDS",
	  "a worker that lived as long is ready (default: 1000)", 0, 3600000 },
	{ "notify", 0, ARGS_FLAG, OPTION(notify), NULL,
	  "a worker is ready when it says so, by sd_notify" },
	{ "drain-timeout", 0, ARGS_NUMBER, OPTION(drain_timeout), "SECONDS",
	  "for a worker that is replaced to be empty, and then to end (default: 30)", 1, 86400 },
	{ "restart", 0, ARGS_FLAG, OPTION(restart), NULL, "start a worker again when it dies" },
	{ "hook", 0, ARGS_FLAG, OPTION(hook), NULL,
	  "the program binds by itself: its sockets are put in place of its own" },
	{ 0 },
};

static int read_listens(const struct options *options, struct exec_plan *plan, struct err *err)
{
	size_t i;
	int r;

	if (!options->listens.count)
		return err_set(err, -EINVAL,
			       "cannot tell where to listen: say it with --listen udp:4433");
	if (options->listens.count > EXEC_LISTEN_MAX)
		return err_set(err, -EINVAL, "cannot take more than %d --listen", EXEC_LISTEN_MAX);
	if (options->groups.count > options->listens.count)
		return err_set(err, -EINVAL, "cannot take more --group than --listen");
	for (i = 0; i < options->listens.count; i++) {
		r = exec_listen_parse(options->listens.text[i], &plan->listens[i], err);
		if (r < 0)
			return r;
		if (i >= options->groups.count)
			continue;
		plan->listens[i].group = options->groups.text[i];
		if (strlen(plan->listens[i].group) >= JOIN_GROUP_LEN)
			return err_set(err, -EINVAL,
				       "cannot join '%s': a group's name has at most %d bytes",
				       plan->listens[i].group, JOIN_GROUP_LEN - 1);
	}
	plan->listen_count = options->listens.count;
	return 0;
}

static int find_hook(struct exec_plan *plan, struct err *err)
{
	plan->hook = getenv(HOOK_ENV);
	if (!plan->hook)
		plan->hook = LOOM_BIND_LIBRARY;
	if (access(plan->hook, R_OK) == 0)
		return 0;
	return err_set(err, -errno,
		       "cannot load %s: %s; install Loom's libraries, or name it in " HOOK_ENV,
		       plan->hook, strerror(errno));
}

/* --socket, or --instance's, or libloom's default. */
static const char *socket_path(const struct session *session, char *buffer, size_t size)
{
	if (session->options.socket)
		return session->options.socket;
	if (!session->options.instance)
		return NULL;
	snprintf(buffer, size, JOIN_SOCKET_FORMAT, session->options.instance);
	return buffer;
}

static uint64_t or_default(const struct args_number *number, uint64_t value)
{
	return number->given ? number->value : value;
}

/* The operands, with the NULL that execve wants. */
static char **command_of(char **operands, size_t count)
{
	char **argv = calloc(count + 1, sizeof(*argv));

	if (argv)
		memcpy(argv, operands, count * sizeof(*argv));
	return argv;
}

static int run(struct session *session, const void *given, char **operands, size_t count)
{
	const struct options *options = given;
	struct exec_options exec = {
		.workers = (unsigned int)or_default(&options->workers, 1),
		.generation = (uint32_t)or_default(&options->generation, 0),
		.restart = options->restart,
		.by_notify = options->notify,
		.ready_after_ns = or_default(&options->ready_after, 1000) * NSEC_PER_MSEC,
		.drain_timeout_ns = or_default(&options->drain_timeout, 30) * NSEC_PER_SEC,
	};
	struct err err = { 0 };
	char path[108];
	int code = SESSION_OK, r;

	exec.plan.weight = (uint32_t)or_default(&options->weight, 0);
	exec.plan.socket = socket_path(session, path, sizeof(path));
	r = read_listens(options, &exec.plan, &err);
	if (r == 0 && options->hook)
		r = find_hook(&exec.plan, &err);
	if (r < 0)
		return session_fail(session, &err);
	exec.plan.argv = command_of(operands, count);
	if (!exec.plan.argv) {
		err_set(&err, -ENOMEM, "cannot start: out of memory");
		return session_fail(session, &err);
	}
	r = exec_supervise(&exec, &code, &err);
	free(exec.plan.argv);
	return r < 0 ? session_fail(session, &err) : code;
}

const struct verb cmd_exec = {
	.name = "exec",
	.operands = "-- COMMAND [ARGUMENT...]",
	.summary = "Run a program as workers of steering groups",
	.help = "Each worker gets sockets of its own for every --listen: as LISTEN_FDS\n"
		"(sd_listen_fds(3)), or with --hook in place of those it binds.  SIGHUP\n"
		"replaces the workers one after the other.  See loom-exec(8).\n",
	.options = exec_options,
	.options_size = sizeof(struct options),
	.operands_min = 1,
	.operands_max = SIZE_MAX,
	.without_daemon = true,
	.run = run,
};
