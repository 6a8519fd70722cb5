/* metric_file.h - a file with one number, by which an application says how it fares.
 * Layer: loomd.  Threads: any.  Blocks: reads a small regular file; anything else is refused. */
#ifndef LOOM_METRIC_FILE_H
#define LOOM_METRIC_FILE_H

#include <stdint.h>

#include "base/err.h"

/* A decimal number from 0 to 10^15, "12" or "12.5", white space around it; in thousandths, what is
 * finer is cut.  -EINVAL: it is none. */
int metric_parse(const char *text, uint64_t *ret);

/* -ENOENT ..., -EINVAL: no regular file, or not a number. */
int metric_read(const char *path, uint64_t *ret, struct err *err);

#endif
