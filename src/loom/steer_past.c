#include "steer_past.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
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
	static const char *const known[] = {
		"at", "from", "to", "actor", "reason", "group", "event"
	};

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

/* RFC 3339 in UTC, as loomd's audit file has it; 0: it is none. */
static double parse_time(const char *given)
{
	struct tm tm = { 0 };

	return strptime(given, "%Y-%m-%dT%H:%M:%S", &tm) ? (double)timegm(&tm) : 0;
}

void steer_past_record(const json_t *json, struct steer_past_record *ret)
{
	const json_t *inner;
	const char *name;
	size_t len;

	memset(ret, 0, sizeof(*ret));
	ret->at = json_number_value(json_object_get(json, "at"));
	if (ret->at <= 0)
		ret->at = parse_time(text(json, "at"));
	if (ret->at > 0)
		steer_past_time(ret->at, ret->time);
	else
		snprintf(ret->time, sizeof(ret->time), "%s", text(json, "at"));
	ret->from = text(json, "from");
	ret->to = text(json, "to");
	ret->actor = text(json, "actor");
	ret->reason = text(json, "reason");
	/* What moved nothing, "attached again", only has a name. */
	if (!*ret->to)
		ret->to = text(json, "event");
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

json_t *steer_past_read_file(const char *path, const char *group, size_t max, struct err *err)
{
	FILE *file = fopen(path, "re");
	json_t *list = json_array();
	char *line = NULL;
	size_t size = 0;
	ssize_t len;

	if (!file || !list) {
		err_set(err, -errno, "cannot read %s: %s", path, strerror(errno));
		json_decref(list);
		if (file)
			fclose(file);
		return NULL;
	}
	while ((len = getline(&line, &size, file)) > 0) {
		/* A line that a crash cut is none. */
		json_t *json = json_loadb(line, (size_t)len, 0, NULL);

		if (strcmp(text(json, "group"), group) == 0)
			json_array_append(list, json);
		if (json_array_size(list) > max)
			json_array_remove(list, 0);
		json_decref(json);
	}
	free(line);
	fclose(file);
	return json_pack("{s:s, s:s, s:o}", "group", group, "file", path, "transitions", list);
}

/* ---- history ---- */

/* "slot 3 id 12"; "id 12" of a member without a slot. */
static void add_sample(json_t *members, json_t *sample)
{
	const json_t *slot = json_object_get(sample, "slot");
	const json_t *id = json_object_get(sample, "id");
	char name[48];
	json_t *list;

	if (!json_is_integer(slot) && !json_is_integer(id))
		return;
	/* Who took over a slot is another member. */
	snprintf(name, sizeof(name), "id %" JSON_INTEGER_FORMAT, json_integer_value(id));
	if (json_is_integer(slot))
		snprintf(name, sizeof(name),
			 "slot %" JSON_INTEGER_FORMAT " id %" JSON_INTEGER_FORMAT,
			 json_integer_value(slot), json_integer_value(id));
	list = json_object_get(members, name);
	if (!list) {
		list = json_array();
		json_object_set_new(members, name, list);
	}
	json_array_append(list, sample);
}

json_t *steer_past_by_member(const json_t *answer)
{
	json_t *members = json_object();
	json_t *window;
	json_t *sample;
	size_t i;
	size_t k;

	json_array_foreach(json_object_get(answer, "windows"), i, window)
	{
		json_array_foreach(json_object_get(window, "members"), k, sample)
			add_sample(members, sample);
	}
	return members;
}

static bool is_identity(const char *name)
{
	static const char *const names[] = {
		"slot", "id", "pid", "cookie", "inode", "at", "index"
	};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

static void add_number(struct steer_past_series *series, double number)
{
	if (!series->count || number < series->min)
		series->min = number;
	if (!series->count || number > series->max)
		series->max = number;
	series->mean += (number - series->mean) / (double)++series->count;
	series->last = number;
}

size_t steer_past_series(const json_t *samples, struct steer_past_series *ret, size_t max)
{
	const json_t *sample;
	const json_t *value;
	const char *name;
	size_t count = 0;
	size_t i;

	json_array_foreach((json_t *)samples, i, sample)
	{
		json_object_foreach((json_t *)sample, name, value)
		{
			size_t k;

			if (!json_is_number(value) || is_identity(name))
				continue;
			for (k = 0; k < count && strcmp(ret[k].name, name) != 0; k++)
				;
			if (k == max)
				continue;
			if (k == count)
				ret[count++] = (struct steer_past_series){ .name = name };
			add_number(&ret[k], json_number_value(value));
		}
	}
	return count;
}
