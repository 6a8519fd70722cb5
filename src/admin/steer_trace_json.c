#include "steer_trace_json.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

#include "base/addr.h"
#include "planes/steer/steer_view.h"
#include "trace_json.h"

static const char *mode_name(uint8_t mode)
{
	static const char *const names[] = {
		[STEER_FALLBACK] = "fallback", [STEER_OBSERVE] = "observe",
		[STEER_SHADOW] = "shadow",     [STEER_CANARY] = "canary",
		[STEER_ENFORCE] = "enforced",
	};

	return mode < sizeof(names) / sizeof(names[0]) ? names[mode] : "unknown";
}

static json_t *slot_json(uint16_t slot)
{
	return slot == STEER_NOBODY ? json_null() : json_integer(slot);
}

static json_t *end_json(const __be32 *words, __be16 port)
{
	char text[ADDR_PORT_TEXT_LEN];
	struct addr addr;

	memcpy(&addr, words, sizeof(addr));
	return json_string(addr_port_format(&addr, ntohs(port), text));
}

/* As on the wire. */
static json_t *word_json(const struct steer_event *event)
{
	uint8_t bytes[sizeof(event->word)];
	char text[2 * sizeof(bytes) + 1];

	if (!event->udp)
		return json_null();
	memcpy(bytes, &event->word, sizeof(bytes));
	for (size_t i = 0; i < sizeof(bytes); i++)
		snprintf(text + 2 * i, 3, "%02x", bytes[i]);
	return json_string(text);
}

void steer_trace_json_decision(struct buf *buf, const struct steer_event *event, int64_t time_ns)
{
	enum steer_counter reason = (enum steer_counter)event->reason;

	trace_json_line(
		buf,
		json_pack("{s:s, s:o, s:s, s:o, s:o, s:I, s:o, s:o, s:o, s:s, s:s, s:s, s:b, s:I, "
			  "s:o, s:I}",
			  "event", "decision", "time", trace_json_time(time_ns), "protocol",
			  event->udp ? "udp" : "tcp", "source",
			  end_json(event->saddr, event->sport), "destination",
			  end_json(event->daddr, event->dport), "hash", (json_int_t)event->hash,
			  "kernel_slot", slot_json(event->kernel_slot), "policy_slot",
			  slot_json(event->policy_slot), "chosen_slot",
			  slot_json(event->chosen_slot), "reason", steer_counter_name(reason),
			  "meaning", steer_counter_help(reason), "mode", mode_name(event->mode),
			  "migrated", (int)event->migrated, "length", (json_int_t)event->length,
			  "word", word_json(event), "index", (json_int_t)event->index));
}

void steer_trace_json_end(struct buf *buf, const char *why, const struct steer_trace_totals *totals)
{
	trace_json_line(buf, json_pack("{s:s, s:s, s:I, s:I, s:I, s:I}", "event", "end", "why", why,
				       "seen", (json_int_t)totals->seen, "matched",
				       (json_int_t)totals->matched, "sent",
				       (json_int_t)totals->sent, "lost", (json_int_t)totals->lost));
}
