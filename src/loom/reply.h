/* reply.h - typed reading of loomd's answers, which may be of another version or not loomd's at
 * all. Layer: loom.  Threads: one owner.  Blocks: no.
 *
 * The first member that is not what it should be is remembered in err; what is read from then on is
 * 0, "" or NULL, and the caller asks once at the end. */
#ifndef LOOM_REPLY_H
#define LOOM_REPLY_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct reply {
	const char *what; /* borrowed; the request, "GET /ebpf/stats" */
	struct err *err;  /* borrowed; err->code is set after the first mismatch */
};

/* A member by its path, "packets.forward". */
uint64_t reply_count(struct reply *reply, const json_t *object, const char *path);
double reply_number(struct reply *reply, const json_t *object, const char *path);
const char *reply_text(struct reply *reply, const json_t *object, const char *path);
bool reply_bool(struct reply *reply, const json_t *object, const char *path);
/* Borrowed from object; NULL, which jansson reads as empty, on a mismatch. */
json_t *reply_array(struct reply *reply, const json_t *object, const char *path);
json_t *reply_object(struct reply *reply, const json_t *object, const char *path);

/* The same for members that may be null: the otherwise then. */
const char *reply_text_or(struct reply *reply, const json_t *object, const char *path,
			  const char *otherwise);
double reply_number_or(struct reply *reply, const json_t *object, const char *path,
		       double otherwise);

/* An element of the array that is called so. */
const char *reply_element_text(struct reply *reply, const json_t *element, const char *array);
uint64_t reply_element_count(struct reply *reply, const json_t *element, const char *array);

/* err's code: 0 while everything was as it should be. */
int reply_result(const struct reply *reply);

#endif
