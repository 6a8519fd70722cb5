/* Single flows: whom the policy chooses, and who gets them. */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "rest_steer.h"

#define TRACE_DEFAULT_S 10
#define TRACE_MAX_S	3600

static int bad_value(struct call *call, const char *name, const char *why)
{
	reply_error(call->reply, REPLY_BAD_REQUEST, name, "cannot use %s=%s: %s", name,
		    query_get(&call->query, name), why);
	return -EINVAL;
}

static int missing(struct call *call, const char *name)
{
	reply_error(call->reply, REPLY_BAD_REQUEST, name,
		    "cannot explain a flow without its %s; add %s=...", name, name);
	return -EINVAL;
}

/* Not given: *ret untouched. */
static int read_address(struct call *call, const char *name, struct addr *ret)
{
	const char *text = query_get(&call->query, name);

	if (text && addr_parse(text, ret) < 0)
		return bad_value(call, name,
				 "it is no IPv4 or IPv6 address; give one such as 10.9.0.2");
	return 0;
}

static int read_payload(struct call *call, struct steer_flow_request *flow)
{
	const char *text = query_get(&call->query, "payload");
	int len = text ? query_hex(text, flow->payload, sizeof(flow->payload)) : 0;

	if (len < 0)
		return bad_value(call, "payload",
				 "it is not 1 to 64 bytes of two hexadecimal digits each; give "
				 "how the datagram begins, such as 04000000");
	flow->has_payload = len > 0;
	flow->payload_len = (uint8_t)len;
	return 0;
}

static int flow_read(struct call *call, struct steer_flow_request *flow)
{
	uint32_t port = 0;

	if (!query_get(&call->query, "source"))
		return missing(call, "source");
	if (!query_get(&call->query, "port"))
		return missing(call, "port");
	if (read_address(call, "source", &flow->source) < 0 ||
	    read_address(call, "destination", &flow->destination) < 0 ||
	    query_uint(&call->query, "port", 1, UINT16_MAX, &port, call->reply) < 0 ||
	    query_uint(&call->query, "cpu", 0, STEER_MAX_CPUS - 1, &flow->cpu, call->reply) < 0 ||
	    read_payload(call, flow) < 0)
		return -EINVAL;
	flow->source_port = (uint16_t)port;
	return 0;
}

void rest_steer_explain(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct steer_explanation explanation = { .slot = STEER_NOBODY };
	struct steer_flow_request flow = { 0 };
	struct err err = { 0 };
	bool chosen;
	int r;

	if (!steer || flow_read(call, &flow) < 0)
		return;
	r = steer->explain(steer->ctx, call->name, &flow, &explanation, &err);
	if (r < 0) {
		rest_steer_failed(call, r, &err);
		return;
	}
	chosen = explanation.known && explanation.slot != STEER_NOBODY;
	reply_json(call->reply, 200,
		   json_pack("{s:s, s:b, s:o, s:s, s:o}", "group", call->name, "known",
			     explanation.known, "slot",
			     chosen ? json_integer(explanation.slot) : json_null(), "why",
			     steer_counter_name(explanation.why), "text",
			     reply_text(explanation.text)));
}

static int trace_read(struct call *call, struct steer_trace_request *request)
{
	uint64_t seconds = TRACE_DEFAULT_S;
	uint32_t limit = 0;
	uint32_t port = 0;
	uint32_t sample = 0;

	if (query_duration_s(&call->query, "duration", &seconds, call->reply) < 0)
		return -EINVAL;
	if (seconds > TRACE_MAX_S)
		return bad_value(call, "duration", "a trace lasts an hour at most; give 1s to 1h");
	if (read_address(call, "source", &request->source) < 0 ||
	    query_uint(&call->query, "port", 1, UINT16_MAX, &port, call->reply) < 0 ||
	    query_uint(&call->query, "sample", 1, UINT16_MAX, &sample, call->reply) < 0 ||
	    query_uint(&call->query, "limit", 1, UINT32_MAX, &limit, call->reply) < 0)
		return -EINVAL;
	request->duration_ns = seconds * NSEC_PER_SEC;
	request->source_port = (uint16_t)port;
	request->sample = (uint16_t)sample;
	request->limit = limit;
	return 0;
}

void rest_steer_trace(struct call *call)
{
	const struct control_steer *steer = rest_steer_group_of(call);
	struct steer_trace_request request = { 0 };
	struct err err = { 0 };
	int r;

	if (!steer || trace_read(call, &request) < 0)
		return;
	if (strcmp(call->request->method, "GET") == 0) { /* HEAD gets no body to trace into */
		r = steer->trace(steer->ctx, call->name, &request, &call->reply->stream, &err);
		if (r < 0) {
			rest_steer_failed(call, r, &err);
			return;
		}
	}
	call->reply->status = 200;
	call->reply->content_type = "application/x-ndjson";
}
