/* What keeps socket steering from working: asked of a loomd that runs and has groups. */
#include "doctor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "steer_odd.h"
#include "steer_read.h"

#define MIGRATE_PATH "/proc/sys/net/ipv4/tcp_migrate_req"

/* What loomd says of its groups.  err: why it says nothing. */
static int ask(struct doctor *doctor, json_t **ret_answer, struct steer_read *ret, struct err *err)
{
	struct reply reply = { "GET /steer/groups", err };

	*ret_answer = NULL;
	memset(ret, 0, sizeof(*ret));
	if (!doctor->client)
		return -ENOTCONN;
	if (client_get(doctor->client, "/steer/groups", ret_answer, err) < 0)
		return err->code;
	return steer_read(&reply, *ret_answer, ret);
}

/* ---- groups ---- */

static void report_group(struct doctor *doctor, const struct steer_read_group *group,
			 struct steer_odd *odds)
{
	static const enum doctor_severity severities[] = { DOCTOR_OK, DOCTOR_WARNING,
							   DOCTOR_PROBLEM };
	size_t count = steer_odd_find(group, odds, STEER_ODD_MAX);
	char subject[96];
	char state[96];
	bool odd = false;

	snprintf(subject, sizeof(subject), "group %s", group->name);
	for (size_t i = 0; i < count && odds[i].severity != STEER_ODD_NOTE; i++) {
		odd = true;
		doctor_find(doctor, severities[odds[i].severity], subject, "%s", odds[i].text);
		if (*odds[i].remedy)
			doctor_remedy(doctor, "%s", odds[i].remedy);
	}
	if (!odd)
		doctor_find(doctor, DOCTOR_OK, subject, "%zu members, %s, nothing is odd",
			    group->member_count, steer_odd_state(group, state, sizeof(state)));
}

/* A machine whose loomd does not steer, or that has none, is no finding unless it ought to. */
static void report_silence(struct doctor *doctor, const struct err *err)
{
	bool configured = doctor->config && doctor->config->steering.group_count;

	if (err->code == -ENOMEM)
		doctor->failed = true;
	else if (err->code == -EBADMSG || err->code == -EMSGSIZE)
		doctor_find(doctor, DOCTOR_PROBLEM, "steering", "%s", err->text);
	else if (configured)
		doctor_find(doctor, DOCTOR_WARNING, "steering",
			    "%zu groups are configured, of which nothing is known: %s",
			    doctor->config->steering.group_count, err->text);
}

static void report_groups(struct doctor *doctor, const struct steer_read *read)
{
	struct steer_odd *odds = calloc(STEER_ODD_MAX, sizeof(*odds));

	doctor->failed |= !odds;
	for (size_t i = 0; odds && i < read->group_count; i++)
		report_group(doctor, &read->groups[i], odds);
	free(odds);
}

static void check_groups(struct doctor *doctor)
{
	struct err err = { 0 };
	struct steer_read read;
	json_t *answer;

	if (ask(doctor, &answer, &read, &err) == 0)
		report_groups(doctor, &read);
	else
		report_silence(doctor, &err);
	steer_read_done(&read);
	json_decref(answer);
}

/* ---- migration ---- */

static void report_migration(struct doctor *doctor)
{
	long value;
	int r = doctor_read_number(MIGRATE_PATH, &value);

	if (r == 0 && value) {
		doctor_find(doctor, DOCTOR_OK, "net.ipv4.tcp_migrate_req",
			    "connections to accept move to another listener when theirs closes");
	} else if (r == 0) {
		doctor_find(doctor, DOCTOR_WARNING, "net.ipv4.tcp_migrate_req",
			    "it is 0: while Loom's program is not attached, a listener that closes "
			    "resets what it has not accepted");
		doctor_remedy(doctor, "sysctl -w net.ipv4.tcp_migrate_req=1");
	} else {
		doctor_find(doctor, DOCTOR_WARNING, "net.ipv4.tcp_migrate_req",
			    "cannot read it: %s; before Linux 5.14 connections do not migrate",
			    strerror(-r));
		doctor_remedy(doctor, "drain listeners before they close: loom steer swap");
	}
}

static void check_migration(struct doctor *doctor)
{
	struct err err = { 0 };
	struct steer_read read;
	json_t *answer;

	if (ask(doctor, &answer, &read, &err) == 0)
		for (size_t i = 0; i < read.group_count; i++)
			if (strcmp(read.groups[i].protocol, "tcp") == 0) {
				report_migration(doctor);
				break;
			}
	steer_read_done(&read);
	json_decref(answer);
}

/* ---- capabilities ---- */

static bool is_used(const struct steer_read *read, const char *policy)
{
	for (size_t i = 0; i < read->group_count; i++)
		if (strcmp(read->groups[i].policy, policy) == 0)
			return true;
	return false;
}

static void remedy_missing(struct doctor *doctor, const char *missing, const char *otherwise)
{
	bool capability = missing && strncmp(missing, "CAP_", 4) == 0;

	doctor_remedy(doctor, "%s",
		      capability ? "give it to loomd: AmbientCapabilities= of its unit"
				 : otherwise);
}

/* A policy that a group has must be possible; another one is worth knowing. */
static void report_policy(struct doctor *doctor, const struct steer_read *read, const char *policy,
			  const json_t *capability)
{
	const char *missing = json_string_value(json_object_get(capability, "missing"));
	char subject[96];

	snprintf(subject, sizeof(subject), "policy %s", policy);
	if (!json_is_false(json_object_get(capability, "possible"))) {
		if (is_used(read, policy))
			doctor_find(doctor, DOCTOR_OK, subject, "it is possible here");
		return;
	}
	doctor_find(doctor, is_used(read, policy) ? DOCTOR_PROBLEM : DOCTOR_WARNING, subject,
		    "it cannot be armed: %s is missing", missing ? missing : "something");
	remedy_missing(doctor, missing,
		       "choose another policy, or another kernel; see 'loom steer capabilities'");
}

/* What steering goes without.  That nothing can be selected, the policies tell. */
static void report_feature(struct doctor *doctor, const char *feature, const json_t *capability)
{
	const char *missing = json_string_value(json_object_get(capability, "missing"));
	const char *what = json_string_value(json_object_get(capability, "what"));
	char subject[96];

	if (!json_is_false(json_object_get(capability, "possible")) ||
	    strcmp(feature, "select") == 0)
		return;
	snprintf(subject, sizeof(subject), "feature %s", feature);
	doctor_find(doctor, DOCTOR_WARNING, subject, "steering goes without it (%s): %s is missing",
		    what ? what : "unknown to this loom", missing ? missing : "something");
	remedy_missing(doctor, missing, "do without, or boot a kernel that has it");
}

static void report_capabilities(struct doctor *doctor, const struct steer_read *read,
				const json_t *all)
{
	const json_t *one;
	const char *name;

	json_object_foreach(json_object_get(all, "policies"), name, one)
		report_policy(doctor, read, name, one);
	json_object_foreach(json_object_get(all, "features"), name, one)
		report_feature(doctor, name, one);
}

static void check_capabilities(struct doctor *doctor)
{
	struct err err = { 0 };
	struct steer_read read;
	json_t *groups;
	json_t *answer = NULL;

	if (ask(doctor, &groups, &read, &err) == 0 &&
	    client_get(doctor->client, "/steer/capabilities", &answer, NULL) == 0)
		report_capabilities(doctor, &read, json_object_get(answer, "capabilities"));
	steer_read_done(&read);
	json_decref(answer);
	json_decref(groups);
}

const struct doctor_check doctor_steer_checks[] = {
	{ "steering", false, check_groups },
	{ "steering", false, check_capabilities },
	{ "steering", false, check_migration },
	{ 0 },
};
