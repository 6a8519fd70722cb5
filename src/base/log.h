/* log.h - log lines for the journal or a terminal.
 * Layer: base.  Threads: any (one write(2) a line).  Blocks: on stderr only.
 *
 * Lines are "cannot VERB OBJECT: REASON; NEXT STEP", then key=value pairs.  Under systemd
 * (JOURNAL_STREAM is set) each line carries the "<N>" priority of sd-daemon(3); on a terminal the
 * level's name. */
#ifndef LOOM_LOG_H
#define LOOM_LOG_H

enum log_level {
	LOG_LEVEL_ERROR = 3, /* syslog(3) numbers */
	LOG_LEVEL_WARNING = 4,
	LOG_LEVEL_NOTICE = 5,
	LOG_LEVEL_INFO = 6,
	LOG_LEVEL_DEBUG = 7,
};

/* What is less urgent than level is dropped; the default is LOG_LEVEL_INFO. */
void log_set_level(enum log_level level);

void log_line(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#define log_error(...)	 log_line(LOG_LEVEL_ERROR, __VA_ARGS__)
#define log_warning(...) log_line(LOG_LEVEL_WARNING, __VA_ARGS__)
#define log_notice(...)	 log_line(LOG_LEVEL_NOTICE, __VA_ARGS__)
#define log_info(...)	 log_line(LOG_LEVEL_INFO, __VA_ARGS__)
#define log_debug(...)	 log_line(LOG_LEVEL_DEBUG, __VA_ARGS__)

#endif
