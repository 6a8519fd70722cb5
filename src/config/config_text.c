#include "config_text.h"

#include <ctype.h>
#include <string.h>
#include <strings.h>

#define DISTANCE_MAX 32

size_t text_rune(const char *s, size_t left, uint32_t *ret)
{
	const unsigned char *u = (const unsigned char *)s;
	static const uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };
	size_t len = u[0] < 0x80 ? 1 : u[0] < 0xc2 ? 0 : u[0] < 0xe0 ? 2 : u[0] < 0xf0 ? 3 : 4;
	uint32_t rune = len == 1 ? u[0] : u[0] & (0x7fu >> len);

	*ret = 0xfffd;
	if (len == 0 || u[0] > 0xf4 || len > left)
		return 0;
	for (size_t i = 1; i < len; i++) {
		if ((u[i] & 0xc0) != 0x80)
			return 0;
		rune = rune << 6 | (u[i] & 0x3f);
	}
	if (rune < least[len] || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000))
		return 0;
	*ret = rune;
	return len;
}

static unsigned int least_of(unsigned int a, unsigned int b, unsigned int c)
{
	unsigned int least = a < b ? a : b;

	return least < c ? least : c;
}

/* Optimal string alignment, row by row. */
unsigned int text_distance(const char *a, const char *b)
{
	unsigned int rows[3][DISTANCE_MAX + 1];
	unsigned int *before = rows[0], *last = rows[1], *now = rows[2];
	size_t la = strlen(a), lb = strlen(b);

	if (la > DISTANCE_MAX || lb > DISTANCE_MAX)
		return DISTANCE_MAX;
	for (unsigned int j = 0; j <= lb; j++)
		last[j] = j;
	for (unsigned int i = 1; i <= la; i++) {
		unsigned int *spare = before;

		now[0] = i;
		for (unsigned int j = 1; j <= lb; j++) {
			unsigned int replace = last[j - 1] + (a[i - 1] != b[j - 1]);

			now[j] = least_of(last[j] + 1, now[j - 1] + 1, replace);
			if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
			    before[j - 2] + 1 < now[j])
				now[j] = before[j - 2] + 1;
		}
		before = last;
		last = now;
		now = spare;
	}
	return last[lb];
}

bool text_near(const char *a, const char *b)
{
	size_t len = strlen(b);
	unsigned int allowed = len < 4 ? 1 : len < 9 ? 2 : 3;

	return text_distance(a, b) <= allowed;
}

bool text_names_secret(const char *name, size_t len)
{
	static const char *const parts[] = {
		"auth", "bearer", "passw", "secret", "token", "basic"
	};
	static const char *const whole[] = { "password", "bearer" };
	char copy[DISTANCE_MAX + 1];

	if (len == 0 || len >= sizeof(copy))
		return false;
	for (size_t i = 0; i < len; i++)
		copy[i] = (char)tolower((unsigned char)name[i]);
	copy[len] = '\0';
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		if (strstr(copy, parts[i]))
			return true;
	for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++)
		if (text_distance(copy, whole[i]) <= 2)
			return true;
	return false;
}

/* Does a secret's name end before the colon at `at`, quoted or not?  *ret_start is its beginning.
 */
static bool secret_before(const char *line, size_t at, size_t *ret_start)
{
	size_t end = at, start;

	while (end > 0 && strchr(" \t\"'", line[end - 1]))
		end--;
	start = end;
	while (start > 0 &&
	       (isalnum((unsigned char)line[start - 1]) || strchr("_-\\", line[start - 1])))
		start--;
	*ret_start = start;
	return text_names_secret(line + start, end - start);
}

#define NONE SIZE_MAX

/* Where the line's first secret begins, after its colon, or NONE; *ret_name is where its name does.
 */
static size_t secret_start(const char *line, size_t len, size_t *ret_name)
{
	for (size_t i = 0; i < len; i++)
		if (line[i] == ':' && secret_before(line, i, ret_name))
			return i + 1;
	return NONE;
}

static bool is_blank(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		if (!strchr(" \t\r", text[i]))
			return false;
	return true;
}

/* May what begins here go on for any number of lines: an open bracket or quote? */
static bool stays_open(const char *text, size_t len)
{
	unsigned int quotes[2] = { 0, 0 };
	int depth = 0;

	for (size_t i = 0; i < len; i++) {
		depth += (text[i] == '{' || text[i] == '[') - (text[i] == '}' || text[i] == ']');
		quotes[0] += text[i] == '"';
		quotes[1] += text[i] == '\'';
	}
	return depth > 0 || quotes[0] % 2 || quotes[1] % 2;
}

/* What the lines before say about the next one. */
struct hiding {
	bool to_end; /* all that follows is hidden */
	bool next;   /* the value may follow on the next line */
	bool below;  /* deeper lines belong to the secret at indent */
	size_t indent;
};

static void hide_line(struct hiding *hiding, char *line, size_t len)
{
	size_t indent = 0, name = 0, from;
	bool forced;

	while (indent < len && strchr(" \t-", line[indent]))
		indent++;
	forced = hiding->to_end || (hiding->next && indent <= hiding->indent);
	hiding->below = hiding->below && indent > hiding->indent;
	if (line[indent] == '#' && !hiding->below && !forced)
		return;
	from = secret_start(line, len, &name);
	if (from != NONE && !hiding->below) {
		hiding->below = true;
		hiding->indent = indent;
	} else if (!hiding->below && !forced) {
		return;
	} else if (from == NONE || name > indent) {
		from = indent; /* no name of a key: part of the value */
	}
	if (forced)
		from = 0;
	hiding->next = is_blank(line + from, len - from);
	hiding->to_end = hiding->to_end || stays_open(line + from, len - from);
	for (size_t i = from; i < len; i++)
		if (!strchr(" \t\r", line[i]))
			line[i] = '*';
}

void text_hide_secrets(char *text, size_t len)
{
	struct hiding hiding = { 0 };

	for (size_t at = 0; at < len;) {
		char *line = text + at;
		char *newline = memchr(line, '\n', len - at);
		size_t n = newline ? (size_t)(newline - line) : len - at;

		at += n + 1;
		if (!is_blank(line, n))
			hide_line(&hiding, line, n);
	}
}
