#include "metric_file.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define METRIC_MAX 1000000000000000ull

int metric_parse(const char *text, uint64_t *ret)
{
	uint64_t whole = 0, part = 0;
	int digits = 0, scale = 100;

	while (isspace((unsigned char)*text))
		text++;
	for (; isdigit((unsigned char)*text); text++, digits++) {
		whole = whole * 10 + (uint64_t)(*text - '0');
		if (whole > METRIC_MAX)
			return -EINVAL;
	}
	if (*text == '.')
		for (text++; isdigit((unsigned char)*text); text++, digits++, scale /= 10)
			part += (uint64_t)(*text - '0') * (uint64_t)scale;
	while (isspace((unsigned char)*text))
		text++;
	if (!digits || *text)
		return -EINVAL;
	*ret = whole * 1000 + part;
	return 0;
}

int metric_read(const char *path, uint64_t *ret, struct err *err)
{
	/* Whatever lies there must not make us wait. */
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
	struct stat status;
	char text[64];
	ssize_t n;
	int r;

	if (fd < 0)
		return err_set(err, -errno, "cannot open %.200s: %s", path, strerror(errno));
	if (fstat(fd, &status) < 0 || !S_ISREG(status.st_mode)) {
		close(fd);
		return err_set(err, -EINVAL, "cannot read %.200s: it is no regular file", path);
	}
	n = read(fd, text, sizeof(text) - 1);
	r = n < 0 ? -errno : 0;
	close(fd);
	if (r < 0)
		return err_set(err, r, "cannot read %.200s: %s", path, strerror(-r));
	text[n] = '\0';
	r = metric_parse(text, ret);
	return r < 0 ? err_set(err, r, "cannot use %.200s: it is not one number, like 12.5", path)
		     : 0;
}
