/* reply.h - what the admin API answers, before it is put on a socket.
 * Layer: admin.  Threads: control thread only.  Blocks: no. */
#ifndef LOOM_REPLY_H
#define LOOM_REPLY_H

#include <jansson.h>

#include "base/buf.h"
#include "base/err.h"

/* The table of docs/rest-api.md: X(NAME, status, code). */
#define REPLY_CODES(X)                                           \
	X(BAD_JSON, 400, "bad_json")                             \
	X(BAD_REQUEST, 400, "bad_request")                       \
	X(UNAUTHORIZED, 401, "unauthorized")                     \
	X(FORBIDDEN, 403, "forbidden")                           \
	X(MISSING_CAPABILITY, 403, "missing_capability")         \
	X(NOT_FOUND, 404, "not_found")                           \
	X(METHOD_NOT_ALLOWED, 405, "method_not_allowed")         \
	X(CONFLICT, 409, "conflict")                             \
	X(NOT_YET, 409, "not_yet")                               \
	X(TOO_LARGE, 413, "too_large")                           \
	X(UNSUPPORTED_MEDIA_TYPE, 415, "unsupported_media_type") \
	X(MISDIRECTED, 421, "misdirected")                       \
	X(INVALID_VALUE, 422, "invalid_value")                   \
	X(INVALID_CONFIG, 422, "invalid_config")                 \
	X(INTERNAL, 500, "internal")                             \
	X(NOT_SUPPORTED, 501, "not_supported")                   \
	X(NOT_READY, 503, "not_ready")                           \
	X(TABLE_FULL, 503, "table_full")

enum reply_code {
#define REPLY_ENUM(name, status, code) REPLY_##name,
	REPLY_CODES(REPLY_ENUM)
#undef REPLY_ENUM
};

struct stream;

struct reply {
	unsigned int status;
	const char *content_type;
	char allow[40];		  /* Allow: of a 405; "" otherwise */
	const char *authenticate; /* WWW-Authenticate: of a 401; NULL otherwise */
	struct buf body;	  /* owned */
	struct stream *stream;	  /* owned; NULL: body is all there is, else there is no body */
};

void reply_init(struct reply *reply);
void reply_done(struct reply *reply);

/* Answers with root, which it takes; NULL stands for an allocation that failed and becomes 500. */
void reply_json(struct reply *reply, unsigned int status, json_t *root);

/* Answers 200 with {NAME: [item, ...]}, item after item, so that of thousands one is in memory
 * twice.  reply_item takes item; NULL as above. */
void reply_list(struct reply *reply, const char *name);
void reply_item(struct reply *reply, json_t *item);
void reply_list_end(struct reply *reply);

/* Answers with the API's error form.  field may be NULL.  The text need not be UTF-8. */
void reply_error(struct reply *reply, enum reply_code code, const char *field, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));

/* Text of others (processes' names, what clients send), which need not be UTF-8. */
json_t *reply_text(const char *text);

/* Answers for a function of struct control that returned r < 0; field may be NULL. */
void reply_errno(struct reply *reply, int r, const struct err *err, const char *field);

#endif
