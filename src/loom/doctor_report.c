/* Findings as a person or a program reads them. */
#include <errno.h>
#include <string.h>

#include "doctor.h"

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

const char *doctor_severity_text(enum doctor_severity severity)
{
	return severities[severity];
}

json_t *doctor_json(const struct doctor *doctor)
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
	if (r) {
		json_decref(list);
		return NULL;
	}
	return list;
}

static int print_json(struct session *session, const struct doctor *doctor, struct err *err)
{
	json_t *list = doctor_json(doctor);
	int r;

	if (!list)
		return err_set(err, -ENOMEM, "cannot print the findings: out of memory");
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

int doctor_report(struct session *session, const struct doctor *doctor, struct err *err)
{
	return session->options.json ? print_json(session, doctor, err)
				     : print(session, doctor, err);
}
