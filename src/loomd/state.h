/* state.h - the state file: changes made by the API, kept over restarts.
 * Layer: loomd.  Threads: control thread only.  Blocks: file system calls with fsync. */
#ifndef LOOM_STATE_H
#define LOOM_STATE_H

#include <sys/types.h>
#include <time.h>

#include "base/err.h"
#include "model/changes.h"

/* Takes the lock beside the file, for as long as the returned descriptor is open.  -EBUSY: another
 * loomd runs this instance. */
int state_lock(const char *path, struct err *err);
/* Writes into the locked file that this process serves from now on. */
void state_announce(int lock_fd);
/* The process that serves, and since when (CLOCK_REALTIME).  -ESRCH, -ENOENT: none does. */
int state_owner(const char *path, pid_t *ret, struct timespec *ret_since);

/* Replaces the file in one step (mode 0600; missing directories 0700): either the old or the new
 * content is on the disk, whatever happens.  On error it is the old one, unless the directory alone
 * could not be synced.  Returns 0, -ENOMEM or the file system's error. */
int state_save(const char *path, const struct model_changes *changes, struct err *err);

/* Returns 0 with *ret owned by the caller; -ENOENT: there is none (err untouched); -EBADMSG: not a
 * state file of this version, err says where; -ENOMEM; the file system's error.  Each change is a
 * well-formed one; whether it fits the configuration, model_changes_apply finds out. */
int state_load(const char *path, struct model_changes **ret, struct err *err);

/* The same for text in memory. */
int state_parse(const char *text, size_t size, struct model_changes **ret, struct err *err);

/* What cannot be read is kept as PATH.bad: the next change writes over PATH. */
void state_set_aside(const char *path);

#endif
