#include "verb.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "steer_ask.h"
#include "steer_pins.h"

struct fallback_options {
	const char *reason;
	const char *pin_path;
	bool direct;
};

static const struct args_option fallback_options[] = {
	{ "reason", 0, ARGS_TEXT, offsetof(struct fallback_options, reason), "TEXT",
	  "for the audit log" },
	{ "direct", 0, ARGS_FLAG, offsetof(struct fallback_options, direct), NULL,
	  "by the pins, without loomd" },
	{ "pin-path", 0, ARGS_TEXT, offsetof(struct fallback_options, pin_path), "DIR",
	  "ebpf.pin_path of that loomd (default: /sys/fs/bpf/loom)" },
	{ 0 },
};

static int print_json(const struct session *session, const char *dir, const char *group,
		      const struct steer_pinned *parts, struct err *err)
{
	json_t *list = json_array();
	json_t *json;
	int r;

	for (size_t i = 0; i < STEER_PINS_PARTS; i++)
		if (parts[i].there)
			json_array_append_new(
				list, json_pack("{s:s, s:s, s:s}", "part", parts[i].part, "mode",
						steer_pins_mode(STEER_FALLBACK), "before",
						steer_pins_mode(parts[i].before)));
	json = json_pack("{s:s, s:s, s:o}", "group", group, "pins", dir, "parts", list);
	r = json ? session_print_json(session, json, stdout, err)
		 : err_set(err, -ENOMEM, "cannot print: out of memory");
	json_decref(json);
	return r;
}

static int print(const struct session *session, const char *dir, const char *group,
		 const struct steer_pinned *parts, struct err *err)
{
	if (session->options.json)
		return print_json(session, dir, group, parts, err);
	for (size_t i = 0; i < STEER_PINS_PARTS; i++)
		if (parts[i].there)
			printf("%s%s%s: mode %s, was %s (one write to %s/%s%s%s/control)\n", group,
			       parts[i].part[0] ? " IPv" : "", parts[i].part,
			       steer_pins_mode(STEER_FALLBACK), steer_pins_mode(parts[i].before),
			       dir, group, parts[i].part[0] ? "/" : "", parts[i].part);
	printf("plain Linux decides; loomd, when it runs, takes it for an operator's fallback: "
	       "'loom steer resume %s' ends it\n",
	       group);
	return 0;
}

static int direct(const struct session *session, const struct fallback_options *options,
		  const char *group)
{
	struct steer_pinned parts[STEER_PINS_PARTS];
	char dir[STEER_PINS_DIR_LEN];
	struct err err = { 0 };
	int r;

	steer_pins_dir(options->pin_path, session->options.instance, dir);
	r = steer_pins_fallback(dir, group, parts, &err);
	if (r == 0)
		r = print(session, dir, group, parts, &err);
	return r < 0 ? session_fail(session, &err) : SESSION_OK;
}

static int fallback(struct session *session, const void *ctx, char **operands, size_t count)
{
	const struct fallback_options *options = ctx;
	struct err err = { 0 };
	int r;

	if ((options->direct && options->reason) || (!options->direct && options->pin_path)) {
		err_set(&err, -EINVAL,
			options->direct ? "cannot use --reason with --direct: it is loomd that "
					  "keeps the audit log"
					: "cannot use --pin-path without --direct: leave it out");
		return session_usage("steer fallback", &err);
	}
	if (options->direct)
		return direct(session, options, operands[0]);
	r = steer_ask_change(session, operands[0], "fallback",
			     json_pack("{s:s*}", "reason", options->reason));
	if (r == SESSION_UNREACHABLE)
		fprintf(stderr, "loom: without loomd: loom steer fallback %s --direct\n",
			operands[0]);
	return r;
}

const struct verb cmd_steer_fallback = {
	.name = "steer fallback",
	.operands = "GROUP",
	.summary = "Plain Linux decides, at once",
	.help = "The policy is out of force with one write, then the program is detached.  With\n"
		"--direct this is done by the pins, with loomd dead or deaf; it takes CAP_BPF and\n"
		"the right to enter the pins' directory.\n",
	.options = fallback_options,
	.options_size = sizeof(struct fallback_options),
	.operands_min = 1,
	.operands_max = 1,
	.run = fallback,
};
