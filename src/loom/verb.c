#include "verb.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const struct verb *const verb_all[] = {
	&cmd_status,
	&cmd_services,
	&cmd_backends,
	&cmd_backends_add,
	&cmd_backends_rm,
	&cmd_backends_weight,
	&cmd_backends_drain,
	&cmd_backends_undrain,
	&cmd_health,
	&cmd_conns,
	&cmd_stats,
	&cmd_trace,
	&cmd_reload,
	&cmd_config,
	&cmd_doctor,
	&cmd_decap,
	&cmd_irq_plan,
	&cmd_irq_apply,
	&cmd_irq_show,
	&cmd_steer_list,
	&cmd_steer_show,
	&cmd_steer_watch,
	&cmd_steer_explain,
	&cmd_steer_trace,
	&cmd_steer_audit,
	&cmd_steer_history,
	&cmd_steer_capabilities,
	&cmd_steer_incident,
	&cmd_steer_attach,
	&cmd_steer_detach,
	&cmd_steer_policy,
	&cmd_steer_rollout,
	&cmd_steer_fallback,
	&cmd_steer_resume,
	&cmd_steer_freeze,
	&cmd_steer_unfreeze,
	&cmd_steer_drain,
	&cmd_steer_undrain,
	&cmd_steer_swap,
	&cmd_steer_weight,
	&cmd_exec,
	&cmd_help,
	NULL,
};

#define COMMON(member) offsetof(struct session_options, member)

const struct args_option verb_common_options[] = {
	{ "instance", 0, ARGS_TEXT, COMMON(instance), "NAME",
	  "the loomd to ask, by its instance (default: default)" },
	{ "socket", 0, ARGS_TEXT, COMMON(socket), "PATH", "its UNIX socket" },
	{ "url", 0, ARGS_TEXT, COMMON(url), "URL", "its admin address, as http://127.0.0.1:9091" },
	{ "token-file", 0, ARGS_TEXT, COMMON(token_file), "FILE", "holds the bearer token" },
	{ "json", 'j', ARGS_FLAG, COMMON(json), NULL, "print the API's JSON" },
	{ "watch", 'w', ARGS_SECONDS, COMMON(watch), "SECONDS",
	  "repeat every 2 seconds, or as often as said" },
	{ "help", 'h', ARGS_FLAG, COMMON(help), NULL, "print help" },
	{ "version", 'V', ARGS_FLAG, COMMON(version), NULL, "print the version" },
	{ 0 },
};

/* How many words of name words begins with; 0 if it is another name. */
static size_t match(const char *name, char **words, size_t count)
{
	const char *space = strchr(name, ' ');
	size_t len = space ? (size_t)(space - name) : strlen(name);

	if (!count || strlen(words[0]) != len || memcmp(words[0], name, len) != 0)
		return 0;
	if (!space)
		return 1;
	return count > 1 && strcmp(words[1], space + 1) == 0 ? 2 : 0;
}

const struct verb *verb_find(char **words, size_t count, size_t *ret_taken)
{
	const struct verb *best = NULL;
	size_t i;

	*ret_taken = 0;
	for (i = 0; verb_all[i]; i++) {
		size_t taken = match(verb_all[i]->name, words, count);

		if (taken > *ret_taken) {
			*ret_taken = taken;
			best = verb_all[i];
		}
	}
	return best;
}

static bool takes_letter(const struct args_option *option, char letter)
{
	for (; option && option->name; option++)
		if (option->letter == letter)
			return true;
	return false;
}

/* own: NULL, or options whose letters are not these options'. */
static void print_options(const struct args_option *option, const struct args_option *own,
			  FILE *out)
{
	for (; option && option->name; option++) {
		char left[64];
		char letter[8] = "    ";

		if (option->letter && !takes_letter(own, option->letter))
			snprintf(letter, sizeof(letter), "-%c, ", option->letter);
		if (option->kind == ARGS_FLAG)
			snprintf(left, sizeof(left), "%s--%s", letter, option->name);
		else if (option->kind == ARGS_SECONDS)
			snprintf(left, sizeof(left), "%s--%s[=%s]", letter, option->name,
				 option->value);
		else
			snprintf(left, sizeof(left), "%s--%s %s", letter, option->name,
				 option->value);
		fprintf(out, "  %-26s %s\n", left, option->help);
	}
}

static void print_verbs(FILE *out)
{
	size_t i;

	fputs("\nVerbs:\n", out);
	for (i = 0; verb_all[i]; i++) {
		char left[64];

		snprintf(left, sizeof(left), "%s %s", verb_all[i]->name, verb_all[i]->operands);
		fprintf(out, "  %-32s %s\n", left, verb_all[i]->summary);
	}
}

void verb_print_help(const struct verb *verb, FILE *out)
{
	if (!verb) {
		fputs("usage: loom [OPTION...] VERB [ARGUMENT...]\n"
		      "Operates loomd, the load balancer's daemon.\n",
		      out);
		print_verbs(out);
	} else {
		fprintf(out, "usage: loom %s%s%s%s\n%s.\n", verb->name,
			verb->options ? " [OPTION...]" : "", *verb->operands ? " " : "",
			verb->operands, verb->summary);
		if (verb->help)
			fprintf(out, "\n%s", verb->help);
		if (verb->options)
			fputs("\nOptions:\n", out);
		print_options(verb->options, NULL, out);
	}
	fputs("\nOptions of all verbs:\n", out);
	print_options(verb_common_options, verb ? verb->options : NULL, out);
	fputs("\nExit codes: 0 done, 1 refused, 2 usage, 3 loomd cannot be reached, 4 not ready.\n",
	      out);
}

static int check_operands(const struct verb *verb, const struct session_options *common,
			  char **operands, size_t count, struct err *err)
{
	if (common->watch.given && !verb->watchable)
		return err_set(err, -EINVAL, "cannot watch '%s': it shows nothing that changes",
			       verb->name);
	if (count < verb->operands_min)
		return err_set(err, -EINVAL, "cannot run '%s': it needs %s", verb->name,
			       verb->operands);
	if (count > verb->operands_max)
		return err_set(err, -EINVAL, "cannot run '%s': '%s' is one argument too many",
			       verb->name, operands[verb->operands_max]);
	return 0;
}

static int run(const struct verb *verb, struct session *session, const void *options,
	       char **operands, size_t count)
{
	const struct client_options where = {
		.instance = session->options.instance,
		.socket = session->options.socket,
		.url = session->options.url,
		.token_file = session->options.token_file,
	};
	struct err err = { 0 };
	int r;

	term_init(&session->term);
	if (!verb->without_daemon && client_open(&session->client, &where, &err) < 0) {
		r = session_fail(session, &err);
		return err.code == -ENOMEM ? r : SESSION_USAGE;
	}
	r = verb->run(session, options, operands, count);
	client_close(session->client);
	if (fflush(stdout) != 0 && r == SESSION_OK) {
		err_set(&err, -EIO, "cannot write to standard output: %s", strerror(errno));
		r = session_fail(session, &err);
	}
	return r;
}

/* argv is what follows the verb's name. */
static int parse_and_run(const struct verb *verb, struct session *session, char **argv,
			 size_t count)
{
	struct err err = { 0 };
	void *options = calloc(1, verb->options_size + 1);
	const struct args_table tables[] = {
		{ verb->options, options }, /* first: its letters are its own */
		{ verb_common_options, &session->options },
	};
	int r;

	if (!options) {
		err_set(&err, -ENOMEM, "cannot start: out of memory");
		return session_fail(session, &err);
	}
	r = args_parse(tables, 2, argv, &count, false, &err);
	if (!r && session->options.help)
		verb_print_help(verb, stdout);
	else if (r < 0 || check_operands(verb, &session->options, argv, count, &err) < 0)
		r = session_usage(verb->name, &err);
	else
		r = run(verb, session, options, argv, count);
	free(options);
	return r;
}

int verb_main(char **argv, size_t count)
{
	struct session session = { 0 };
	const struct args_table common = { verb_common_options, &session.options };
	const struct verb *verb;
	struct err err = { 0 };
	size_t taken;

	if (args_parse(&common, 1, argv, &count, true, &err) < 0)
		return session_usage(NULL, &err);
	if (session.options.version) {
		puts("loom " LOOM_VERSION);
		return SESSION_OK;
	}
	if (!count) {
		verb_print_help(NULL, session.options.help ? stdout : stderr);
		return session.options.help ? SESSION_OK : SESSION_USAGE;
	}
	verb = verb_find(argv, count, &taken);
	if (!verb) {
		err_set(&err, -EINVAL, "cannot run '%s': there is no such verb", argv[0]);
		return session_usage(NULL, &err);
	}
	return parse_and_run(verb, &session, argv + taken, count - taken);
}
