/* The schema of a steering group's guard. */
#include "config.h"
#include "schema_tables.h"

/* Only what others broke can be put right. */
static const struct choice actions[] = {
	{ "warn", CONFIG_STEER_WARN },
	{ "revert", CONFIG_STEER_REVERT },
	{ "fallback", CONFIG_STEER_FALLBACK },
	{ 0 },
};
static const struct choice repairs[] = {
	{ "warn", CONFIG_STEER_WARN },
	{ "repair", CONFIG_STEER_REPAIR },
	{ "revert", CONFIG_STEER_REVERT },
	{ "fallback", CONFIG_STEER_FALLBACK },
	{ 0 },
};

static const struct choice probes[] = {
	{ "none", CONFIG_STEER_PROBE_NONE },
	{ "connect", CONFIG_STEER_PROBE_CONNECT },
	{ "http", CONFIG_STEER_PROBE_HTTP },
	{ "dns", CONFIG_STEER_PROBE_DNS },
	{ 0 },
};

static const struct key probe_keys[] = {
	{ .name = "type",
	  .type = KEY_ENUM,
	  .flags = KEY_SHORT,
	  .choices = probes,
	  .fallback = "none",
	  .help = "connect: a connection is taken (tcp).  http: a request is answered with a "
		  "status "
		  "below 500 (tcp).  dns: a query is answered (udp)." },
	{ .name = "address",
	  .type = KEY_ADDRESS,
	  .flags = KEY_LOCAL,
	  .otherwise = "the group's, or a loopback address where that is 0.0.0.0, :: or *",
	  .help = "Where to ask, on the group's port, from within its network namespace." },
	{ .name = "interval",
	  .type = KEY_DURATION,
	  .min = 10 * MSEC,
	  .max = HOUR,
	  .fallback = "200ms",
	  .help = "Between two probes." },
	{ .name = "timeout",
	  .type = KEY_DURATION,
	  .min = 10 * MSEC,
	  .max = HOUR,
	  .fallback = "1s",
	  .help = "What takes longer has failed." },
	{ .name = "path",
	  .type = KEY_PATH,
	  .min = 1,
	  .max = 1023,
	  .fallback = "/",
	  .help = "http: what to ask for." },
	{ .name = "query",
	  .type = KEY_TEXT,
	  .min = 1,
	  .max = 253,
	  .fallback = ".",
	  .help = "dns: the name to ask for." },
	{ 0 },
};

#define RULE_ENABLED(fall, words)                                                              \
	{                                                                                      \
		.name = "enabled", .type = KEY_BOOL, .fallback = (fall), .otherwise = (words), \
		.help = "Is it looked at?"                                                     \
	}

#define RULE_LIMIT(key_name, least, most, what, fall, words, text)                           \
	{                                                                                    \
		.name = (key_name), .type = KEY_DECIMAL,                                     \
		.min = (uint64_t)((least)*KEY_DECIMAL_ONE),                                  \
		.max = (uint64_t)(most)*KEY_DECIMAL_ONE, .unit = (what), .fallback = (fall), \
		.otherwise = (words), .help = (text)                                         \
	}

#define RULE_WINDOWS(least, fall)                                                         \
	{                                                                                 \
		.name = "windows", .type = KEY_NUMBER, .min = (least), .max = 1000,       \
		.fallback = (fall),                                                       \
		.help = (least) ? "So many bad windows in a row make it act."             \
				: "So many bad windows in a row make it act; 0: at once." \
	}

#define RULE_ACTION(among, fall, more)                                                      \
	{                                                                                   \
		.name = "action", .type = KEY_ENUM, .choices = (among), .fallback = (fall), \
		.help = "warn: it is logged.  " more                                        \
			"revert: back to shadow.  fallback: the plain "                     \
			"kernel, detached."                                                 \
	}

#define IN_PROPORTION "; with another threshold, in proportion"

/* A number that is bad above the threshold (JAIN: below). */
#define RULE_KEYS(table, enabled, enabled_words, least, most, what, threshold, clear, windows, \
		  action)                                                                      \
	static const struct key table[] = {                                                    \
		RULE_ENABLED(enabled, enabled_words),                                          \
		RULE_LIMIT("threshold", least, most, what, threshold, NULL,                    \
			   "A window beyond it is bad."),                                      \
		RULE_LIMIT("clear", least, most, what, NULL, clear IN_PROPORTION,              \
			   "A window that is not beyond it is good again."),                   \
		RULE_WINDOWS(1, windows),                                                      \
		RULE_ACTION(actions, action, ""),                                              \
		{ 0 },                                                                         \
	}

RULE_KEYS(imbalance_keys, "true", NULL, 1, 256, "1 is even", "1.8", "1.5", "2", "revert");
RULE_KEYS(jain_keys, "true", NULL, 0, 1, "1 is even", "0.6", "0.7", "2", "revert");
RULE_KEYS(drops_keys, "true", NULL, 0, 1000000000000, "a window", "1000", "100", "2", "revert");
RULE_KEYS(overflow_keys, "true", NULL, 0, 1000, "permille", "500", "100", "2", "revert");
RULE_KEYS(queue_age_keys, "true", NULL, 0.001, 86400, "seconds", "5", "1", "1", "warn");
RULE_KEYS(fallbacks_keys, "true", NULL, 0, 1000, "permille", "100", "50", "2", "revert");
RULE_KEYS(latency_keys, NULL, "true with a probe", 1, 1000000, "times the baseline", "2", "1.5",
	  "3", "revert");
RULE_KEYS(probe_failures_keys, NULL, "true with a probe", 0, 1000, "permille", "300", "50", "2",
	  "revert");

static const struct key metric_keys[] = {
	RULE_ENABLED(NULL, "true with guard.metric"),
	RULE_LIMIT("threshold", 0, 1000000000000, "the application's unit", NULL,
		   "none; needed with guard.metric", "A window beyond it is bad."),
	RULE_LIMIT("clear", 0, 1000000000000, "the application's unit", NULL, "the threshold",
		   "A window that is not beyond it is good again.  Where it is above the "
		   "threshold, low values are the bad ones."),
	RULE_WINDOWS(1, "3"),
	RULE_ACTION(actions, "revert", ""),
	{ 0 },
};

#define FLAG_KEYS(table, action)                                                       \
	static const struct key table[] = {                                            \
		RULE_ENABLED("true", NULL),                                            \
		RULE_WINDOWS(0, "0"),                                                  \
		RULE_ACTION(repairs, action,                                           \
			    "repair: it is put right, and if that fails three times, " \
			    "reverted.  "),                                            \
		{ 0 },                                                                 \
	}

FLAG_KEYS(foreign_keys, "repair");
FLAG_KEYS(membership_keys, "warn");

#define RULE(rule_name, table, text)                                                     \
	{                                                                                \
		.name = (rule_name), .type = KEY_MAP, .flags = KEY_OFF, .keys = (table), \
		.help = (text)                                                           \
	}

/* In the order of enum config_steer_rule_name. */
static const struct key rules_keys[] = {
	RULE("imbalance", imbalance_keys,
	     "What the busiest member got, over its share by weight, beyond what chance makes."),
	RULE("jain", jain_keys,
	     "Jain's fairness index of what members got over their weights; low is bad."),
	RULE("drops", drops_keys,
	     "Datagrams and connections dropped in a window, all members together."),
	RULE("overflow", overflow_keys, "Samples in which some member's queue was full."),
	RULE("queue_age", queue_age_keys,
	     "For how long a member's queue did not move: it is stuck.  The kernel's hash would "
	     "send it its share as well, so going back seldom helps."),
	RULE("fallbacks", fallbacks_keys,
	     "Of all that came, what the policy could not choose for and left to the kernel."),
	RULE("latency", latency_keys, "The probe's 99th percentile over its baseline."),
	RULE("probe_failures", probe_failures_keys, "Probes that failed."),
	RULE("metric", metric_keys, "The number in guard.metric."),
	RULE("foreign", foreign_keys, "Another program is attached to the group, or none is."),
	RULE("membership", membership_keys,
	     "A socket is in the group that no entry of members names, or a member has gone "
	     "without draining."),
	{ 0 },
};

const struct key schema_guard_keys[] = {
	{ .name = "enabled",
	  .type = KEY_BOOL,
	  .fallback = "true",
	  .help = "With false nothing is taken back." },
	{ .name = "window",
	  .type = KEY_DURATION,
	  .min = 100 * MSEC,
	  .max = HOUR,
	  .fallback = "10s",
	  .help = "What is measured over so long is judged at once." },
	{ .name = "cooldown",
	  .type = KEY_DURATION,
	  .max = DAY,
	  .fallback = "5m",
	  .help = "After the guard has acted it does not act again for so long." },
	{ .name = "min_selections",
	  .type = KEY_NUMBER,
	  .max = UINT32_MAX,
	  .fallback = "200",
	  .help = "A window with fewer is not judged by rules that count selections." },
	{ .name = "metric",
	  .type = KEY_PATH,
	  .min = 2,
	  .max = 4095,
	  .otherwise = "none",
	  .help = "A file with one number, written by the application and read each window." },
	{ .name = "probe",
	  .type = KEY_MAP,
	  .keys = probe_keys,
	  .help = "Asks the group itself, as a client would." },
	{ .name = "rules",
	  .type = KEY_MAP,
	  .keys = rules_keys,
	  .help = "What is watched, when it is bad, and what is done then." },
	{ 0 },
};
