#include "rest_steer.h"

#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "steer_json.h"

const struct control_steer *rest_steer_of(struct call *call)
{
	if (!call->control->steer)
		reply_error(call->reply, REPLY_NOT_FOUND, NULL,
			    "cannot steer sockets: no groups are configured; add steering.groups "
			    "to loom.yaml and reload");
	return call->control->steer;
}

const struct control_steer *rest_steer_group_of(struct call *call)
{
	const struct control_steer *steer = rest_steer_of(call);

	if (!steer || call->name[0])
		return steer;
	reply_error(call->reply, REPLY_NOT_FOUND, NULL,
		    "cannot find the group: what stands in the path is no group's name (1 to 63 of "
		    "a-z, 0-9, _ and -); GET /steer/groups lists them");
	return NULL;
}

void rest_steer_failed(struct call *call, int r, const struct err *err)
{
	static const struct {
		int r;
		enum reply_code code;
	} codes[] = {
		{ -EAGAIN, REPLY_NOT_YET }, /* of the load balancer: it does not stand */
		{ -EPERM, REPLY_MISSING_CAPABILITY },
		{ -EACCES, REPLY_MISSING_CAPABILITY },
		{ -EOPNOTSUPP, REPLY_NOT_SUPPORTED },
	};

	for (size_t i = 0; err->text[0] && i < sizeof(codes) / sizeof(codes[0]); i++) {
		if (codes[i].r != r)
			continue;
		reply_error(call->reply, codes[i].code, NULL, "%s", err->text);
		return;
	}
	reply_errno(call->reply, r, err, NULL);
}

int rest_steer_body(struct call *call, struct json_in *members, bool needed, json_t **ret_root)
{
	const struct request *request = call->request;

	*ret_root = NULL;
	if (!needed && !request->body_len)
		return 0;
	return json_in_read(request->body, request->body_len, members, ret_root, call->reply);
}

int rest_steer_text(struct call *call, const struct json_in *member, char *ret, size_t size)
{
	ret[0] = '\0';
	if (!member->given)
		return 0;
	if (strlen(member->string) < size) {
		strcpy(ret, member->string);
		return 0;
	}
	reply_error(call->reply, REPLY_INVALID_VALUE, member->name,
		    "cannot use %s: it is longer than %zu bytes; shorten it", member->name,
		    size - 1);
	return -EINVAL;
}

int rest_steer_duration(struct call *call, const struct json_in *member, uint64_t *ret_ns)
{
	uint64_t seconds;

	if (!member->given)
		return 0;
	if (query_duration_text(member->string, &seconds) == 0) {
		*ret_ns = seconds * NSEC_PER_SEC;
		return 0;
	}
	reply_error(call->reply, REPLY_INVALID_VALUE, member->name,
		    "cannot use %s \"%.32s\": it is no duration from 1s to 24h; write 30s, 5m or "
		    "1h",
		    member->name, member->string);
	return -EINVAL;
}

/* The one group that was asked for; the view is the caller's. */
static int view_take(struct call *call, struct steer_view **ret, struct err *err)
{
	const struct control_steer *steer = call->control->steer;
	int r;

	*ret = NULL;
	r = steer->view(steer->ctx, call->name, ret, err);
	if (r == 0 && (*ret)->group_count != 1)
		r = err_set(err, -ENOENT,
			    "cannot find group %s: there is none; GET /steer/groups lists them",
			    call->name);
	return r;
}

void rest_steer_changed(struct call *call, int r, const struct err *err)
{
	struct steer_view *view;
	struct err why = { 0 };

	if (r < 0) {
		rest_steer_failed(call, r, err);
		return;
	}
	r = view_take(call, &view, &why);
	reply_json(call->reply, 200,
		   r == 0 ? steer_json_group(&view->groups[0])
			  : json_pack("{s:s, s:o}", "name", call->name, "unread",
				      reply_text(why.text[0] ? why.text : strerror(-r))));
	steer_view_free(view);
}

void rest_steer_groups(struct call *call)
{
	const struct control_steer *steer = rest_steer_of(call);
	struct steer_view *view = NULL;
	struct err err = { 0 };
	int r = steer ? steer->view(steer->ctx, NULL, &view, &err) : 0;

	if (!steer)
		return;
	if (r < 0) {
		rest_steer_failed(call, r, &err);
		return;
	}
	reply_list(call->reply, "groups");
	for (size_t i = 0; i < view->group_count; i++)
		reply_item(call->reply, steer_json_group(&view->groups[i]));
	reply_list_end(call->reply);
	steer_view_free(view);
}

void rest_steer_group(struct call *call)
{
	struct steer_view *view;
	struct err err = { 0 };
	int r;

	if (!rest_steer_group_of(call))
		return;
	r = view_take(call, &view, &err);
	if (r < 0)
		rest_steer_failed(call, r, &err);
	else
		reply_json(call->reply, 200, steer_json_group(&view->groups[0]));
	steer_view_free(view);
}

/* What the daemon appended stands in the answer as it is: it may be megabytes. */
static void answer_text(struct call *call, int r, const struct err *err, const char *name,
			struct buf *text)
{
	struct buf *body = &call->reply->body;

	if (r < 0) {
		rest_steer_failed(call, r, err);
	} else if (buf_failed(text)) {
		reply_json(call->reply, 500, NULL);
	} else {
		buf_printf(body, "{");
		if (call->name[0])
			buf_printf(body, "\"group\":\"%s\",", call->name);
		buf_printf(body, "\"%s\":", name);
		buf_append(body, text->len ? text->data : "[]", text->len ? text->len : 2);
		buf_append(body, "}\n", 2);
		call->reply->status = 200;
		if (buf_failed(body))
			reply_json(call->reply, 500, NULL);
	}
	buf_done(text);
}

void rest_steer_audit(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct err err = { 0 };
	struct buf text;

	buf_init(&text);
	if (steer)
		answer_text(call, steer->audit(steer->ctx, call->name, &text, &err), &err,
			    "transitions", &text);
}

void rest_steer_history(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct err err = { 0 };
	struct buf text;

	buf_init(&text);
	if (steer)
		answer_text(call, steer->history(steer->ctx, call->name, &text, &err), &err,
			    "windows", &text);
}

void rest_steer_capabilities(struct call *call)
{
	const struct control_steer *steer = rest_steer_of(call);
	struct err err = { 0 };
	struct buf text;

	buf_init(&text);
	if (steer)
		answer_text(call, steer->capabilities(steer->ctx, &text, &err), &err,
			    "capabilities", &text);
}
