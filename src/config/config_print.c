/* The schema's tables as JSON Schema. */
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "config.h"
#include "config_value.h"
#include "schema.h"

static void print_key(const struct key *key, int depth, struct buf *out);

static void newline(int depth, struct buf *out)
{
	buf_printf(out, "\n%*s", depth * 2, "");
}

static void print_string(const char *text, struct buf *out)
{
	buf_append(out, "\"", 1);
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			buf_append(out, "\\", 1);
		buf_append(out, text, 1);
	}
	buf_append(out, "\"", 1);
}

static void print_member(const char *name, const char *text, int depth, struct buf *out)
{
	newline(depth, out);
	buf_printf(out, "\"%s\": ", name);
	print_string(text, out);
	buf_append(out, ",", 1);
}

/* Values may come from the environment: "${NAME}". */
#define ENV_REF	   "{\"$ref\": \"#/$defs/environment\"}"
#define DIGITS_REF "{\"$ref\": \"#/$defs/digits\"}"

static void print_pattern(const char *pattern, struct buf *out)
{
	buf_printf(out, "{\"type\": \"string\", \"pattern\": ");
	print_string(pattern, out);
	buf_printf(out, "}, " ENV_REF);
}

static void print_numbers(uint64_t min, uint64_t max, struct buf *out)
{
	buf_printf(out,
		   "{\"type\": \"integer\", \"minimum\": %" PRIu64 ", \"maximum\": %" PRIu64
		   "}, " DIGITS_REF,
		   min, max);
}

static void print_decimals(const struct key *key, struct buf *out)
{
	buf_printf(out, "{\"type\": \"number\", \"minimum\": ");
	value_format_decimal(key->min, out);
	buf_printf(out, ", \"maximum\": ");
	value_format_decimal(key->max, out);
	buf_printf(out, "}, ");
	print_pattern("^(0|[1-9][0-9]*)(\\.[0-9]{1,6})?$", out);
}

static void print_choices(const struct key *key, struct buf *out)
{
	buf_printf(out, "{\"enum\": [");
	for (const struct choice *c = key->choices; c->name; c++)
		buf_printf(out, "%s\"%s\"", c == key->choices ? "" : ", ", c->name);
	buf_printf(out, "]}, " ENV_REF);
}

/* YAML reads a name or password of digits as a number. */
static void print_text(const struct key *key, struct buf *out)
{
	buf_printf(out,
		   "{\"type\": [\"string\", \"number\", \"boolean\"], %s\"minLength\": %" PRIu64
		   ", \"maxLength\": %" PRIu64 "}, " ENV_REF,
		   key->type == KEY_NAME ? "\"pattern\": \"^[a-z0-9_-]*$\", " : "", key->min,
		   key->max);
}

static void print_number(const struct key *key, struct buf *out)
{
	print_numbers(key->min, key->max, out);
	if (key->flags & KEY_HEX) {
		buf_printf(out, ", ");
		print_pattern("^0x[0-9a-fA-F]+$", out);
	}
	if (key->choices) {
		buf_printf(out, ", {\"type\": \"boolean\"}, ");
		print_choices(key, out);
	}
}

/* What values that are no numbers look like; NULL: there is more to say. */
static const char *pattern_of(const struct key *key)
{
	switch (key->type) {
	case KEY_NETNS:
		return "^(/.+|[^/]+)$";
	case KEY_ADDRESS:
		return key->flags & KEY_BOUND ? "^([0-9a-fA-F:.]+|\\*)$" : "^[0-9a-fA-F:.]+$";
	case KEY_NET:
		return "^[0-9a-fA-F:.]+(/[0-9]+)?$";
	case KEY_PORT_RANGE:
		return "^[0-9]+-[0-9]+$";
	case KEY_LISTEN:
		return "^(off|[0-9.]+:[0-9]+|\\[[0-9a-fA-F:.]+\\]:[0-9]+)$";
	case KEY_PATH:
		return key->flags & KEY_OFF ? "^(/.+|off)$" : "^/.+$";
	default:
		return NULL;
	}
}

/* Numbers, or texts of that pattern. */
static void print_either(uint64_t min, uint64_t max, const char *pattern, struct buf *out)
{
	print_numbers(min, max, out);
	buf_printf(out, ", ");
	print_pattern(pattern, out);
}

/* What a scalar may be: the alternatives of an anyOf. */
static void print_scalar(const struct key *key, struct buf *out)
{
	if (pattern_of(key)) {
		print_pattern(pattern_of(key), out);
		return;
	}
	switch (key->type) {
	case KEY_BOOL:
		buf_printf(out,
			   "{\"type\": \"boolean\"}, {\"enum\": [\"true\", \"false\"]}, " ENV_REF);
		break;
	case KEY_NUMBER:
		print_number(key, out);
		break;
	case KEY_DECIMAL:
		print_decimals(key, out);
		break;
	case KEY_PORT:
		print_numbers(1, 65535, out);
		break;
	case KEY_PORTS:
		print_either(1, 65535, "^([0-9]+-[0-9]+|any)$", out);
		break;
	case KEY_STATUS:
		print_either(100, 599, "^[1-5][0-9][0-9]-[1-5][0-9][0-9]$", out);
		break;
	case KEY_BYTES:
		print_either(key->min, key->max, "^[1-9][0-9]*(GiB|MiB|KiB)$", out);
		break;
	case KEY_DURATION:
		print_pattern("^(0|[1-9][0-9]*)(ms|s|m|h|d)$", out);
		if (!key->min)
			buf_printf(out, ", {\"enum\": [0, \"0\"]}");
		break;
	case KEY_ENUM:
		print_choices(key, out);
		break;
	case KEY_INTERFACE:
		buf_printf(out, "{\"type\": [\"string\", \"number\"], \"minLength\": 1, "
				"\"maxLength\": 15}, " ENV_REF);
		break;
	default:
		print_text(key, out);
		break;
	}
}

static void print_map(const struct key *key, int depth, struct buf *out)
{
	const char *separator = "";

	newline(depth, out);
	buf_printf(out, "\"type\": [\"object\", \"null\"],");
	newline(depth, out);
	buf_printf(out, "\"additionalProperties\": false,");
	newline(depth, out);
	buf_printf(out, "\"required\": [");
	for (const struct key *k = key->keys; k->name; k++) {
		if (!(k->flags & KEY_REQUIRED))
			continue;
		buf_printf(out, "%s\"%s\"", separator, k->name);
		separator = ", ";
	}
	buf_printf(out, "],");
	newline(depth, out);
	buf_printf(out, "\"properties\": {");
	for (const struct key *k = key->keys; k->name; k++) {
		newline(depth + 1, out);
		buf_printf(out, "\"%s\": {", k->name);
		print_key(k, depth + 2, out);
		newline(depth + 1, out);
		buf_printf(out, k[1].name ? "}," : "}");
	}
	newline(depth, out);
	buf_printf(out, "}");
}

/* A mapping, and what may stand in its place. */
static void print_mapping(const struct key *key, int depth, struct buf *out)
{
	const struct key *in_short = schema_short(key);

	if (!in_short && !(key->flags & KEY_OFF)) {
		print_map(key, depth, out);
		return;
	}
	newline(depth, out);
	buf_printf(out, "\"anyOf\": [{");
	print_map(key, depth + 1, out);
	newline(depth, out);
	buf_printf(out, "}, ");
	if (in_short)
		print_scalar(in_short, out);
	else
		buf_printf(out, "{\"const\": \"off\"}, " ENV_REF);
	buf_printf(out, "]");
}

static void print_array(const struct key *key, int depth, struct buf *out)
{
	buf_printf(out,
		   "\"type\": [\"array\", \"null\"], \"minItems\": %" PRIu64
		   ", \"maxItems\": %" PRIu64 ", %s\"items\": {",
		   key->min, key->max, key->flags & KEY_UNIQUE ? "\"uniqueItems\": true, " : "");
	if (key->keys->type == KEY_MAP) {
		print_map(key->keys, depth + 1, out);
		newline(depth, out);
	} else {
		buf_printf(out, "\"anyOf\": [");
		print_scalar(key->keys, out);
		buf_printf(out, "]");
	}
	buf_printf(out, "}");
}

static void print_list(const struct key *key, int depth, struct buf *out)
{
	newline(depth, out);
	if (!(key->flags & (KEY_SINGLE | KEY_OR_ALL))) {
		print_array(key, depth, out);
		return;
	}
	buf_printf(out, "\"anyOf\": [{");
	print_array(key, depth, out);
	buf_printf(out, "}, ");
	if (key->flags & KEY_OR_ALL)
		buf_printf(out, "{\"const\": \"all\"}, " ENV_REF);
	else
		print_scalar(key->keys, out);
	buf_printf(out, "]");
}

/* The default as JSON: bare where it is a number or a boolean. */
static void print_default(const struct key *key, int depth, struct buf *out)
{
	bool bare = key->type == KEY_BOOL || key->type == KEY_NUMBER || key->type == KEY_BYTES ||
		    key->type == KEY_DECIMAL;

	if (!key->fallback)
		return;
	newline(depth, out);
	buf_printf(out, "\"default\": ");
	if (bare)
		buf_printf(out, "%s", key->fallback);
	else
		print_string(key->fallback, out);
	buf_printf(out, ",");
}

static void print_key(const struct key *key, int depth, struct buf *out)
{
	struct buf text;

	buf_init(&text);
	buf_printf(&text, "%s%s%s", key->help, key->otherwise ? "  Without it: " : "",
		   key->otherwise ? key->otherwise : "");
	print_member("description", text.data ? text.data : "", depth, out);
	buf_done(&text);
	print_default(key, depth, out);
	if (key->type == KEY_MAP) {
		print_mapping(key, depth, out);
	} else if (key->type == KEY_LIST) {
		print_list(key, depth, out);
	} else {
		newline(depth, out);
		buf_printf(out, "\"anyOf\": [");
		print_scalar(key, out);
		buf_printf(out, "]");
	}
}

int config_print_schema(struct buf *out)
{
	buf_printf(out,
		   "{\n  \"$schema\": \"https://json-schema.org/draft/2020-12/schema\",\n"
		   "  \"title\": \"loom.yaml\",\n"
		   "  \"$defs\": {\n"
		   "    \"environment\": {\"type\": \"string\", \"pattern\": \"\\\\$\\\\{\"},\n"
		   "    \"digits\": {\"type\": \"string\", \"pattern\": "
		   "\"^(0|[1-9][0-9]*)$|\\\\$\\\\{\"}\n  },");
	print_map(&schema_root, 1, out);
	buf_printf(out, "\n}\n");
	return buf_failed(out) ? -ENOMEM : 0;
}
