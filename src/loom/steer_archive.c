#include "steer_archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

struct steer_archive {
	struct archive *out;
	char *path;
	const char *directory; /* borrowed */
	int fd;
	bool made; /* a file that may be removed again: no device, no pipe */
	struct err err;
};

static bool is_stdout(const char *path)
{
	return strcmp(path, "-") == 0;
}

static int note(struct steer_archive *archive)
{
	int code = archive_errno(archive->out);

	if (archive->err.code)
		return archive->err.code;
	return err_set(&archive->err, code > 0 ? -code : -EIO,
		       "cannot write %s: %s; name another file with --output", archive->path,
		       code > 0 ? strerror(code) : archive_error_string(archive->out));
}

static int open_file(struct steer_archive *archive, struct err *err)
{
	struct stat status;

	archive->fd = is_stdout(archive->path)
			      ? dup(STDOUT_FILENO)
			      : open(archive->path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (archive->fd < 0)
		return err_set(err, -errno, "cannot write %s: %s; name another file with --output",
			       archive->path, strerror(errno));
	archive->made = !is_stdout(archive->path) && fstat(archive->fd, &status) == 0 &&
			S_ISREG(status.st_mode);
	if (archive_write_add_filter_gzip(archive->out) != ARCHIVE_OK ||
	    archive_write_set_format_pax_restricted(archive->out) != ARCHIVE_OK ||
	    archive_write_open_fd(archive->out, archive->fd) != ARCHIVE_OK) {
		note(archive);
		return err_set(err, archive->err.code, "%s", archive->err.text);
	}
	return 0;
}

int steer_archive_open(struct steer_archive **ret, const char *path, const char *directory,
		       struct err *err)
{
	struct steer_archive *archive = calloc(1, sizeof(*archive));
	int r;

	*ret = NULL;
	if (archive) {
		archive->fd = -1;
		archive->directory = directory;
		archive->path = strdup(path);
		archive->out = archive_write_new();
	}
	if (!archive || !archive->path || !archive->out)
		r = err_set(err, -ENOMEM, "cannot write %s: out of memory", path);
	else
		r = open_file(archive, err);
	if (r < 0) {
		steer_archive_close(archive, NULL);
		return r;
	}
	*ret = archive;
	return 0;
}

void steer_archive_add(struct steer_archive *archive, const char *name, const void *data,
		       size_t len)
{
	struct archive_entry *entry = archive_entry_new();
	char path[256];

	snprintf(path, sizeof(path), "%s/%s", archive->directory, name);
	if (!entry) {
		err_set(&archive->err, -ENOMEM, "cannot write %s: out of memory", archive->path);
		return;
	}
	archive_entry_set_pathname(entry, path);
	archive_entry_set_filetype(entry, AE_IFREG);
	archive_entry_set_perm(entry, 0600);
	archive_entry_set_size(entry, (la_int64_t)len);
	archive_entry_set_mtime(entry, clock_wall_s(), 0);
	if (!archive->err.code && (archive_write_header(archive->out, entry) != ARCHIVE_OK ||
				   archive_write_data(archive->out, data, len) != (la_ssize_t)len))
		note(archive);
	archive_entry_free(entry);
}

void steer_archive_add_json(struct steer_archive *archive, const char *name, const json_t *json)
{
	char *text = json ? json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY) : NULL;

	if (text)
		steer_archive_add(archive, name, text, strlen(text));
	else
		err_set(&archive->err, -ENOMEM, "cannot write %s: out of memory", archive->path);
	free(text);
}

int steer_archive_close(struct steer_archive *archive, struct err *err)
{
	int r;

	if (!archive)
		return 0;
	if (archive->out && archive->fd >= 0 && archive_write_close(archive->out) != ARCHIVE_OK)
		note(archive);
	if (archive->fd >= 0 && close(archive->fd) < 0 && !archive->err.code)
		err_set(&archive->err, -errno, "cannot write %s: %s", archive->path,
			strerror(errno));
	if (archive->err.code && archive->made)
		unlink(archive->path);
	r = archive->err.code;
	if (r < 0)
		err_set(err, r, "%s", archive->err.text);
	archive_write_free(archive->out);
	free(archive->path);
	free(archive);
	return r;
}
