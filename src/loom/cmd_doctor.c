#include "verb.h"

#include <errno.h>
#include <string.h>

#include "doctor.h"
#include "text.h"

struct doctor_options {
	const char *config;
};

static void print_complaints(const struct buf *complaints)
{
	struct buf safe;

	buf_init(&safe);
	text_append(&safe, complaints->data, true);
	fputs(safe.data ? safe.data : "", stderr);
	buf_done(&safe);
}

static int load(const char *path, struct config **ret, struct err *err)
{
	struct buf complaints;
	int r;

	buf_init(&complaints);
	r = config_load(&path, 1, ret, &complaints);
	if (complaints.len)
		print_complaints(&complaints);
	buf_done(&complaints);
	if (r < 0)
		/* Not -EINVAL: it is the file that makes no sense. */
		return err_set(err, -EBADMSG, "cannot use %s: %s; correct it and try again", path,
			       r == -EINVAL ? "it has errors" : strerror(-r));
	return 0;
}

/* What loomd knows is asked for if it runs; options that make no sense are errors. */
static int find_daemon(struct session *session, const struct config *config, struct err *err)
{
	const struct session_options *options = &session->options;
	const struct client_options where = {
		.instance = options->instance || options->url || !config ? options->instance
									 : config->instance,
		.socket = options->socket,
		.url = options->url,
		.token_file = options->token_file,
	};

	return client_open(&session->client, &where, err);
}

static int examine(struct session *session, const struct config *config, struct err *err)
{
	struct doctor doctor;
	int r = doctor_init(&doctor, config, err);

	if (r == 0)
		r = find_daemon(session, config, err);
	doctor.client = session->client;
	if (r == 0)
		r = doctor_run(&doctor, err);
	if (r == 0)
		r = doctor_report(session, &doctor, err);
	if (r == 0 && doctor_worst(&doctor) == DOCTOR_PROBLEM)
		r = SESSION_REFUSED;
	doctor_done(&doctor);
	client_close(session->client);
	session->client = NULL;
	return r;
}

static int doctor(struct session *session, const void *options, char **operands, size_t count)
{
	const struct doctor_options *my = options;
	struct config *config = NULL;
	struct err err = { 0 };
	int r = my->config ? load(my->config, &config, &err) : 0;

	if (r == 0)
		r = examine(session, config, &err);
	config_free(config);
	return r < 0 ? session_fail(session, &err) : r;
}

static const struct args_option options[] = {
	{ "config", 'c', ARGS_TEXT, offsetof(struct doctor_options, config), "FILE",
	  "loomd's configuration: look at its interfaces, backends and ports, too" },
	{ 0 },
};

const struct verb cmd_doctor = {
	.name = "doctor",
	.operands = "",
	.summary = "Tell what will stop Loom from working on this machine",
	.help = "Needs no loomd; one that runs and steers is asked about its groups.  Each finding "
		"is ok, a warning or a problem, with its remedy.\n"
		"Exit code 1: there are problems, or the configuration has errors.\n",
	.options = options,
	.options_size = sizeof(struct doctor_options),
	.without_daemon = true,
	.run = doctor,
};
