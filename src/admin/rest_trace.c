#include "rest.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <string.h>

#include "base/clock.h"
#include "stream.h"

#define TRACE_DEFAULT_S 10
#define TRACE_MAX_S	3600

static int bad_value(const struct call *call, const char *name, const char *reason,
		     const char *advice)
{
	reply_error(call->reply, REPLY_BAD_REQUEST, name, "cannot use %s=%s: %s; %s", name,
		    query_get(&call->query, name), reason, advice);
	return -EINVAL;
}

static int read_address(const struct call *call, struct lb_trace_filter *filter)
{
	const char *text = query_get(&call->query, "address");
	struct addr_net net;
	unsigned int bits;
	int r;

	if (!text)
		return 0;
	r = addr_net_parse(text, &net);
	if (r < 0)
		return bad_value(call, "address",
				 r == -EDOM	? "it has bits set beyond its length"
				 : r == -ERANGE ? "its length is out of range"
						: "it is no address",
				 "give an address or a network such as 10.0.0.0/8");
	bits = addr_net_bits(&net);
	memcpy(filter->addr, &net.addr, sizeof(filter->addr));
	for (unsigned int i = 0; i < 4; i++) {
		unsigned int here = bits > i * 32 ? bits - i * 32 : 0;

		filter->mask[i] = here >= 32 ? UINT32_MAX
				  : here     ? htonl(UINT32_MAX << (32 - here))
					     : 0;
	}
	return 0;
}

static int read_proto(const struct call *call, struct lb_trace_filter *filter)
{
	static const struct {
		const char *name;
		uint8_t number;
	} protocols[] = { { "tcp", IPPROTO_TCP },
			  { "udp", IPPROTO_UDP },
			  { "icmp", IPPROTO_ICMP },
			  { "icmpv6", IPPROTO_ICMPV6 } };
	const char *text = query_get(&call->query, "proto");

	if (!text)
		return 0;
	for (size_t i = 0; i < sizeof(protocols) / sizeof(protocols[0]); i++) {
		if (strcmp(text, protocols[i].name) != 0)
			continue;
		filter->proto = protocols[i].number;
		return 0;
	}
	return bad_value(call, "proto", "there is no such protocol here",
			 "give tcp, udp, icmp (both versions) or icmpv6");
}

static int read_only(const struct call *call, struct lb_trace_filter *filter)
{
	const char *text = query_get(&call->query, "only");

	if (!text)
		return 0;
	if (strcmp(text, "drops") != 0)
		return bad_value(call, "only", "there is no such choice", "give only=drops");
	filter->only_drops = 1;
	return 0;
}

static int read_duration(const struct call *call, struct trace_request *request)
{
	uint64_t seconds = TRACE_DEFAULT_S;
	int r = query_duration_s(&call->query, "duration", &seconds, call->reply);

	if (r < 0)
		return r;
	if (seconds > TRACE_MAX_S)
		return bad_value(call, "duration", "a trace lasts an hour at most",
				 "give 1s to 1h");
	request->duration_ns = seconds * NSEC_PER_SEC;
	return 0;
}

static int read_request(const struct call *call, struct trace_request *request)
{
	struct lb_trace_filter *filter = &request->filter;
	uint32_t limit = 0;
	uint32_t port = 0;
	int r;

	if ((r = read_duration(call, request)) < 0 || (r = read_address(call, filter)) < 0 ||
	    (r = read_proto(call, filter)) < 0 || (r = read_only(call, filter)) < 0 ||
	    (r = query_uint(&call->query, "port", 1, 65535, &port, call->reply)) < 0 ||
	    (r = query_uint(&call->query, "backend", 1, UINT32_MAX, &filter->backend,
			    call->reply)) < 0 ||
	    (r = query_uint(&call->query, "sample", 1, UINT32_MAX, &filter->sample, call->reply)) <
		    0 ||
	    (r = query_uint(&call->query, "limit", 1, UINT32_MAX, &limit, call->reply)) < 0 ||
	    (r = query_bool(&call->query, "frames", &request->frames, call->reply)) < 0)
		return r;
	filter->port = htons((uint16_t)port);
	request->limit = limit;
	return 0;
}

void rest_trace(struct call *call)
{
	struct trace_request request = { 0 };
	struct err err = { 0 };
	int r;

	if (read_request(call, &request) < 0)
		return;
	if (strcmp(call->request->method, "GET") == 0) { /* HEAD gets no body to trace into */
		r = call->control->trace(call->control->ctx, &request, &call->reply->stream, &err);
		if (r < 0) {
			reply_errno(call->reply, r, &err, NULL);
			return;
		}
	}
	call->reply->status = 200;
	call->reply->content_type = "application/x-ndjson";
}
