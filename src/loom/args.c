#include "args.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define ARGS_SECONDS_MIN 0.1
#define ARGS_SECONDS_MAX 86400.0

/* What is being read: argv, and where the next argument stands. */
struct args_reader {
	char **argv;
	size_t count;
	size_t next;
};

static int parse_digits(const char *text, uint64_t *ret)
{
	uint64_t value = 0;

	if (!*text)
		return -EINVAL;
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return -EINVAL;
		if (__builtin_mul_overflow(value, 10, &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*text - '0'), &value))
			return -EINVAL;
	}
	*ret = value;
	return 0;
}

int args_number(const char *name, const char *text, uint64_t min, uint64_t max, uint64_t *ret,
		struct err *err)
{
	uint64_t value;

	if (parse_digits(text, &value) < 0 || value < min || value > max)
		return err_set(err, -EINVAL,
			       "cannot use '%s' as %s: it is no whole number from %" PRIu64
			       " to %" PRIu64,
			       text, name, min, max);
	*ret = value;
	return 0;
}

static int add_text(const char *name, const char *text, struct args_texts *ret, struct err *err)
{
	if (ret->count == ARGS_TEXTS_MAX)
		return err_set(err, -EINVAL, "cannot take another --%s: there are %d already", name,
			       ARGS_TEXTS_MAX);
	ret->text[ret->count++] = text;
	return 0;
}

static int parse_seconds(const char *name, const char *text, double *ret, struct err *err)
{
	char *end;
	double value = strtod(text, &end);

	/* The negated comparison refuses NaN, too. */
	if (end == text || *end || !(value >= ARGS_SECONDS_MIN && value <= ARGS_SECONDS_MAX))
		return err_set(err, -EINVAL,
			       "cannot use '%s' as %s: it is no number of seconds from %g to %g",
			       text, name, ARGS_SECONDS_MIN, ARGS_SECONDS_MAX);
	*ret = value;
	return 0;
}

static const struct args_option *find(const struct args_table *tables, size_t table_count,
				      const char *name, size_t name_len, char letter,
				      void **ret_target)
{
	const struct args_option *option;
	size_t i;

	for (i = 0; i < table_count; i++) {
		for (option = tables[i].options; option && option->name; option++) {
			if (letter ? option->letter != letter
				   : strlen(option->name) != name_len ||
					     memcmp(option->name, name, name_len) != 0)
				continue;
			*ret_target = (char *)tables[i].target + option->offset;
			return option;
		}
	}
	return NULL;
}

/* Stores value, which is NULL if none was given. */
static int store(const struct args_option *option, const char *value, void *target, struct err *err)
{
	struct args_number *number = target;
	struct args_seconds *seconds = target;

	switch (option->kind) {
	case ARGS_FLAG:
		*(bool *)target = true;
		return 0;
	case ARGS_TEXT:
		*(const char **)target = value;
		return 0;
	case ARGS_TEXTS:
		return add_text(option->name, value, target, err);
	case ARGS_NUMBER:
		number->given = true;
		return args_number(option->name, value, option->min, option->max, &number->value,
				   err);
	case ARGS_SECONDS:
		seconds->given = true;
		return value ? parse_seconds(option->name, value, &seconds->value, err) : 0;
	}
	return -EINVAL;
}

static int read_option(struct args_reader *in, const struct args_table *tables, size_t table_count,
		       struct err *err)
{
	const char *arg = in->argv[in->next++];
	bool is_long = arg[1] == '-';
	const char *equals = is_long ? strchr(arg, '=') : NULL;
	const char *value = equals ? equals + 1 : NULL;
	const struct args_option *option = NULL;
	void *target = NULL;

	if (is_long)
		option = find(tables, table_count, arg + 2,
			      equals ? (size_t)(equals - arg) - 2 : strlen(arg + 2), 0, &target);
	else if (!arg[2])
		option = find(tables, table_count, "", 0, arg[1], &target);
	if (!option)
		return err_set(err, -EINVAL, "cannot read '%s': there is no such option here", arg);
	if (option->kind == ARGS_FLAG && value)
		return err_set(err, -EINVAL, "cannot read '%s': --%s takes no value", arg,
			       option->name);
	if (option->kind != ARGS_FLAG && option->kind != ARGS_SECONDS && !value) {
		if (in->next == in->count)
			return err_set(err, -EINVAL, "cannot read '%s': %s is missing after it",
				       arg, option->value);
		value = in->argv[in->next++];
	}
	return store(option, value, target, err);
}

int args_parse(const struct args_table *tables, size_t table_count, char **argv, size_t *count,
	       bool stop_at_operand, struct err *err)
{
	struct args_reader in = { .argv = argv, .count = *count };
	bool options = true;
	size_t operands = 0;
	int r;

	while (in.next < in.count) {
		char *arg = argv[in.next];

		if (options && strcmp(arg, "--") == 0) {
			options = false;
			in.next++;
		} else if (options && arg[0] == '-' && arg[1]) {
			r = read_option(&in, tables, table_count, err);
			if (r < 0)
				return r;
		} else {
			options &= !stop_at_operand;
			argv[operands++] = arg;
			in.next++;
		}
	}
	*count = operands;
	return 0;
}
