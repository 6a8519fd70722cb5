#include "verb.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "steer_archive.h"
#include "steer_ask.h"
#include "steer_host.h"
#include "steer_past.h"
#include "steer_pins.h"
#include "steer_report.h"

#define AUDIT_MAX 500 /* lines of the audit file that are taken over */

struct incident_options {
	const char *output;
	const char *pin_path;
	const char *state_dir;
};

static const struct args_option incident_options[] = {
	{ "output", 'o', ARGS_TEXT, offsetof(struct incident_options, output), "FILE",
	  "- is standard output (default:\n"
	  "                             loom-incident-GROUP-TIME.tar.gz)" },
	{ "pin-path", 0, ARGS_TEXT, offsetof(struct incident_options, pin_path), "DIR",
	  "ebpf.pin_path of that loomd (default: /sys/fs/bpf/loom)" },
	{ "state-dir", 0, ARGS_TEXT, offsetof(struct incident_options, state_dir), "DIR",
	  "its state_dir, where the audit log is (default: /var/lib/loom)" },
	{ 0 },
};

/* An answer of loomd's, or why there is none. */
struct incident_answer {
	const char *file;
	const char *action; /* of the group; NULL: the group itself */
	const char *path;   /* instead of a group's */
	json_t *json;	    /* owned */
	struct err err;
};

enum { ANSWER_GROUP, ANSWER_AUDIT, ANSWER_HISTORY, ANSWER_CAPABILITIES, ANSWERS };

struct incident {
	struct session *session;
	const char *name;
	struct incident_answer answers[ANSWERS];
	struct steer_read read; /* of ANSWER_GROUP */
	char dir[STEER_PINS_DIR_LEN];
	struct steer_pinned pinned[STEER_PINS_PARTS];
	struct err pinned_err;
	json_t *programs; /* owned */
	struct err programs_err;
};

/* The beginning of a refusal is kept: the next request forgets it. */
static void ask_all(struct incident *incident)
{
	static const struct incident_answer wanted[ANSWERS] = {
		[ANSWER_GROUP] = { .file = "group.json" },
		[ANSWER_AUDIT] = { .file = "audit.json", .action = "audit" },
		[ANSWER_HISTORY] = { .file = "history.json", .action = "history" },
		[ANSWER_CAPABILITIES] = { .file = "capabilities.json",
					  .path = "/steer/capabilities" },
	};

	for (size_t i = 0; i < ANSWERS; i++) {
		struct incident_answer *answer = &incident->answers[i];

		*answer = wanted[i];
		if (answer->path)
			client_get(incident->session->client, answer->path, &answer->json,
				   &answer->err);
		else
			steer_ask(incident->session, incident->name, answer->action, &answer->json,
				  &answer->err);
	}
}

static void read_group(struct incident *incident)
{
	struct incident_answer *answer = &incident->answers[ANSWER_GROUP];
	struct reply reply = { "GET /steer/groups/NAME", &answer->err };

	if (answer->json)
		steer_read(&reply, answer->json, &incident->read);
}

/* The audit log outlives loomd. */
static void read_audit_file(struct incident *incident, const char *state_dir)
{
	struct incident_answer *answer = &incident->answers[ANSWER_AUDIT];
	const char *instance = incident->session->options.instance;
	struct err err = { 0 };
	char path[512];

	if (answer->json)
		return;
	snprintf(path, sizeof(path), "%s/%s.audit.jsonl", state_dir ? state_dir : "/var/lib/loom",
		 instance ? instance : "default");
	answer->json = steer_past_read_file(path, incident->name, AUDIT_MAX, &err);
	if (!answer->json) {
		char why[sizeof(err.text)];

		snprintf(why, sizeof(why), "%.250s", answer->err.text);
		err_set(&answer->err, err.code, "%.250s; %s", err.text, why);
	}
}

/* loomd's own word, and what stands below it in the kernel; programs that it names, too. */
static void read_pins(struct incident *incident, const char *pin_path)
{
	const struct steer_read_group *group = incident->read.groups;
	struct err *err = &incident->programs_err;

	steer_pins_dir(pin_path, incident->session->options.instance, incident->dir);
	steer_pins_read(incident->dir, incident->name, incident->pinned, &incident->pinned_err);
	incident->programs = steer_pins_dump(incident->dir, incident->name, err);
	if (!incident->programs)
		incident->programs = json_pack("{s:s}", "error", err->text);
	if (incident->programs && group && incident->read.group_count && group->program)
		json_object_set_new(incident->programs, "attached program",
				    steer_pins_program((uint32_t)group->program));
}

static const struct steer_read_group *group_of(const struct incident *incident)
{
	return incident->read.group_count && !incident->answers[ANSWER_GROUP].err.code
		       ? &incident->read.groups[0]
		       : NULL;
}

static const char *answer_origin(const struct incident_answer *answer)
{
	return answer->err.code ? "from loomd's file" : "loomd's answer";
}

static void add_report(struct incident *incident, struct steer_archive *archive)
{
	char host[256] = "?";
	struct steer_report report = {
		.name = incident->name,
		.where = client_where(incident->session->client),
		.group = group_of(incident),
		.pinned = incident->pinned_err.code ? NULL : incident->pinned,
		.audit = incident->answers[ANSWER_AUDIT].json,
		.history = incident->answers[ANSWER_HISTORY].json,
		.daemon_error = incident->answers[ANSWER_GROUP].err.text,
		.pins_error = incident->pinned_err.text,
		.host = host,
		.now = (double)clock_wall_s(),
	};
	struct buf text;

	gethostname(host, sizeof(host) - 1);
	buf_init(&text);
	steer_report_write(&text, &report);
	buf_printf(&text, "\n6. What is in this archive\n--------------------------\n");
	for (size_t i = 0; i < ANSWERS; i++)
		buf_printf(&text, "%-18s %s\n", incident->answers[i].file,
			   incident->answers[i].json ? answer_origin(&incident->answers[i])
						     : incident->answers[i].err.text);
	buf_printf(&text, "%-18s %s\n%-18s %s\n%-18s %s\n", "programs.json",
		   incident->programs_err.code
			   ? incident->programs_err.text
			   : "what is pinned: programs, maps and their contents",
		   "kernel.txt", "kernel, sysctls", "sockets.txt", "who is bound to the port");
	if (buf_failed(&text))
		steer_archive_add_json(archive, "00-report.txt", NULL);
	else
		steer_archive_add(archive, "00-report.txt", text.data, text.len);
	buf_done(&text);
}

static void add_text(struct steer_archive *archive, const char *file, struct buf *text)
{
	if (buf_failed(text))
		steer_archive_add_json(archive, file, NULL);
	else
		steer_archive_add(archive, file, text->data ? text->data : "", text->len);
	buf_done(text);
}

static void add_host(struct incident *incident, struct steer_archive *archive)
{
	const struct steer_read_group *group = group_of(incident);
	const char *port = group ? strrchr(group->listen, ':') : NULL;
	uint64_t pid = 0;
	struct buf text;

	/* The group's network namespace is that of whoever holds a member. */
	for (size_t i = 0; group && !pid && i < group->member_count; i++)
		pid = group->members[i].pid;
	buf_init(&text);
	steer_host_kernel(&text);
	add_text(archive, "kernel.txt", &text);
	buf_init(&text);
	steer_host_sockets(&text, port ? (uint16_t)strtoul(port + 1, NULL, 10) : 0, pid);
	add_text(archive, "sockets.txt", &text);
}

static int write_archive(struct incident *incident, const char *path, const char *directory,
			 struct err *err)
{
	struct steer_archive *archive;
	int r = steer_archive_open(&archive, path, directory, err);

	if (r < 0)
		return r;
	add_report(incident, archive);
	for (size_t i = 0; i < ANSWERS; i++) {
		struct incident_answer *answer = &incident->answers[i];

		if (!answer->json)
			answer->json = json_pack("{s:s}", "error", answer->err.text);
		steer_archive_add_json(archive, answer->file, answer->json);
	}
	steer_archive_add_json(archive, "programs.json", incident->programs);
	add_host(incident, archive);
	return steer_archive_close(archive, err);
}

/* loom-incident-GROUP-20261121T030405Z: whatever the group is called, a file's name. */
static void default_name(const char *group, char text[160])
{
	time_t now = (time_t)clock_wall_s();
	char when[32] = "";
	struct tm tm;
	int n;

	if (gmtime_r(&now, &tm))
		strftime(when, sizeof(when), "%Y%m%dT%H%M%SZ", &tm);
	n = snprintf(text, 160, "loom-incident-%.64s-%s", group, when);
	for (int i = 0; i < n; i++)
		if (!isalnum((unsigned char)text[i]) && !strchr("-_.", text[i]))
			text[i] = '_';
}

static int print(const struct session *session, const char *path, bool daemon, struct err *err)
{
	json_t *json;
	int r;

	if (strcmp(path, "-") == 0)
		return 0;
	if (!session->options.json) {
		printf("%s: read 00-report.txt first: tar -xzOf %s --wildcards "
		       "'*/00-report.txt'%s\n",
		       path, path, daemon ? "" : "\nloomd did not answer: the pins alone speak");
		return 0;
	}
	json = json_pack("{s:s, s:b}", "file", path, "daemon", daemon);
	r = json ? session_print_json(session, json, stdout, err)
		 : err_set(err, -ENOMEM, "cannot print: out of memory");
	json_decref(json);
	return r;
}

static void incident_done(struct incident *incident)
{
	steer_read_done(&incident->read);
	for (size_t i = 0; i < ANSWERS; i++)
		json_decref(incident->answers[i].json);
	json_decref(incident->programs);
}

static int incident(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct incident_options *options = ctx;
	struct incident incident = { .session = session, .name = operands[0] };
	char directory[160];
	char path[192];
	struct err err = { 0 };
	int r;

	default_name(operands[0], directory);
	snprintf(path, sizeof(path), "%s.tar.gz", directory);
	ask_all(&incident);
	read_group(&incident);
	read_audit_file(&incident, options->state_dir);
	read_pins(&incident, options->pin_path);
	/* Neither loomd nor the pins know the group: the name is wrong. */
	if (incident.answers[ANSWER_GROUP].err.code == -EREMOTEIO && incident.pinned_err.code) {
		r = err_set(&err, -EBADMSG, "%s", incident.answers[ANSWER_GROUP].err.text);
	} else {
		const char *to = options->output ? options->output : path;

		r = write_archive(&incident, to, directory, &err);
		if (r == 0)
			r = print(session, to, group_of(&incident), &err);
	}
	incident_done(&incident);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

const struct verb cmd_steer_incident = {
	.name = "steer incident",
	.operands = "GROUP",
	.summary = "Write all that is known about a group into one tar.gz",
	.help = "00-report.txt in it is for people and comes first.  With loomd dead it holds "
		"what\n"
		"the pins and this machine tell, and says what is missing.\n",
	.options = incident_options,
	.options_size = sizeof(struct incident_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = incident,
};
