/* upgrade.h - one loomd going on as another, newer one, in the same process.
 * Layer: loomd.  Threads: main.
 *
 * The new binary first rehearses the takeover (daemon_rehearse) and then asks the running daemon,
 * by SIGUSR2, to execute the file it was started from, which is the new binary by then.  The data
 * path is the kernel's meanwhile. */
#ifndef LOOM_UPGRADE_H
#define LOOM_UPGRADE_H

#include <sys/types.h>

#include "base/err.h"

/* Asks the loomd that serves (state_owner) to go on as this binary, and waits until that serves.
 * -ESRCH: there is none; -EXDEV: it was not started from this binary's path; -ETIMEDOUT. */
int upgrade_request(const char *state_path, pid_t *ret_pid, struct err *err);

/* Executes the file this process was started from.  Returns only if that fails, which it logs. */
void upgrade_exec(char *const *argv);

#endif
