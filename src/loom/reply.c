#include "reply.h"

#include <errno.h>
#include <string.h>

static void mismatch(struct reply *reply, const char *path, const char *expected)
{
	if (reply->err->code)
		return;
	err_set(reply->err, -EBADMSG,
		"cannot read loomd's answer to %s: '%s' should be %s; is loomd of another version "
		"than this loom (" LOOM_VERSION ")?",
		reply->what, path, expected);
}

/* The member at path, or NULL. */
static json_t *walk(const json_t *object, const char *path)
{
	while (object) {
		const char *dot = strchr(path, '.');
		size_t len = dot ? (size_t)(dot - path) : strlen(path);
		json_t *member = json_object_getn(object, path, len);

		if (!dot)
			return member;
		object = member;
		path = dot + 1;
	}
	return NULL;
}

uint64_t reply_count(struct reply *reply, const json_t *object, const char *path)
{
	const json_t *member = walk(object, path);

	if (json_is_integer(member) && json_integer_value(member) >= 0)
		return (uint64_t)json_integer_value(member);
	mismatch(reply, path, "a whole number");
	return 0;
}

double reply_number(struct reply *reply, const json_t *object, const char *path)
{
	const json_t *member = walk(object, path);

	if (json_is_number(member))
		return json_number_value(member);
	mismatch(reply, path, "a number");
	return 0;
}

double reply_number_or(struct reply *reply, const json_t *object, const char *path,
		       double otherwise)
{
	return json_is_null(walk(object, path)) ? otherwise : reply_number(reply, object, path);
}

const char *reply_text(struct reply *reply, const json_t *object, const char *path)
{
	const json_t *member = walk(object, path);

	if (json_is_string(member))
		return json_string_value(member);
	mismatch(reply, path, "text");
	return "";
}

const char *reply_text_or(struct reply *reply, const json_t *object, const char *path,
			  const char *otherwise)
{
	return json_is_null(walk(object, path)) ? otherwise : reply_text(reply, object, path);
}

bool reply_bool(struct reply *reply, const json_t *object, const char *path)
{
	const json_t *member = walk(object, path);

	if (!json_is_boolean(member))
		mismatch(reply, path, "true or false");
	return json_is_true(member);
}

json_t *reply_array(struct reply *reply, const json_t *object, const char *path)
{
	json_t *member = walk(object, path);

	if (json_is_array(member))
		return member;
	mismatch(reply, path, "an array");
	return NULL;
}

json_t *reply_object(struct reply *reply, const json_t *object, const char *path)
{
	json_t *member = walk(object, path);

	if (json_is_object(member))
		return member;
	mismatch(reply, path, "an object");
	return NULL;
}

const char *reply_element_text(struct reply *reply, const json_t *element, const char *array)
{
	if (json_is_string(element))
		return json_string_value(element);
	mismatch(reply, array, "an array of texts");
	return "";
}

uint64_t reply_element_count(struct reply *reply, const json_t *element, const char *array)
{
	if (json_is_integer(element) && json_integer_value(element) >= 0)
		return (uint64_t)json_integer_value(element);
	mismatch(reply, array, "an array of whole numbers");
	return 0;
}

int reply_result(const struct reply *reply)
{
	return reply->err->code;
}
