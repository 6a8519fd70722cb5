#include "verb.h"

#include <errno.h>

static int help(struct session *session, const void *options, char **operands, size_t count)
{
	const struct verb *verb;
	struct err err = { 0 };
	size_t taken;

	if (!count) {
		verb_print_help(NULL, stdout);
		return SESSION_OK;
	}
	verb = verb_find(operands, count, &taken);
	if (!verb || taken < count) {
		err_set(&err, -EINVAL, "cannot explain '%s%s%s': there is no such verb",
			operands[0], count > 1 ? " " : "", count > 1 ? operands[1] : "");
		return session_usage(NULL, &err);
	}
	verb_print_help(verb, stdout);
	return SESSION_OK;
}

const struct verb cmd_help = {
	.name = "help",
	.operands = "[VERB]",
	.summary = "Explain the tool or one verb",
	.operands_max = 2,
	.without_daemon = true,
	.run = help,
};
