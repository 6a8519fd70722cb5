#include "snmp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Steps over a word; false: the line ends. */
static bool next_word(const char **at, const char **ret, size_t *ret_len)
{
	while (**at == ' ')
		(*at)++;
	*ret = *at;
	*ret_len = strcspn(*at, " \n");
	*at += *ret_len;
	return *ret_len;
}

/* The line that begins with "PROTOCOL:", from text on; behind the colon. */
static const char *find_line(const char *text, const char *protocol)
{
	size_t len = strlen(protocol);

	while (text && *text) {
		const char *end = strchr(text, '\n');

		if (!strncmp(text, protocol, len) && text[len] == ':')
			return text + len + 1;
		text = end ? end + 1 : NULL;
	}
	return NULL;
}

int snmp_parse(const char *text, const char *protocol, const char *name, uint64_t *ret)
{
	/* Two lines each: names, then values. */
	const char *names = find_line(text, protocol);
	const char *end = names ? strchr(names, '\n') : NULL;
	const char *values = end ? find_line(end + 1, protocol) : NULL;
	const char *word, *value;
	size_t len, value_len;

	while (values && next_word(&names, &word, &len) && next_word(&values, &value, &value_len)) {
		if (len != strlen(name) || strncmp(word, name, len) != 0)
			continue;
		*ret = strtoull(value, NULL, 10);
		return 0;
	}
	return -ENOENT;
}

int snmp_read(const char *file, char text[SNMP_TEXT_SIZE])
{
	char path[64];
	size_t len = 0;
	ssize_t n = 1;
	int fd, r = 0;

	snprintf(path, sizeof(path), "/proc/thread-self/net/%s", file);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	while (n > 0 && len < SNMP_TEXT_SIZE - 1) {
		n = read(fd, text + len, SNMP_TEXT_SIZE - 1 - len);
		len += n > 0 ? (size_t)n : 0;
	}
	if (n < 0)
		r = -errno;
	close(fd);
	text[len] = '\0';
	return r;
}
