/* daemon.h - the one owner of configuration, model and planes.
 * Layer: loomd.  Threads: control thread only. */
#ifndef LOOM_DAEMON_H
#define LOOM_DAEMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "admin/control.h"
#include "base/err.h"
#include "config/config.h"
#include "model/model.h"
#include "planes/lb/lb.h"

struct daemon;

struct daemon_options {
	const char *const *config_paths; /* borrowed for the daemon's life */
	size_t config_path_count;
	bool detach_on_exit;
	char *const *argv; /* what to start again with: 'loomd upgrade' */
};

/* Everything from reading the configuration to serving packets.  Complaints about the configuration
 * go to stderr as they are; other errors into err. */
int daemon_open(struct daemon **ret, const struct daemon_options *options, struct err *err);

/* Serves until SIGTERM or SIGINT. */
int daemon_run(struct daemon *daemon, struct err *err);

/* Did daemon_run end because a newer loomd is to go on?  Then daemon_close keeps the data path. */
bool daemon_wants_exec(const struct daemon *daemon);

/* Could a loomd of this binary take the instance over?  Changes nothing.  state_path: where
 * state_owner tells who has it. */
int daemon_rehearse(const struct daemon_options *options, char state_path[256], struct err *err);

/* NULL is fine. */
void daemon_close(struct daemon *daemon);

/* The instance's directory of pins. */
void daemon_pin_dir(const struct config *config, char *path, size_t size);

#endif
