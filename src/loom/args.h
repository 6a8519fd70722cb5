/* args.h - options and operands of a command line, read by tables.
 * Layer: loom.  Threads: any.  Blocks: no.
 *
 * "--name VALUE", "--name=VALUE", "-x VALUE"; options may stand before and after operands; "--"
 * ends them. */
#ifndef LOOM_ARGS_H
#define LOOM_ARGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

enum args_kind {
	ARGS_FLAG,    /* target: bool */
	ARGS_TEXT,    /* target: const char *, borrowed from argv */
	ARGS_TEXTS,   /* target: struct args_texts; may be repeated */
	ARGS_NUMBER,  /* target: struct args_number */
	ARGS_SECONDS, /* target: struct args_seconds; the value is optional and follows "=" */
};

#define ARGS_TEXTS_MAX 256

struct args_texts {
	size_t count;
	const char *text[ARGS_TEXTS_MAX]; /* borrowed from argv */
};

struct args_number {
	bool given;
	uint64_t value;
};

struct args_seconds {
	bool given;
	double value; /* 0: none was named */
};

struct args_option {
	const char *name; /* long, without dashes; NULL ends the table */
	char letter;	  /* 0: none */
	enum args_kind kind;
	size_t offset;	   /* of the target in the table's struct */
	const char *value; /* what help calls the value */
	const char *help;
	uint64_t min; /* ARGS_NUMBER */
	uint64_t max;
};

struct args_table {
	const struct args_option *options;
	void *target;
};

/* Reads the options out of argv[0 .. *count) and leaves the operands there, *count of them.
 * stop_at_operand	what follows the first operand is left as it stands
 * Returns 0 or -EINVAL with a sentence; argv is unspecified then. */
int args_parse(const struct args_table *tables, size_t table_count, char **argv, size_t *count,
	       bool stop_at_operand, struct err *err);

/* A decimal number in min..max, nothing around it; name is how the sentence calls it.  0 or
 * -EINVAL. */
int args_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		struct err *err);

#endif
