#include "config_source.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "config_text.h"

/* What a byte sequence that YAML does not allow (section 5.1) is called; *ret_len is its length if
 * it is allowed. */
static const char *text_fault(const unsigned char *s, size_t left, bool first, size_t *ret_len)
{
	uint32_t rune;

	*ret_len = text_rune((const char *)s, left, &rune);
	if (*ret_len == 0)
		return "this is not UTF-8 text; save the file as UTF-8";
	if (rune == 0xfeff && !first)
		return "a byte order mark may stand only at the beginning; delete it";
	if (rune == 0)
		return "a NUL byte; a configuration is text";
	if ((rune < 0x20 && rune != '\t' && rune != '\n' && rune != '\r') ||
	    (rune >= 0x7f && rune < 0xa0 && rune != 0x85) || rune == 0xfffe || rune == 0xffff)
		return "a control character; delete it";
	return NULL;
}

/* libfyaml takes what is no UTF-8 for the end of the text without a word, so it is found here. */
static int source_check_text(const struct source *source, struct complaints *complaints)
{
	size_t at = 0;

	while (at < source->len) {
		size_t len;
		const char *fault = text_fault((const unsigned char *)source->text + at,
					       source->len - at, at == 0, &len);

		if (fault) {
			complain(complaints, (struct place){ source, at }, "%s", fault);
			return -EINVAL;
		}
		at += len;
	}
	return 0;
}

int source_take(struct source *source, const char *text, size_t len, struct arena *arena,
		struct complaints *complaints)
{
	if (len > SOURCE_LIMIT_BYTES) {
		complain(complaints, (struct place){ source, 0 },
			 "more than %u MiB; a configuration is smaller", SOURCE_LIMIT_BYTES >> 20);
		return -EINVAL;
	}
	source->text = arena_text(arena, text, len);
	source->shown = arena_text(arena, text, len);
	if (!source->text || !source->shown) {
		source->text = NULL;
		return -ENOMEM;
	}
	source->len = len;
	text_hide_secrets(source->shown, len);
	return source_check_text(source, complaints);
}

/* Reads up to one byte more than the limit.  Returns 0 or -errno. */
static int read_all(int fd, struct buf *buf)
{
	char chunk[65536];

	while (buf->len <= SOURCE_LIMIT_BYTES) {
		ssize_t n = read(fd, chunk, sizeof(chunk));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		buf_append(buf, chunk, (size_t)n);
		if (buf_failed(buf))
			return -ENOMEM;
	}
	return 0;
}

int source_read(struct source *source, const char *path, struct arena *arena,
		struct complaints *complaints)
{
	bool standard = strcmp(path, "-") == 0;
	struct buf buf;
	int fd = STDIN_FILENO;
	int r = 0;

	buf_init(&buf);
	if (!standard)
		fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
	if (fd < 0)
		r = -errno;
	if (r == 0)
		r = read_all(fd, &buf);
	if (r < 0 && r != -ENOMEM) {
		complain(complaints, (struct place){ source, 0 },
			 "cannot read this file: %s; check the path given with -c", strerror(-r));
		r = -EINVAL;
	}
	if (r == 0)
		r = source_take(source, buf.data ? buf.data : "", buf.len, arena, complaints);
	if (!standard && fd >= 0)
		close(fd);
	buf_done(&buf);
	return r;
}

void source_hide(const struct source *source, size_t from, size_t to)
{
	for (size_t i = from; i < to && i < source->len; i++)
		if (source->shown[i] != '\n')
			source->shown[i] = '*';
}

static size_t line_start(const struct source *source, size_t at)
{
	while (at > 0 && source->text[at - 1] != '\n')
		at--;
	return at;
}

static size_t line_end(const struct source *source, size_t at)
{
	const char *end = memchr(source->text + at, '\n', source->len - at);

	return end ? (size_t)(end - source->text) : source->len;
}

bool source_hidden_line(struct place place)
{
	size_t from = line_start(place.source, place.at);
	size_t to = line_end(place.source, place.at);

	return memcmp(place.source->text + from, place.source->shown + from, to - from) != 0;
}

struct place_lines place_lines(struct place place)
{
	struct place_lines lines = { 1, 1 };
	const char *text = place.source->text;

	if (!text)
		return lines;
	for (size_t i = 0; i < place.at; i++) {
		if (text[i] == '\n') {
			lines.line++;
			lines.column = 1;
		} else if (((unsigned char)text[i] & 0xc0) != 0x80) {
			lines.column++;
		}
	}
	/* A byte order mark takes no column. */
	if (lines.line == 1 && place.at >= 3 && memcmp(text, "\xef\xbb\xbf", 3) == 0)
		lines.column--;
	return lines;
}
