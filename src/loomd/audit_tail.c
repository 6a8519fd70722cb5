#include "audit_tail.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* The file's last bytes, as many as are looked at, from the beginning of a line. */
static char *read_end(int fd, size_t *ret_len)
{
	struct stat status;
	size_t len, have = 0;
	off_t from;
	char *text, *line;

	if (fstat(fd, &status) < 0)
		return NULL;
	from = status.st_size > (off_t)AUDIT_TAIL_BYTES ? status.st_size - (off_t)AUDIT_TAIL_BYTES
							: 0;
	len = (size_t)(status.st_size - from);
	text = malloc(len + 1);
	while (text && have < len) {
		ssize_t n = pread(fd, text + have, len - have, from + (off_t)have);

		if (n < 0 && errno != EINTR) {
			free(text);
			return NULL;
		}
		if (n == 0)
			break; /* somebody cut the file meanwhile */
		have += n > 0 ? (size_t)n : 0;
	}
	if (!text)
		return NULL;
	line = from && have ? memchr(text, '\n', have) : NULL;
	if (from) {
		size_t cut = line ? (size_t)(line + 1 - text) : have;

		memmove(text, text + cut, have - cut);
		have -= cut;
	}
	*ret_len = have;
	return text;
}

static bool is_of(const json_t *line, const char *group)
{
	const char *name = json_string_value(json_object_get(line, "group"));

	return name && !strcmp(name, group);
}

json_t *audit_tail(int fd, const char *group, size_t max)
{
	json_t *list = json_array();
	size_t len = 0;
	char *text = read_end(fd, &len);

	if (!text || !list) {
		free(text);
		json_decref(list);
		return NULL;
	}
	while (len && json_array_size(list) < max) {
		/* The newline that ends the line does not begin it. */
		const char *before = len > 1 ? memrchr(text, '\n', len - 1) : NULL;
		size_t start = before ? (size_t)(before + 1 - text) : 0;
		json_t *line = NULL;

		/* A name is in its line as it is; most lines of many groups need no parsing. */
		if (memmem(text + start, len - start, group, strlen(group)))
			line = json_loadb(text + start, len - start, JSON_REJECT_DUPLICATES, NULL);
		if (is_of(line, group))
			json_array_insert(list, 0, line);
		json_decref(line);
		len = start;
	}
	free(text);
	return list;
}

/* RFC 3339 in UTC, as the log has it. */
static json_t *seconds_of(const json_t *at)
{
	const char *text = json_string_value(at);
	struct tm tm = { 0 };

	if (json_is_number(at))
		return json_integer((json_int_t)json_number_value(at));
	if (!text || !strptime(text, "%Y-%m-%dT%H:%M:%S", &tm))
		return json_null();
	return json_integer((json_int_t)timegm(&tm));
}

json_t *audit_transition(const json_t *line)
{
	static const char *const own[] = { "event", "from", "to", "actor", "reason" };
	json_t *numbers = json_deep_copy(line);
	json_t *told = json_object();

	if (!numbers || !told) {
		json_decref(numbers);
		json_decref(told);
		return NULL;
	}
	json_object_set_new(told, "at", seconds_of(json_object_get(line, "at")));
	for (size_t i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
		json_t *value = json_object_get(line, own[i]);

		json_object_set_new(told, own[i], value ? json_incref(value) : json_null());
		json_object_del(numbers, own[i]);
	}
	json_object_del(numbers, "at");
	json_object_del(numbers, "group");
	json_object_set_new(told, "numbers", numbers);
	return told;
}
