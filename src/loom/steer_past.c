#include "steer_past.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *text(const json_t *json, const char *name)
{
	const char *value = json_string_value(json_object_get(json, name));

	return value ? value : "";
}

char *steer_past_time(double at, char text[32])
{
	time_t seconds = (time_t)at;
	struct tm tm;

	if (!localtime_r(&seconds, &tm) || !strftime(text, 32, "%Y-%m-%d %H:%M:%S", &tm))
		snprintf(text, 32, "%.0f", at);
	return text;
}

static bool is_known(const char *name)
{
	static const char *const known[] = { "time",   "from",	"to",	"actor",
					     "reason", "group", "event" };

	for (size_t i = 0; i < sizeof(known) / sizeof(known[0]); i++)
		if (strcmp(known[i], name) == 0)
			return true;
	return false;
}

/* Adds "name=value" for every scalar that has no place of its own, one level deep. */
static size_t add_numbers(const json_t *json, char *out, size_t len, size_t size)
{
	const json_t *value;
	const char *name;

	json_object_foreach((json_t *)json, name, value)
	{
		const char *mark = len ? ", " : "";

		if (is_known(name) || len >= size)
			continue;
		if (json_is_integer(value))
			len += (size_t)snprintf(out + len, size - len, "%s%s=%" JSON_INTEGER_FORMAT,
						mark, name, json_integer_value(value));
		else if (json_is_real(value))
			len += (size_t)snprintf(out + len, size - len, "%s%s=%.4g", mark, name,
						json_real_value(value));
		else if (json_is_boolean(value))
			len += (size_t)snprintf(out + len, size - len, "%s%s=%s", mark, name,
						json_is_true(value) ? "true" : "false");
		else if (json_is_string(value) && *json_string_value(value))
			len += (size_t)snprintf(out + len, size - len, "%s%s=%s", mark, name,
						json_string_value(value));
	}
	return len;
}

void steer_past_record(const json_t *json, struct steer_past_record *ret)
{
	const json_t *inner;
	const char *name;
	size_t len;

	memset(ret, 0, sizeof(*ret));
	ret->at = json_number_value(json_object_get(json, "time"));
	if (ret->at > 0)
		steer_past_time(ret->at, ret->time);
	else
		snprintf(ret->time, sizeof(ret->time), "%s", text(json, "time"));
	ret->from = text(json, "from");
	ret->to = text(json, "to");
	ret->actor = text(json, "actor");
	ret->reason = text(json, "reason");
	len = add_numbers(json, ret->numbers, 0, sizeof(ret->numbers));
	json_object_foreach((json_t *)json, name, inner)
	{
		if (json_is_object(inner))
			len = add_numbers(inner, ret->numbers, len, sizeof(ret->numbers));
	}
}

const json_t *steer_past_list(const json_t *answer, const char *name)
{
	const json_t *list = json_object_get(answer, name);

	return json_is_array(list) ? list : NULL;
}

bool steer_past_series(const json_t *samples, const char *key, struct steer_past_series *ret)
{
	const json_t *sample;
	size_t i;

	memset(ret, 0, sizeof(*ret));
	json_array_foreach((json_t *)samples, i, sample)
	{
		const json_t *value = json_object_get(sample, key);
		double number = json_number_value(value);

		if (!json_is_number(value))
			continue;
		if (!ret->count || number < ret->min)
			ret->min = number;
		if (!ret->count || number > ret->max)
			ret->max = number;
		ret->mean += number;
		ret->last = number;
		ret->count++;
	}
	if (ret->count)
		ret->mean /= (double)ret->count;
	return ret->count > 0;
}
