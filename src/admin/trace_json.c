#include "trace_json.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "planes/lb/lb_stats.h"

#define BASE64_LEN(bytes) (((bytes) + 2) / 3 * 4 + 1)

static int append(const char *data, size_t len, void *buf)
{
	buf_append(buf, data, len);
	return 0;
}

void trace_json_line(struct buf *buf, json_t *line)
{
	if (!line || json_dump_callback(line, append, buf, JSON_COMPACT) < 0)
		buf->failed = true;
	buf_append(buf, "\n", 1);
	json_decref(line);
}

/* RFC 4648 section 4. */
static void encode_base64(const uint8_t *bytes, size_t count, char *text)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

	for (size_t i = 0; i < count; i += 3) {
		uint32_t three = (uint32_t)bytes[i] << 16;

		three |= i + 1 < count ? (uint32_t)bytes[i + 1] << 8 : 0;
		three |= i + 2 < count ? bytes[i + 2] : 0;
		*text++ = digits[three >> 18];
		*text++ = digits[three >> 12 & 63];
		*text++ = i + 1 < count ? digits[three >> 6 & 63] : '=';
		*text++ = i + 2 < count ? digits[three & 63] : '=';
	}
	*text = '\0';
}

json_t *trace_json_time(int64_t ns)
{
	time_t seconds = (time_t)(ns / (int64_t)NSEC_PER_SEC);
	char text[64];
	struct tm tm;
	size_t len;

	gmtime_r(&seconds, &tm);
	len = strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(text + len, sizeof(text) - len, ".%09dZ", (int)(ns % (int64_t)NSEC_PER_SEC));
	return json_string(text);
}

static json_t *protocol_json(const struct lb_trace_event *event)
{
	char number[8];

	if (!event->family)
		return json_null();
	switch (event->proto) {
	case IPPROTO_TCP:
		return json_string("tcp");
	case IPPROTO_UDP:
		return json_string("udp");
	case IPPROTO_ICMP:
		return json_string("icmp");
	case IPPROTO_ICMPV6:
		return json_string("icmpv6");
	default:
		snprintf(number, sizeof(number), "%u", event->proto);
		return json_string(number);
	}
}

static bool has_ports(const struct lb_trace_event *event)
{
	return event->proto == IPPROTO_TCP || event->proto == IPPROTO_UDP;
}

static json_t *end_json(const struct lb_trace_event *event, const __be32 *words, __be16 port)
{
	char text[ADDR_PORT_TEXT_LEN];
	struct addr addr;

	if (!event->family)
		return json_null();
	memcpy(&addr, words, sizeof(addr));
	if (has_ports(event))
		addr_port_format(&addr, ntohs(port), text);
	else
		addr_format(&addr, text);
	return json_string(text);
}

/* "SYN,ACK"; null of what is no TCP. */
static json_t *flags_json(const struct lb_trace_event *event)
{
	static const char *const names[] = {
		"FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"
	};
	char text[40] = "";
	size_t len = 0;

	if (event->proto != IPPROTO_TCP)
		return json_null();
	for (int i = 0; i < 8; i++)
		if (event->tcp_flags >> i & 1)
			len += (size_t)snprintf(text + len, sizeof(text) - len, "%s%s",
						len ? "," : "", names[i]);
	return json_string(text);
}

static json_t *text_or_null(const char *text)
{
	return text ? json_string(text) : json_null();
}

static json_t *backend_json(const struct lb_trace_packet *packet)
{
	char text[ADDR_PORT_TEXT_LEN];

	if (!packet->has_backend)
		return json_null();
	return json_string(addr_port_format(&packet->backend, packet->backend_port, text));
}

static json_t *direction_json(const struct lb_trace_event *event)
{
	if (event->state >= LB_STATES && !lb_trace_mode(event))
		return json_null();
	return json_string(event->flags & LB_TRACE_REPLY ? "to_client" : "to_backend");
}

void trace_json_packet(struct buf *buf, const struct lb_trace_packet *packet, bool frame)
{
	const struct lb_trace_event *event = packet->event;
	const char *state = event->state < LB_STATES ? lb_state_name(event->state) : NULL;
	char base64[BASE64_LEN(LB_TRACE_BYTES)];
	size_t captured = event->captured < LB_TRACE_BYTES ? event->captured : LB_TRACE_BYTES;
	json_t *line = json_pack(
		"{s:s, s:o, s:s, s:i, s:o, s:o, s:o, s:o, s:s, s:s, s:s, s:o, s:o, s:o, s:o, s:o, "
		"s:o, s:b}",
		"event", "packet", "time", trace_json_time(packet->time_ns), "interface",
		packet->interface, "length", (int)event->length, "protocol", protocol_json(event),
		"source", end_json(event, event->saddr, event->sport), "destination",
		end_json(event, event->daddr, event->dport), "tcp_flags", flags_json(event),
		"action", lb_trace_action(event), "reason", lb_trace_reason(event), "meaning",
		lb_trace_help(event), "service", text_or_null(packet->service), "backend_id",
		packet->has_backend ? json_integer(event->backend) : json_null(), "backend",
		backend_json(packet), "direction", direction_json(event), "mode",
		text_or_null(lb_trace_mode(event)), "state", text_or_null(state), "new",
		event->flags & LB_TRACE_NEW);

	if (frame && line) {
		encode_base64(event->frame, captured, base64);
		json_object_set_new(line, "frame", json_string(base64));
	}
	trace_json_line(buf, line);
}

void trace_json_end(struct buf *buf, const char *why, const struct lb_trace_count *totals,
		    uint64_t written)
{
	trace_json_line(buf, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "event", "end", "why", why,
				       "seen", (json_int_t)totals->seen, "matched",
				       (json_int_t)totals->matched, "sent", (json_int_t)written,
				       "lost", (json_int_t)totals->lost));
}
