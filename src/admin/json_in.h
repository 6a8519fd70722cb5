/* json_in.h - strict reading of a request's JSON object.
 * Layer: admin.  Threads: control thread only.  Blocks: no. */
#ifndef LOOM_JSON_IN_H
#define LOOM_JSON_IN_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "reply.h"

enum json_in_type {
	JSON_IN_INTEGER,
	JSON_IN_STRING,
	JSON_IN_BOOL,
	JSON_IN_OBJECT,
	JSON_IN_ARRAY,
};

/* A member that may stand in the object, and what was found. */
struct json_in {
	const char *name; /* NULL ends a table */
	enum json_in_type type;
	int64_t min; /* of an integer */
	int64_t max;
	bool required;

	bool given;
	int64_t integer;
	const char *string; /* borrowed from the root */
	bool truth;
	json_t *value; /* of an object or an array; borrowed from the root */
};

/* Reads text, which must be one JSON object of known members, each at most once.
 * members	the table; filled in
 * ret_root	owned by the caller (json_decref) on success
 * reply	gets the error
 * Returns 0 or -EINVAL with the error in reply. */
int json_in_read(const char *text, size_t len, struct json_in *members, json_t **ret_root,
		 struct reply *reply);

/* The same for an object that stands in the body. */
int json_in_object(json_t *object, struct json_in *members, struct reply *reply);

#endif
