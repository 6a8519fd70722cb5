#include "json_in.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "near.h"

#define JSON_IN_MAX 16
#define NAME_SHOWN  64 /* bytes of an unknown name that come back */

static struct json_in *member_find(struct json_in *members, const char *name)
{
	for (; members->name; members++)
		if (strcmp(members->name, name) == 0)
			return members;
	return NULL;
}

static int unknown_member(const struct json_in *members, const char *name, struct reply *reply)
{
	const char *names[JSON_IN_MAX + 1] = { NULL };
	char hint[NEAR_HINT_LEN];

	for (size_t i = 0; i < JSON_IN_MAX && members[i].name; i++)
		names[i] = members[i].name;
	reply_error(reply, REPLY_BAD_REQUEST, strlen(name) > NAME_SHOWN ? NULL : name,
		    "cannot read the body: unknown member \"%.*s\"; %s", NAME_SHOWN, name,
		    near_hint(name, names, hint));
	return -EINVAL;
}

static const char *json_type_name(const json_t *value)
{
	static const char *const names[] = {
		[JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array",
		[JSON_STRING] = "a string",  [JSON_INTEGER] = "an integer",
		[JSON_REAL] = "a fraction",  [JSON_TRUE] = "true",
		[JSON_FALSE] = "false",	     [JSON_NULL] = "null",
	};

	return names[json_typeof(value)];
}

static int integer_read(struct json_in *member, const json_t *value, struct reply *reply)
{
	if (!json_is_integer(value)) {
		reply_error(reply, REPLY_INVALID_VALUE, member->name,
			    "cannot use %s: it is %s; give an integer from %" PRId64 " to %" PRId64,
			    member->name, json_type_name(value), member->min, member->max);
		return -EINVAL;
	}
	member->integer = json_integer_value(value);
	if (member->integer < member->min || member->integer > member->max) {
		reply_error(reply, REPLY_INVALID_VALUE, member->name,
			    "cannot use %s: %" PRId64
			    " is out of range; give an integer from %" PRId64 " to %" PRId64,
			    member->name, member->integer, member->min, member->max);
		return -EINVAL;
	}
	return 0;
}

static int member_read(struct json_in *member, json_t *value, struct reply *reply)
{
	static const char *const wanted[] = {
		[JSON_IN_STRING] = "a string",
		[JSON_IN_BOOL] = "true or false",
		[JSON_IN_OBJECT] = "an object",
		[JSON_IN_ARRAY] = "an array",
	};
	bool fits = false;

	member->given = true;
	switch (member->type) {
	case JSON_IN_INTEGER:
		return integer_read(member, value, reply);
	case JSON_IN_STRING:
		member->string = json_string_value(value);
		fits = member->string;
		break;
	case JSON_IN_BOOL:
		member->truth = json_is_true(value);
		fits = json_is_boolean(value);
		break;
	case JSON_IN_OBJECT:
	case JSON_IN_ARRAY:
		member->value = value;
		fits = member->type == JSON_IN_OBJECT ? json_is_object(value)
						      : json_is_array(value);
		break;
	}
	if (fits)
		return 0;
	reply_error(reply, REPLY_INVALID_VALUE, member->name, "cannot use %s: it is %s; give %s",
		    member->name, json_type_name(value), wanted[member->type]);
	return -EINVAL;
}

int json_in_object(json_t *object, struct json_in *members, struct reply *reply)
{
	const char *name;
	json_t *value;

	json_object_foreach(object, name, value)
	{
		struct json_in *member = member_find(members, name);
		int r = member ? member_read(member, value, reply)
			       : unknown_member(members, name, reply);

		if (r < 0)
			return r;
	}
	for (; members->name; members++) {
		if (!members->required || members->given)
			continue;
		reply_error(reply, REPLY_BAD_REQUEST, members->name,
			    "cannot read the body: \"%s\" is missing; add it", members->name);
		return -EINVAL;
	}
	return 0;
}

int json_in_read(const char *text, size_t len, struct json_in *members, json_t **ret_root,
		 struct reply *reply)
{
	json_error_t error;
	json_t *root = json_loadb(text ? text : "", len, JSON_REJECT_DUPLICATES, &error);

	if (!root) {
		reply_error(reply, REPLY_BAD_JSON, NULL,
			    "cannot read the body: line %d, column %d: %s; send one JSON object",
			    error.line, error.column, error.text);
		return -EINVAL;
	}
	if (!json_is_object(root)) {
		reply_error(reply, REPLY_BAD_JSON, NULL,
			    "cannot read the body: it is %s; send one JSON object",
			    json_type_name(root));
		goto fail;
	}
	if (json_in_object(root, members, reply) < 0)
		goto fail;
	*ret_root = root;
	return 0;
fail:
	json_decref(root);
	return -EINVAL;
}
