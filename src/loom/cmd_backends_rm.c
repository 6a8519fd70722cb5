#include "verb.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"
#include "base/buf.h"
#include "base/clock.h"
#include "human.h"
#include "query.h"
#include "reply.h"
#include "text.h"

#define RM_POLL_MS 500

struct rm_options {
	const char *deadline;
	bool force;
	bool wait;
};

static const struct args_option rm_options[] = {
	{ "deadline", 0, ARGS_TEXT, offsetof(struct rm_options, deadline), "TIME",
	  "cut what is left of its connections then, as 30s or 5m" },
	{ "force", 0, ARGS_FLAG, offsetof(struct rm_options, force), NULL,
	  "cut its connections now" },
	{ "wait", 0, ARGS_FLAG, offsetof(struct rm_options, wait), NULL,
	  "return when its last connection has ended" },
	{ 0 },
};

/* Progress on standard error: one line that changes on a terminal, a line a change elsewhere. */
struct progress {
	bool in_place;
	char shown[128];
};

static void progress_show(struct progress *progress, const char *text)
{
	if (strcmp(progress->shown, text) == 0)
		return;
	snprintf(progress->shown, sizeof(progress->shown), "%s", text);
	fprintf(stderr, progress->in_place ? "\r%s\033[K" : "%s\n", text);
}

static void progress_done(const struct progress *progress)
{
	if (progress->in_place && *progress->shown)
		fputs("\r\033[K", stderr);
}

/* The removed backend in a listing, or NULL when it has gone; one that took its id since is
 * another. */
static const json_t *find_removed(struct reply *reply, const json_t *answer, uint32_t id)
{
	const json_t *backend;
	size_t i;

	json_array_foreach(reply_array(reply, answer, "backends"), i, backend)
	{
		const char *state = reply_text(reply, backend, "state");

		if (reply_count(reply, backend, "id") == id &&
		    (strcmp(state, "removed") == 0 || strcmp(state, "reset") == 0))
			return backend;
	}
	return NULL;
}

/* Returns 1 while the backend is there, 0 when it has gone, or -errno. */
static int poll_once(struct session *session, uint32_t id, struct progress *progress,
		     struct err *err)
{
	struct reply reply = { "GET /ebpf/backends", err };
	const json_t *backend;
	json_t *answer;
	char active[HUMAN_LEN];
	char left[HUMAN_LEN];
	char text[128];
	double deadline;
	int r = client_get(session->client, "/ebpf/backends", &answer, err);

	if (r < 0)
		return r;
	backend = find_removed(&reply, answer, id);
	if (backend) {
		human_si((double)reply_count(&reply, backend, "connections_active"), "", active);
		deadline = reply_number_or(&reply, backend, "deadline_seconds", -1);
		snprintf(text, sizeof(text), "backend %" PRIu32 ": %s connections left%s%s", id,
			 active, deadline < 0 ? "" : ", cut in ",
			 deadline < 0 ? "" : human_seconds(deadline, left));
		progress_show(progress, text);
	}
	r = reply_result(&reply);
	if (!r)
		r = backend != NULL;
	json_decref(answer);
	return r;
}

static int wait_until_gone(struct session *session, uint32_t id, struct err *err)
{
	const struct timespec pause = { .tv_nsec = RM_POLL_MS * (long)NSEC_PER_MSEC };
	struct progress progress = { .in_place = session->term.is_terminal &&
						 isatty(STDERR_FILENO) };
	int r;

	while ((r = poll_once(session, id, &progress, err)) == 1)
		nanosleep(&pause, NULL);
	progress_done(&progress);
	return r;
}

/* Owned by the caller; NULL if memory is short. */
static char *removal_path(uint32_t id, const struct rm_options *options)
{
	struct buf path;

	buf_init(&path);
	buf_printf(&path, "/ebpf/backends/%" PRIu32, id);
	query_add(&path, "deadline", options->deadline);
	query_add(&path, "force", options->force ? "true" : NULL);
	return buf_take(&path);
}

static void print_gone(uint32_t id, bool waited, const char *state, const char *active)
{
	if (waited)
		printf("backend %" PRIu32 " has gone\n", id);
	else if (strcmp(state, "reset") == 0)
		printf("backend %" PRIu32 " is removed, its connections are cut\n", id);
	else
		printf("backend %" PRIu32 " gets no new connections; it goes when the last of %s "
		       "has ended\n",
		       id, active);
}

static int print(struct session *session, uint32_t id, bool waited, const json_t *backend,
		 struct err *err)
{
	struct reply reply = { "DELETE /ebpf/backends/ID", err };
	const char *state = reply_text(&reply, backend, "state");
	char active[HUMAN_LEN];

	if (session->options.json)
		return session_print_json(session, backend, stdout, err);
	human_si((double)reply_count(&reply, backend, "connections_active"), "", active);
	if (!reply_result(&reply))
		print_gone(id, waited, state, active);
	return reply_result(&reply);
}

static int rm(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct rm_options *options = ctx;
	struct client_request request = { .method = "DELETE" };
	struct err err = { 0 };
	json_t *backend = NULL;
	char *path;
	uint32_t id;
	int r;

	if (backend_parse_id(operands[0], &id, &err) < 0)
		return session_usage("backends rm", &err);
	path = removal_path(id, options);
	request.path = path;
	r = path ? client_send(session->client, &request, &backend, &err)
		 : err_set(&err, -ENOMEM, "cannot ask loomd: out of memory");
	if (!r && options->wait)
		r = wait_until_gone(session, id, &err);
	if (!r)
		r = print(session, id, options->wait, backend, &err);
	json_decref(backend);
	free(path);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

const struct verb cmd_backends_rm = {
	.name = "backends rm",
	.operands = "ID",
	.summary = "Remove a backend",
	.help = "It gets no new connection from now on and goes when its last one has ended.\n",
	.options = rm_options,
	.options_size = sizeof(struct rm_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = rm,
};
