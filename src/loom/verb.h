/* verb.h - what a verb of the tool is, and which there are.
 * Layer: loom.  Threads: one.
 *
 * A verb is one cmd_*.c that defines a struct verb; verb.c lists them. */
#ifndef LOOM_VERB_H
#define LOOM_VERB_H

#include <stdbool.h>
#include <stddef.h>

#include "args.h"
#include "session.h"

struct verb {
	const char *name;     /* "backends add": one word or two */
	const char *operands; /* as in the usage line; "" if it takes none */
	const char *summary;  /* a line in the list of verbs */
	const char *help;     /* NULL, or what else there is to say; lines end in a newline */
	const struct args_option *options; /* NULL, or ended by a NULL name */
	size_t options_size;		   /* of the struct they fill, zeroed before */
	size_t operands_min;
	size_t operands_max;
	bool watchable;
	bool without_daemon; /* session->client is NULL */

	/* Returns the exit code.  options: what the command line said, options_size bytes. */
	int (*run)(struct session *session, const void *options, char **operands, size_t count);
};

extern const struct verb cmd_status, cmd_services, cmd_backends, cmd_backends_add, cmd_backends_rm,
	cmd_backends_weight, cmd_backends_drain, cmd_backends_undrain, cmd_conns, cmd_stats,
	cmd_trace, cmd_reload, cmd_config, cmd_doctor, cmd_health, cmd_decap, cmd_irq_plan,
	cmd_irq_apply, cmd_irq_show, cmd_steer_list, cmd_steer_show, cmd_steer_watch,
	cmd_steer_explain, cmd_steer_trace, cmd_steer_audit, cmd_steer_history,
	cmd_steer_capabilities, cmd_steer_incident, cmd_steer_attach, cmd_steer_detach,
	cmd_steer_policy, cmd_steer_rollout, cmd_steer_fallback, cmd_steer_resume, cmd_steer_freeze,
	cmd_steer_unfreeze, cmd_steer_drain, cmd_steer_undrain, cmd_steer_swap, cmd_steer_weight,
	cmd_exec, cmd_help;

/* All of them in the order help shows, ended by NULL. */
extern const struct verb *const verb_all[];

/* Options that every verb takes; they fill struct session_options. */
extern const struct args_option verb_common_options[];

/* The verb that words begin with, and how many of them are its name; NULL if there is none. */
const struct verb *verb_find(char **words, size_t count, size_t *ret_taken);

/* The help of one verb, or of the tool for NULL. */
void verb_print_help(const struct verb *verb, FILE *out);

/* Reads the command line (without the program's name) and does what it says; the exit code. */
int verb_main(char **argv, size_t count);

#endif
