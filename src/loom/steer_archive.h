/* steer_archive.h - a tar.gz written file by file, in the order they are added.
 * Layer: loom.  Threads: one owner.  Blocks: on the file.
 *
 * The first error is remembered; steer_archive_close() tells it. */
#ifndef LOOM_STEER_ARCHIVE_H
#define LOOM_STEER_ARCHIVE_H

#include <jansson.h>
#include <stddef.h>

#include "base/err.h"

struct steer_archive;

/* path is made anew, mode 0600: dumps are nobody else's business; "-": standard output.
 * directory: what its members stand below; borrowed until close. */
int steer_archive_open(struct steer_archive **ret, const char *path, const char *directory,
		       struct err *err);
void steer_archive_add(struct steer_archive *archive, const char *name, const void *data,
		       size_t len);
/* Indented.  NULL is out of memory. */
void steer_archive_add_json(struct steer_archive *archive, const char *name, const json_t *json);
/* Finishes the file and frees archive (NULL is fine); on an error the file is removed. */
int steer_archive_close(struct steer_archive *archive, struct err *err);

#endif
