/* schema.h - every key of loom.yaml: its type, range, default and help.
 * Layer: config.  Constant data.
 *
 * One set of tables checks documents (config_check.c), prints the JSON Schema and the manual page
 * (config_print.c): what is not in them does not exist. */
#ifndef LOOM_SCHEMA_H
#define LOOM_SCHEMA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum key_type {
	KEY_MAP = 1,
	KEY_LIST,
	KEY_BOOL,
	KEY_NUMBER,
	KEY_DECIMAL,  /* with up to six digits behind the dot; in millionths */
	KEY_BYTES,    /* a number, also with KiB, MiB, GiB */
	KEY_DURATION, /* in ns */
	KEY_ENUM,
	KEY_ADDRESS, /* unicast */
	KEY_NET,     /* a unicast address or CIDR */
	KEY_PORT,
	KEY_PORTS, /* a port, a range of ports, or any */
	KEY_PORT_RANGE,
	KEY_STATUS,    /* an HTTP status or a range of them */
	KEY_LISTEN,    /* ADDRESS:PORT or "off" */
	KEY_NAME,      /* [a-z0-9_-] */
	KEY_INTERFACE, /* a network interface's name */
	KEY_PATH,      /* absolute */
	KEY_NETNS,     /* a network namespace: a name, a path or pid:N */
	KEY_TEXT,
};

enum key_flags {
	KEY_SECRET = 1 << 1,   /* and all below it: never quoted */
	KEY_REQUIRED = 1 << 2, /* in a mapping that is given */
	KEY_APPEND = 1 << 3,   /* a list that later files append to */
	KEY_SINGLE = 1 << 4,   /* a list of one may be written without the list */
	KEY_OFF = 1 << 5,      /* a path that may be "off"; a mapping: "off" is enabled: false */
	KEY_PRIME = 1 << 6,
	KEY_POWER_OF_2 = 1 << 7,
	KEY_UNIQUE = 1 << 8,   /* a list that holds no value twice */
	KEY_OR_ALL = 1 << 9,   /* a list that may be the word "all" */
	KEY_CLIENTS = 1 << 10, /* a network that need not be one of unicast addresses */
	KEY_SHORT = 1 << 11,   /* of a mapping's keys, the one that a scalar in its place gives */
	KEY_HEX = 1 << 12,     /* a number that may be written as 0x... */
	KEY_LOCAL = 1 << 13,   /* an address that may be a loopback one */
	KEY_BOUND = 1 << 14,   /* an address to bind to: *, 0.0.0.0 and :: as well */
};

struct choice {
	const char *name;
	int value;
};

struct key {
	const char *name; /* of a list's element: what one of them is called */
	enum key_type type;
	unsigned int flags;
	uint64_t min; /* value; KEY_LIST: entries; KEY_NAME, KEY_TEXT, KEY_PATH: bytes */
	uint64_t max;
	const char *unit;
	const char *fallback;	      /* the default, as one would write it */
	const char *otherwise;	      /* in words, what holds without the key */
	const struct choice *choices; /* ends with {0}; KEY_NUMBER: words that stand beside it */
	const struct key *keys;	      /* KEY_MAP: ends with {0}; KEY_LIST: its element */
	const char *help;
};

#define KEY_DECIMAL_ONE ((uint64_t)1000000)

/* The document. */
extern const struct key schema_root;

/* Two spellings of one setting. */
struct key_alias {
	const char *path;
	const char *stands_for;
};
extern const struct key_alias schema_aliases[]; /* ends with {0} */

/* The key of that name in a mapping, or NULL; keys of a mapping are numbered from 0. */
const struct key *schema_find(const struct key *map, const char *name);
size_t schema_count(const struct key *map);
/* The key of map that a scalar in the mapping's place gives, or NULL. */
const struct key *schema_short(const struct key *map);
/* The key of map whose name is nearest to a misspelled one, or NULL. */
const struct key *schema_nearest(const struct key *map, const char *name);
/* Writes the path of the key of that name that lies nearest to the top; false if there is none. */
bool schema_locate(const char *name, char *path, size_t size);

#endif
