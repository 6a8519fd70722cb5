#include "reply.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "stream.h"

static const struct {
	unsigned int status;
	const char *code;
} codes[] = {
#define REPLY_ROW(name, status, code) [REPLY_##name] = { status, code },
	REPLY_CODES(REPLY_ROW)
#undef REPLY_ROW
};

void reply_init(struct reply *reply)
{
	memset(reply, 0, sizeof(*reply));
	buf_init(&reply->body);
	reply->content_type = "application/json";
}

void reply_done(struct reply *reply)
{
	stream_close(reply->stream);
	buf_done(&reply->body);
}

static int append(const char *data, size_t len, void *body)
{
	buf_append(body, data, len);
	return 0;
}

#define JSON_FORM (JSON_COMPACT | JSON_REAL_PRECISION(12))

void reply_json(struct reply *reply, unsigned int status, json_t *root)
{
	static const char no_memory[] =
		"{\"error\":{\"code\":\"internal\",\"message\":\"cannot answer: out of memory; try "
		"again\"}}";

	buf_done(&reply->body);
	reply->content_type = "application/json";
	reply->status = status;
	if (!root || json_dump_callback(root, append, &reply->body, JSON_FORM) < 0) {
		buf_done(&reply->body);
		buf_append(&reply->body, no_memory, sizeof(no_memory) - 1);
		reply->status = 500;
	}
	buf_append(&reply->body, "\n", 1);
	json_decref(root);
}

void reply_list(struct reply *reply, const char *name)
{
	buf_done(&reply->body);
	reply->content_type = "application/json";
	reply->status = 200;
	buf_printf(&reply->body, "{\"%s\":[", name);
}

void reply_item(struct reply *reply, json_t *item)
{
	struct buf *body = &reply->body;

	if (body->len && body->data[body->len - 1] != '[')
		buf_append(body, ",", 1);
	if (!item || json_dump_callback(item, append, body, JSON_FORM) < 0)
		body->failed = true;
	json_decref(item);
}

void reply_list_end(struct reply *reply)
{
	buf_append(&reply->body, "]}\n", 3);
	if (buf_failed(&reply->body))
		reply_json(reply, 500, NULL);
}

json_t *reply_text(const char *text)
{
	json_t *json = json_string(text);
	struct buf ascii;
	char *copy;

	if (json)
		return json;
	buf_init(&ascii);
	for (; *text; text++)
		buf_append(&ascii, *text < ' ' || *text > '~' ? "?" : text, 1);
	copy = buf_take(&ascii);
	json = copy ? json_string(copy) : NULL;
	free(copy);
	return json;
}

void reply_error(struct reply *reply, enum reply_code code, const char *field, const char *fmt, ...)
{
	json_t *text = NULL;
	char *message;
	va_list ap;

	va_start(ap, fmt);
	if (vasprintf(&message, fmt, ap) >= 0) {
		text = reply_text(message);
		free(message);
	}
	va_end(ap);
	reply_json(reply, codes[code].status,
		   json_pack("{s:{s:s, s:o, s:o*}}", "error", "code", codes[code].code, "message",
			     text, "field", field ? reply_text(field) : NULL));
}

static enum reply_code code_of_errno(int r)
{
	switch (r) {
	case -ENOENT:
		return REPLY_NOT_FOUND;
	case -EEXIST:
	case -EBUSY:
		return REPLY_CONFLICT;
	case -EINVAL:
	case -ERANGE:
	case -EAFNOSUPPORT:
		return REPLY_INVALID_VALUE;
	case -ENOSPC:
	case -E2BIG:
		return REPLY_TABLE_FULL;
	case -EAGAIN:
		return REPLY_NOT_READY;
	default:
		return REPLY_INTERNAL;
	}
}

void reply_errno(struct reply *reply, int r, const struct err *err, const char *field)
{
	if (err && err->text[0])
		reply_error(reply, code_of_errno(r), field, "%s", err->text);
	else
		reply_error(reply, code_of_errno(r), field,
			    "cannot do that: %s; see the daemon's log", strerror(-r));
}
