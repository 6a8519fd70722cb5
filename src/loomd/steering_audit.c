/* Who moved a group: the last lines about it in the log that is only ever appended to. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit_tail.h"
#include "steering_internal.h"

#define AUDIT_LINES 200

static json_t *read_lines(const struct group *group, struct err *err)
{
	const char *path = group->steering->audit_path;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	json_t *list = fd >= 0 ? audit_tail(fd, group->name, AUDIT_LINES) : NULL;

	if (!list)
		err_set(err, -errno, "cannot read the audit log %s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return list;
}

int report_audit(struct group *group, struct buf *out, struct err *err)
{
	json_t *lines = read_lines(group, err);
	json_t *told = json_array(), *line;
	char *text;
	size_t i;

	if (!lines) {
		json_decref(told);
		return err && err->code ? err->code : -EIO;
	}
	json_array_foreach(lines, i, line)
	{
		json_array_append_new(told, audit_transition(line));
	}
	json_decref(lines);
	text = json_dumps(told, JSON_COMPACT);
	json_decref(told);
	if (!text)
		return err_set(err, -ENOMEM, "cannot tell who moved group %s: out of memory",
			       group->name);
	buf_append(out, text, strlen(text));
	free(text);
	return 0;
}
