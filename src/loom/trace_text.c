#include "trace_text.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "text.h"

enum column {
	COLUMN_TIME,
	COLUMN_INTERFACE,
	COLUMN_SOURCE,
	COLUMN_DESTINATION,
	COLUMN_PROTOCOL,
	COLUMN_ACTION,
	COLUMN_REASON,
	COLUMN_SERVICE,
	COLUMN_BACKEND,
	COLUMN_STATE,
};

static const char *const heads[TRACE_COLUMNS] = {
	[COLUMN_TIME] = "TIME",		[COLUMN_INTERFACE] = "IN",
	[COLUMN_SOURCE] = "SOURCE",	[COLUMN_DESTINATION] = "DESTINATION",
	[COLUMN_PROTOCOL] = "PROTOCOL", [COLUMN_ACTION] = "ACTION",
	[COLUMN_REASON] = "REASON",	[COLUMN_SERVICE] = "SERVICE",
	[COLUMN_BACKEND] = "BACKEND",	[COLUMN_STATE] = "STATE",
};

/* What most lines need, so that few of them move a column. */
static const int usual[TRACE_COLUMNS] = {
	[COLUMN_TIME] = 15,	   [COLUMN_INTERFACE] = 4, [COLUMN_SOURCE] = 21,
	[COLUMN_DESTINATION] = 21, [COLUMN_PROTOCOL] = 11, [COLUMN_ACTION] = 7,
	[COLUMN_REASON] = 9,	   [COLUMN_SERVICE] = 7,   [COLUMN_BACKEND] = 7,
	[COLUMN_STATE] = 5,
};

static void print_cell(struct trace_columns *columns, enum column column, const char *text,
		       FILE *out)
{
	int *width = &columns->width[column];
	struct buf safe;
	int len;

	buf_init(&safe);
	text_append(&safe, text, false);
	len = (int)safe.len;
	if (*width < len)
		*width = len;
	/* The last one has nothing to be aligned with. */
	fprintf(out, "%-*s%s", column + 1 < TRACE_COLUMNS ? *width : 0, safe.data ? safe.data : "",
		column + 1 < TRACE_COLUMNS ? "  " : "\n");
	buf_done(&safe);
}

void trace_text_head(struct trace_columns *columns, FILE *out)
{
	memcpy(columns->width, usual, sizeof(columns->width));
	for (int i = 0; i < TRACE_COLUMNS; i++)
		print_cell(columns, (enum column)i, heads[i], out);
}

int trace_text_time(const char *text, uint64_t *ret_ns)
{
	const char *rest;
	struct tm tm = { 0 };
	uint64_t ns = 0;
	int digits = 0;

	rest = strptime(text, "%Y-%m-%dT%H:%M:%S", &tm);
	if (!rest || *rest++ != '.')
		return -EINVAL;
	for (; *rest >= '0' && *rest <= '9' && digits < 9; digits++)
		ns = ns * 10 + (uint64_t)(*rest++ - '0');
	if (digits != 9 || strcmp(rest, "Z") != 0)
		return -EINVAL;
	*ret_ns = (uint64_t)timegm(&tm) * NSEC_PER_SEC + ns;
	return 0;
}

/* The time of day here, to the microsecond. */
static void format_time(const char *given, char *text, size_t size)
{
	time_t seconds;
	struct tm tm;
	uint64_t ns;
	size_t len;

	if (trace_text_time(given, &ns) < 0) {
		snprintf(text, size, "%s", given);
		return;
	}
	seconds = (time_t)(ns / NSEC_PER_SEC);
	localtime_r(&seconds, &tm);
	len = strftime(text, size, "%H:%M:%S", &tm);
	snprintf(text + len, size - len, ".%06u", (unsigned int)(ns % NSEC_PER_SEC / 1000));
}

static void join(char *text, size_t size, const char *a, const char *b)
{
	snprintf(text, size, "%s%s%s", a, *b ? " " : "", b);
}

static void backend_text(struct reply *reply, const json_t *packet, const char *none, char *text,
			 size_t size)
{
	const char *address = reply_text_or(reply, packet, "backend", NULL);

	if (!address)
		snprintf(text, size, "%s", none);
	else
		snprintf(text, size, "%" PRIu64 " (%s)", reply_count(reply, packet, "backend_id"),
			 address);
}

void trace_text_print(struct trace_columns *columns, struct reply *reply, const json_t *packet,
		      FILE *out)
{
	const char *state = reply_text_or(reply, packet, "state", "-");
	char text[128];

	format_time(reply_text(reply, packet, "time"), text, sizeof(text));
	print_cell(columns, COLUMN_TIME, text, out);
	print_cell(columns, COLUMN_INTERFACE, reply_text(reply, packet, "interface"), out);
	print_cell(columns, COLUMN_SOURCE, reply_text_or(reply, packet, "source", "-"), out);
	print_cell(columns, COLUMN_DESTINATION, reply_text_or(reply, packet, "destination", "-"),
		   out);
	join(text, sizeof(text), reply_text_or(reply, packet, "protocol", "-"),
	     reply_text_or(reply, packet, "tcp_flags", ""));
	print_cell(columns, COLUMN_PROTOCOL, text, out);
	print_cell(columns, COLUMN_ACTION, reply_text(reply, packet, "action"), out);
	print_cell(columns, COLUMN_REASON, reply_text(reply, packet, "reason"), out);
	print_cell(columns, COLUMN_SERVICE, reply_text_or(reply, packet, "service", "-"), out);
	backend_text(reply, packet, "-", text, sizeof(text));
	print_cell(columns, COLUMN_BACKEND, text, out);
	join(text, sizeof(text), state, reply_bool(reply, packet, "new") ? "new" : "");
	print_cell(columns, COLUMN_STATE, text, out);
}

static void put_detail(struct buf *buf, struct reply *reply, const json_t *packet,
		       const char *member)
{
	const char *text = reply_text_or(reply, packet, member, NULL);

	if (text)
		buf_printf(buf, " %s=%s", member, text);
}

void trace_text_comment(struct buf *buf, struct reply *reply, const json_t *packet)
{
	char backend[128];

	buf_printf(buf, "%s: %s (%s);", reply_text(reply, packet, "action"),
		   reply_text(reply, packet, "reason"), reply_text(reply, packet, "meaning"));
	put_detail(buf, reply, packet, "service");
	backend_text(reply, packet, "", backend, sizeof(backend));
	if (*backend)
		buf_printf(buf, " backend=%s", backend);
	put_detail(buf, reply, packet, "direction");
	put_detail(buf, reply, packet, "mode");
	put_detail(buf, reply, packet, "state");
	if (reply_bool(reply, packet, "new"))
		buf_printf(buf, " new");
	if (buf->len && buf->data[buf->len - 1] == ';')
		buf->data[--buf->len] = '\0';
}

static int digit_of(char c)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

int trace_text_base64(const char *text, struct buf *buf)
{
	size_t len = strlen(text);

	if (len % 4)
		return -EINVAL;
	for (size_t i = 0; i < len; i += 4) {
		uint32_t bits = 0;
		size_t pad = 0;
		uint8_t bytes[3];

		if (i + 4 == len)
			pad = text[i + 3] != '=' ? 0 : text[i + 2] != '=' ? 1 : 2;
		for (size_t k = 0; k < 4; k++) {
			int digit = k >= 4 - pad ? 0 : digit_of(text[i + k]);

			if (digit < 0)
				return -EINVAL;
			bits = bits << 6 | (uint32_t)digit;
		}
		bytes[0] = (uint8_t)(bits >> 16);
		bytes[1] = (uint8_t)(bits >> 8);
		bytes[2] = (uint8_t)bits;
		buf_append(buf, bytes, 3 - pad);
	}
	return 0;
}
