#include "verb.h"

#include <errno.h>
#include <string.h>

#include "decap_check.h"
#include "decap_show.h"

#define PIN_PATH "/sys/fs/bpf/loom-decap"

struct decap_options {
	struct args_texts interfaces;
	struct args_texts vips;
	const char *mode;
	const char *pin_path;
	struct args_number gue_port;
	bool show;
	bool detach;
	bool check;
};

/* What the options ask for; borrows from them. */
struct wanted {
	struct decap_setup setup;
	struct addr vips[DECAP_MAX_VIPS];
};

/* ---- the command line ---- */

static int read_vips(const struct decap_options *my, struct wanted *wanted, struct err *err)
{
	_Static_assert((int)ARGS_TEXTS_MAX <= (int)DECAP_MAX_VIPS, "each has room");
	for (size_t i = 0; i < my->vips.count; i++) {
		if (addr_parse(my->vips.text[i], &wanted->vips[i]) < 0 ||
		    !addr_is_unicast(&wanted->vips[i]))
			return err_set(err, -EINVAL,
				       "cannot use '%s' as a VIP: it is no address of one host",
				       my->vips.text[i]);
	}
	wanted->setup.vips = wanted->vips;
	wanted->setup.vip_count = my->vips.count;
	return 0;
}

static int read_setup(const struct decap_options *my, struct wanted *wanted, struct err *err)
{
	if (!my->interfaces.count || !my->vips.count)
		return err_set(err, -EINVAL,
			       "cannot run 'decap': it needs --iface IF and --vip "
			       "ADDR, or one of --show and --detach");
	if (my->interfaces.count > DECAP_MAX_INTERFACES)
		return err_set(err, -EINVAL, "cannot use %zu interfaces: %d is the most",
			       my->interfaces.count, DECAP_MAX_INTERFACES);
	for (size_t i = 1; i < my->interfaces.count; i++)
		for (size_t k = 0; k < i; k++)
			if (!strcmp(my->interfaces.text[i], my->interfaces.text[k]))
				return err_set(err, -EINVAL, "cannot use '%s' twice",
					       my->interfaces.text[i]);
	if (my->mode && strcmp(my->mode, "native") != 0 && strcmp(my->mode, "generic") != 0)
		return err_set(err, -EINVAL,
			       "cannot use '%s' as the mode: it is neither native nor generic",
			       my->mode);
	wanted->setup.interfaces = my->interfaces.text;
	wanted->setup.interface_count = my->interfaces.count;
	wanted->setup.generic = my->mode && !strcmp(my->mode, "generic");
	wanted->setup.gue_port = my->gue_port.given ? (uint16_t)my->gue_port.value : DECAP_GUE_PORT;
	return read_vips(my, wanted, err);
}

static int read_options(const struct decap_options *my, struct wanted *wanted, struct err *err)
{
	bool sets = my->interfaces.count || my->vips.count || my->mode || my->gue_port.given;

	wanted->setup.pin_dir = my->pin_path ? my->pin_path : PIN_PATH;
	if (my->show + my->detach + my->check > 1)
		return err_set(err, -EINVAL,
			       "cannot do two things at once: give one of --show, --detach and "
			       "--check");
	if (!my->show && !my->detach)
		return read_setup(my, wanted, err);
	if (sets)
		return err_set(err, -EINVAL, "cannot set up and --%s at once: leave one out",
			       my->show ? "show" : "detach");
	return 0;
}

/* ---- what it does ---- */

static int show(struct session *session, const char *pin_dir, json_t *findings, struct err *err)
{
	struct decap_state state;
	int r = decap_read(pin_dir, &state, err);

	return r < 0 ? r : decap_show(session, &state, findings, err);
}

static int detach(struct session *session, const char *pin_dir, struct err *err)
{
	size_t count;
	int r = decap_detach(pin_dir, &count, err);

	if (r < 0)
		return r;
	if (session->options.json)
		printf("{\"detached\": %zu}\n", count);
	else
		printf("detached from %zu interface%s\n", count, count == 1 ? "" : "s");
	return 0;
}

static int check(struct session *session, const struct decap_setup *setup, struct err *err)
{
	struct doctor doctor;
	int r = doctor_init(&doctor, NULL, err);

	if (r == 0)
		r = decap_check(&doctor, setup, err);
	if (r == 0)
		r = doctor_report(session, &doctor, err);
	if (r == 0 && doctor_worst(&doctor) == DOCTOR_PROBLEM)
		r = SESSION_REFUSED;
	doctor_done(&doctor);
	return r;
}

/* Aside, on standard error: the set-up itself is done. */
static void warn(const struct doctor *doctor)
{
	for (size_t i = 0; i < doctor->count; i++) {
		const struct doctor_finding *f = &doctor->findings[i];

		if (f->severity == DOCTOR_OK)
			continue;
		fprintf(stderr, "loom: %s: %s: %s%s%s\n", doctor_severity_text(f->severity),
			f->subject, f->finding, *f->remedy ? "; " : "", f->remedy);
	}
}

static int set_up(struct session *session, const struct decap_setup *setup, struct err *err)
{
	struct doctor doctor;
	json_t *findings = NULL;
	int r = decap_apply(setup, err);

	if (r < 0)
		return r;
	r = doctor_init(&doctor, NULL, err);
	if (r == 0)
		r = decap_check(&doctor, setup, err);
	if (r == 0 && session->options.json) {
		findings = doctor_json(&doctor);
		if (!findings)
			r = err_set(err, -ENOMEM, "cannot print the findings: out of memory");
	} else if (r == 0) {
		warn(&doctor);
	}
	if (r == 0)
		r = show(session, setup->pin_dir, findings, err);
	json_decref(findings);
	doctor_done(&doctor);
	return r;
}

static int decap(struct session *session, const void *options, char **operands, size_t count)
{
	const struct decap_options *my = options;
	struct wanted wanted = { 0 };
	struct err err = { 0 };
	int r = read_options(my, &wanted, &err);

	if (r < 0)
		return session_usage("decap", &err);
	if (my->show)
		r = show(session, wanted.setup.pin_dir, NULL, &err);
	else if (my->detach)
		r = detach(session, wanted.setup.pin_dir, &err);
	else if (my->check)
		r = check(session, &wanted.setup, &err);
	else
		r = set_up(session, &wanted.setup, &err);
	if (r < 0 && err.code == -EINVAL)
		err.code = -EIO; /* the kernel's word, not about the command line */
	return r < 0 ? session_fail(session, &err) : r;
}

static const struct args_option options[] = {
	{ "iface", 0, ARGS_TEXTS, offsetof(struct decap_options, interfaces), "IF",
	  "unwrap what arrives there; may be repeated" },
	{ "vip", 0, ARGS_TEXTS, offsetof(struct decap_options, vips), "ADDR",
	  "unwrap what is for this address; may be repeated" },
	{ "mode", 0, ARGS_TEXT, offsetof(struct decap_options, mode), "MODE",
	  "native (the default) or generic XDP" },
	{ "gue-port", 0, ARGS_NUMBER, offsetof(struct decap_options, gue_port), "PORT",
	  "UDP port of GUE (default: 6080)", 1, 65535 },
	{ "pin-path", 0, ARGS_TEXT, offsetof(struct decap_options, pin_path), "DIR",
	  "where it is pinned (default: " PIN_PATH ")" },
	{ "check", 0, ARGS_FLAG, offsetof(struct decap_options, check), NULL,
	  "only tell whether this host is ready for it" },
	{ "show", 0, ARGS_FLAG, offsetof(struct decap_options, show), NULL,
	  "show interfaces, VIPs and counters" },
	{ "detach", 0, ARGS_FLAG, offsetof(struct decap_options, detach), NULL, "undo it" },
	{ 0 },
};

const struct verb cmd_decap = {
	.name = "decap",
	.operands = "",
	.summary = "On a backend: unwrap what a balancer sends to a VIP (loom-decap(8))",
	.help = "Needs no loomd, and no process stays: the program is attached and pinned.\n"
		"Given again, it replaces what was set up before, without a gap.\n",
	.options = options,
	.options_size = sizeof(struct decap_options),
	.without_daemon = true,
	.run = decap,
};
