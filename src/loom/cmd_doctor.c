#include "verb.h"

#include <errno.h>
#include <string.h>

#include "doctor.h"
#include "text.h"

struct doctor_options {
	const char *config;
};

static const char *const severities[] = {
	[DOCTOR_OK] = "ok",
	[DOCTOR_WARNING] = "warning",
	[DOCTOR_PROBLEM] = "problem",
};

static const enum term_colour colours[] = {
	[DOCTOR_OK] = TERM_GOOD,
	[DOCTOR_WARNING] = TERM_WARN,
	[DOCTOR_PROBLEM] = TERM_BAD,
};

static int print_json(struct session *session, const struct doctor *doctor, struct err *err)
{
	json_t *list = json_array();
	int r = list ? 0 : -ENOMEM;

	for (size_t i = 0; r == 0 && i < doctor->count; i++) {
		const struct doctor_finding *f = &doctor->findings[i];

		r = json_array_append_new(
			list, json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", f->check, "subject",
					f->subject, "severity", severities[f->severity], "finding",
					f->finding, "remedy", f->remedy));
	}
	if (r)
		err_set(err, -ENOMEM, "cannot print the findings: out of memory");
	else
		r = session_print_json(session, list, stdout, err);
	json_decref(list);
	return r;
}

static int print(struct session *session, const struct doctor *doctor, struct err *err)
{
	static const struct table_column columns[] = { { "SUBJECT" }, { "" }, { "FINDING" } };
	struct table *table = session_table(session, columns, 3);
	const char *subject = "";
	size_t counts[3] = { 0 };
	int r;

	for (size_t i = 0; i < doctor->count; i++) {
		const struct doctor_finding *f = &doctor->findings[i];

		table_row(table);
		table_cell(table, TERM_PLAIN, "%s", strcmp(subject, f->subject) ? f->subject : "");
		table_cell(table, colours[f->severity], "%s", severities[f->severity]);
		table_cell(table, TERM_PLAIN, "%s", f->finding);
		if (*f->remedy) {
			table_row(table);
			table_cell(table, TERM_PLAIN, "%s", "");
			table_cell(table, TERM_PLAIN, "%s", "");
			table_cell(table, TERM_PLAIN, "-> %s", f->remedy);
		}
		subject = f->subject;
		counts[f->severity]++;
	}
	r = session_print_table(table, stdout, err);
	if (r == 0)
		printf("\n%zu ok, %zu warning%s, %zu problem%s\n", counts[DOCTOR_OK],
		       counts[DOCTOR_WARNING], counts[DOCTOR_WARNING] == 1 ? "" : "s",
		       counts[DOCTOR_PROBLEM], counts[DOCTOR_PROBLEM] == 1 ? "" : "s");
	return r;
}

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

static int examine(struct session *session, const struct config *config, struct err *err)
{
	struct doctor doctor;
	int r = doctor_init(&doctor, config, err);

	if (r == 0)
		r = doctor_run(&doctor, err);
	if (r == 0)
		r = session->options.json ? print_json(session, &doctor, err)
					  : print(session, &doctor, err);
	if (r == 0 && doctor_worst(&doctor) == DOCTOR_PROBLEM)
		r = SESSION_REFUSED;
	doctor_done(&doctor);
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
	.help = "Needs no loomd.  Each finding is ok, a warning or a problem, with its remedy.\n"
		"Exit code 1: there are problems, or the configuration has errors.\n",
	.options = options,
	.options_size = sizeof(struct doctor_options),
	.without_daemon = true,
	.run = doctor,
};
