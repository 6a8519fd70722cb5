#include "config_parse.h"

#include <errno.h>
#include <libfyaml.h>
#include <string.h>

#include "base/must.h"
#include "config_value.h"

struct anchor {
	const char *name;
	const struct node *node;
};

struct parse {
	const struct source *source;
	struct arena *arena;
	struct complaints *complaints;
	struct node *root;
	struct node *open[NODE_DEPTH_MAX];    /* containers around what comes next */
	struct node *pending[NODE_DEPTH_MAX]; /* their keys that wait for a value */
	size_t depth;
	struct anchor anchors[NODE_ANCHOR_MAX];
	size_t anchor_count;
	size_t nodes;
	size_t documents;
	size_t at; /* how far the text was read */
	bool ended;
};

bool node_is_null(const struct node *node)
{
	return node->kind == NODE_SCALAR && node->plain && !node->expanded &&
	       (node->text[0] == '\0' || strcmp(node->text, "~") == 0 ||
		strcmp(node->text, "null") == 0);
}

static int refuse(struct parse *p, size_t at, const char *why)
{
	complain(p->complaints, (struct place){ p->source, at }, "%s", why);
	return -EINVAL;
}

static struct node *node_new(struct parse *p, enum node_kind kind, size_t at, size_t end)
{
	struct node *node = arena_alloc(p->arena, 1, sizeof(*node));

	if (!node)
		return NULL;
	node->kind = kind;
	node->source = p->source;
	node->at = at;
	node->end = end;
	node->text = "";
	p->nodes++;
	return node;
}

/* Puts a node where the document is: a mapping's key or value, a sequence's next entry, the root.
 */
static int node_add(struct parse *p, struct node *node)
{
	struct node *parent = p->depth ? p->open[p->depth - 1] : NULL;

	if (p->nodes > NODE_COUNT_MAX)
		return refuse(p, node->at, "too many values; a configuration is smaller");
	if (!parent) {
		p->root = node;
		return 0;
	}
	if (parent->kind == NODE_MAPPING) {
		struct node **pending = &p->pending[p->depth - 1];

		if (!*pending) {
			if (node->kind != NODE_SCALAR)
				return refuse(p, node->at,
					      "expected the name of a key, not a list or mapping");
			*pending = node;
			return 0;
		}
		node->key = *pending;
		*pending = NULL;
	}
	if (parent->last)
		parent->last->next = node;
	else
		parent->first = node;
	parent->last = node;
	return 0;
}

static int node_open(struct parse *p, struct node *node)
{
	int r = node_add(p, node);

	if (r < 0)
		return r;
	if (p->depth == NODE_DEPTH_MAX)
		return refuse(p, node->at, "nested too deeply; no key lies so deep");
	p->open[p->depth] = node;
	p->pending[p->depth] = NULL;
	p->depth++;
	return 0;
}

static int anchor_add(struct parse *p, struct fy_token *token, const struct node *node)
{
	size_t len;
	const char *name;

	if (!token)
		return 0;
	if (p->anchor_count == NODE_ANCHOR_MAX)
		return refuse(p, node->at, "more than 256 anchors; write the values out");
	name = fy_token_get_text(token, &len);
	name = name ? arena_text(p->arena, name, len) : NULL;
	if (!name)
		return -ENOMEM;
	p->anchors[p->anchor_count++] = (struct anchor){ name, node };
	return 0;
}

/* A deep copy that keeps the places: complaints point at what the anchor names. */
static int node_copy(struct parse *p, const struct node *from, size_t alias_at, size_t depth,
		     struct node **ret)
{
	struct node *copy;

	if (depth > NODE_DEPTH_MAX)
		return refuse(p, alias_at, "nested too deeply; no key lies so deep");
	if (p->nodes > NODE_COUNT_MAX)
		return refuse(p, alias_at, "too many values; a configuration is smaller");
	copy = node_new(p, from->kind, from->at, from->end);
	if (!copy)
		return -ENOMEM;
	copy->plain = from->plain;
	copy->expanded = from->expanded;
	copy->text = from->text;
	copy->key = from->key;
	for (const struct node *child = from->first; child; child = child->next) {
		struct node *below;
		int r = node_copy(p, child, alias_at, depth + 1, &below);

		if (r < 0)
			return r;
		if (copy->last)
			copy->last->next = below;
		else
			copy->first = below;
		copy->last = below;
	}
	*ret = copy;
	return 0;
}

static int parse_alias(struct parse *p, const struct fy_event *event, size_t at)
{
	const struct node *named = NULL;
	struct node *copy;
	size_t len;
	const char *name = fy_token_get_text(event->alias.anchor, &len);
	int r;

	for (size_t i = p->anchor_count; name && i > 0 && !named; i--)
		if (strlen(p->anchors[i - 1].name) == len &&
		    memcmp(p->anchors[i - 1].name, name, len) == 0)
			named = p->anchors[i - 1].node;
	if (!named)
		return refuse(p, at, "an alias without an anchor of that name before it");
	for (size_t i = 0; i < p->depth; i++)
		if (p->open[i] == named)
			return refuse(p, at, "an alias inside of what it stands for");
	r = node_copy(p, named, at, p->depth, &copy);
	if (r < 0)
		return r;
	copy->key = NULL;
	return node_add(p, copy);
}

/* A mapping's keys are taken as they are; values may name the environment. */
static bool expects_key(const struct parse *p)
{
	return p->depth && p->open[p->depth - 1]->kind == NODE_MAPPING && !p->pending[p->depth - 1];
}

static int scalar_text(struct parse *p, struct node *node, const char *text, size_t len)
{
	struct err err;
	struct buf buf;
	char *kept;
	int r;

	if (!text || value_unprintable(text, len)) {
		complain(p->complaints, node_place(node),
			 "a value is printable text on one line; delete line breaks and control "
			 "characters");
		node->refused = true;
		return 0;
	}
	if (expects_key(p) || !memmem(text, len, "${", 2)) {
		kept = arena_text(p->arena, text, len);
		node->text = kept;
		return kept ? 0 : -ENOMEM;
	}
	buf_init(&buf);
	node->expanded = true;
	r = value_expand(text, len, &buf, &err);
	if (r == -EINVAL) {
		complain(p->complaints, node_place(node), "%s", err.text);
		node->refused = true;
		r = 0;
	} else if (r == 0) {
		kept = arena_text(p->arena, buf.data ? buf.data : "", buf.len);
		node->text = kept;
		r = kept ? 0 : -ENOMEM;
	}
	buf_done(&buf);
	return r;
}

/* A scalar's text after escapes and folding.  fy_token_get_text() would do, but leaks what it needs
 * for a text of many pieces (libfyaml 0.7.12).  Returns 0, -EINVAL or -ENOMEM. */
static int token_text(struct fy_token *token, struct buf *out)
{
	struct fy_token_iter *iter = fy_token_iter_create(token);
	const struct fy_iter_chunk *chunk = NULL;
	int error = 0;

	if (!iter)
		return -ENOMEM;
	while ((chunk = fy_token_iter_chunk_next(iter, chunk, &error)))
		buf_append(out, chunk->str, chunk->len);
	fy_token_iter_destroy(iter);
	if (buf_failed(out))
		return -ENOMEM;
	return error ? -EINVAL : 0;
}

static int parse_scalar(struct parse *p, const struct fy_event *event, size_t at, size_t end)
{
	enum fy_scalar_style style = fy_token_scalar_style(event->scalar.value);
	struct node *node = node_new(p, NODE_SCALAR, at, end);
	struct buf text;
	int r;

	if (!node)
		return -ENOMEM;
	node->plain = style == FYSS_PLAIN;
	/* A quoted scalar begins behind its quote for libfyaml. */
	if ((style == FYSS_SINGLE_QUOTED || style == FYSS_DOUBLE_QUOTED) && at > 0)
		node->at--;
	buf_init(&text);
	r = token_text(event->scalar.value, &text);
	if (r != -ENOMEM)
		r = scalar_text(p, node, r < 0 ? NULL : text.data ? text.data : "", text.len);
	buf_done(&text);
	if (r == 0)
		r = anchor_add(p, event->scalar.anchor, node);
	return r < 0 ? r : node_add(p, node);
}

static int parse_container(struct parse *p, enum node_kind kind, struct fy_token *anchor, size_t at)
{
	struct node *node = node_new(p, kind, at, at);
	int r = node ? anchor_add(p, anchor, node) : -ENOMEM;

	return r < 0 ? r : node_open(p, node);
}

static int parse_close(struct parse *p, size_t end)
{
	must(p->depth > 0);
	p->depth--;
	p->open[p->depth]->end = end;
	return 0;
}

static int parse_event(struct parse *p, struct fy_event *event)
{
	const struct fy_mark *start = fy_event_start_mark(event);
	const struct fy_mark *stop = fy_event_end_mark(event);
	struct fy_token *tag = fy_event_get_tag_token(event);

	/* What is not written (an empty value, an implicit end) has no mark: it is where its key
	 * is, or where the text was last. */
	if (start && (ssize_t)start->input_pos >= 0 && start->line >= 0 &&
	    start->input_pos <= p->source->len)
		p->at = start->input_pos;
	if (tag)
		return refuse(p, p->at, "tags have no meaning here; delete it");
	switch (event->type) {
	case FYET_DOCUMENT_START:
		if (p->documents++)
			return refuse(p, p->at,
				      "a second document; put it into a file of its own "
				      "and give both with -c");
		return 0;
	case FYET_MAPPING_START:
		return parse_container(p, NODE_MAPPING, event->mapping_start.anchor, p->at);
	case FYET_SEQUENCE_START:
		return parse_container(p, NODE_SEQUENCE, event->sequence_start.anchor, p->at);
	case FYET_MAPPING_END:
	case FYET_SEQUENCE_END:
		return parse_close(p, p->at);
	case FYET_SCALAR:
		return parse_scalar(p, event, p->at,
				    stop && stop->input_pos <= p->source->len &&
						    stop->input_pos > p->at
					    ? stop->input_pos
					    : p->at);
	case FYET_ALIAS:
		return parse_alias(p, event, p->at ? p->at - 1 : 0); /* at its '*' */
	case FYET_STREAM_END:
		p->ended = true;
		return 0;
	default:
		return 0;
	}
}

/* "{port: ${PORT}}" looks like a mapping inside of a mapping to YAML. */
static bool at_variable(struct place place)
{
	const char *text = place.source->text;

	return place.at > 0 && text[place.at] == '{' && text[place.at - 1] == '$';
}

/* libfyaml's own complaint, in our form. */
static int refuse_syntax(struct parse *p, struct fy_diag *diag)
{
	void *iterator = NULL;
	const struct fy_diag_error *error = fy_diag_errors_iterate(diag, &iterator);
	const struct fy_mark *mark = error && error->fyt ? fy_token_start_mark(error->fyt) : NULL;
	struct place place = { p->source, p->at };

	if (mark && mark->input_pos <= p->source->len)
		place.at = mark->input_pos;
	if (!error || !error->msg || source_hidden_line(place))
		complain(p->complaints, place,
			 "this is no YAML; look at brackets, quotes and "
			 "indentation here and above");
	else
		complain(p->complaints, place, "%s%s", error->msg,
			 at_variable(place) ? "; in [] and {}, write \"${NAME}\" with quotes" : "");
	return -EINVAL;
}

/* Some faults end libfyaml's stream without a word. */
static bool stopped_early(const struct parse *p)
{
	size_t at = p->at;

	if (!p->ended)
		return true;
	while (at < p->source->len) {
		if (p->source->text[at] == '#')
			at += strcspn(p->source->text + at, "\n");
		else if (!strchr(" \t\r\n", p->source->text[at]))
			return true;
		else
			at++;
	}
	return false;
}

static int parse_stream(struct parse *p, struct fy_parser *parser, struct fy_diag *diag)
{
	struct fy_event *event;
	int r = 0;

	while (r == 0 && (event = fy_parser_parse(parser))) {
		r = parse_event(p, event);
		fy_parser_event_free(parser, event);
	}
	if (r == 0 && (fy_parser_get_stream_error(parser) || stopped_early(p)))
		r = refuse_syntax(p, diag);
	return r;
}

int node_parse(const struct source *source, struct arena *arena, struct complaints *complaints,
	       struct node **ret)
{
	struct parse p = { .source = source, .arena = arena, .complaints = complaints };
	struct fy_diag_cfg diag_cfg;
	struct fy_parse_cfg cfg = { .flags = FYPCF_QUIET | FYPCF_DEFAULT_VERSION_1_2 |
					     FYPCF_JSON_NONE | FYPCF_COLLECT_DIAG };
	struct fy_parser *parser = NULL;
	int r = -ENOMEM;

	fy_diag_cfg_default(&diag_cfg);
	diag_cfg.fp = NULL;
	diag_cfg.level = FYET_ERROR;
	cfg.diag = fy_diag_create(&diag_cfg);
	if (!cfg.diag)
		return -ENOMEM;
	fy_diag_set_collect_errors(cfg.diag, true);
	parser = fy_parser_create(&cfg);
	if (parser && fy_parser_set_string(parser, source->text, source->len) == 0)
		r = parse_stream(&p, parser, cfg.diag);
	fy_parser_destroy(parser);
	fy_diag_destroy(cfg.diag);
	*ret = r == 0 ? p.root : NULL;
	return r;
}
